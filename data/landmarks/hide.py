"""Faces made hard: masks of all kinds at any place and size, other things in front, bad light, crops that are off.

A network that learns from natural masks alone reads the mouth off the mask, and errs with a mask of another make. So
masks sit far beyond the natural here, and the mouth can only be read off the head around them.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg

from data.alignment.align import apply_affine
from data.alignment.landmark_network import CROP_SIZE, MIRRORED
from data.landmarks.teacher import KEPT_SCALE, KEPT_SIZE
from data.masks.cuts import CUTS
from data.masks.fabric import MaskStyle
from data.masks.render import MASK_KINDS, mask_style, render_mask

# Shares of the training faces.
MASKED, OTHER_THINGS, CUT_OFF, NO_FACE = 0.7, 0.3, 0.25, 0.3
# Of what shows no face: something else entirely, rather than a face that is far off.
_SOMETHING_ELSE = 0.5
# Side of a kept crop's corners, which the face does not reach.
_CORNER = 52
_ORIGINAL_COLOURS = 0.35


@dataclass(frozen=True)
class Off:
    """Spread of the coarse crops around the perfect one: degrees, log of the size, share of the crop's side."""

    turn: float
    zoom: float
    shift: float


# From a detector's box or its points on a masked face, and from the network's own points a round later.
FIRST_ROUND, SECOND_ROUND = Off(14.0, 0.14, 0.075), Off(4.0, 0.05, 0.025)


def hard_face(
    crop: np.ndarray, landmarks: np.ndarray, rng: np.random.Generator, kinds: tuple[str, ...], others: np.ndarray
) -> tuple[np.ndarray, np.ndarray, bool]:
    """One training example from a kept crop: uint8 (96, 96, 3), its landmarks (5, 2) as shares of the crop's side, and
    whether it shows a face. ``others``: kept crops, whose pieces hide parts of this face."""
    is_face = rng.random() >= NO_FACE
    something_else = not is_face and rng.random() < _SOMETHING_ELSE
    image = _something_else(rng, others) if something_else else crop
    if rng.random() < MASKED:
        image = render_mask(image, _any_place(landmarks, rng), _any_style(rng, kinds), rng)
    image = image.copy() if image is crop else image
    while rng.random() < OTHER_THINGS:
        _put_in_front(image, rng, others)
    if rng.random() < CUT_OFF:
        _cut_off(image, landmarks, rng)
    off = FIRST_ROUND if rng.random() < 0.6 else SECOND_ROUND
    matrix = _coarse(rng, off, is_face or something_else)
    small = _light(_seen(image, matrix, rng), rng)
    points = apply_affine(matrix, landmarks) / CROP_SIZE
    if rng.random() < 0.5:
        small = cv2.flip(small, 1)
        points = (np.array([1 - 1 / CROP_SIZE, 0]) + points * [-1, 1])[MIRRORED]
    return small, points.astype(np.float32), is_face


def natural_face(
    crop: np.ndarray, landmarks: np.ndarray, rng: np.random.Generator, kind: str
) -> tuple[np.ndarray, np.ndarray]:
    """An example as a detector gives it, with a mask where people wear it: crop and landmarks as in ``hard_face``."""
    image = render_mask(crop, landmarks, kind, rng) if kind else crop
    matrix = _coarse(rng, FIRST_ROUND, True)
    small = cv2.warpAffine(image, matrix, (CROP_SIZE, CROP_SIZE), flags=cv2.INTER_LINEAR)
    return small, (apply_affine(matrix, landmarks) / CROP_SIZE).astype(np.float32)


# ==== masks ====


def _any_style(rng: np.random.Generator, kinds: tuple[str, ...]) -> MaskStyle:
    style = mask_style(kinds[int(rng.integers(len(kinds)))])
    cut = style.cut if kinds != MASK_KINDS or rng.random() < 0.5 else CUTS[int(rng.integers(len(CUTS)))]
    if rng.random() < _ORIGINAL_COLOURS:
        return style
    # Few enough that the colours' ramps are kept from mask to mask.
    return MaskStyle(cut, tuple(int(v) for v in rng.integers(0, 8, 3) * 36))


def _any_place(landmarks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The points that a mask is fitted to, far from the face's own: moved, stretched, turned, or pulled down."""
    middle = landmarks.mean(0)
    eyes = float(np.linalg.norm(landmarks[1] - landmarks[0])) + 0.2 * float(np.linalg.norm(landmarks[3] - landmarks[0]))
    width, height = np.exp(rng.normal(0, 0.11)), np.exp(rng.normal(0, 0.14))
    turn = rng.normal(0, 0.09)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * [width, height]
    moved = middle + (landmarks - middle) @ matrix.T + eyes * rng.normal([0, 0.02], [0.07, 0.14])
    return moved + eyes * rng.normal(0, 0.03, (5, 2))


# ==== other things ====


def _something_else(rng: np.random.Generator, others: np.ndarray) -> np.ndarray:
    """No face, as large as a kept crop: a photograph's corner, or coarse shapes down to a plain colour, with noise."""
    if rng.random() < 0.6:
        other = np.rot90(others[int(rng.integers(len(others)))], int(rng.integers(4)))
        side = int(rng.integers(_CORNER // 2, _CORNER + 1))
        return cv2.resize(np.ascontiguousarray(other[:side, :side]), (KEPT_SIZE, KEPT_SIZE))
    shapes = rng.integers(0, 256, (int(rng.integers(1, 12)), int(rng.integers(1, 12)), 3), dtype=np.uint8)
    image = cv2.resize(shapes, (KEPT_SIZE, KEPT_SIZE), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.4:
        noise = rng.normal(0, rng.uniform(5, 80), image.shape)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    return image


def _put_in_front(image: np.ndarray, rng: np.random.Generator, others: np.ndarray) -> None:
    """A thing of any shape, in a plain colour, in stripes, or a piece of another picture."""
    side = KEPT_SIZE
    centre = rng.normal(side / 2, side / 6, 2)
    corners = int(rng.integers(3, 9))
    angles = np.sort(rng.random(corners)) * 2 * np.pi
    radii = rng.uniform(0.3, 1, corners) * side * rng.uniform(0.04, 0.24)
    squeeze = rng.uniform(0.4, 1, 2)
    outline = centre + radii[:, None] * squeeze * np.stack([np.cos(angles), np.sin(angles)], 1)
    if rng.random() < 0.5:
        outline = cv2.ellipse2Poly(
            tuple(int(v) for v in centre), tuple(int(v) for v in radii[:2]), int(rng.integers(180)), 0, 360, 12
        )
    shape = np.zeros((side, side), np.uint8)
    cv2.fillPoly(shape, [np.asarray(outline, np.int32)], 255)
    where = shape > 0
    what = rng.random()
    if what < 0.45:
        image[where] = rng.integers(0, 256, 3)
    elif what < 0.6:
        stripes = np.sin(np.arange(side) * rng.uniform(0.1, 1.2))[:, None, None] * rng.integers(10, 100, 3)
        image[where] = np.clip(rng.integers(0, 256, 3) + np.broadcast_to(stripes, image.shape)[where], 0, 255)
    else:
        # Skin, hair and clothes of others: hands and scarves are not plain.
        other = np.rot90(others[int(rng.integers(len(others)))], int(rng.integers(4)))
        image[where] = np.roll(other, tuple(rng.integers(-60, 60, 2)), (0, 1))[where]


def _cut_off(image: np.ndarray, landmarks: np.ndarray, rng: np.random.Generator) -> None:
    """A tightly cropped photograph: black, or the rim again, beyond a border that leaves the points in."""
    low, high = landmarks.min(0), landmarks.max(0)
    room = rng.uniform(0.05, 0.8, 4) * float(np.linalg.norm(high - low))
    left, top = (int(v) for v in np.clip(low - room[:2], 0, KEPT_SIZE))
    right, bottom = (int(v) for v in np.clip(high + room[2:], 0, KEPT_SIZE))
    inside = image[top:bottom, left:right].copy()
    image[:] = 0
    image[top:bottom, left:right] = inside


# ==== the crop and the light ====


def _coarse(rng: np.random.Generator, off: Off, is_face: bool) -> np.ndarray:
    """From the kept crop to a coarse one, float64 (2, 3). Where it shall show no face, it is far off."""
    turn, zoom = rng.normal(0, off.turn), np.exp(rng.normal(0, off.zoom)) / KEPT_SCALE
    shift = rng.normal(0, off.shift, 2) * CROP_SIZE
    if not is_face:
        way, what = rng.random() * 2 * np.pi, rng.random()
        if what < 0.6:
            # A photograph on its side: only upright faces count.
            turn = rng.choice([-1, 1]) * rng.uniform(75, 180)
        else:
            shift = CROP_SIZE * rng.uniform(0.45, 0.7) * np.array([np.cos(way), np.sin(way)])
        if what > 0.75:
            zoom, shift = zoom * rng.choice([0.45, 2.6]), shift / 3
    middle = (KEPT_SIZE - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), turn, zoom)
    matrix[:, 2] += (CROP_SIZE - 1) / 2 - middle + shift
    return matrix


def _seen(image: np.ndarray, matrix: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The crop, sometimes out of a small picture."""
    if rng.random() < 0.3:
        small = cv2.resize(image, None, fx=(f := rng.uniform(0.25, 0.8)), fy=f, interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return cv2.warpAffine(image, matrix, (CROP_SIZE, CROP_SIZE), flags=cv2.INTER_LINEAR)


def _light(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast, colour, a shadow to one side, blur, noise and JPEG."""
    levels = (np.arange(256) / 255) ** np.exp(rng.normal(0, 0.3))
    gains = np.exp(rng.normal(0, 0.12) + rng.normal(0, 0.06, 3))
    image = cv2.LUT(image, np.clip(levels[:, None] * gains * 255, 0, 255).astype(np.uint8)[None])
    if rng.random() < 0.1:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if rng.random() < 0.25:
        slope = np.linspace(1 - rng.uniform(0, 0.6), 1, CROP_SIZE, dtype=np.float32)
        image = (image * (slope[None] if rng.random() < 0.7 else slope[:, None])[..., None]).astype(np.uint8)
    if rng.random() < 0.25:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6))
    if rng.random() < 0.2:
        noise = rng.normal(0, rng.uniform(2, 10), image.shape)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.25:
        data = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=int(rng.integers(25, 90)))
        image = simplejpeg.decode_jpeg(data)
    return image
