"""A face that was found, and what every detector asks of one."""

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Detection:
    """A face in an image: ``box`` (left, top, right, bottom) and ``landmarks`` (5, 2), float32 pixels; its
    ``probability`` 0 … 1. ``weights`` (5,): how much each point counts in the alignment, None where all count alike.
    ``refined``: whether the landmark network found the points, not the detector."""

    box: np.ndarray
    landmarks: np.ndarray
    probability: float
    weights: np.ndarray | None = None
    refined: bool = False

    @property
    def side(self) -> float:
        """The shorter side of the box in pixels."""
        return float(min(self.box[2] - self.box[0], self.box[3] - self.box[1]))


def lay(image: np.ndarray, inner: int, canvas_size: int) -> tuple[np.ndarray, tuple[float, float, float]]:
    """The image, its longer side ``inner`` pixels, in the middle of a black square canvas; and (scale, x, y): canvas
    pixel = image pixel · scale + (x, y)."""
    height, width = image.shape[:2]
    scale = inner / max(height, width)
    if scale != 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    rows, columns = image.shape[:2]
    x, y = (canvas_size - columns) // 2, (canvas_size - rows) // 2
    canvas = np.zeros((canvas_size, canvas_size, 3), np.uint8)
    canvas[y : y + rows, x : x + columns] = image
    return canvas, (scale, x, y)


def is_beside(face: Detection, chosen: Detection) -> bool:
    """Whether it is not the chosen face again: their centres are half a face apart."""
    apart = np.linalg.norm((face.box[:2] + face.box[2:] - chosen.box[:2] - chosen.box[2:]) / 2)
    return bool(apart > max(chosen.box[2] - chosen.box[0], face.box[2] - face.box[0]) / 2)


def is_plausible(landmarks: np.ndarray) -> bool:
    """Whether five points can be a face: the mouth below the eyes, both ordered left to right, in the head's frame.

    MTCNN always returns five points; where they can't be a face's they are a guess.
    """
    left_eye, right_eye, nose, left_mouth, right_mouth = landmarks.astype(np.float64)
    down = (left_mouth + right_mouth) / 2 - (left_eye + right_eye) / 2
    length = np.linalg.norm(down)
    if length < 1:
        return False
    down /= length
    right = np.array([down[1], -down[0]])
    ordered = (right_eye - left_eye) @ right > 0 and (right_mouth - left_mouth) @ right > 0
    depth = (nose - (left_eye + right_eye) / 2) @ down / length
    return bool(ordered and 0.1 < depth < 0.95)
