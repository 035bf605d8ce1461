"""The parts of the engine: state, optimisers, schedule, watch and recovery."""
