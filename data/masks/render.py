"""Masks drawn on faces: fitted in three dimensions by five landmarks, lit by the light on the face.

    import cv2, numpy as np
    from data.masks.render import MaskStyle, render_mask

    image = cv2.imread("face.jpg")[..., ::-1]           # uint8 (H, W, 3) RGB
    points = [[38, 52], [74, 52], [56, 72], [42, 92], [71, 92]]   # eyes, nose tip, corners of the mouth, pixels
    rng = np.random.default_rng(0)                      # the same seed gives the same pixels
    render_mask(image, points, "kn95", rng)
    render_mask(image, points, "cloth:#b03050", rng)    # any colour
    render_mask(image, points, "cloth:tartan.png", rng) # the picture of a fabric
    render_mask(image, points, MaskStyle("surgical", (200, 30, 90), straps=(0, 0, 0)), rng)

The landmarks of a photograph come from ``data.alignment.finder.open_finder``; faces made by ``data.prepare``
have theirs in the CSV. The cost is nearly independent of the image's size.
"""

import cmath
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from data.masks.fabric import STYLES, TEXTURE_WIDTHS, VARIANTS, MaskStyle, colour_ramp, mask_style, textures
from data.masks.light import composite, measure_blur
from data.masks.pose import HeadPose, fit_pose
from data.masks.view import BORDER_MM, View, view
from runtime.errors import InputError

__all__ = [
    "MASK_KINDS",
    "MaskFit",
    "MaskFitKind",
    "MaskStyle",
    "check_mask_kinds",
    "mask_style",
    "numbered_mask",
    "random_mask_kind",
    "render_mask",
]

MASK_KINDS = tuple(STYLES)
# Each mask placed and lit a little differently; all alike; or differently, but drawn as on a face that looks straight
# ahead, however this one is turned.
MaskFitKind = Literal["varied", "fixed", "flat"]

_STRAP_MM = 1.6
# A ramp as wide as this many sigmas is as soft as the edge that a Gaussian blurs: their variances are equal.
_RAMP = 3.46


@dataclass(frozen=True)
class MaskFit:
    """How one mask sits and looks.

    Millimetres down and aside from its natural place, radians of tilt, factor of size; factor of brightness, share of
    light lost in the rim's shadow; whether the nose is left free; which drawing of the fabric.
    """

    lower_mm: float
    aside_mm: float
    tilt: float
    size: float
    brightness: float
    shadow: float
    nose_free: bool
    variant: int

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "MaskFit":
        """A random fit."""
        return cls.at(rng.random(8).tolist())

    @classmethod
    def at(cls, shares: Sequence[float]) -> "MaskFit":
        """The fit at eight shares, 0 … 1, of the natural bounds: 6 mm up to 2 mm down, 2.5 mm aside, 5° of tilt, 3 %
        smaller to 14 % larger; three in a hundred leave the nose free."""
        lower, aside, tilt, size, brightness, shadow, free, variant = shares
        return cls(
            lower_mm=8 * lower - 6,
            aside_mm=5 * aside - 2.5,
            tilt=0.17 * tilt - 0.085,
            size=0.97 + 0.17 * size,
            brightness=0.88 + 0.24 * brightness,
            shadow=0.25 + 0.35 * shadow,
            nose_free=free < 0.03,
            variant=int(variant * VARIANTS),
        )


def check_mask_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """The same kinds; raises InputError if there are none, or ``mask_style`` knows one of them not."""
    if not kinds:
        raise InputError(f"mask_kinds is empty; name one or more of {', '.join(MASK_KINDS)}")
    for kind in kinds:
        mask_style(kind)
    return tuple(kinds)


def numbered_mask(seed: int, number: int) -> tuple[str, np.random.Generator]:
    """The mask of the picture with that number, independent of all others: its kind, and the generator from which
    ``render_mask`` (or ``MaskFit.draw``) draws its fit."""
    rng = np.random.default_rng([seed, number])
    return random_mask_kind(rng), rng


def random_mask_kind(rng: np.random.Generator, kinds: Sequence[str] = MASK_KINDS) -> str:
    """One of ``kinds``, each equally likely."""
    return kinds[int(rng.integers(len(kinds)))]


def render_mask(
    image: np.ndarray,
    landmarks: np.ndarray,
    kind: str | MaskStyle,
    rng: np.random.Generator,
    fit_kind: MaskFitKind = "varied",
) -> np.ndarray:
    """Put a mask on a face, with a random fit from ``rng`` (``fixed``: in the middle of all fits).

    ``image`` uint8 (H, W, 3) RGB; ``landmarks`` float (5, 2), pixels in it: left eye, right eye, nose tip, left and
    right corner of the mouth, as seen in the image; ``kind`` a style, or what ``mask_style`` takes: one of
    MASK_KINDS, "CUT:#RRGGBB", "CUT:FILE". Returns a new image of the same shape. The same image, landmarks, kind and
    state of ``rng`` give the same pixels. Raises InputError on an unknown kind.
    """
    style = kind if isinstance(kind, MaskStyle) else mask_style(kind)
    fit = MaskFit.draw(rng)
    if fit_kind == "fixed":
        fit = MaskFit.at([0.5] * 8)
    pose = fit_pose(np.asarray(landmarks, dtype=np.float64), frontal=fit_kind == "flat")
    seen = view(style.cut, fit.nose_free, pose.yaw, pose.pitch)
    factor, offset = _similarity(seen, pose, fit)
    out = image.copy()
    window = _window(seen, factor, offset, image.shape)
    if window is not None:
        left, top, right, bottom = window
        face = out[top:bottom, left:right]
        offset -= complex(left, top)
        blur = measure_blur(face)
        mask, alpha = _sample(style, fit.variant, seen, factor, offset, (right - left, bottom - top), blur)
        _draw_straps(mask, alpha, seen, factor, offset, style.strap_colour)
        reach = int(BORDER_MM * pose.scale)
        composite(face, mask, alpha, brightness=fit.brightness, shadow=fit.shadow, reach=reach)
    return out


def _similarity(seen: View, pose: HeadPose, fit: MaskFit) -> tuple[complex, complex]:
    """From the view's millimetres to the image's pixels: pixel = factor · point + offset, complex numbers."""
    turn, fitted = cmath.rect(pose.scale, pose.roll), cmath.rect(fit.size, fit.tilt)
    moved = fit.aside_mm * seen.across + fit.lower_mm * seen.down
    return turn * fitted, turn * (seen.pivot * (1 - fitted) + moved) + complex(*pose.offset)


def _window(seen: View, factor: complex, offset: complex, shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom of the image's part that the mask may touch; None if it lies outside."""
    low, high = seen.low, seen.high
    corners = [factor * p + offset for p in (low, high, complex(low.real, high.imag), complex(high.real, low.imag))]
    x, y = [c.real for c in corners], [c.imag for c in corners]
    # Not further than the image: a wild landmark must not ask for a huge window.
    left, top = int(max(min(x), 0)), int(max(min(y), 0))
    right, bottom = int(min(max(x) + 1, shape[1])), int(min(max(y) + 1, shape[0]))
    return None if right - left < 2 or bottom - top < 2 else (left, top, right, bottom)


def _sample(
    style: MaskStyle,
    variant: int,
    seen: View,
    factor: complex,
    offset: complex,
    size: tuple[int, int],
    blur: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The fabric as it is seen in the window, as blurred as its picture: premultiplied RGB uint8 (h, w, 3), and alpha
    uint8 (h, w)."""
    scale = abs(factor)
    # From ear to ear the texture spans about 240 mm; its details are as wide as the blur.
    texture = textures(style, variant)[bisect(TEXTURE_WIDTHS[:-1], 240 * scale / max(1, 2 * blur))]
    x, y, inside, light = _seen_through(seen, texture.shape, factor, offset, size)
    # A ramp from 0 half a blur outside to 255 as far inside; saturated beyond.
    ramp = 255 * scale / (_RAMP * blur)
    alpha = cv2.addWeighted(inside, ramp, inside, 0, 127.5, dtype=cv2.CV_8U)
    lit = cv2.multiply(light, alpha, dtype=cv2.CV_8U)
    fabric = cv2.remap(texture, x, y, cv2.INTER_LINEAR)
    if style.texture is not None:
        return cv2.multiply(fabric, cv2.cvtColor(lit, cv2.COLOR_GRAY2RGB), scale=1 / 255), alpha
    return cv2.applyColorMap(cv2.multiply(fabric, lit, scale=1 / 255), colour_ramp(style.colour)), alpha


def _seen_through(
    seen: View, texture_shape: tuple[int, ...], factor: complex, offset: complex, size: tuple[int, int]
) -> list[np.ndarray]:
    """What ``View.lattice`` says in each pixel of a window, four float32 (h, w); u and v in pixels of the texture.

    Read at every second pixel and enlarged, which is half the work. On all but the smallest faces (60 pixels) the
    lattice's cells are wider than two pixels, so that nothing is lost.
    """
    width, height = size
    rows, columns = texture_shape[:2]
    # Window pixel → point of the view → cell of its lattice. Pixel j of the picture below lies between the window's
    # pixels 2j − 2 and 2j − 1: one more at the border, so that the enlarged one is exact there too.
    back = 1 / factor
    start = (complex(-1.5, -1.5) - offset) * back - seen.low
    cells = len(seen.lattice) - 1
    kx, ky = cells / (seen.high.real - seen.low.real), cells / (seen.high.imag - seen.low.imag)
    right, down = 2 * back, 2j * back
    affine = np.array(
        [[right.real * kx, down.real * kx, start.real * kx], [right.imag * ky, down.imag * ky, start.imag * ky]]
    )
    lattice = cv2.multiply(seen.lattice, (columns - 1, rows - 1, 1, 1))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    half = (width // 2 + 3, height // 2 + 3)
    values = cv2.warpAffine(lattice, affine, half, flags=flags, borderValue=(0, 0, -99, 0))
    values = cv2.resize(values, (2 * half[0], 2 * half[1]), interpolation=cv2.INTER_LINEAR)
    values = values[2 : 2 + height, 2 : 2 + width]
    # In three fifths of the time of cv2.split.
    return [cv2.extractChannel(values, i) for i in range(4)]


def _draw_straps(
    mask: np.ndarray,
    alpha: np.ndarray,
    seen: View,
    factor: complex,
    offset: complex,
    colour: tuple[int, int, int],
) -> None:
    """Draw the straps into ``mask`` and ``alpha``."""
    if not seen.strap_ends:
        return
    points = (16 * factor * seen.straps + 16 * offset).view(np.float64).reshape(-1, 1, 2)
    points = np.minimum(np.maximum(points, -30000), 30000).astype(np.int32)
    lines = [points[start:end] for start, end in zip((0, *seen.strap_ends), seen.strap_ends, strict=False)]
    thickness = _STRAP_MM * abs(factor)
    width = max(1, round(thickness))
    # A thread narrower than a pixel covers only its share of it.
    share = min(1.0, thickness / width)
    cv2.polylines(mask, lines, False, [share * value for value in colour], width, cv2.LINE_AA, 4)
    cv2.polylines(alpha, lines, False, 255 * share, width, cv2.LINE_AA, 4)
