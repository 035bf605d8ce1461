"""Small random shifts, rotations and changes of light of training faces, to reduce overfitting."""

import cv2
import numpy as np

# Standard deviations. Place: about what a detector's landmarks move an aligned face by, and as much again.
TURN = 4.0  # degrees
ZOOM = 0.04  # of the logarithm of the size
SHIFT = 0.02  # of the side
GAMMA = 0.25  # of its logarithm
GAIN = 0.08  # of the logarithm of the brightness
TINT = 0.04  # of the logarithm of each channel's

_LEVELS = np.arange(256) / 255


def jitter(face: np.ndarray, rng: np.random.Generator) -> None:
    """Turn, size and shift uint8 RGB (S, S, 3) about its centre and change its light, in place.

    What comes in over the rim repeats the rim.
    """
    moved = cv2.warpAffine(face, _movement(len(face), rng), face.shape[:2], borderMode=cv2.BORDER_REPLICATE)
    cv2.LUT(moved, _light(rng), dst=face)


def _movement(size: int, rng: np.random.Generator) -> np.ndarray:
    """A similarity, float64 (2, 3), pixels."""
    turn, zoom, *shift = rng.standard_normal(4)
    centre = (size - 1) / 2
    matrix = cv2.getRotationMatrix2D((centre, centre), TURN * turn, np.exp(ZOOM * zoom))
    matrix[:, 2] += SHIFT * size * np.array(shift)
    return matrix


def _light(rng: np.random.Generator) -> np.ndarray:
    """The new value of each level of each channel: uint8 (1, 256, 3)."""
    gamma, gain, *tint = rng.standard_normal(5)
    levels = _LEVELS ** np.exp(GAMMA * gamma)
    gains = np.exp(GAIN * gain + TINT * np.array(tint))
    return np.rint(np.minimum(levels[:, None] * gains, 1) * 255).astype(np.uint8)[None]
