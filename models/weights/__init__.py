"""Weights of others: known files, foreign checkpoints, and reading them without running their code."""
