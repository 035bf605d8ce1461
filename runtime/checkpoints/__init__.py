"""Checkpoints: files that appear whole or not at all, and those of a run."""
