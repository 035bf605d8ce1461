"""Named presets: deltas on the constants of a script, each with its documentation.

A module is one preset. Its docstring gives the command, the hardware, the time and the expected result. ``DELTAS`` maps
the settings class of a script (ArcFaceSettings, TripletSettings) to what differs from that script's constants.
"""
