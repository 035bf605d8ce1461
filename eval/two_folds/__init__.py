"""``python -m eval.two_folds``: two halves of the people choose for each other."""
