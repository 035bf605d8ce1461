"""Everything that knows no face: devices, precision, checkpoints, seeds, logs."""
