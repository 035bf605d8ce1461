"""``python -m eval.report``: everything about a run in one HTML file."""
