"""A detector's face → its five points as they would be without the mask, and whether it is a face at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from data.alignment.align import apply_affine, eye_distance, similarity, warp
from data.alignment.detectors.detection import Detection, is_plausible
from data.alignment.landmark_network import CROP_SIZE, MIRRORED, LandmarkNetwork, crop_template
from data.transforms import template
from runtime.errors import InputError

# Trained by python -m data.landmarks train; its card lies beside it.
TRAINED = Path(__file__).with_name("landmarks.safetensors")
# A crop is a face from this probability on, and its points are sure where the rounds differ by no more than this share
# of the eyes' distance.
_LEAST_FACE, _MOST_APART = 0.5, 0.25
# A point that is known to a tenth of the eyes' distance counts half as much as one that is known exactly: faces differ
# from the template by about as much.
_TEMPLATE_SPREAD = 0.024
# A detector's points that are farther than this share of the eyes' distance from where its box has them are a guess.
_MOST_OFF_BOX = 0.5
# The middle of the five points in a detector's box, and the eyes' distance, as shares of its mean side.
_BOX_MIDDLE, _BOX_EYES = np.array([0.5, 0.56]), 0.42
_CHUNK = 64


@dataclass(frozen=True)
class Reading:
    """``landmarks`` (5, 2) in the image's pixels, ``weights`` (5,) for the alignment, the probability of a ``face``,
    and whether it is ``sure``: a face, in which a second look saw the same."""

    landmarks: np.ndarray
    weights: np.ndarray
    face: float
    sure: bool


class LandmarkFinder:
    """Two rounds: a look at the crop that the detector's points or box give, another at the crop that the points of the
    first look give, as it is and in the mirror."""

    def __init__(self, file: Path = TRAINED) -> None:
        """Raises InputError where the file is no trained landmark network."""
        self._network = load_network(file)

    @torch.inference_mode()
    def __call__(self, images: Sequence[np.ndarray], detections: Sequence[Detection]) -> list[Reading]:
        """The points of each detection in its image (H, W, 3) uint8 RGB."""
        if not images:
            return []
        first, _ = self.glance(images, detections)
        second, spreads, faces = self._look(images, list(first), mirror=True)
        apart = np.linalg.norm(first - second, axis=-1).mean(1) / np.array([eye_distance(p) for p in second])
        return [
            Reading(
                points,
                1 / (spread**2 + _TEMPLATE_SPREAD**2),
                float(face),
                bool(face >= _LEAST_FACE and off <= _MOST_APART),
            )
            for points, spread, face, off in zip(second.astype(np.float32), spreads, faces, apart, strict=True)
        ]

    @torch.inference_mode()
    def glance(self, images: Sequence[np.ndarray], detections: Sequence[Detection]) -> tuple[np.ndarray, np.ndarray]:
        """The first look alone: landmarks float64 (B, 5, 2) in the images, and the probabilities of faces (B,)."""
        landmarks, _, faces = self._look(images, [coarse_points(detection) for detection in detections])
        return landmarks, faces

    def _look(
        self, images: Sequence[np.ndarray], points: Sequence[np.ndarray], mirror: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Landmarks float64 (B, 5, 2) in the images, spreads (B, 5) as shares of the crop, face probabilities (B,)."""
        matrices = [similarity(p, crop_template()) for p in points]
        crops = np.stack([warp(image, m, CROP_SIZE) for image, m in zip(images, matrices, strict=True)])
        landmarks, spreads, logits = self._run(crops)
        if mirror:
            other, other_spreads, other_logits = self._run(np.ascontiguousarray(crops[:, :, ::-1]))
            other = (other * [-1, 1] + [1 - 1 / CROP_SIZE, 0])[:, MIRRORED]
            landmarks, spreads = (landmarks + other) / 2, (spreads + other_spreads[:, MIRRORED]) / 2
            logits = (logits + other_logits) / 2
        back = [_inverse(m) for m in matrices]
        found = np.stack([apply_affine(m, p * CROP_SIZE) for m, p in zip(back, landmarks, strict=True)])
        return found, spreads, 1 / (1 + np.exp(-logits))

    def _run(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        parts = [self._network(part) for part in torch.from_numpy(crops).split(_CHUNK)]
        return tuple(torch.cat(values).double().numpy() for values in zip(*parts, strict=True))


def refined(detection: Detection, reading: Reading) -> Detection:
    """The detection with the network's points."""
    return Detection(detection.box, reading.landmarks, detection.probability, reading.weights, refined=True)


def coarse_points(detection: Detection) -> np.ndarray:
    """Five points (5, 2) to take the first crop by: the detector's, or where they can't be right its box's."""
    box = detection.box.astype(np.float64)
    width, height = box[2] - box[0], box[3] - box[1]
    face = template(1).astype(np.float64)
    eyes = max((width + height) / 2, 2.0) * _BOX_EYES
    face = (face - face.mean(0)) * (eyes / eye_distance(face)) + box[:2] + _BOX_MIDDLE * [width, height]
    points = detection.landmarks
    if is_plausible(points):
        off = np.linalg.norm(points.mean(0) - face.mean(0)) / eyes
        size = eye_distance(points) / eyes
        if off < _MOST_OFF_BOX and 1 / 1.6 < size < 1.6:
            return points
    return face


def box_around(middle: np.ndarray, eyes: float) -> np.ndarray:
    """The square box, float32 (4,), that a detector would give a face by the middle of its five points and the distance
    of its eyes."""
    corner = middle - _BOX_MIDDLE * eyes / _BOX_EYES
    return np.array([*corner, *(corner + eyes / _BOX_EYES)], np.float32)


def _inverse(matrix: np.ndarray) -> np.ndarray:
    back = np.linalg.inv(matrix[:, :2])
    return np.column_stack([back, -back @ matrix[:, 2]])


def check_trained(file: Path = TRAINED) -> None:
    """Raise InputError if the trained landmark network is missing."""
    if not file.is_file():
        raise InputError(
            f"there is no trained landmark network {file}; get it from the repository again, or set landmarks to "
            "detector"
        )


def load_network(file: Path) -> LandmarkNetwork:
    """A trained network, ready to use. Raises InputError where the file is missing, damaged or another network's."""
    check_trained(file)
    network = LandmarkNetwork()
    try:
        network.load_state_dict({name: value.float() for name, value in load_file(file).items()}, strict=False)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:120]
        raise InputError(
            f"{file} is no trained landmark network ({reason}); train one with python -m data.landmarks train"
        ) from None
    return network.eval().to(memory_format=torch.channels_last)
