"""The fabric of masks: named styles, and their pictures with folds, seams, wires and valves."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import cv2
import numpy as np

from data.masks.cuts import CUTS, SIDE, Cut, cup_radius, top_edge
from data.sources.read_image import UnreadableImage, read_image
from runtime.errors import InputError

# Texture widths: the renderer takes the smallest that is not coarser than the picture (a mip pyramid).
TEXTURE_WIDTHS = (48, 96, 192, 384)
_WIDTH, _HEIGHT = 384, 192
# No two masks are folded alike: so many drawings of each cut, with wrinkles, folds and valves of their own.
VARIANTS = 6
# Shades, 0 to 1.06, are kept in bytes.
_SHADE_UNIT = 240

Colour = tuple[int, int, int]
# Ear loops of paper masks are white, an N95's bands rubber, a cloth mask's loops as the cloth.
_STRAP_COLOURS: dict[str, Colour] = {"surgical": (245, 245, 245), "n95": (235, 205, 120), "kn95": (245, 245, 245)}


@dataclass(frozen=True)
class MaskStyle:
    """A cut ("surgical", "n95", "kn95" or "cloth") in a colour, RGB 0 … 255, or in the picture of a ``texture`` file,
    which is laid over the mask in the colour's place. ``straps`` is the colour of its straps; None: as usual."""

    cut: Cut
    colour: Colour = (255, 255, 255)
    texture: Path | None = None
    straps: Colour | None = None

    @property
    def strap_colour(self) -> Colour:
        """The colour that its straps are drawn in."""
        usual = _STRAP_COLOURS.get(self.cut, (40, 40, 40) if self.texture else self.colour)
        return self.straps or usual


STYLES = {
    "surgical_green": MaskStyle("surgical", (0x44, 0xB4, 0xA8)),
    "surgical_blue": MaskStyle("surgical", (0x1C, 0xA0, 0xF4)),
    "n95": MaskStyle("n95"),
    "kn95": MaskStyle("kn95"),
    "cloth": MaskStyle("cloth", (0, 0, 0)),
}


@cache
def mask_style(kind: str) -> MaskStyle:
    """The style of a kind: a name in STYLES, "CUT:#RRGGBB" (cloth:#b03050), or "CUT:FILE" (cloth:tartan.png).

    Raises InputError on anything else, and where the file is no picture.
    """
    if kind in STYLES:
        return STYLES[kind]
    cut, colon, fabric = kind.partition(":")
    if cut not in CUTS or not colon:
        raise InputError(
            f"unknown mask {kind!r}; use {', '.join(STYLES)}, or one of {', '.join(CUTS)} with a colour "
            "(cloth:#b03050) or a picture of the fabric (cloth:tartan.png)"
        )
    if fabric.startswith("#"):
        if not re.fullmatch("#[0-9a-fA-F]{6}", fabric):
            raise InputError(f"mask {kind!r}: {fabric} is no colour; write it like #b03050")
        return MaskStyle(cut, tuple(bytes.fromhex(fabric[1:])))
    _fabric_picture(Path(fabric))
    return MaskStyle(cut, texture=Path(fabric))


@lru_cache(maxsize=64)
def _fabric_picture(path: Path) -> np.ndarray:
    """The picture over the drawn texture's whole size: as wide as the mask, mirrored to fill the rest."""
    try:
        picture = read_image(path)
    except UnreadableImage as error:
        raise InputError(f"can't read the mask texture {path}: {error}") from None
    width = round(_WIDTH * SIDE)
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    side = (_WIDTH - width) // 2
    more = max(0, _HEIGHT - height)
    top = more // 2
    filled = cv2.copyMakeBorder(picture, top, more - top, side, _WIDTH - width - side, cv2.BORDER_REFLECT)
    start = (filled.shape[0] - _HEIGHT) // 2
    return filled[start : start + _HEIGHT]


def textures(style: MaskStyle, variant: int) -> tuple[np.ndarray, ...]:
    """One picture per TEXTURE_WIDTHS: the fabric's shade, uint8 (H, W), which ``colour_ramp`` gives its colour; where
    the style has a picture, that one in the shade, uint8 (H, W, 3) RGB. The outline is the view's."""
    return _shades(style.cut, variant) if style.texture is None else _pictures(style.cut, style.texture, variant)


@lru_cache(maxsize=256)
def colour_ramp(colour: Colour) -> np.ndarray:
    """A fabric's colour in each shade, uint8 (256, 1, 3)."""
    shade = np.arange(256)[:, None] / _SHADE_UNIT
    return (_reflected(np.array(colour)) * shade).clip(0, 255).round().astype(np.uint8)[:, None]


@cache
def _shades(cut: Cut, variant: int) -> tuple[np.ndarray, ...]:
    return _pyramid(_SHADE_UNIT * _shading(cut, variant))


@lru_cache(maxsize=64)
def _pictures(cut: Cut, picture: Path, variant: int) -> tuple[np.ndarray, ...]:
    return _pyramid(_reflected(_fabric_picture(picture)) * _shading(cut, variant)[..., None])


def _reflected(colour: np.ndarray) -> np.ndarray:
    """Cloth reflects a little even where it is black, and white fabric swallows a little."""
    return 16 + 0.88 * colour


def _pyramid(picture: np.ndarray) -> tuple[np.ndarray, ...]:
    picture = picture.clip(0, 255).astype(np.float32)
    sizes = [(width, width * _HEIGHT // _WIDTH) for width in TEXTURE_WIDTHS]
    return tuple(cv2.resize(picture, size, interpolation=cv2.INTER_AREA).round().astype(np.uint8) for size in sizes)


@cache
def _shading(cut: Cut, variant: int) -> np.ndarray:
    """Light and dark of a cut, about 1 on plain fabric: float32 (H, W)."""
    u, v = np.meshgrid(np.linspace(-1, 1, _WIDTH, dtype=np.float32), np.linspace(0, 1, _HEIGHT, dtype=np.float32))
    rng = np.random.default_rng((CUTS.index(cut), variant))
    return np.clip(_DRAWINGS[cut](u, v, rng), 0, 1.06)


# ==== drawing ====


def _step(x: np.ndarray, edge: float, width: float) -> np.ndarray:
    """0 below ``edge``, 1 above it, smooth over ``width``."""
    t = np.clip((x - edge) / width + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def _line(distance: np.ndarray, width: float) -> np.ndarray:
    """1 on a line and 0 away from it: Gaussian of the distance."""
    return np.exp(-((distance / width) ** 2))


def _round(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Shade of a surface that turns away towards the sides and below the chin."""
    return 1.0 - 0.12 * np.abs(u / 0.7) ** 3 - 0.14 * _step(v, 0.86, 0.25) + 0.04 * _line(v - 0.25, 0.2) * _line(u, 0.3)


def _wrinkles(u: np.ndarray, v: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Creases that run from the sides, where the straps pull, and soft dents all over."""
    size = u.shape[::-1]
    dents = sum(
        cv2.resize(rng.normal(0, weight, cells).astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
        for cells, weight in (((5, 9), 0.5), ((9, 20), 0.35))
    )
    creases = np.zeros_like(u)
    for side in (-1, 1):
        for _ in range(3):
            start, slope, width = rng.uniform(0.2, 0.8), rng.uniform(-0.5, 0.5), rng.uniform(0.008, 0.02)
            distance = v - start - slope * (SIDE - side * u)
            creases += rng.choice([-1, 1]) * _line(distance, width) * _step(side * u, rng.uniform(0.3, 0.5), 0.2)
    return strength * (dents + 1.5 * creases)


def _surgical(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pleated rectangle: three folds, a nose wire under the top hem, stitched sides."""
    top = top_edge("surgical", u)
    shade = _round(u, v) + _wrinkles(u, v, rng, 0.022)
    pleat_depth = 0.6 + 0.4 * np.abs(u / 0.64)
    for fold in (0.36, 0.52, 0.68):
        below = v - fold - rng.uniform(-0.02, 0.02) - rng.uniform(-0.03, 0.03) * u
        shade -= pleat_depth * (0.20 * _line(below, 0.012) + 0.10 * np.where(below > 0, np.exp(-below / 0.04), 0))
        shade += 0.06 * _line(below + 0.03, 0.02)
    wire = v - top - 0.065
    shade += (0.09 * _line(wire, 0.014) - 0.10 * _line(wire - 0.03, 0.010)) * (1 - _step(np.abs(u), 0.3, 0.08))
    shade -= 0.08 * _line(v - top - 0.03, 0.008) + 0.08 * _line(v - 0.93, 0.008)
    shade -= 0.10 * _line(np.abs(u) - 0.67 + 0.03 * v, 0.008)
    return shade


def _n95(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Moulded cup: an egg-shaped outline with a pressed rim, a nose clip; every second one with a valve."""
    radius = cup_radius(u, v)
    shade = 1.02 - 0.12 * radius**4 - 0.08 * _step(v, 0.8, 0.35) + _wrinkles(u, v, rng, 0.008)
    shade -= 0.13 * _line(radius - 0.87, 0.014) - 0.05 * _line(radius - 0.91, 0.02)
    shade -= 0.10 * _line(v - 0.17, 0.02) * (1 - _step(np.abs(u), 0.18, 0.1))
    side, has_valve = rng.choice([-1, 1]), rng.random() < 0.5
    if has_valve:
        valve = np.hypot((u - 0.20 * side) / 0.11, (v - 0.56) / 0.125)
        shade -= 0.24 * _line(valve - 1, 0.10) + np.where(valve < 0.9, 0.07 + 0.06 * np.sin(v * 150), 0)
    else:
        # The cup's cross-wise embossing.
        shade -= 0.06 * (_line(v - 0.40 - 0.15 * u * u, 0.010) + _line(v - 0.66 - 0.1 * u * u, 0.010)) * (radius < 0.8)
    return shade


def _kn95(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Folded flat: a vertical fold with its seam, slanted upper and lower edges, welded rims, side hems."""
    a = np.abs(u)
    top = top_edge("kn95", u)
    shade = 1.02 - 0.12 * a**2 - 0.10 * _step(v, 0.85, 0.3)
    shade += _wrinkles(u, v, rng, 0.018)
    shade -= 0.18 * _line(u, 0.010) - 0.05 * _line(a - 0.03, 0.02)
    shade -= 0.09 * (_line(v - top - 0.045, 0.008) + _line(v - 0.92, 0.008))
    shade -= 0.11 * (_line(a - 0.67 + 0.10 * np.abs(v - 0.55), 0.008))
    shade -= 0.06 * _line(v - 0.30 - 0.35 * a, 0.05) - 0.05 * _line(v - 0.38 - 0.35 * a, 0.05)
    return shade


def _cloth(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two sewn panels: a curved middle seam, hems, soft wrinkles, a knit grain."""
    a = np.abs(u)
    top = top_edge("cloth", u)
    shade = _round(u, v) + 0.12 * _line(u - 0.25, 0.22) * _line(v - 0.35, 0.25)
    shade -= 0.30 * _line(u, 0.008) - 0.16 * _line(a - 0.022, 0.012)
    shade -= 0.20 * (_line(v - top - 0.05, 0.007) + _line(v - 0.90, 0.007))
    shade += _wrinkles(u, v, rng, 0.05) + 0.06 * np.sin(9 * v + 14 * a) * _step(a, 0.3, 0.3)
    shade += 0.03 * np.sin(u * 420) * np.sin(v * 210)
    return shade


_DRAWINGS: dict[Cut, Callable] = {"surgical": _surgical, "n95": _n95, "kn95": _kn95, "cloth": _cloth}
