"""A photograph → every face in it, for group pictures: where each lies, and how it looks when it is aligned."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data.alignment.alignment import LANDMARKS, Landmarks
from data.alignment.detector import Detection
from data.alignment.finder import MTCNN, check_detector, open_finder
from data.alignment.photos import SIDEWAYS, SMALL_FACE, FacePhoto, is_aligned, measured, opened
from data.transforms import Crop, resize_face, template


@dataclass(frozen=True)
class PlacedFace:
    """A face of a photograph: ``box`` (left, top, right, bottom) and ``landmarks`` (5, 2), float32 pixels of the
    picture as it lies in the file; ``photo``, the aligned face with what was found on the way."""

    box: np.ndarray
    landmarks: np.ndarray
    photo: FacePhoto

    @property
    def side(self) -> float:
        """Its shorter side in the picture, in pixels."""
        return float(min(self.box[2:] - self.box[:2]))


class EveryFaceReader:
    """Reads photographs and aligns all their faces; those of a photograph on its side, too, if none stands upright."""

    def __init__(
        self,
        size: int,
        crop: Crop,
        detector: str = MTCNN,
        landmarks: Landmarks = LANDMARKS,
        needed: int | None = None,
    ) -> None:
        """``detector`` and ``landmarks`` as in ``open_finder``; ``needed`` as in PhotoReader.

        Raises InputError if there is no such detector, or it
        can't give that crop."""
        check_detector(detector, crop)
        self._size, self._crop, self._needed = size, crop, needed or SMALL_FACE
        self._detector = open_finder(detector, landmarks)

    def __call__(self, photo: str | Path | np.ndarray) -> tuple[np.ndarray, list[PlacedFace]]:
        """The picture, uint8 (H, W, 3) RGB, its longer side at most ``read_image.MAX_SIDE``, and its faces from left to
        right; none where there is none. A face that data.prepare has aligned is taken as it is.

        ``photo``: a path, or uint8 (H, W, 3) RGB.
        Raises InputError: unreadable, not such an array, or aligned for another crop.
        """
        image = opened(photo)[1]
        if not isinstance(photo, np.ndarray) and is_aligned(Path(photo), image, self._crop):
            side = len(image)
            face = FacePhoto(resize_face(image, self._size), 1, "")
            return image, [PlacedFace(np.array([0, 0, side, side], np.float32), template(side), face)]
        for quarters, turned in SIDEWAYS.items():
            view = np.ascontiguousarray(np.rot90(image, quarters))
            if found := self._detector.crowd(view):
                faces = [self._placed(view, face, quarters, turned) for face in found]
                return image, sorted(faces, key=lambda face: float(face.box[0]))
        # A single one, for which the detector looks longer.
        face = self._detector([image])[0]
        return image, [] if face is None else [self._placed(image, face, 0, "")]

    def _placed(self, view: np.ndarray, face: Detection, quarters: int, turned: str) -> PlacedFace:
        corners = turned_back(face.box.reshape(2, 2), quarters, view.shape)
        box = np.concatenate([corners.min(0), corners.max(0)])
        photo = replace(measured(view, face, self._size, self._crop), turned=turned, needed=self._needed)
        return PlacedFace(box, turned_back(face.landmarks, quarters, view.shape), photo)


def turned_back(points: np.ndarray, quarters: int, shape: tuple[int, ...]) -> np.ndarray:
    """Where points (N, 2) of a view of ``shape`` (H, W, …) lie in the picture that np.rot90 turned by ``quarters``."""
    height, width = shape[:2]
    for _ in range(quarters):
        # Undoing a quarter to the left: what is x there was y, counted from the right edge.
        points = np.stack([height - 1 - points[:, 1], points[:, 0]], axis=1)
        height, width = width, height
    return points
