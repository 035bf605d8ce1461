"""Masks drawn onto faces: cuts, fabric, light, pose, view."""
