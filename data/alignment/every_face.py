"""A photograph → every face in it, for group pictures: where each lies, and how it looks when it is aligned."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data.alignment.alignment import LANDMARKS, Landmarks
from data.alignment.detectors.detection import Detection
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


@dataclass(frozen=True)
class OpenedPhoto:
    """``image`` uint8 (H, W, 3) RGB, its longer side at most ``read_image.MAX_SIDE``, and whether data.prepare has
    ``aligned`` it already."""

    image: np.ndarray
    aligned: bool = False


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

        Raises InputError if there is no such detector, or it can't give that crop.
        """
        check_detector(detector, crop)
        self._size, self._crop, self._needed = size, crop, needed or SMALL_FACE
        self._detector = open_finder(detector, landmarks)

    def open(self, photo: str | Path | np.ndarray) -> OpenedPhoto:
        """``photo``: a path, or uint8 (H, W, 3) RGB. Raises InputError: unreadable, not such an array, or aligned for
        another crop."""
        image = opened(photo)[1]
        return OpenedPhoto(image, not isinstance(photo, np.ndarray) and is_aligned(Path(photo), image, self._crop))

    def find(self, photos: Sequence[OpenedPhoto]) -> list[list[PlacedFace]]:
        """The faces of each photograph from left to right. A face that data.prepare has aligned is taken as it is."""
        found = iter(self.find_upright([photo.image for photo in photos if not photo.aligned]))
        return [
            [self._as_it_is(photo.image)] if photo.aligned else next(found) or self._find_longer(photo.image)
            for photo in photos
        ]

    def find_upright(self, images: Sequence[np.ndarray]) -> list[list[PlacedFace]]:
        """The same with one look at each image (H, W, 3) uint8 RGB: for the frames of a film, which come in their
        thousands."""
        if not images:
            return []
        crowds = self._detector.crowds(images)
        return [
            _from_left([self._placed(image, face, 0, "") for face in crowd])
            for image, crowd in zip(images, crowds, strict=True)
        ]

    def _find_longer(self, image: np.ndarray) -> list[PlacedFace]:
        """The faces of a photograph on its side; or a single one, for which the detector looks longer."""
        for quarters, turned in list(SIDEWAYS.items())[1:]:
            view = np.ascontiguousarray(np.rot90(image, quarters))
            if found := self._detector.crowds([view])[0]:
                return _from_left([self._placed(view, face, quarters, turned) for face in found])
        face = self._detector([image])[0]
        return [] if face is None else [self._placed(image, face, 0, "")]

    def _as_it_is(self, image: np.ndarray) -> PlacedFace:
        side = len(image)
        face = FacePhoto(resize_face(image, self._size), 1, "")
        return PlacedFace(np.array([0, 0, side, side], np.float32), template(side), face)

    def _placed(self, view: np.ndarray, face: Detection, quarters: int, turned: str) -> PlacedFace:
        corners = turned_back(face.box.reshape(2, 2), quarters, view.shape)
        box = np.concatenate([corners.min(0), corners.max(0)])
        photo = replace(measured(view, face, self._size, self._crop), turned=turned, needed=self._needed)
        return PlacedFace(box, turned_back(face.landmarks, quarters, view.shape), photo)


def _from_left(faces: list[PlacedFace]) -> list[PlacedFace]:
    return sorted(faces, key=lambda face: float(face.box[0]))


def turned_back(points: np.ndarray, quarters: int, shape: tuple[int, ...]) -> np.ndarray:
    """Where points (N, 2) of a view of ``shape`` (H, W, …) lie in the picture that np.rot90 turned by ``quarters``."""
    height, width = shape[:2]
    for _ in range(quarters):
        # Undoing a quarter to the left: what is x there was y, counted from the right edge.
        points = np.stack([height - 1 - points[:, 1], points[:, 0]], axis=1)
        height, width = width, height
    return points
