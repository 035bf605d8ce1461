"""One way to find faces for everything that searches: a detector by name, and the landmark network behind it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from data.alignment.alignment import Landmarks
from data.alignment.centre import covers_the_centre, face_at_the_centre
from data.alignment.detectors.detection import Detection, is_beside, is_plausible
from data.alignment.detectors.mtcnn import FAINT, SEARCHES, FaceDetector
from data.alignment.detectors.yunet import YuNet, yunet_file
from data.alignment.landmarks import LandmarkFinder, Reading, refined
from runtime.errors import InputError

MTCNN, YUNET = "mtcnn", "yunet"
# The nearest to a picture's centre are looked at; the probability from which a detector is believed by itself.
_MOST_CANDIDATES, _SURE = 4, 0.9


class Detector(Protocol):
    """Finds faces; ``searches`` are its ways to look, the quickest first."""

    searches: Sequence

    def __call__(self, images: Sequence[np.ndarray]) -> list[Detection | None]:
        """The face nearest the centre of each image (H, W, 3) uint8 RGB; None where there is none."""

    def search(self, images: Sequence[np.ndarray], search) -> list[list[Detection]]:
        """The faces of each image that one search finds, the nearest to the centre first."""

    def all_faces(self, image: np.ndarray) -> list[Detection]:
        """Every face of one image: first the one that a call gives."""

    def crowds(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        """Every face of each image, small ones and those at its edge, too: for group pictures."""


def check_detector(name: str, crop: str) -> None:
    """Raise InputError where ``name`` is no detector or file, or does not give the boxes that ``crop`` means."""
    if crop == "mtcnn_box" and name != MTCNN:
        raise InputError(f"crop mtcnn_box is the box of mtcnn, not that of {name}; set detector to mtcnn")
    if name not in (MTCNN, YUNET) and not name.endswith(".onnx"):
        raise InputError(f"unknown detector {name!r}; use mtcnn, yunet or the path of an ONNX file")


def detector_name(name: str) -> str:
    """What a card says of a detector: its name, or that of its file without the folder."""
    return name if name in (MTCNN, YUNET) else Path(name).name


def open_detector(name: str) -> Detector:
    """``mtcnn``, ``yunet`` (its file is fetched on the first use), or an ONNX file of YuNet's kind.

    Raises InputError where there is no such detector.
    """
    if name == MTCNN:
        return FaceDetector((*SEARCHES, FAINT))
    return YuNet(yunet_file() if name == YUNET else Path(name))


def open_finder(detector: str, landmarks: Landmarks) -> "Detector | FaceFinder":
    """A detector, with the landmark network behind it or without. Raises InputError as ``open_detector``."""
    found = open_detector(detector)
    return FaceFinder(found, LandmarkFinder()) if landmarks == "network" else found


class FaceFinder:
    """A detector whose candidates the landmark network judges: is it a face, and where are its points under the mask?

    Each search of the detector is done only for the pictures in which those before it found no face that the network
    knows. If none of them is at the centre, the network looks there by itself. If it knows no face at all, the
    detector's own is kept, with its own points.
    """

    def __init__(self, detector: Detector, landmarks: LandmarkFinder) -> None:
        self._detector, self._landmarks = detector, landmarks

    def __call__(self, images: Sequence[np.ndarray]) -> list[Detection | None]:
        """The face nearest the centre of each image (H, W, 3) uint8 RGB; None where there is none. ``refined`` says
        whose points it has."""
        known: list[Detection | None] = [None] * len(images)
        unsure: list[Detection | None] = [None] * len(images)
        left = list(range(len(images)))
        for search in self._detector.searches:
            if not left:
                break
            candidates = self._detector.search([images[i] for i in left], search)
            judged = self._judge([images[i] for i in left], [faces[:_MOST_CANDIDATES] for faces in candidates])
            for i, faces in zip(left, judged, strict=True):
                known[i] = next((refined(face, reading) for face, reading in faces if reading.sure), None)
                unsure[i] = unsure[i] or next((face for face, _ in faces if _stands_alone(face)), None)
            left = [i for i in left if known[i] is None]
        for i, (face, image) in enumerate(zip(known, images, strict=True)):
            if face is None or not covers_the_centre(face, image):
                known[i] = face_at_the_centre(image, self._landmarks, beside=face is not None) or face
        return [face or other for face, other in zip(known, unsure, strict=True)]

    def all_faces(self, image: np.ndarray) -> list[Detection]:
        """Every face of one image: first the one that a call gives, then others beside it."""
        chosen = self([image])[0]
        if chosen is None:
            return []
        return [chosen, *(face for face in self._detector.all_faces(image) if is_beside(face, chosen))]

    def crowds(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        """Every face of each image, small ones too, but those that neither the network knows nor the detector is sure
        of."""
        return [
            [
                refined(face, reading) if reading.sure else face
                for face, reading in judged
                if reading.sure or _stands_alone(face)
            ]
            for judged in self._judge(images, self._detector.crowds(images))
        ]

    def _judge(
        self, images: Sequence[np.ndarray], candidates: list[list[Detection]]
    ) -> list[list[tuple[Detection, Reading]]]:
        """Each candidate with what the network reads in it."""
        pictures = [image for image, faces in zip(images, candidates, strict=True) for _ in faces]
        readings = iter(self._landmarks(pictures, [face for faces in candidates for face in faces]))
        return [[(face, next(readings)) for face in faces] for faces in candidates]


def _stands_alone(face: Detection) -> bool:
    """Whether a detector's face is kept though the network does not know it."""
    return face.probability >= _SURE and is_plausible(face.landmarks)
