"""Masks drawn on faces: fitted in three dimensions by five landmarks, lit by the light on the face.

The head's pose is a scaled orthographic projection of a canonical face (FACE_POINTS), found over a grid of yaw and
pitch; the mask's surface is projected with it, inverted on a coarse grid by a two-pass mesh warp (Catmull and Smith
1980, "3-D transformations of images in scanline order"; Wolberg 1990, ch. 7), and its texture is sampled through
that. The cost is nearly independent of the image's size.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from data.mask_cuts import FACE_POINTS, KINDS, TEXTURE_WIDTHS, straps, surface, textures

MASK_KINDS = ("surgical_green", "surgical_blue", "n95", "kn95", "cloth")

# The pose prior: landmarks are off by about 4 % of the eyes' distance; heads seldom nod by more than a dozen degrees,
# and a long nose must not be read as a nod.
_YAWS = np.deg2rad(np.arange(-80, 81, 4))
_PITCHES = np.deg2rad(np.arange(-36, 37, 4))
_LANDMARK_NOISE, _YAW_SPREAD, _PITCH_SPREAD = 0.04, np.deg2rad(40), np.deg2rad(9)

_CELLS = 25
_STRAP_MM = 1.6
# Millimetres a strap's step must go outwards in the view: less, and it has gone round the cheek or the jaw.
_STRAP_STEP_MM = 1.2
# Typical grey value of well-lit skin: what the light on the face is measured against.
_LIT_SKIN = 132.0
# Where light is measured: cells of the mask's window, as coordinates −1 … 1.
_LIGHT_CELLS = 6
_ACROSS, _DOWN = np.meshgrid(*[(np.arange(_LIGHT_CELLS) + 0.5) * 2 / _LIGHT_CELLS - 1] * 2)


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
        """A random fit within natural bounds: 6.5 mm up to 2.5 mm down, 3° of tilt, 5 % of size."""
        lower, tilt, size, brightness, shadow = rng.uniform(-1, 1, 5)
        return cls(4.5 * lower - 2, 0.05 * tilt, 1 + 0.05 * size, 1 + 0.08 * brightness, 0.35 + 0.15 * shadow)


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
    style = KINDS[kind]
    grid = _project(surface(style.cut), pose, fit)
    out = image.copy()
    warp = _inverse_warp(grid, pose, image.shape)
    if warp is not None:
        cover = _sample(textures(kind), warp, pose)
        _draw_straps(cover, _project(straps(style.cut), pose, fit), warp.window[:2], pose, style.straps)
        _composite(out, cover, warp.window, pose, fit)
    return out


def _project(points: np.ndarray, pose: HeadPose, fit: MaskFit) -> np.ndarray:
    """Points of the head (…, 3) → upright view of the posed head before roll and scale: (2, …), millimetres."""
    cos, sin = np.cos(fit.tilt) * fit.size, np.sin(fit.tilt) * fit.size
    # Size and tilt about the mouth, so that a smaller mask still sits on the nose.
    place = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    pivot = np.array([0, 62, 0])
    rotation = _rotation(pose.yaw, pose.pitch)[:2]
    move = rotation @ (pivot - place @ pivot + [0, fit.lower_mm, 0])
    flat = (rotation @ place) @ points.reshape(-1, 3).T + move[:, None]
    return flat.reshape(2, *points.shape[:-1])


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
    y, u = _resample(x, np.broadcast_to(xs, (rings, len(xs))), y, u)
    inside = np.minimum(xs - x[:, :1], x[:, -1:] - xs)
    v = np.broadcast_to(np.linspace(0, 1, rings), (len(xs), rings))
    y, u, inside, v = _until_fold(y.T, rings // 2, u.T, inside.T, v)
    u, inside, v = _resample(y, np.broadcast_to(ys, (len(xs), len(ys))), u, inside, v)
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


def _resample(key: np.ndarray, wanted: np.ndarray, *values: np.ndarray) -> list[np.ndarray]:
    """Row by row linear interpolation of ``values`` (R, M) given at non-decreasing ``key``, at ``wanted`` (R, K).

    All rows at once: shifted apart, they are one increasing sequence.
    """
    wanted = np.clip(wanted, key[:, :1], key[:, -1:])
    shift = (np.arange(len(key)) * (2 * (key.max() - key.min()) + 1))[:, None]
    at, knots = (wanted + shift).ravel(), (key + shift).ravel()
    return [np.interp(at, knots, v.ravel()).reshape(wanted.shape) for v in values]


def _sample(pyramid: tuple[np.ndarray, ...], warp: _Warp, pose: HeadPose) -> np.ndarray:
    """The texture seen through the warp: premultiplied RGBA uint8 (h, w, 4) of the window."""
    # From ear to ear the texture spans about 240 mm.
    texture = pyramid[int(np.searchsorted(TEXTURE_WIDTHS[:-1], 240 * pose.scale))]
    rows, columns = texture.shape[:2]
    mask = cv2.remap(texture, warp.u * (columns - 1), warp.v * (rows - 1), cv2.INTER_LINEAR)
    # The edge where the surface turns away from the viewer, about a pixel and a half soft.
    edge = np.clip(warp.inside * np.float32(pose.scale * 0.7) + np.float32(0.2), 0, 1)
    return cv2.multiply(mask, cv2.merge([edge] * 4), dtype=cv2.CV_8U)


def _draw_straps(
    cover: np.ndarray, lines: np.ndarray, corner: tuple[int, int], pose: HeadPose, colour: tuple[int, int, int]
) -> None:
    """Draw the straps (2, straps, sides, points) into ``cover``, each as far as it faces the viewer."""
    turn = pose.scale * np.array([[np.cos(pose.roll), -np.sin(pose.roll)], [np.sin(pose.roll), np.cos(pose.roll)]])
    shift = np.array(pose.offset) - corner
    outwards = np.diff(lines[0], axis=-1) * np.array([-1, 1])[:, None] > _STRAP_STEP_MM
    width = max(1, round(_STRAP_MM * pose.scale))
    # A thread narrower than a pixel covers only its share of it.
    share = min(1.0, _STRAP_MM * pose.scale / width)
    ink = [share * value for value in (*colour, 255)]
    for strap, side in np.ndindex(lines.shape[1:3]):
        steps = outwards[strap, side]
        count = len(steps) + 1 if steps.all() else int(steps.argmin()) + 1
        if count > 1:
            points = (turn @ lines[:, strap, side, :count]).T + shift
            line = np.clip(points * 16, -30000, 30000).round().astype(np.int32)
            cv2.polylines(cover, [line], False, ink, width, cv2.LINE_AA, 4)


def _composite(
    out: np.ndarray, cover: np.ndarray, window: tuple[int, int, int, int], pose: HeadPose, fit: MaskFit
) -> None:
    """Blend the lit mask and its shadow into ``out``, in place."""
    left, top, width, height = window
    face = out[top : top + height, left : left + width]
    alpha = cover[..., 3] * np.float32(1 / 255)
    light, is_grey = _light(face, alpha, fit.brightness)
    colour = cv2.cvtColor(cover, cv2.COLOR_RGBA2RGB)
    if is_grey:
        colour = cv2.cvtColor(cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    reach = max(3, int(5 * pose.scale) | 1)
    shadow = cv2.blur(cv2.blur(alpha, (reach, reach)), (reach, reach))
    under = (1 - np.float32(fit.shadow) * shadow) * (1 - alpha)
    blend = cv2.multiply(face, cv2.merge([under] * 3), dtype=cv2.CV_32F)
    blend += cv2.multiply(colour, light, dtype=cv2.CV_32F)
    # Rounds and saturates to 0 … 255.
    face[:] = cv2.convertScaleAbs(blend)


def _light(face: np.ndarray, alpha: np.ndarray, brightness: float) -> tuple[np.ndarray, bool]:
    """The light on the mask, per pixel and channel: float32 (H, W, 3), about 1 for a well-lit face; and whether the
    picture is a grey one.

    A plane through the brightness of the face under the mask, as a share of lit skin: a gradient follows the light
    and leaves out mouths, beards and other marks. A dark skin in a bright picture is not a dark light, so that the
    picture's own bright parts count too.
    """
    size = (_LIGHT_CELLS, _LIGHT_CELLS)
    small = cv2.resize(face, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    cells = small.mean(-1)
    # Black is no skin but the border of an aligned picture.
    weight = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA) * (cells > 4) + 1e-4
    weight /= weight.sum()
    mean = (small * weight[..., None]).sum((0, 1))
    grey = float(mean.mean())
    lit = float(np.sqrt((weight * cells**2).sum()))
    level = (0.65 * lit + 0.35 * max(lit, 0.7 * float(cells.max()))) / _LIT_SKIN
    across, down = _slopes(weight, cells / max(grey, 1.0) - 1)
    relief = np.clip(1 + across * _ACROSS + down * _DOWN, 0.45, 1.4)
    # Half of the light's colour: mean skin is (1.24, 0.95, 0.81) times its own grey.
    is_grey = bool(np.ptp(small, axis=-1).max() < 6)
    tint = 1 if is_grey else np.clip(0.7 + 0.3 * mean / max(grey, 1.0) / [1.24, 0.95, 0.81], 0.75, 1.15)
    field = np.clip(level * relief, 0.04, 1.08)[..., None] * (brightness * tint * np.ones(3))
    height, width = alpha.shape
    return cv2.resize(field.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR), is_grey


def _slopes(weight: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Weighted least-squares slopes of ``values`` along x and y, drawn towards 0 where little is to be seen."""
    x, y = _ACROSS - (weight * _ACROSS).sum(), _DOWN - (weight * _DOWN).sum()
    centred = values - (weight * values).sum()
    xx, xy, yy = (weight * x * x).sum() + 0.03, (weight * x * y).sum(), (weight * y * y).sum() + 0.03
    xv, yv = (weight * x * centred).sum(), (weight * y * centred).sum()
    determinant = xx * yy - xy * xy
    return float((yy * xv - xy * yv) / determinant), float((xx * yv - xy * xv) / determinant)
