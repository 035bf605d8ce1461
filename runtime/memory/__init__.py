"""Memory on the device and beside it."""
