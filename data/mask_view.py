"""How a mask's surface looks from one side: where each point of the view lies on it.

The surface is inverted on a coarse lattice by a two-pass mesh warp (Catmull and Smith 1980, "3-D transformations of
images in scanline order"; Wolberg 1990, ch. 7). Poses come in steps, so that each view is made once and kept; size,
tilt and place of a single mask are a similarity of the view.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from data.mask_cuts import STRAP_ASIDE, Cut, straps, surface
from data.mask_pose import rotation

_CELLS = 29
# A strap is seen as far as the skin under it turns away from the viewer by less than about 70°: as a share of the
# surface's 125 mm from the middle to the ear.
_FACING_MM = 0.33 * 125 * STRAP_ASIDE
# How much of its light a surface loses as it turns away from the viewer, and how far the light comes from above.
_TURNING, _FROM_ABOVE = 0.24, 0.2
# A mask turns and grows about this point inside the nose, so that it stays off the eyes.
_PIVOT = np.array([0.0, 40.0, 8.0])


@dataclass(frozen=True)
class View:
    """A mask's surface seen from one side, before roll and scale; points are complex numbers x + iy in millimetres.

    ``lattice`` float32 (cells, cells, 4), from ``low`` to ``high``: the texture's u and v, 0 … 1; millimetres inside
    the outline of the visible side, negative outside; the light on the surface, less as it turns away from the viewer.
    ``straps`` complex (n,): the points of all visible straps; ``strap_ends``: where each ends in it.
    ``across`` and ``down``: what a millimetre of the head's x and y is in the view.
    """

    lattice: np.ndarray
    low: complex
    high: complex
    straps: np.ndarray
    strap_ends: tuple[int, ...]
    pivot: complex
    across: complex
    down: complex


# 3,000 poses within 45°, but a data set's heads and cuts keep to far fewer; 10 KB each.
@lru_cache(maxsize=3_000)
def view(cut: Cut, nose_free: bool, yaw: float, pitch: float) -> View:
    """The view of a mask under a pose of the head; angles as in HeadPose."""
    turn = rotation(yaw, pitch)
    grid = np.moveaxis(surface(cut, nose_free) @ turn.T, -1, 0)
    turn = turn[:2]
    low, high = grid[:2].min((1, 2)), grid[:2].max((1, 2))
    xs, ys = np.linspace(low, high, _CELLS, axis=1)
    u, v, inside, z = _invert_grid(grid, xs, ys)
    lines = _visible(straps(cut, nose_free) @ turn.T)
    return View(
        lattice=np.dstack([u, v, inside, _facing(z, xs, ys)]).astype(np.float32),
        low=complex(*low),
        high=complex(*high),
        straps=np.concatenate([[0j], *lines])[1:],
        strap_ends=tuple(np.cumsum([len(line) for line in lines]).tolist()),
        pivot=complex(*(turn @ _PIVOT)),
        across=complex(*turn[:, 0]),
        down=complex(*turn[:, 1]),
    )


def _visible(lines: np.ndarray) -> list[np.ndarray]:
    """Of the straps (2, straps, 2 sides, points, 2) each as far as it faces the viewer, as complex points."""
    outwards = (lines[1] - lines[0])[..., 0] * np.array([-1, 1])[:, None] > _FACING_MM
    counts = np.where(outwards.all(-1), outwards.shape[-1], outwards.argmin(-1))
    points = lines[0] @ [1, 1j]
    return [points[i][: counts[i]] for i in np.ndindex(counts.shape) if counts[i] > 1]


def _facing(depth: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Light from the viewer and a little from above on a surface (ys, xs) of that depth."""
    down, across = np.gradient(depth, ys, xs)
    facing = (1 - _FROM_ABOVE * down) / np.sqrt(1 + across**2 + down**2)
    return 1 - _TURNING + _TURNING * np.clip(facing, 0, 1.1)


def _invert_grid(grid: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> tuple[np.ndarray, ...]:
    """Two-pass inversion of ``grid`` (3, rings, columns): u, v, the distance inside the outline, and the depth at
    every (y, x) of the lattice, (ys, xs) each.

    First each ring is resampled at ``xs``, then each column of that at ``ys``. Only the side that faces the viewer
    counts: from the middle outwards, a ring ends where it turns back.
    """
    rings, columns = grid.shape[1:]
    u = np.broadcast_to(np.linspace(0, 1, columns), grid.shape[1:])
    x, y, u, z = _until_fold(grid[0], columns // 2, grid[1], u, grid[2])
    y, u, z = _resample(x, np.broadcast_to(xs, (rings, len(xs))), y, u, z)
    inside = np.minimum(xs - x[:, :1], x[:, -1:] - xs)
    v = np.broadcast_to(np.linspace(0, 1, rings), (len(xs), rings))
    y, u, inside, v, z = _until_fold(y.T, rings // 2, u.T, inside.T, v, z.T)
    u, inside, v, z = _resample(y, np.broadcast_to(ys, (len(xs), len(ys))), u, inside, v, z)
    inside = np.minimum(inside, np.minimum(ys - y[:, :1], y[:, -1:] - ys))
    return u.T, v.T, inside.T, z.T


def _until_fold(key: np.ndarray, middle: int, *others: np.ndarray) -> list[np.ndarray]:
    """Rows of ``key`` and ``others`` (R, M) held constant beyond the first fold on each side of ``middle``."""
    rising = np.diff(key, axis=1) > 0
    before = np.argmin(rising[:, middle - 1 :: -1], axis=1)
    after = np.argmin(rising[:, middle:], axis=1)
    before = np.where(rising[:, :middle].all(1), middle, before)
    after = np.where(rising[:, middle:].all(1), key.shape[1] - 1 - middle, after)
    at = np.clip(np.arange(key.shape[1]), (middle - before)[:, None], (middle + after)[:, None])
    rows = np.arange(len(key))[:, None]
    return [a[rows, at] for a in (key, *others)]


def _resample(key: np.ndarray, wanted: np.ndarray, *values: np.ndarray) -> list[np.ndarray]:
    """Row by row linear interpolation of ``values`` (R, M) given at non-decreasing ``key``, at ``wanted`` (R, K).

    All rows at once: shifted apart, they are one increasing sequence.
    """
    wanted = np.clip(wanted, key[:, :1], key[:, -1:])
    shift = (np.arange(len(key)) * (2 * (key.max() - key.min()) + 1))[:, None]
    at, knots = (wanted + shift).ravel(), (key + shift).ravel()
    return [np.interp(at, knots, v.ravel()).reshape(wanted.shape) for v in values]
