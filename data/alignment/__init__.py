"""Photographs → aligned faces: detectors, landmarks, crops."""
