"""What has no face in it: devices, precision, checkpoints, seeds, logs."""
