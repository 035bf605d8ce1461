"""``python -m eval.identify``: enrol people, and recognise them."""
