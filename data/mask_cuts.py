"""What the masks look like before they meet a face: the surface over a canonical head, and a texture per kind.

The head's frame: origin between the eyes, millimetres, x to the image's right, y down, z towards the viewer. A mask's
surface is a grid of rings (top edge … under the chin) × columns (ear … ear); its texture is laid over the same grid,
u from −1 (ear at the image's left) to 1, v from 0 (top ring) to 1 (under the chin).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

# Eyes, nose tip, mouth's corners. In x and y the mean of MTCNN's points on frontal photographs with the eyes 63 mm
# apart; the depths are those of an average adult head.
FACE_POINTS = np.array([[-31.5, 0, 0], [31.5, 0, 0], [0, 37, 29], [-28, 67, 4], [28, 67, 4]], dtype=np.float64)

# Half of the skin's surface with some air under it: per ring six points, 25 mm apart, from the middle to the ear.
_RINGS = np.array(
    [
        [[0, 2, 11], [18, 16, 4], [40, 26, -5], [57, 29, -25], [67, 27, -48], [73, 20, -75]],
        [[0, 38, 37], [22, 43, 19], [43, 47, 0], [58, 46, -23], [67, 40, -48], [73, 30, -75]],
        [[0, 62, 33], [24, 63, 20], [44, 62, -1], [57, 60, -24], [66, 52, -49], [72, 39, -75]],
        [[0, 86, 27], [23, 85, 15], [41, 82, -5], [54, 75, -27], [63, 65, -51], [71, 47, -75]],
        [[0, 105, 20], [21, 104, 10], [37, 99, -9], [50, 89, -31], [60, 76, -53], [71, 54, -76]],
        [[0, 115, 4], [19, 113, -4], [34, 108, -19], [47, 98, -38], [57, 84, -57], [70, 59, -77]],
        [[0, 118, -12], [17, 116, -18], [31, 112, -30], [44, 101, -46], [55, 87, -61], [69, 61, -78]],
    ],
    dtype=np.float64,
)
_RING_COUNT, _COLUMN_COUNT = 13, 33

# Texture widths: the renderer takes the smallest that is not coarser than the picture (a mip pyramid).
TEXTURE_WIDTHS = (96, 192, 384)
_ASPECT = 0.5
_DRAWN_WIDTH = 768


@dataclass(frozen=True)
class MaskKind:
    """A cut, its colour (RGB 0 … 255) and the colour of its straps."""

    cut: str
    colour: tuple[int, int, int]
    straps: tuple[int, int, int] = (250, 250, 250)


KINDS = {
    "surgical_green": MaskKind("surgical", (0x44, 0xB4, 0xA8)),
    "surgical_blue": MaskKind("surgical", (0x1C, 0xA0, 0xF4)),
    "n95": MaskKind("n95", (0xFF, 0xFF, 0xFF), straps=(235, 205, 120)),
    "kn95": MaskKind("kn95", (0xFF, 0xFF, 0xFF)),
    "cloth": MaskKind("cloth", (0, 0, 0), straps=(10, 10, 10)),
}


def _catmull_rom(points: np.ndarray, count: int) -> np.ndarray:
    """``count`` evenly spaced parameters on the Catmull-Rom spline through ``points`` along axis 0."""
    padded = np.concatenate([[2 * points[0] - points[1]], points, [2 * points[-1] - points[-2]]])
    position = np.linspace(0, len(points) - 1, count)
    cell = np.minimum(position.astype(int), len(points) - 2)
    t = (position - cell).reshape(-1, *[1] * (points.ndim - 1))
    p0, p1, p2, p3 = (padded[cell + k] for k in range(4))
    return 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * (p1 - p2) + p3 - p0) * t**3)


@cache
def surface(cut: str) -> np.ndarray:
    """The mask's grid in the head's frame: float64 (rings, columns, 3), millimetres."""
    half = _RINGS.copy()
    bulge_mm, column_reach = {"surgical": (2, 2.0), "n95": (13, 1.4), "kn95": (15, 0.9), "cloth": (3, 2.0)}[cut]
    ring = np.array([0, 0.35, 1, 0.85, 0.35, 0, 0])[:, None]
    column = np.exp(-((np.arange(6) / column_reach) ** 2))
    half[..., 2] += bulge_mm * ring * column
    whole = np.concatenate([half[:, :0:-1] * [-1, 1, 1], half], axis=1)
    rings = _catmull_rom(whole, _RING_COUNT)
    return np.ascontiguousarray(_catmull_rom(rings.swapaxes(0, 1), _COLUMN_COUNT).swapaxes(0, 1))


@cache
def textures(kind: str) -> tuple[np.ndarray, ...]:
    """One RGBA picture per TEXTURE_WIDTHS: uint8 (H, W, 4), colour premultiplied with the soft-edged alpha."""
    style = KINDS[kind]
    u, v = np.meshgrid(np.linspace(-1, 1, _DRAWN_WIDTH), np.linspace(0, 1, int(_DRAWN_WIDTH * _ASPECT)))
    shade, alpha = _CUTS[style.cut](u, v)
    # Cloth reflects a little even where it is black, and white fabric swallows a little.
    albedo = 24 + np.array(style.colour) * (0.93 - 24 / 255)
    fabric = albedo * np.clip(shade, 0, 1.08)[..., None]
    rgba = np.dstack([fabric * alpha[..., None], 255 * alpha]).clip(0, 255).astype(np.float32)
    sizes = [(width, int(width * _ASPECT)) for width in TEXTURE_WIDTHS]
    return tuple(cv2.resize(rgba, size, interpolation=cv2.INTER_AREA).round().astype(np.uint8) for size in sizes)


@cache
def straps(cut: str) -> np.ndarray:
    """The straps' middle lines from the mask to the ear: float64 (straps, 2 sides, points, 3), millimetres."""
    grid = surface(cut)
    lines = []
    for (u_start, v_start), (u_end, v_end) in _STRAPS[cut]:
        t = np.linspace(0, 1, 12)
        u, v = u_start + (u_end - u_start) * t, v_start + (v_end - v_start) * t
        lines.append([_on_grid(grid, side * u, v) for side in (-1, 1)])
    return np.array(lines)


def _on_grid(grid: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Bilinear interpolation of the surface at u in −1 … 1, v in 0 … 1."""
    row, column = v * (_RING_COUNT - 1), (u + 1) / 2 * (_COLUMN_COUNT - 1)
    i, j = np.minimum(row.astype(int), _RING_COUNT - 2), np.minimum(column.astype(int), _COLUMN_COUNT - 2)
    a, b = (row - i)[:, None], (column - j)[:, None]
    upper = grid[i, j] * (1 - b) + grid[i, j + 1] * b
    return upper * (1 - a) + (grid[i + 1, j] * (1 - b) + grid[i + 1, j + 1] * b) * a


def _step(x: np.ndarray, edge: float, width: float) -> np.ndarray:
    """0 below ``edge``, 1 above it, smooth over ``width``."""
    t = np.clip((x - edge) / width + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def _line(distance: np.ndarray, width: float) -> np.ndarray:
    """1 on a line and 0 away from it: Gaussian of the distance."""
    return np.exp(-((distance / width) ** 2))


def _round(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Shade of a surface that turns away towards the sides and below the chin."""
    return 1.0 - 0.20 * np.abs(u / 0.7) ** 3 - 0.22 * _step(v, 0.86, 0.25) + 0.04 * _line(v - 0.25, 0.2) * _line(u, 0.3)


def _outline(u: np.ndarray, v: np.ndarray, half_width: np.ndarray, top: np.ndarray, bottom: float) -> np.ndarray:
    """Soft-edged inside of |u| < half_width, top < v < bottom, with rounded corners."""
    side = (half_width - np.abs(u)) / 0.08
    up, down = (v - top) / 0.10, (bottom - v) / 0.10
    across, along = np.clip(1 - side, 0, None), np.clip(1 - np.minimum(up, down), 0, None)
    return _step(1 - np.hypot(across, along), 0.0, 0.12)


def _surgical(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pleated rectangle: three folds, a nose wire under the top hem, stitched sides."""
    top = 0.05 + 0.05 * np.abs(u)
    alpha = _outline(u, v, 0.67 - 0.03 * v, top, 0.97)
    shade = _round(u, v)
    pleat_depth = 0.6 + 0.4 * np.abs(u / 0.64)
    for fold in (0.36, 0.52, 0.68):
        below = v - fold
        shade -= pleat_depth * (0.20 * _line(below, 0.012) + 0.10 * np.where(below > 0, np.exp(-below / 0.04), 0))
        shade += 0.06 * _line(below + 0.03, 0.02)
    wire = v - top - 0.065
    shade += (0.09 * _line(wire, 0.014) - 0.10 * _line(wire - 0.03, 0.010)) * (1 - _step(np.abs(u), 0.3, 0.08))
    shade -= 0.08 * _line(v - top - 0.03, 0.008) + 0.08 * _line(v - 0.93, 0.008)
    shade -= 0.10 * _line(np.abs(u) - 0.63 + 0.03 * v, 0.008)
    return shade, alpha


def _n95(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Moulded cup: an egg-shaped outline with a pressed rim, a valve beside the middle."""
    centre_v, up, down = 0.50, 0.47, 0.47
    height = np.where(v < centre_v, (centre_v - v) / up, (v - centre_v) / down)
    width = 0.59 - 0.06 * np.clip(centre_v - v, 0, None)
    radius = (np.abs(u / width) ** 2.3 + np.clip(height, 0, None) ** 2.3) ** (1 / 2.3)
    alpha = 1 - _step(radius, 0.985, 0.03)
    shade = 1.02 - 0.16 * radius**4 - 0.14 * _step(v, 0.8, 0.35) - 0.10 * np.abs(u)
    shade -= 0.13 * _line(radius - 0.87, 0.014) - 0.05 * _line(radius - 0.91, 0.02)
    valve = np.hypot((u - 0.20) / 0.11, (v - 0.56) / 0.125)
    shade -= 0.24 * _line(valve - 1, 0.10) + np.where(valve < 0.9, 0.07 + 0.06 * np.sin(v * 150), 0)
    shade -= 0.10 * _line(v - 0.17, 0.02) * (1 - _step(np.abs(u), 0.18, 0.1))
    return shade, alpha


def _kn95(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Folded flat: a vertical fold with its seam, slanted upper and lower edges, welded rims, side hems."""
    a = np.abs(u)
    top = 0.01 + 0.26 * np.clip(a / 0.62, 0, 1.2) ** 1.4
    alpha = _outline(u, v, 0.66 - 0.10 * np.abs(v - 0.55), top, 0.98)
    shade = 1.0 - 0.22 * a**2 - 0.18 * _step(v, 0.85, 0.3) - np.where(u > 0, 0.05, 0.0) * _step(a, 0.02, 0.04)
    shade -= 0.16 * _line(u, 0.010) - 0.05 * _line(a - 0.03, 0.02)
    shade -= 0.08 * (_line(v - top - 0.045, 0.008) + _line(v - 0.92, 0.008))
    shade -= 0.10 * (_line(a - 0.60 + 0.10 * np.abs(v - 0.55), 0.008))
    shade -= 0.05 * _line(v - 0.30 - 0.35 * a, 0.05) - 0.05 * _line(v - 0.38 - 0.35 * a, 0.05)
    return shade, alpha


def _cloth(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two sewn panels: a curved middle seam, hems, soft wrinkles, a knit grain."""
    a = np.abs(u)
    top = 0.02 + 0.16 * np.clip(a / 0.66, 0, 1.2) ** 1.2
    alpha = _outline(u, v, 0.66 - 0.12 * np.abs(v - 0.5), top, 0.96)
    shade = _round(u, v) + 0.12 * _line(u - 0.25, 0.22) * _line(v - 0.35, 0.25)
    shade -= 0.30 * _line(u, 0.008) - 0.16 * _line(a - 0.022, 0.012)
    shade -= 0.20 * (_line(v - top - 0.05, 0.007) + _line(v - 0.90, 0.007))
    shade += 0.10 * np.sin(9 * v + 14 * a) * _step(a, 0.3, 0.3)
    shade += 0.03 * np.sin(u * 420) * np.sin(v * 210)
    return shade, alpha


# From the mask's corner to where the strap goes behind the ear or the head: (u, v) of both ends.
_STRAPS = {
    "surgical": (((0.65, 0.12), (0.98, 0.05)), ((0.61, 0.90), (0.98, 0.80))),
    "n95": (((0.48, 0.26), (0.98, 0.0)), ((0.47, 0.74), (0.98, 0.92))),
    "kn95": (((0.60, 0.34), (0.98, 0.05)), ((0.58, 0.84), (0.98, 0.80))),
    "cloth": (((0.62, 0.24), (0.98, 0.05)), ((0.60, 0.82), (0.98, 0.80))),
}
_CUTS: dict[str, Callable] = {"surgical": _surgical, "n95": _n95, "kn95": _kn95, "cloth": _cloth}
