"""Masks drawn on faces: fitted in three dimensions by five landmarks, lit by the light on the face.

The head's pose is a scaled orthographic projection of a canonical face (FACE_POINTS), found over a grid of yaw and
pitch; the mask's surface is projected with it, inverted on a coarse grid by a two-pass mesh warp (Catmull and Smith
1980, "3-D transformations of images in scanline order"; Wolberg 1990, ch. 7), and its texture is sampled through
that. The cost is nearly independent of the image's size.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from data.mask_cuts import FACE_POINTS, KINDS, TEXTURE_WIDTHS, surface, textures

MASK_KINDS = ("surgical_green", "surgical_blue", "n95", "kn95", "cloth")

# The pose prior: landmarks are off by about 4 % of the eyes' distance; heads seldom nod by more than a dozen degrees,
# and a long nose must not be read as a nod.
_YAWS = np.deg2rad(np.arange(-80, 81, 4))
_PITCHES = np.deg2rad(np.arange(-36, 37, 4))
_LANDMARK_NOISE, _YAW_SPREAD, _PITCH_SPREAD = 0.04, np.deg2rad(40), np.deg2rad(9)

_CELLS = 25
# Typical grey value of well-lit skin: what the light on the face is measured against.
_LIT_SKIN = 150.0


@dataclass(frozen=True)
class HeadPose:
    """Scaled orthographic pose: image = scale · rotate(roll) · (rotation · X)[:2] + offset.

    Angles in radians: ``yaw`` positive when the face turns to the image's right, ``pitch`` positive when it looks
    up, ``roll`` clockwise in the image. ``scale`` is pixels per millimetre, ``offset`` the point between the eyes.
    """

    yaw: float
    pitch: float
    roll: float
    scale: float
    offset: tuple[float, float]


def _rotation(yaw: float, pitch: float) -> np.ndarray:
    """(3, 3): turn about the vertical axis, then nod."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    return nod @ turn


def _pose_grid() -> tuple[np.ndarray, np.ndarray]:
    """The canonical points as complex numbers, centred and of norm 1, per pose; and the pose's log prior."""
    grid = np.array([[_rotation(y, p)[:2] for p in _PITCHES] for y in _YAWS])
    projected = grid @ FACE_POINTS.T
    points = projected[..., 0, :] + 1j * projected[..., 1, :]
    points -= points.mean(-1, keepdims=True)
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    prior = -0.5 * ((_YAWS[:, None] / _YAW_SPREAD) ** 2 + (_PITCHES / _PITCH_SPREAD) ** 2)
    return points.reshape(-1, 5).conj(), prior.ravel()


_GRID_POINTS, _GRID_PRIOR = _pose_grid()
# Squared norm of the centred canonical points in units of the eyes' distance, for the weight of the residual.
_SPREAD = float(np.sum((FACE_POINTS - FACE_POINTS.mean(0))[:, :2] ** 2) / 63**2)


def fit_pose(landmarks: np.ndarray) -> HeadPose:
    """The likeliest pose for five landmarks, float (5, 2) in pixels.

    For a given yaw and pitch the best scale, roll and offset are closed form (a complex regression), so that the
    search runs over those two angles alone: a grid and a parabola through its best cell.
    """
    points = landmarks[:, 0] + 1j * landmarks[:, 1]
    centre = points.mean()
    centred = points - centre
    norm = np.linalg.norm(centred)
    if not norm > 0:
        raise ValueError("the five landmarks are one point")
    fit = np.abs(_GRID_POINTS @ (centred / norm)) ** 2
    score = ((fit - 1) * (_SPREAD / (2 * _LANDMARK_NOISE**2)) + _GRID_PRIOR).reshape(len(_YAWS), len(_PITCHES))
    i, j = divmod(int(score.argmax()), len(_PITCHES))
    yaw = _YAWS[i] + _peak(score[:, j], i) * (_YAWS[1] - _YAWS[0])
    pitch = _PITCHES[j] + _peak(score[i], j) * (_PITCHES[1] - _PITCHES[0])
    x, y = _rotation(yaw, pitch)[:2] @ FACE_POINTS.T
    model = x + 1j * y
    model_centre = model.mean()
    model -= model_centre
    turn = np.vdot(model, centred) / np.vdot(model, model).real
    offset = centre - turn * model_centre
    return HeadPose(float(yaw), float(pitch), float(np.angle(turn)), float(abs(turn)), (offset.real, offset.imag))


def _peak(values: np.ndarray, i: int) -> float:
    """Where the parabola through three neighbours has its top, in cells from ``i``."""
    if i == 0 or i == len(values) - 1:
        return 0.0
    before, here, after = values[i - 1], values[i], values[i + 1]
    bend = before - 2 * here + after
    return float(0.5 * (before - after) / bend) if bend < 0 else 0.0


@dataclass(frozen=True)
class MaskFit:
    """How a mask sits: millimetres down from its natural place, radians of tilt, factor of size, light and shadow."""

    lower_mm: float
    tilt: float
    size: float
    brightness: float
    shadow: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "MaskFit":
        """A random fit within natural bounds."""
        lower, tilt, size, brightness, shadow = rng.uniform(-1, 1, 5)
        return cls(4.5 * lower, 0.05 * tilt, 1 + 0.05 * size, 1 + 0.08 * brightness, 0.35 + 0.15 * shadow)


def random_mask_kind(rng: np.random.Generator) -> str:
    """One of MASK_KINDS, each equally likely."""
    return MASK_KINDS[int(rng.integers(len(MASK_KINDS)))]


def render_mask(image: np.ndarray, landmarks: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Put a mask on a face, with a random fit from ``rng``.

    ``image`` uint8 (H, W, 3) RGB; ``landmarks`` float (5, 2), pixels in it: left eye, right eye, nose tip, left and
    right corner of the mouth, as seen in the image; ``kind`` one of MASK_KINDS. Returns a new image of the same
    shape. The same image, landmarks, kind and state of ``rng`` give the same pixels.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown mask {kind!r}; choose from {', '.join(KINDS)}")
    fit = MaskFit.draw(rng)
    pose = fit_pose(np.asarray(landmarks, dtype=np.float64))
    grid = _project(surface(KINDS[kind].cut), pose, fit)
    out = image.copy()
    warp = _inverse_warp(grid, pose, image.shape)
    if warp is not None:
        _composite(out, warp, textures(kind), pose, fit)
    return out


def _project(points: np.ndarray, pose: HeadPose, fit: MaskFit) -> np.ndarray:
    """Surface (rings, columns, 3) → upright view of the posed head before roll and scale: (2, rings, columns), mm."""
    cos, sin = np.cos(fit.tilt) * fit.size, np.sin(fit.tilt) * fit.size
    # Size and tilt about the mouth, so that a smaller mask still sits on the nose.
    place = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    pivot = np.array([0, 66, 0])
    rotation = _rotation(pose.yaw, pose.pitch)[:2]
    move = rotation @ (pivot - place @ pivot + [0, fit.lower_mm, 0])
    return np.einsum("ij,rcj->irc", rotation @ place, points, optimize=False) + move[:, None, None]


@dataclass(frozen=True)
class _Warp:
    """A window (x, y, width, height) of the image; per pixel of it the texture's u, v in 0 … 1, and the distance in
    millimetres inside the visible surface's outline (negative outside)."""

    window: tuple[int, int, int, int]
    u: np.ndarray
    v: np.ndarray
    inside: np.ndarray


def _inverse_warp(grid: np.ndarray, pose: HeadPose, shape: tuple[int, ...]) -> _Warp | None:
    """Which point of the surface is seen at each pixel; None where the mask lies outside the image."""
    x_low, y_low = grid.min((1, 2))
    x_high, y_high = grid.max((1, 2))
    cos, sin = pose.scale * np.cos(pose.roll), pose.scale * np.sin(pose.roll)
    turn = np.array([[cos, -sin], [sin, cos]])
    corners = turn @ [[x_low, x_high, x_low, x_high], [y_low, y_low, y_high, y_high]]
    corners += np.array(pose.offset)[:, None]
    # Not further than the image: a wild landmark must not ask for a huge window.
    height, width = shape[:2]
    left, top = np.clip(np.floor(corners.min(1)) - 3, 0, [width, height]).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(1)) + 4, 0, [width, height]).astype(int)
    if right - left < 2 or bottom - top < 2:
        return None
    xs, ys = np.linspace(x_low, x_high, _CELLS), np.linspace(y_low, y_high, _CELLS)
    cells = _invert_grid(grid, xs, ys)
    # Window pixel → millimetres of the upright view → cell.
    back = np.linalg.inv(turn)
    cells_per_mm = np.array([(_CELLS - 1) / (x_high - x_low), (_CELLS - 1) / (y_high - y_low)])
    corner = back @ (np.array([left, top]) - pose.offset) - [x_low, y_low]
    affine = np.column_stack([back, corner]) * cells_per_mm[:, None]
    full = cv2.warpAffine(
        cells.astype(np.float32),
        affine,
        (int(right - left), int(bottom - top)),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(0, 0, -99),
    )
    u, v, inside = cv2.split(full)
    return _Warp((int(left), int(top), int(right - left), int(bottom - top)), u, v, inside)


def _invert_grid(grid: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Two-pass inversion: u, v and the distance inside the outline at every (y, x) of the lattice: (ys, xs, 3).

    First each ring is resampled at ``xs``, then each column of that at ``ys``. Only the side that faces the viewer
    counts: from the middle outwards, a ring ends where it turns back.
    """
    rings, columns = grid.shape[1:]
    x, y, u = _until_fold(grid[0], columns // 2, grid[1], np.broadcast_to(np.linspace(0, 1, columns), grid.shape[1:]))
    at, (y, u) = _resample(x, np.broadcast_to(xs, (rings, len(xs))), y, u)
    inside = np.minimum(xs - x[:, :1], x[:, -1:] - xs)
    v = np.broadcast_to(np.linspace(0, 1, rings), (len(xs), rings))
    y, u, inside, v = _until_fold(y.T, rings // 2, u.T, inside.T, v)
    at, (u, inside, v) = _resample(y, np.broadcast_to(ys, (len(xs), len(ys))), u, inside, v)
    inside = np.minimum(inside, np.minimum(ys - y[:, :1], y[:, -1:] - ys))
    return np.dstack([u.T, v.T, inside.T])


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


def _resample(key: np.ndarray, wanted: np.ndarray, *values: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Row by row linear interpolation of ``values`` (R, M) given at non-decreasing ``key``, at ``wanted`` (R, K).

    All rows at once: shifted apart, they are one increasing sequence.
    """
    wanted = np.clip(wanted, key[:, :1], key[:, -1:])
    shift = (np.arange(len(key)) * (2 * (key.max() - key.min()) + 1))[:, None]
    at, knots = (wanted + shift).ravel(), (key + shift).ravel()
    return wanted, [np.interp(at, knots, v.ravel()).reshape(wanted.shape) for v in values]


def _composite(out: np.ndarray, warp: _Warp, pyramid: tuple[np.ndarray, ...], pose: HeadPose, fit: MaskFit) -> None:
    """Blend the lit mask and its shadow into ``out``, in place."""
    left, top, width, height = warp.window
    face = out[top : top + height, left : left + width]
    # From ear to ear the texture spans about 240 mm.
    level = int(np.searchsorted(TEXTURE_WIDTHS[:-1], 240 * pose.scale))
    texture = pyramid[level]
    mask = cv2.remap(
        texture, warp.u * (texture.shape[1] - 1), warp.v * (texture.shape[0] - 1), cv2.INTER_LINEAR
    ).astype(np.float32)
    mask *= np.clip(warp.inside * pose.scale + 0.25, 0, 1)[..., None]
    alpha = mask[..., 3] * (1 / 255)
    light = _light(face, alpha) * fit.brightness
    reach = max(3, int(5 * pose.scale) | 1)
    shadow = cv2.blur(cv2.blur(alpha, (reach, reach)), (reach, reach))
    under = (1 - fit.shadow * shadow) * (1 - alpha)
    face[:] = np.clip(face * under[..., None] + mask[..., :3] * light, 0, 255) + 0.5


def _light(face: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The light that falls on the mask, per pixel and channel: float32 (H, W, 3), about 1 for a well-lit face.

    Low frequencies of the face under the mask, as a share of lit skin. A dark skin in a bright picture is not a
    dark light, so that the picture's own bright parts count too.
    """
    height, width = alpha.shape
    weight = cv2.resize(alpha, (5, 5), interpolation=cv2.INTER_AREA)
    small = cv2.resize(face, (5, 5), interpolation=cv2.INTER_AREA).astype(np.float32)
    weight = (weight + 1e-3)[..., None]
    mean = (small * weight).sum((0, 1)) / weight.sum()
    grey = float(mean.mean())
    local = (small * weight + mean * 0.25).mean(-1) / (weight[..., 0] + 0.25)
    bright = max(grey, 0.6 * float(small.max()))
    # Half of the way from the skin to the bright parts; then the local light around that level.
    level = (0.6 * grey + 0.4 * bright) / _LIT_SKIN
    relief = np.clip(local / max(grey, 1.0), 0.4, 1.5)
    tint = 1 + 0.25 * (mean / max(grey, 1.0) / np.array([1.24, 0.95, 0.81], np.float32) - 1)
    field = np.clip(level * relief, 0.05, 1.12)[..., None] * np.clip(tint, 0.7, 1.2)
    return cv2.resize(field.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
