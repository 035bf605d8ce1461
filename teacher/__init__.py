"""A trained network that shows a student where masked faces are to lie."""
