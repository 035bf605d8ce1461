"""Find the faces of a picture and their five landmarks with MTCNN (Zhang et al. 2016, arXiv:1604.02878)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.alignment.detectors.cascade import THRESHOLDS, Cascade
from data.alignment.detectors.detection import Detection, is_beside, is_plausible, lay
from runtime.memory.allocator import keep_freed_memory


@dataclass(frozen=True)
class Search:
    """One way to look for faces: the image's longer side becomes ``inner`` pixels in the middle of a canvas of
    ``canvas`` pixels; faces from ``min_face`` canvas pixels on, on an image pyramid with step ``factor``.
    ``thresholds`` as in Cascade; ``least``: the probability that a face needs."""

    inner: int
    canvas: int
    min_face: int
    factor: float
    thresholds: tuple[float, float, float] = THRESHOLDS
    least: float = 0.9


# Faces that fill a good part of the picture, as in LFW, CASIA-WebFace and CFP. The border gives tightly cropped
# faces room to be found.
QUICK = Search(inner=200, canvas=250, min_face=60, factor=0.5)

# What that missed: a wider border and a finer pyramid, then small faces in large pictures.
PADDED = Search(inner=200, canvas=400, min_face=48, factor=0.709)

THOROUGH = Search(inner=640, canvas=800, min_face=48, factor=0.709)

SEARCHES = (QUICK, PADDED, THOROUGH)

# Masked faces that all of these miss: the cascade is not sure of them. It also takes 3 in 100 backgrounds for a face
# here, so that this comes last.
FAINT = Search(inner=200, canvas=400, min_face=40, factor=0.79, thresholds=(0.4, 0.4, 0.3), least=0.3)


class FaceDetector:
    """MTCNN in batches. The networks' weights come with the package facenet-pytorch; nothing is downloaded."""

    def __init__(self, searches: tuple[Search, ...] = SEARCHES) -> None:
        """``searches``: the ways to look, each for what those before it missed."""
        keep_freed_memory()
        self.searches = searches
        self._cascade = Cascade()

    def __call__(self, images: Sequence[np.ndarray]) -> list[Detection | None]:
        """The face nearest the centre of each image (H, W, 3) uint8 RGB; None if there is none."""
        found: list[Detection | None] = [None] * len(images)
        left = list(range(len(images)))
        for search in self.searches:
            if not left:
                break
            for i, faces in zip(left, self.search([images[i] for i in left], search), strict=True):
                if faces and is_plausible(faces[0].landmarks):
                    found[i] = faces[0]
            left = [i for i in left if found[i] is None]
        return found

    def all_faces(self, image: np.ndarray) -> list[Detection]:
        """Every face of one image (H, W, 3) uint8 RGB: first the one that a call gives, then smaller ones beside it."""
        chosen = self([image])[0]
        if chosen is None:
            return []
        canvas, place = lay(image, THOROUGH.inner, THOROUGH.canvas)
        found = self._cascade([canvas], THOROUGH.min_face, THOROUGH.factor)[0]
        others = _nearest_first(*found, place, THOROUGH)
        return [chosen, *(face for face in others if is_plausible(face.landmarks) and is_beside(face, chosen))]

    def crowds(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        """Every face of each image, small ones and those at its edge, too, the nearest to the centre first."""
        searches = [_crowd_search(max(image.shape[:2])) for image in images]
        found: list[list[Detection]] = [[] for _ in images]
        for search in dict.fromkeys(searches):
            rows = [row for row, wanted in enumerate(searches) if wanted == search]
            for row, faces in zip(rows, self.search([images[row] for row in rows], search), strict=True):
                found[row] = [face for face in faces if is_plausible(face.landmarks)]
        return found

    def search(self, images: Sequence[np.ndarray], search: Search) -> list[list[Detection]]:
        """The faces of each image that one search finds, the nearest to the centre first."""
        canvases, places = zip(*(lay(image, search.inner, search.canvas) for image in images), strict=True)
        found = self._cascade(canvases, search.min_face, search.factor, search.thresholds)
        return [_nearest_first(*faces, place, search) for faces, place in zip(found, places, strict=True)]


def _crowd_search(side: int) -> Search:
    """Every face of a picture whose longer side is ``side`` pixels: from 24 pixels on, or a 32nd of a large picture.

    Of LFW's 80 faces with simulated masks the cascade's usual thresholds miss four, these none; the faces beside them
    that these find are as many as YuNet's.
    """
    smallest = max(24, side / 32)
    inner = round(side * 36 / smallest)
    return Search(inner, round(1.12 * inner), min_face=36, factor=0.709, thresholds=(0.4, 0.4, 0.3), least=0.7)


def _nearest_first(
    boxes: np.ndarray,
    points: np.ndarray,
    probabilities: np.ndarray,
    place: tuple[float, float, float],
    search: Search,
) -> list[Detection]:
    """The sure faces in the image's own pixels, the nearest to the centre first."""
    sure = np.flatnonzero(probabilities >= search.least)
    centres = (boxes[sure, :2] + boxes[sure, 2:]) / 2
    nearest = sure[np.linalg.norm(centres - search.canvas / 2, axis=1).argsort(kind="stable")]
    return [_detection(boxes[i], points[i], probabilities[i], place) for i in nearest]


def _detection(box: np.ndarray, points: np.ndarray, probability: float, place: tuple[float, float, float]) -> Detection:
    """From canvas pixels to the image's own."""
    scale, x, y = place
    corners = (box.reshape(2, 2) - [x, y]) / scale
    landmarks = (points - [x, y]) / scale
    return Detection(corners.ravel().astype(np.float32), landmarks.astype(np.float32), float(probability))
