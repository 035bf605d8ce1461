"""``python -m benchmarks.NAME``: ratios against a peer or a limit, side by side in one run."""
