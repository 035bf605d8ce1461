"""Typed settings, the command line made from them, and named presets."""

from configs.cli import parse_settings
from configs.settings import ArcFaceSettings, Settings, TripletSettings

__all__ = ["ArcFaceSettings", "Settings", "TripletSettings", "parse_settings"]
