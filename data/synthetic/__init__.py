"""Built-in faces: people who don't exist, drawn from a seed alone.

``people`` says who they are and how pictures differ, ``head`` is their shape under light and pose, ``paint`` their
skin, eyes and hair, ``draw`` the picture, ``make`` the data folder.
"""

from data.synthetic.draw import DrawnFace, draw_face
from data.synthetic.make import FaceSet, ensure_faces, make_faces

__all__ = ["DrawnFace", "FaceSet", "draw_face", "ensure_faces", "make_faces"]
