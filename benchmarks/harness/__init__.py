"""What the benchmarks share: options and tables with bars, steps in turns, the network that is measured."""
