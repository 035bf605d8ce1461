"""The shapes of masks: for each cut a surface over a canonical head, and the lines of its straps.

The head's frame: origin between the eyes, millimetres, x to the image's right, y down, z towards the viewer. A mask's
surface is a grid of rings (top edge … under the chin) × columns (ear … ear); its texture is laid over the same grid,
u from −1 (ear at the image's left) to 1, v from 0 (top ring) to 1 (under the chin).
"""

from functools import cache
from typing import Literal, get_args

import numpy as np

Cut = Literal["surgical", "n95", "kn95", "cloth"]
CUTS: tuple[Cut, ...] = get_args(Cut)

# Half of the skin's surface with some air under it: per ring six points, 25 mm apart, from the middle to the ear.
_RINGS = np.array(
    [
        [[0, 2, 11], [18, 16, 4], [40, 26, -8], [57, 29, -27], [67, 27, -49], [73, 20, -75]],
        [[0, 38, 37], [22, 43, 19], [43, 47, -5], [58, 46, -26], [67, 40, -49], [73, 30, -75]],
        [[0, 62, 33], [23, 63, 19], [43, 62, -6], [56, 60, -27], [66, 52, -50], [72, 39, -75]],
        [[0, 86, 27], [22, 85, 14], [40, 82, -9], [53, 75, -30], [63, 65, -52], [71, 47, -75]],
        [[0, 105, 20], [20, 104, 10], [36, 99, -11], [49, 89, -33], [60, 76, -54], [71, 54, -76]],
        [[0, 115, 4], [19, 113, -4], [34, 108, -19], [47, 98, -38], [57, 84, -57], [70, 59, -77]],
        [[0, 118, -12], [17, 116, -18], [31, 112, -30], [44, 101, -46], [55, 87, -61], [69, 61, -78]],
    ],
    dtype=np.float64,
)
_RING_COUNT, _COLUMN_COUNT = 19, 41
# How far beside a strap the surface is looked at, in u.
STRAP_ASIDE = 0.02

# How far each cut stands off the skin in front of the mouth, in millimetres, and over how many columns to each side.
_BULGES = {"surgical": (1, 2.0), "n95": (12, 1.2), "kn95": (14, 0.9), "cloth": (2, 1.8)}
# A mask pulled down below the nose begins at this height v of the whole surface, between nostrils and upper lip.
_NOSE_FREE_TOP = 0.22

# From the mask's edge to where the strap goes behind the ear or the head: (u, v) of both ends. Ear loops come together
# towards the ear; the bands of an N95 pass above and below it.
_STRAPS: dict[Cut, tuple] = {
    "surgical": (((0.66, 0.12), (0.94, 0.00)), ((0.63, 0.90), (0.93, 0.36))),
    "n95": (((0.48, 0.26), (0.94, -0.08)), ((0.47, 0.74), (0.88, 0.90))),
    "kn95": (((0.66, 0.27), (0.94, 0.00)), ((0.64, 0.82), (0.93, 0.36))),
    "cloth": (((0.67, 0.20), (0.94, 0.00)), ((0.65, 0.80), (0.93, 0.36))),
}


def _catmull_rom(points: np.ndarray, position: np.ndarray) -> np.ndarray:
    """The Catmull-Rom spline through ``points`` along axis 0, at ``position`` in 0 … len(points) − 1."""
    padded = np.concatenate([[2 * points[0] - points[1]], points, [2 * points[-1] - points[-2]]])
    cell = np.minimum(position.astype(int), len(points) - 2)
    t = (position - cell).reshape(-1, *[1] * (points.ndim - 1))
    p0, p1, p2, p3 = (padded[cell + k] for k in range(4))
    return 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * (p1 - p2) + p3 - p0) * t**3)


@cache
def surface(cut: Cut, nose_free: bool = False) -> np.ndarray:
    """The mask's grid in the head's frame: float64 (rings, columns, 3), millimetres.

    Pulled down below the nose, the same fabric is pushed together over the part of the face that is left.
    """
    half = _RINGS.copy()
    bulge_mm, column_reach = _BULGES[cut]
    ring = np.array([0, 0.35, 1, 0.85, 0.35, 0, 0])[:, None]
    column = np.exp(-((np.arange(6) / column_reach) ** 2))
    half[..., 2] += bulge_mm * ring * column
    whole = np.concatenate([half[:, :0:-1] * [-1, 1, 1], half], axis=1)
    top = _NOSE_FREE_TOP if nose_free else 0.0
    rings = _catmull_rom(whole, np.linspace(top, 1, _RING_COUNT) * (len(whole) - 1))
    columns = np.linspace(0, whole.shape[1] - 1, _COLUMN_COUNT)
    return np.ascontiguousarray(_catmull_rom(rings.swapaxes(0, 1), columns).swapaxes(0, 1))


@cache
def straps(cut: Cut, nose_free: bool = False) -> np.ndarray:
    """The straps' middle lines from the mask to the ear, and lines a little nearer to the ear beside them, which tell
    the way the surface faces: float64 (2, straps, 2 sides, points, 3), millimetres."""
    grid = surface(cut)
    top = _NOSE_FREE_TOP if nose_free else 0.0
    lines = []
    for (u_start, v_start), (u_end, v_end) in _STRAPS[cut]:
        t = np.linspace(0, 1, 12)
        v_start = top + (1 - top) * v_start
        u, v = u_start + (u_end - u_start) * t, v_start + (v_end - v_start) * t
        lines.append([[_on_grid(grid, side * (u + more), v) for side in (-1, 1)] for more in (0, STRAP_ASIDE)])
    return np.array(lines).swapaxes(0, 1)


def _on_grid(grid: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Bilinear interpolation of the surface at u in −1 … 1, v in 0 … 1; a little beyond, it goes straight on."""
    row, column = v * (_RING_COUNT - 1), (u + 1) / 2 * (_COLUMN_COUNT - 1)
    i, j = np.clip(row.astype(int), 0, _RING_COUNT - 2), np.minimum(column.astype(int), _COLUMN_COUNT - 2)
    a, b = (row - i)[:, None], (column - j)[:, None]
    upper = grid[i, j] * (1 - b) + grid[i, j + 1] * b
    return upper * (1 - a) + (grid[i + 1, j] * (1 - b) + grid[i + 1, j + 1] * b) * a
