"""How a mask's surface looks from one side: where each point of the view lies on it.

The surface's points are drawn on a picture, the far ones first, which is then read on a coarse lattice. Poses come in
steps, so that each view is made once and kept; size, tilt and place of a single mask are a similarity of the view.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from data.masks.cuts import STRAP_ASIDE, Cut, Skin, skin, straps
from data.masks.pose import rotation

_CELLS = 31
# A view reaches so far beyond the surface: room for soft edges and the shadow at the rim.
BORDER_MM = 5.0
# A pixel of the picture, about as wide as the surface's points are apart.
_PIXEL_MM = 1.5
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
    the outline of the fabric that is seen, negative outside; the light on the surface, less as it turns away from the
    viewer.
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


# 3,000 poses within 45°, but a data set's heads and cuts keep to far fewer; 15 KB each.
@lru_cache(maxsize=3_000)
def view(cut: Cut, nose_free: bool, yaw: float, pitch: float) -> View:
    """The view of a mask under a pose of the head; angles as in HeadPose."""
    turn = rotation(yaw, pitch)
    # A face that turns to one side has that side farther away.
    lattice, low, high = _lattice(skin(cut, nose_free), turn.astype(np.float32), np.s_[:: -1 if yaw > 0 else 1])
    turn = turn[:2]
    lines = _visible(straps(cut, nose_free) @ turn.T)
    return View(
        lattice=lattice,
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


def _lattice(surface: Skin, turn: np.ndarray, far_first: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``View.lattice`` of a turned surface, and its ends ``low`` and ``high`` (x, y); ``far_first`` orders the
    points of the surface."""
    points = turn[:2] @ surface.points
    low, high = points.min(1) - BORDER_MM, points.max(1) + BORDER_MM
    width, height = (int(n) for n in np.ceil((high - low) / _PIXEL_MM) + 1)
    column, row = ((points - low[:, None]) * np.float32(1 / _PIXEL_MM) + np.float32(0.5)).astype(np.int32)
    facing = np.flatnonzero(turn[2] @ surface.normals > 0)[far_first]
    shown = np.full(height * width, -1, np.int32)
    # Of several points in one pixel the last stays.
    shown[(row * width + column)[facing]] = facing
    shown, beyond = _filled(shown.reshape(height, width))
    light = _light(turn, surface.normals)
    values = cv2.merge(
        [
            *(values.take(shown) for values in surface.uv),
            _inside(surface.fabric.take(shown) & ~beyond),
            light.take(shown),
        ]
    )
    step = (high - low) / (_CELLS - 1) / _PIXEL_MM
    matrix = np.array([[step[0], 0, 0], [0, step[1], 0]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    lattice = cv2.warpAffine(cv2.blur(values, (3, 3)), matrix, (_CELLS, _CELLS), flags=flags)
    return lattice, low, high


def _filled(shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The picture ``shown`` (H, W) with its nearest value in each pixel that has none (−1), and which of these lie
    beyond its border, not in gaps between points."""
    drawn = (shown >= 0).astype(np.uint8)
    _, label = cv2.distanceTransformWithLabels(1 - drawn, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL)
    values = np.zeros(label.max() + 1, shown.dtype)
    values[label[drawn > 0]] = shown[drawn > 0]
    return values[label], cv2.morphologyEx(drawn, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) == 0


def _inside(fabric: np.ndarray) -> np.ndarray:
    """How far each pixel lies inside the outline of the fabric (H, W) that is seen, float32 millimetres."""
    within, beyond = (
        cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5) for part in (fabric, ~fabric)
    )
    # The outermost points lie somewhere in the outermost pixels, and the outline a little beyond them.
    return np.float32(_PIXEL_MM) * np.where(fabric, within - 0.75, 0.25 - beyond)


def _light(turn: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Light from the viewer and a little from above on surfaces with those normals (3, n) after a turn, (n,)."""
    facing = (turn[2] - np.float32(_FROM_ABOVE) * turn[1]) @ normals
    return np.float32(1 - _TURNING) + np.float32(_TURNING) * np.clip(facing, 0, 1)
