"""Bring a face to the template: a similarity transform of its five landmarks, or the detector's box."""

from functools import cache

import cv2
import numpy as np

from data.alignment.detectors.detection import Detection
from data.transforms import Crop, template


def similarity(points: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """The rotation, scale and shift that bring ``points`` (N, 2) nearest to ``target`` (N, 2) in least squares, each
    point's square counted ``weights`` (N,) times.

    Closed form: in complex numbers it is the regression target ≈ a · points + b (equal to Umeyama 1991 without its
    reflection case). Returns float64 (2, 3).
    """
    p, q = (np.asarray(v, np.float64) @ [1, 1j] for v in (points, target))
    w = np.ones(len(p)) if weights is None else np.asarray(weights, np.float64)
    p_mean, q_mean = (np.average(v, weights=weights) for v in (p, q))
    spread = np.vdot(p - p_mean, w * (p - p_mean)).real
    if spread == 0:
        raise ValueError("the points are all one point")
    a = np.vdot(p - p_mean, w * (q - q_mean)) / spread
    b = q_mean - a * p_mean
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def apply_affine(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """``matrix`` (2, 3) on ``points`` (N, 2)."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def eye_distance(landmarks: np.ndarray) -> float:
    """The distance of the eyes that a frontal face of this size has: from all five points, as the eyes of a turned head
    are seen near each other."""
    return float(np.sqrt(((landmarks - landmarks.mean(0)) ** 2).sum())) / _template_size()


def is_elsewhere(found: np.ndarray, bare: np.ndarray) -> bool:
    """Whether the points found under a mask (5, 2) are off those of the bare face by more than half the eyes' distance
    on the mean: another face, or none."""
    return float(np.linalg.norm(found - bare, axis=1).mean()) > eye_distance(bare) / 2


@cache
def _template_size() -> float:
    points = template(1).astype(np.float64)
    return float(np.sqrt(((points - points.mean(0)) ** 2).sum()) / np.linalg.norm(points[1] - points[0]))


def align_face(
    image: np.ndarray, detection: Detection, size: int, crop: Crop = "arcface5", points: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Cut the face out: uint8 (size, size, 3), and where its landmarks, or other ``points`` (5, 2) of the image, lie
    there, float32 (5, 2)."""
    points = detection.landmarks if points is None else points
    if crop == "mtcnn_box":
        return _box_crop(image, detection, size, points)
    matrix = similarity(detection.landmarks, template(size), detection.weights)
    return warp(image, matrix, size), apply_affine(matrix, points).astype(np.float32)


def align_to_points(image: np.ndarray, landmarks: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A face whose ``landmarks`` (5, 2) a list gives, as the list's users cut it out: uint8 (size, size, 3), and where
    they lie in it.

    One bilinear sampling, however large the picture is; ``align_face`` first halves what is too large for that. Raises
    ValueError where the landmarks are all one point.
    """
    matrix = similarity(landmarks, template(size))
    face = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR)
    return face, apply_affine(matrix, landmarks).astype(np.float32)


def warp(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """The picture moved by a similarity ``matrix`` (2, 3) into uint8 (size, size, 3), black beyond its rim."""
    # Bilinear sampling skips pixels where the picture shrinks to less than half.
    while np.hypot(matrix[0, 0], matrix[1, 0]) < 0.5 and min(image.shape[:2]) > 1:
        height, width = image.shape[:2]
        half = width // 2, height // 2
        image = cv2.resize(image, half, interpolation=cv2.INTER_AREA)
        # Pixel centres: old = (new + 0.5) · factor − 0.5.
        factors = np.array([width / half[0], height / half[1]])
        matrix = np.column_stack([matrix[:, :2] * factors, matrix[:, 2] + matrix[:, :2] @ ((factors - 1) / 2)])
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR)


def _box_crop(image: np.ndarray, detection: Detection, size: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The detector's box, cut at the image's border and stretched to a square, as facenet-pytorch does it."""
    height, width = image.shape[:2]
    left, top = (int(max(v, 0)) for v in detection.box[:2])
    right, bottom = int(min(detection.box[2], width)), int(min(detection.box[3], height))
    left, top = min(left, width - 1), min(top, height - 1)
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    face = cv2.resize(image[top:bottom, left:right], (size, size), interpolation=cv2.INTER_AREA)
    scale = np.array([size / (right - left), size / (bottom - top)])
    landmarks = (points - [left, top] + 0.5) * scale - 0.5
    return face, landmarks.astype(np.float32)
