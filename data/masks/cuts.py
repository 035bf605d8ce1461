"""The shapes of masks: for each cut a surface over a canonical head, its outline, and the lines of its straps.

The head's frame: origin between the eyes, millimetres, x to the image's right, y down, z towards the viewer. A mask's
surface is a grid of rings (top edge … under the chin) × columns (ear … ear); its texture is laid over the same grid,
u from −1 (ear at the image's left) to 1, v from 0 (top ring) to 1 (under the chin).
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import numpy as np

Cut = Literal["surgical", "n95", "kn95", "cloth"]
CUTS: tuple[Cut, ...] = get_args(Cut)

# Half of the skin's surface with some air under it: per ring six points, 25 mm apart, from the middle to the ear.
_RINGS = np.array(
    [
        [[0, 5, 13], [18, 17, 4], [40, 26, -8], [57, 29, -27], [67, 27, -49], [73, 20, -75]],
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

# Where the fabric ends at the sides, in u, before each cut takes something off.
SIDE = 0.71
_FINE_RINGS, _FINE_COLUMNS = 140, 240

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
def surface(
    cut: Cut, nose_free: bool = False, ring_count: int = _RING_COUNT, column_count: int = _COLUMN_COUNT
) -> np.ndarray:
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
    rings = _catmull_rom(whole, np.linspace(top, 1, ring_count) * (len(whole) - 1))
    columns = np.linspace(0, whole.shape[1] - 1, column_count)
    return np.ascontiguousarray(_catmull_rom(rings.swapaxes(0, 1), columns).swapaxes(0, 1))


@dataclass(frozen=True)
class Skin:
    """Points all over a mask's surface, about a millimetre apart, column by column from the ear at the image's left:
    ``points`` and outward unit ``normals`` float32 (3, n) in the head's frame, ``uv`` float32 (2, n) from 0 to 1, and
    whether each is ``fabric``, bool (n,)."""

    points: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    fabric: np.ndarray


@cache
def skin(cut: Cut, nose_free: bool = False) -> Skin:
    """The surface of a mask in points."""
    grid = surface(cut, nose_free, _FINE_RINGS, _FINE_COLUMNS).swapaxes(0, 1)
    # Along a ring and down a column: their product points away from the head.
    normals = np.cross(np.gradient(grid, axis=0), np.gradient(grid, axis=1))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    u, v = np.meshgrid(np.linspace(0, 1, _FINE_COLUMNS), np.linspace(0, 1, _FINE_RINGS), indexing="ij")
    points, normals = (a.reshape(-1, 3).T.astype(np.float32, order="C") for a in (grid, normals))
    uv = np.stack([u.ravel(), v.ravel()]).astype(np.float32)
    return Skin(points, normals, uv, _is_fabric(cut, 2 * u - 1, v).ravel())


def top_edge(cut: Cut, u: np.ndarray) -> np.ndarray:
    """The v at which the fabric of a folded or sewn cut begins."""
    a = np.abs(u)
    if cut == "surgical":
        return 0.035 + 0.03 * a
    if cut == "kn95":
        return 0.036 + 0.13 * np.clip(a / 0.62, 0, 1.2) ** 1.4
    return 0.032 + 0.08 * np.clip(a / 0.66, 0, 1.2) ** 1.2


def cup_radius(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """How far a point of an N95's egg-shaped cup is from its middle: 1 at the rim."""
    width = 0.62 - 0.06 * np.clip(0.5 - v, 0, None)
    return (np.abs(u / width) ** 2.7 + np.abs((v - 0.5) / 0.47) ** 2.7) ** (1 / 2.7)


def _is_fabric(cut: Cut, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Whether the mask covers these points of its surface, corners rounded."""
    if cut == "n95":
        return cup_radius(u, v) < 0.985
    half_width, bottom = {
        "surgical": (SIDE - 0.03 * v, 0.97),
        "kn95": (SIDE + 0.02 - 0.10 * np.abs(v - 0.55), 0.98),
        "cloth": (SIDE + 0.02 - 0.12 * np.abs(v - 0.5), 0.96),
    }[cut]
    across = np.clip(1 - (half_width - np.abs(u)) / 0.08, 0, None)
    along = np.clip(1 - np.minimum(v - top_edge(cut, u), bottom - v) / 0.10, 0, None)
    return np.hypot(across, along) < 1


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
