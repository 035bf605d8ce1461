"""``python -m eval.group``: photographs without names, grouped by person."""
