"""Faces on disk → batches of images, and the commands that make, check and pack them."""
