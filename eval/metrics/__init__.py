"""Figures: distances and labels in, numbers out. Neither networks nor faces."""
