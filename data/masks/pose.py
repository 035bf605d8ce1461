"""The head's pose from five landmarks: scaled orthographic projection of a canonical face."""

import cmath
import math
from dataclasses import dataclass

import numpy as np

# Eyes, nose tip, mouth's corners in the head's frame (mask_cuts). In x and y the mean of MTCNN's points on frontal
# photographs with the eyes 63 mm apart; the depths are those of an average adult head.
FACE_POINTS = np.array([[-31.5, 0, 0], [31.5, 0, 0], [0, 37, 29], [-28, 67, 4], [28, 67, 4]], dtype=np.float64)

# Finer than the landmarks' noise allows to tell apart (a step moves the nose tip by 1.5 mm against the cheeks), coarse
# enough that heads share poses, so that a mask's view can be made once and kept.
POSE_STEP = float(np.deg2rad(3))
_YAWS = POSE_STEP * np.arange(-26, 27)
_PITCHES = POSE_STEP * np.arange(-9, 10)
# The pose prior: landmarks are off by about 4 % of the eyes' distance; heads seldom nod by more than a dozen degrees,
# and a long nose must not be read as a nod.
_LANDMARK_NOISE, _YAW_SPREAD, _PITCH_SPREAD = 0.04, np.deg2rad(40), np.deg2rad(9)


@dataclass(frozen=True)
class HeadPose:
    """Scaled orthographic pose: image = scale · rotate(roll) · (rotation · X)[:2] + offset.

    Angles in radians: ``yaw`` positive when the face turns to the image's right, ``pitch`` positive when it looks
    up, both in steps of POSE_STEP; ``roll`` clockwise in the image. ``scale`` is pixels per millimetre, ``offset``
    the point between the eyes.
    """

    yaw: float
    pitch: float
    roll: float
    scale: float
    offset: tuple[float, float]


def rotation(yaw: float, pitch: float) -> np.ndarray:
    """(3, 3): turn about the vertical axis, then nod."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    return nod @ turn


def _pose_grid() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per pose: the canonical points as complex numbers, centred and of norm 1 (poses, 5); their norm; log prior."""
    projected = np.array([rotation(y, p)[:2] @ FACE_POINTS.T for y in _YAWS for p in _PITCHES])
    points = projected[:, 0] + 1j * projected[:, 1]
    points -= points.mean(-1, keepdims=True)
    norms = np.linalg.norm(points, axis=-1)
    prior = -0.5 * ((_YAWS[:, None] / _YAW_SPREAD) ** 2 + (_PITCHES / _PITCH_SPREAD) ** 2)
    return points / norms[:, None], norms, prior.ravel()


_POINTS, _NORMS, _LOG_PRIOR = _pose_grid()
# Real rows whose products with (real, imaginary) give both parts of <canonical points, landmarks>: (2 · poses, 10). By
# columns: the product takes half the time.
_PARTS = np.asfortranarray(np.block([[_POINTS.real, _POINTS.imag], [-_POINTS.imag, _POINTS.real]]), np.float32)
# Squared norm of the centred canonical points in units of the eyes' distance, for the weight of the residual; the prior
# in units of the residual.
_SPREAD = float(np.sum((FACE_POINTS - FACE_POINTS.mean(0))[:, :2] ** 2) / 63**2)
_PRIOR = (_LOG_PRIOR * 2 * _LANDMARK_NOISE**2 / _SPREAD).astype(np.float32)
# The middle of the canonical points as it is projected, from the point between the eyes.
_CENTRES = np.array([rotation(y, p)[:2] @ FACE_POINTS.mean(0) for y in _YAWS for p in _PITCHES]) @ [1, 1j]


_FRONTAL = len(_YAWS) * len(_PITCHES) // 2  # the middle of the grid: neither turned nor nodding


def fit_pose(landmarks: np.ndarray, *, frontal: bool = False) -> HeadPose:
    """The likeliest pose for five landmarks, float (5, 2) in pixels; ``frontal``: among those that look straight ahead.

    For a given yaw and pitch the best scale, roll and offset are closed form (a complex regression), so that the
    search runs over those two angles alone. Raises ValueError if the five are one point.
    """
    points = [complex(x, y) for x, y in landmarks.tolist()]
    centre = sum(points) / len(points)
    points = [point - centre for point in points]
    norm = math.hypot(*map(abs, points))
    if not norm > 0:
        raise ValueError("the five landmarks are one point")
    parts = np.array([p.real / norm for p in points] + [p.imag / norm for p in points], np.float32)
    real, imaginary = (_PARTS @ parts).reshape(2, -1)
    best = _FRONTAL if frontal else int((real * real + imaginary * imaginary + _PRIOR).argmax())
    turn = complex(float(real[best]), float(imaginary[best])) * (norm / _NORMS[best])
    offset = centre - turn * complex(_CENTRES[best])
    i, j = divmod(best, len(_PITCHES))
    return HeadPose(float(_YAWS[i]), float(_PITCHES[j]), cmath.phase(turn), abs(turn), (offset.real, offset.imag))
