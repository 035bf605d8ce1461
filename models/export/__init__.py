"""``python -m models.export``: a trained network for other programs."""
