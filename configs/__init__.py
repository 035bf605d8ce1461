"""Typed settings, the command line made from them, and named presets."""

from configs.cli import parse_settings
from configs.settings import OF_THE_MACHINE, ArcFaceSettings, Settings, TripletSettings

__all__ = ["OF_THE_MACHINE", "ArcFaceSettings", "Settings", "TripletSettings", "parse_settings"]
