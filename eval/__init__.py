"""Trained networks put to the test: the commands, and what runs after each epoch and at the end of a run."""
