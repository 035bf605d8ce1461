"""How well a face can be recognised in a photograph: its size, its sharpness, and how far it is turned away."""

import cv2
import numpy as np

from data.masks.pose import fit_pose

# Large enough that a blur which harms is seen, small enough that few faces have fewer pixels.
FACE_SIDE = 46
# The strip around the eyes, as shares of an aligned face: no mask covers it, and no background is in it.
_ROWS, _COLUMNS = (0.25, 0.62), (0.12, 0.88)


def sharpness(face: np.ndarray, box: float) -> float:
    """The variance of the Laplacian (Pech-Pacheco et al. 2000) around the eyes of an aligned face uint8 (S, S, 3) RGB,
    divided by the variance of the grey values, so that neither light nor contrast counts.

    ``box``: the side of the detector's box in that crop. The face is measured at the size at which it is FACE_SIDE
    pixels, so that a blur counts by its share of the face. 0 where nothing is to be seen.
    """
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
    side = min(len(face), round(len(face) * FACE_SIDE / box))
    grey = cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA)
    rows, columns = (slice(int(low * side), int(high * side)) for low, high in (_ROWS, _COLUMNS))
    eyes = grey[rows, columns].astype(np.float32)
    contrast = float(eyes.var())
    return float(cv2.Laplacian(eyes, cv2.CV_32F).var()) / contrast if contrast else 0.0


def yaw(landmarks: np.ndarray) -> float:
    """How far the head of five landmarks (5, 2) is turned, in degrees: above 0 to the image's right."""
    return float(np.rad2deg(fit_pose(landmarks).yaw))
