"""What the engine is made of: state, optimisers, schedule, watch and recovery."""
