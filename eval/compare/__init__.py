"""``python -m eval.compare``: tested runs beside each other."""
