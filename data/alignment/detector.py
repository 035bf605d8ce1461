"""Find the faces of a picture and their five landmarks with MTCNN (Zhang et al. 2016, arXiv:1604.02878)."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from data.alignment.mtcnn import Cascade
from runtime.memory.allocator import keep_freed_memory


@dataclass(frozen=True)
class Detection:
    """A face in an image: ``box`` (left, top, right, bottom) and ``landmarks`` (5, 2), float32 pixels; the
    detector's ``probability`` 0 … 1."""

    box: np.ndarray
    landmarks: np.ndarray
    probability: float

    @property
    def side(self) -> float:
        """The shorter side of the box in pixels."""
        return float(min(self.box[2] - self.box[0], self.box[3] - self.box[1]))


@dataclass(frozen=True)
class Search:
    """One way to look for faces: the image's longer side becomes ``inner`` pixels in the middle of a canvas of
    ``canvas`` pixels; faces from ``min_face`` canvas pixels on, on an image pyramid with step ``factor``."""

    inner: int
    canvas: int
    min_face: int
    factor: float


# Faces that fill a good part of the picture, as in LFW, CASIA-WebFace and CFP. The border gives tightly cropped
# faces room to be found.
QUICK = Search(inner=200, canvas=250, min_face=60, factor=0.5)

# What that missed: a wider border and a finer pyramid, then small faces in large pictures.
PADDED = Search(inner=200, canvas=400, min_face=48, factor=0.709)

THOROUGH = Search(inner=640, canvas=800, min_face=48, factor=0.709)

SEARCHES = (QUICK, PADDED, THOROUGH)

MIN_PROBABILITY = 0.9


class FaceDetector:
    """MTCNN in batches. The networks' weights come with the package facenet-pytorch; nothing is downloaded."""

    def __init__(self) -> None:
        keep_freed_memory()
        self._cascade = Cascade()

    def __call__(self, images: Sequence[np.ndarray]) -> list[Detection | None]:
        """The face nearest the centre of each image (H, W, 3) uint8 RGB; None if there is none."""
        found: list[Detection | None] = [None] * len(images)
        left = list(range(len(images)))
        for search in SEARCHES:
            if not left:
                break
            detections = self._search(search, [images[i] for i in left])
            for i, detection in zip(left, detections, strict=True):
                if detection is not None and is_plausible(detection.landmarks):
                    found[i] = detection
            left = [i for i in left if found[i] is None]
        return found

    def all_faces(self, image: np.ndarray) -> list[Detection]:
        """Every face of one image (H, W, 3) uint8 RGB: first the one that a call gives, then smaller ones beside it."""
        chosen = self([image])[0]
        if chosen is None:
            return []
        canvas, place = _lay(image, THOROUGH)
        found = self._cascade([canvas], THOROUGH.min_face, THOROUGH.factor)[0]
        others = [_detection(*face, place) for face in zip(*found, strict=True)]
        return [chosen, *(face for face in others if _is_another(face, chosen))]

    def _search(self, search: Search, images: list[np.ndarray]) -> list[Detection | None]:
        canvases, places = zip(*(_lay(image, search) for image in images), strict=True)
        found = self._cascade(canvases, search.min_face, search.factor)
        return [_nearest_centre(*faces, place, search.canvas) for faces, place in zip(found, places, strict=True)]


def _lay(image: np.ndarray, search: Search) -> tuple[np.ndarray, tuple[float, float, float]]:
    """The image in the middle of a black canvas, and (scale, x, y): canvas pixel = image pixel · scale + (x, y)."""
    height, width = image.shape[:2]
    scale = search.inner / max(height, width)
    if scale != 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    rows, columns = image.shape[:2]
    x, y = (search.canvas - columns) // 2, (search.canvas - rows) // 2
    canvas = np.zeros((search.canvas, search.canvas, 3), np.uint8)
    canvas[y : y + rows, x : x + columns] = image
    return canvas, (scale, x, y)


def _nearest_centre(
    boxes: np.ndarray, points: np.ndarray, probabilities: np.ndarray, place: tuple[float, float, float], canvas: int
) -> Detection | None:
    """The sure face nearest the centre, in the image's own pixels."""
    sure = np.flatnonzero(probabilities >= MIN_PROBABILITY)
    if not len(sure):
        return None
    centres = (boxes[sure, :2] + boxes[sure, 2:]) / 2
    best = sure[int(np.linalg.norm(centres - canvas / 2, axis=1).argmin())]
    return _detection(boxes[best], points[best], probabilities[best], place)


def _detection(box: np.ndarray, points: np.ndarray, probability: float, place: tuple[float, float, float]) -> Detection:
    """From canvas pixels to the image's own."""
    scale, x, y = place
    corners = (box.reshape(2, 2) - [x, y]) / scale
    landmarks = (points - [x, y]) / scale
    return Detection(corners.ravel().astype(np.float32), landmarks.astype(np.float32), float(probability))


def _is_another(face: Detection, chosen: Detection) -> bool:
    """Whether a face is a sure one and not the chosen one again: their centres are half a face apart."""
    if face.probability < MIN_PROBABILITY or not is_plausible(face.landmarks):
        return False
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
