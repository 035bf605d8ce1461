"""One way to find faces for everything that searches: a detector by name, and the landmark network behind it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from data.alignment.detector import Detection, FaceDetector
from data.alignment.yunet import YuNet, yunet_file
from runtime.errors import InputError

MTCNN, YUNET = "mtcnn", "yunet"


class Detector(Protocol):
    """Finds faces; ``searches`` are its ways to look, the quickest first."""

    searches: Sequence

    def __call__(self, images: Sequence[np.ndarray]) -> list[Detection | None]:
        """The face nearest the centre of each image (H, W, 3) uint8 RGB; None where there is none."""

    def search(self, images: Sequence[np.ndarray], search) -> list[list[Detection]]:
        """The faces of each image that one search finds, the nearest to the centre first."""

    def all_faces(self, image: np.ndarray) -> list[Detection]:
        """Every face of one image: first the one that a call gives."""


def check_detector(name: str, crop: str) -> None:
    """Raise InputError where ``name`` is no detector or file, or does not give the boxes that ``crop`` means."""
    if crop == "mtcnn_box" and name != MTCNN:
        raise InputError(f"crop mtcnn_box is the box of mtcnn, not that of {name}; set detector to mtcnn")
    if name not in (MTCNN, YUNET) and not name.endswith(".onnx"):
        raise InputError(f"unknown detector {name!r}; use mtcnn, yunet or the path of an ONNX file")


def open_detector(name: str) -> Detector:
    """``mtcnn``, ``yunet`` (its file is fetched on the first use), or an ONNX file of YuNet's kind.

    Raises InputError where there is no such detector.
    """
    if name == MTCNN:
        return FaceDetector()
    return YuNet(yunet_file() if name == YUNET else Path(name))
