"""Named presets: deltas on the constants of a script, each with its story.

A module is one preset. Its docstring gives command, hardware, time and expected result; ``DELTAS`` maps the settings
class of a script (ArcFaceSettings, TripletSettings) to what differs from that script's constants.
"""
