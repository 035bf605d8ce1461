"""``python -m data.landmarks``: train the network that finds a face's points under a mask."""
