"""One built-in person cut out of the background, with shoulders: what a group picture is put together from.

Lengths are in units of the distance between the eyes, as in ``data.synthetic``; y points down from the eyes.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from data.synthetic.draw import render
from data.synthetic.people import Person, Scene
from data.transforms import template

# The drawn head goes on upwards and downwards without end, as aligned faces show only a part of it.
_DOME_FROM, _DOME_HEIGHT = -0.55, 1.25
_COLLAR = 2.25
# How far the figure reaches from the point between the eyes: up, down, and to either side.
ABOVE, BELOW, BESIDE = 2.1, 4.2, 3.1
_SHIFT = 4
# Half of the clothes' outline, from the middle of the neckline over the shoulder to the hem: x, y from the collar.
_CLOTHES = np.array(
    [(0, 0.42), (0.3, 0.34), (0.55, 0.12), (0.74, -0.16), (1.3, 0.12), (2.0, 0.42), (2.5, 0.85), (2.75, 1.6), (3.0, 9)]
)


@dataclass(frozen=True)
class Figure:
    """``image`` uint8 (size, size, 3) RGB and ``alpha`` float32 (size, size, 1), 0 … 1; ``landmarks`` float32 (5, 2),
    pixels in it."""

    image: np.ndarray
    alpha: np.ndarray
    landmarks: np.ndarray


def cut_out(person: Person, scene: Scene, eye_distance: float, clothes: np.ndarray) -> Figure:
    """A person whose eyes are ``eye_distance`` pixels apart; ``clothes``: their colour, RGB 0 … 255."""
    size = int(np.ceil((ABOVE + BELOW) * eye_distance))
    face = template(1).astype(np.float64)
    eyes = face[:2].mean(0)
    scale = eye_distance / np.linalg.norm(face[1] - face[0])
    middle = np.array([size / 2, ABOVE * eye_distance])
    on_black, on_white = (_on(shade, person, scene, size, (face - eyes) * scale + middle) for shade in (0, 255))
    seen = on_white.image.astype(np.float32) - on_black.image
    head = np.clip(1 - seen.mean(2, keepdims=True) / 255, 0, 1)
    frame = _head_frame(on_black.landmarks, size)
    dome, shade = _dome(frame, head[..., 0])
    head *= dome
    # On black the colours are multiplied by alpha already.
    colours = on_black.image / np.maximum(1 - seen / 255, 1 / 255) * shade
    shirt, cloth = _clothes(on_black.landmarks, eye_distance, size, clothes, scene)
    # The neck ends under the clothes.
    behind = head * (frame[1][..., None] < _COLLAR + 1) * (1 - cloth)
    alpha = behind + cloth
    image = (colours * behind + shirt * cloth) / np.maximum(alpha, 1 / 255)
    return Figure(np.clip(image, 0, 255).astype(np.uint8), alpha.astype(np.float32), on_black.landmarks)


def _on(shade: int, person: Person, scene: Scene, size: int, onto: np.ndarray):
    """The person before an even background, through a camera that adds nothing: it takes the whole picture later."""
    plain = Scene()
    camera = {name: getattr(plain, name) for name in ("balance", "gamma", "dapple", "blur", "noise", "jpeg_quality")}
    background = np.full((4, 4, 3), float(shade))
    return render(person, replace(scene, **camera, jitter=plain.jitter, background=background), size, onto)


def _head_frame(landmarks: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel lies in the head's own frame: x and y, float32 (size, size), 0 between the eyes."""
    left, right = landmarks[:2].astype(np.float64)
    across = (right - left) / np.linalg.norm(right - left) ** 2
    y, x = np.mgrid[:size, :size].astype(np.float32)
    x, y = x - (left + right)[0] / 2, y - (left + right)[1] / 2
    return x * across[0] + y * across[1], y * across[0] - x * across[1]


def _dome(frame: tuple[np.ndarray, np.ndarray], head: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Alpha and shade that round the head off at its top, as wide as it is there: float32 (size, size, 1) each."""
    x, y = frame
    row = head * (np.abs(y - _DOME_FROM) < 0.06)
    there = x[row > 0.5]
    left, right = (there.min(), there.max()) if len(there) else (-1.1, 1.1)
    across = np.abs(x - (left + right) / 2) / ((right - left) / 2 + 0.02)
    up = np.maximum(_DOME_FROM - y, 0) / _DOME_HEIGHT
    radius = (across**2.3 + up**2.3) ** (1 / 2.3)
    above = y < _DOME_FROM
    edge = np.abs(np.gradient(radius, axis=0)) + np.abs(np.gradient(radius, axis=1)) + 1e-6
    alpha = np.where(above, np.clip((1 - radius) / edge + 0.5, 0, 1), 1)
    shade = 1 - 0.45 * np.clip(up, 0, 1) ** 2 * np.clip(radius, 0, 1) ** 3
    return alpha[..., None].astype(np.float32), shade[..., None].astype(np.float32)


def _clothes(
    landmarks: np.ndarray, unit: float, size: int, colour: np.ndarray, scene: Scene
) -> tuple[np.ndarray, np.ndarray]:
    """Shoulders and chest under the head: RGB float32 (size, size, 3) and alpha (size, size, 1)."""
    down = landmarks[3:].mean(0) - landmarks[:2].mean(0)
    collar = landmarks[:2].mean(0) + down / np.linalg.norm(down) * _COLLAR * unit
    half = _rounded(_CLOTHES) * unit
    outline = np.concatenate([half, half[::-1] * (-1, 1)]) + collar
    alpha = np.zeros((size, size), np.uint8)
    cv2.fillPoly(alpha, [np.rint(outline * (1 << _SHIFT)).astype(np.int32)], 255, cv2.LINE_AA, _SHIFT)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    x, y = (x - collar[0]) / (3 * unit), (y - collar[1]) / (3 * unit)
    lit = 1 - 0.35 * np.clip(np.abs(x), 0, 1) ** 2 + 0.25 * x * scene.light_direction[0] - 0.12 * np.clip(y, 0, 1.5)
    seam = np.exp(-((y - 0.14 + 0.16 * (x / 0.25) ** 2) ** 2) / 0.0004) * (np.abs(x) < 0.25)
    brightness = (scene.ambient + 0.75 * scene.light).astype(np.float32)
    shirt = colour * (lit - 0.18 * seam)[..., None] * brightness
    return shirt.astype(np.float32), (alpha / 255)[..., None]


def _rounded(points: np.ndarray) -> np.ndarray:
    """A smooth line through points (n, 2): corners cut twice by Chaikin's rule, the ends kept."""
    for _ in range(3):
        inner = np.stack([0.75 * points[:-1] + 0.25 * points[1:], 0.25 * points[:-1] + 0.75 * points[1:]], 1)
        points = np.concatenate([points[:1], inner.reshape(-1, 2), points[-1:]])
    return points
