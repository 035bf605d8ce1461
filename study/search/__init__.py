"""``python -m study.search``: settings of a script that give the lowest IOU on its evaluation pairs."""
