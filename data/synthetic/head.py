"""The head as a surface: radius over a chart of (phi, y), lit, and looked at under any pose.

phi is the angle around the vertical axis (0 = straight ahead, positive towards the image's right), y the height
(down, 0 = eyes). A chart pixel (i, j) is phi = j / CHART − PHI_MAX, y = i / CHART + Y_TOP.
Head frame: x to the image's right, y down, z to the camera.
"""

from functools import cache

import cv2
import numpy as np

from data.synthetic.people import Person, Scene

CHART = 40.0  # chart pixels per unit
PHI_MAX, Y_TOP, Y_BOTTOM = 2.2, -1.95, 2.1
PHI = np.arange(int(2 * PHI_MAX * CHART) + 1, dtype=np.float32) / CHART - PHI_MAX
Y = np.arange(int((Y_BOTTOM - Y_TOP) * CHART) + 1, dtype=np.float32) / CHART + Y_TOP

# Heights and the head's front and side radius there, before traits.
_FRONT = (
    (-2, 0.72),
    (-1.5, 0.9),
    (-1, 1.0),
    (-0.45, 1.03),
    (0, 0.98),
    (0.5, 1.0),
    (1.1, 1.0),
    (1.5, 0.97),
    (2.1, 0.97),
)
_SIDE = (
    (-2, 0.75),
    (-1.5, 1.0),
    (-1, 1.13),
    (-0.4, 1.15),
    (0, 1.12),
    (0.45, 1.11),
    (0.9, 1.03),
    (1.4, 0.90),
    (2.1, 0.84),
)
_NECK = 0.54
_LONG = 0.6  # hair that falls below this height hangs beside the face
_SMOOTH = np.exp(-0.5 * (np.arange(-10, 11) / 5.0) ** 2)
_SMOOTH /= _SMOOTH.sum()


def smoothstep(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, smooth between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _profile(points: tuple, changes: tuple = ()) -> np.ndarray:
    """Smooth curve through (y, value) points plus Gaussian changes (amount, y, width): (rows,)."""
    padded = np.concatenate([np.full(10, Y[0]), Y, np.full(10, Y[-1])])
    values = np.convolve(np.interp(padded, *np.array(points, float).T), _SMOOTH, "valid")
    for amount, centre, width in changes:
        values += amount * np.exp(-0.5 * ((Y - centre) / width) ** 2)
    return values.astype(np.float32)


@cache
def _base_profiles() -> tuple[np.ndarray, np.ndarray]:
    return _profile(_FRONT), _profile(_SIDE)


def _bumps(p: Person, s: Scene) -> np.ndarray:
    """Features as separable bumps, (K, 7): height, |phi|, width, y, width above, width below, mirrored (0 or 1)."""
    e, nl, nw, m = p["eye_spacing"], p["nose_length"], p["nose_width"], p["mouth_height"]
    smile = max(s.smile, 0)
    gap = 0.10 * s.mouth_open
    lips = p["mouth_width"] * 0.62
    return np.array(
        [
            (p["brow_ridge"], e - 0.05, 0.24, -0.24, 0.10, 0.07, 1),
            (-p["eye_depth"], e - 0.06, 0.20, -0.02, 0.13, 0.13, 1),
            (0.055 + 0.3 * p["eye_depth"], e, 0.13, 0.01, 0.075, 0.08, 1),
            (p["forehead"], 0.0, 0.55, -0.75, 0.3, 0.3, 0),
            (-0.03 + p["temples"], 0.98, 0.2, -0.25, 0.3, 0.3, 1),
            (p["cheekbones"], 0.74, 0.24, 0.36, 0.16, 0.18, 1),
            (p["cheek_fat"] + 0.03 * smile, 0.62, 0.26, 0.82 - 0.12 * smile, 0.25, 0.28, 1),
            (p["bridge_height"], 0.0, p["bridge_width"], 0.08, 0.14, 0.25, 0),
            (p["nose_height"] * 0.62 + p["bridge_hump"], 0.0, p["bridge_width"] * 1.15, nl - 0.26, 0.16, 0.14, 0),
            (p["nose_height"], 0.0, 0.105 * nw, nl - 0.015, 0.13, 0.062, 0),
            (0.45 * p["nose_height"] + 0.02, 0.155 * nw, 0.062, nl + 0.045, 0.085, 0.05, 1),
            (0.06, 0.0, 0.36, m - 0.02, 0.2, 0.2, 0),
            (0.045, 0.0, lips, m - 0.06, 0.05, 0.05, 0),
            (0.055, 0.0, lips * 0.85, m + 0.08 + gap, 0.05, 0.06, 0),
            (-0.045, 0.0, lips, m + 0.3 * gap, 0.022, 0.022, 0),
            (-0.035, 0.0, 0.2, m + 0.25 + gap, 0.06, 0.06, 0),
            (-0.015, 0.0, 0.035, (nl + m) / 2, 0.1, 0.1, 0),
            (p["chin_depth"], 0.0, p["chin_width"], p["chin_height"] - 0.2 + gap, 0.14, 0.16, 0),
        ],
        np.float32,
    )


def _relief(bumps: np.ndarray) -> np.ndarray:
    """Sum of the bumps over the chart, as one matrix product."""
    height, phi0, phi_width, y0, above, below, mirrored = bumps[:, :, None].transpose(1, 0, 2)
    offset = Y - y0
    rows = np.exp(-0.5 * (offset / np.where(offset < 0, above, below)) ** 2)
    columns = np.exp(-0.5 * ((PHI - phi0) / phi_width) ** 2)
    columns += mirrored * columns[:, ::-1]
    return (rows * height).T @ columns


def hair_length(p: Person, s: Scene) -> float:
    """Height y down to which the hair falls in this picture; short hair ends above the ears' lobes."""
    return min(p["hair_length"], 0.3) if s.tied else p["hair_length"]


def hairline(p: Person, s: Scene, phi: np.ndarray) -> np.ndarray:
    """Height y down to which hair grows (or hangs as a fringe) at each phi, without the hair that falls behind."""
    a = np.abs(phi)
    front = -p["hairline"] + 0.16 * a * a + p["widows_peak"] * np.exp(-((phi / 0.16) ** 2))
    front -= p["recession"] * np.exp(-(((a - 0.52) / 0.26) ** 2))
    fringe = p["fringe"] + s.hair_change[1]
    if fringe > 0:
        sweep = 0.26 * (p["fringe_sweep"] + s.hair_change[2])
        hanging = -1.0 + 0.58 * fringe + sweep * phi + 0.12 * a * a
        front = np.maximum(front, np.minimum(hanging, -0.34))
    side = front + (p["sideburn"] - front) * smoothstep((a - 0.72) / 0.46)
    return side + (max(hair_length(p, s), 0.75) - side) * smoothstep((a - 1.34) / 0.16)


def falling_hair(p: Person, s: Scene, phi: np.ndarray) -> np.ndarray:
    """Height y down to which long hair falls at each phi; where there is none it ends above the head."""
    length = hair_length(p, s)
    return np.where(np.abs(phi) > _falling_from(length), length, Y_TOP)


def _falling_from(length: float) -> float:
    """The angle at which falling hair begins, to either side: the longer, the further to the front."""
    return 1.36 - 0.34 * min(length - _LONG, 1) if length > _LONG else np.inf


def hat_edge(s: Scene, phi: np.ndarray) -> np.ndarray:
    """Height y of a hat's lower edge at each phi."""
    return -s.hat + 0.16 * smoothstep((np.abs(phi) - 0.3) / 1.3)


def _add_hair(radius: np.ndarray, p: Person, s: Scene) -> np.ndarray:
    """The head's radius with the volume of its hair; its edges are sloped, as rays get lost in steep walls."""
    above = hairline(p, s, PHI).astype(np.float32) - Y[:, None]
    inside = 0.75 * smoothstep(above / 0.28) + 0.25 * smoothstep(above / 0.06)
    top = max(p["hair_volume"] + s.hair_change[0], 0.03)
    thickness = p["hair_side"] + (top - p["hair_side"]) * smoothstep((-Y - 0.35) / 0.9)
    hair = (inside * thickness[:, None]).astype(np.float32)
    radius = radius + cv2.blur(hair, (7, 7))
    if s.hat:
        radius = radius + 0.08 * smoothstep((hat_edge(s, PHI) - Y[:, None]) / 0.06)
    length = hair_length(p, s)
    if length > _LONG:
        hanging = smoothstep((np.abs(PHI) - _falling_from(length) + 0.1) / 0.34) * smoothstep(
            (length + 0.08 - Y[:, None]) / 0.16
        )
        fall = 1.12 * p["head_width"] + p["hair_side"] + 0.05 * smoothstep((Y - 0.6) / 1.2)
        radius = radius + hanging * np.maximum(fall[:, None] - radius, 0)
    return radius


def radius_map(p: Person, s: Scene) -> np.ndarray:
    """Radius of skin and hair over the chart: float32 (rows, columns)."""
    front, side = _base_profiles()
    side = side * p["head_width"] * (1 + (p["jaw_width"] - 1) * smoothstep((Y - 0.3) / 0.9))
    sin2, cos2 = np.sin(PHI) ** 2, np.cos(PHI) ** 2
    squared = np.stack([side**-2, front**-2], 1).astype(np.float32) @ np.stack([sin2, cos2])
    skin = 1 / np.sqrt(squared) + _relief(_bumps(p, s))
    chin = p["chin_height"] + 0.10 * s.mouth_open
    a = np.abs(PHI)
    jaw = chin - (chin - p["jaw_height"]) * np.clip(a / 1.25, 0, 1) ** 2.5 - 0.7 * np.maximum(a - 1.25, 0)
    under = np.clip((jaw - Y[:, None]) / 0.32, 0, 1)
    under = np.sqrt(under * (2 - under))
    neck = _NECK + 0.2 * sin2
    skin = neck + (skin - neck) * under
    return _add_hair(skin, p, s).astype(np.float32)


def rotation(s: Scene) -> np.ndarray:
    """(3, 3): head frame → camera frame; pitch first, then yaw, then roll."""
    (cy, cp, cr), (sy, sp, sr) = np.cos([s.yaw, s.pitch, s.roll]), np.sin([s.yaw, s.pitch, s.roll])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def surface_points(radius: np.ndarray, chart: np.ndarray) -> np.ndarray:
    """Points of the surface in the head frame (n, 3) at chart positions (n, 2) = (phi, y)."""
    phi, y = np.split(np.asarray(chart, np.float32), 2, axis=1)
    r = cv2.remap(radius, (phi + PHI_MAX) * CHART, (y - Y_TOP) * CHART, cv2.INTER_LINEAR)
    return np.concatenate([r * np.sin(phi), y, r * np.cos(phi)], 1)


def shade(radius: np.ndarray, s: Scene, rotate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Light over the chart: factors of RGB (rows, columns, 3), and gloss 0 … 1 (rows, columns).

    The normal of r = R(phi, y) is e_r − (R_phi / R) e_phi − R_y e_y. Red light goes deeper into skin and wraps
    further round an edge than blue; hollows get less of the light from all sides.
    """
    slope_phi = cv2.Sobel(radius, cv2.CV_32F, 1, 0, scale=CHART / 8) / radius
    slope_y = cv2.Sobel(radius, cv2.CV_32F, 0, 1, scale=CHART / 8)
    length = 1 / np.sqrt(1 + slope_phi * slope_phi + slope_y * slope_y)
    sin, cos = np.sin(PHI), np.cos(PHI)

    def towards(direction: np.ndarray) -> np.ndarray:
        x, y, z = (rotate.T @ direction).astype(np.float32)
        return ((x * sin + z * cos) - slope_phi * (x * cos - z * sin) - y * slope_y) * length

    facing = towards(s.light_direction)
    half = s.light_direction + np.array([0, 0, 1.0])
    gloss = np.maximum(towards(half / np.linalg.norm(half)), 0) ** 2
    gloss = gloss * gloss * gloss * gloss
    gloss = gloss * gloss
    hollow = np.clip(
        1 + 2.2 * (radius - cv2.blur(radius, (21, 21))) + 0.9 * (radius - cv2.blur(radius, (7, 7))), 0.45, 1.12
    )
    light = np.empty((*radius.shape, 3), np.float32)
    for channel, wrap in enumerate((0.40, 0.25, 0.20)):
        direct = np.maximum((facing + wrap) / (1 + wrap), 0)
        light[..., channel] = (s.light[channel] * direct + s.ambient[channel]) * hollow
    # Steep walls are edges of hair or jaw: no broad highlight there.
    return light, gloss * length * float(s.light.mean())


def look(
    radius: np.ndarray, rotate: np.ndarray, to_units: np.ndarray, cells: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The part of the head that each cell of a cells×cells grid over the size×size image sees (orthographic).

    ``to_units`` (2, 3): affine map from image pixels to camera units. Returns the chart pixels (column, row), float32
    (cells, cells, 2), and the clearance, float32 (cells, cells): 0 on the surface, more where the ray misses. Both are
    found by walking along each ray, by a share of the distance that is left.
    """
    pixel = (np.arange(cells, dtype=np.float32) + 0.5) * (size / cells) - 0.5
    qx = to_units[0, 0] * pixel + to_units[0, 1] * pixel[:, None] + to_units[0, 2]
    qy = to_units[1, 0] * pixel + to_units[1, 1] * pixel[:, None] + to_units[1, 2]
    (x0, y0, z0) = ((qx * rotate[0, i] + qy * rotate[1, i]).astype(np.float32) for i in range(3))
    y0 -= np.float32(Y_TOP)
    dx, dy, dz = rotate[2].astype(np.float32)
    depth = np.full((cells, cells), 1.45, np.float32)
    clearance = np.full((cells, cells), 9, np.float32)
    for _ in range(13):
        r, angle = cv2.cartToPolar(-(z0 + depth * dz), -(x0 + depth * dx))
        column = (angle - (np.pi - PHI_MAX)) * CHART
        row = (y0 + depth * dy) * CHART
        gap = r - cv2.remap(radius, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        np.minimum(clearance, gap, out=clearance)
        # The extra stride takes rays that only just miss the face on to the hair behind it.
        depth = np.maximum(depth - 0.7 * gap - np.float32(0.1) * (gap > 0.05), -0.8)
    return cv2.merge([column, row]), clearance
