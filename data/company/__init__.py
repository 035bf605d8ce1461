"""Built-in people in company: portraits and group pictures as a camera takes them, with boxes and names.

``figure`` cuts one person out, from the hair to the shoulders, ``picture`` puts several into a room, ``album`` is the
folder on disk. They draw with ``data.synthetic``, but lie beside it: what lies in that room decides the pixels of the
built-in faces and the digest by which cached ones are known.
"""

from data.company.album import Album, make_album
from data.company.picture import GroupPicture, Guest, draw_group

__all__ = ["Album", "GroupPicture", "Guest", "draw_group", "make_album"]
