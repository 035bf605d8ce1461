"""Photographs that nobody has labelled: which files, and a stream of the faces in them."""
