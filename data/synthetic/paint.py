"""Paints skin, eyes, brows, lips, lines and hair on the head's chart.

Two layers: ``colour`` (uint8 RGB) holds what has an edge, ``shadow`` (float, lower resolution) what is soft.
"""

import cv2
import numpy as np

from data.synthetic.head import CHART, PHI, PHI_MAX, Y_BOTTOM, Y_TOP, Y, falling_hair, hairline, hat_edge
from data.synthetic.people import Person, Scene

_SHIFT = 4  # cv2 draws with 1 / 16 pixel
_T = np.linspace(0, 1, 13)
_ARC = np.sin(np.pi * _T)
_ORIGIN = np.array([PHI_MAX, -Y_TOP])
_DOWN = np.array([0.0, 1.0])


class Chart:
    """A drawing surface over the chart with ``scale`` pixels per unit."""

    def __init__(self, pixels: np.ndarray, scale: float):
        self.pixels, self.scale = pixels, scale

    def _fixed(self, points: np.ndarray) -> np.ndarray:
        at = (np.asarray(points, np.float64) + _ORIGIN) * (self.scale * (1 << _SHIFT))
        return np.rint(at).astype(np.int32)

    def like(self, colour: np.ndarray) -> "Chart":
        """A surface of the same shape, all of one colour."""
        pixels = np.empty_like(self.pixels)
        cv2.rectangle(pixels, (0, 0), pixels.shape[1::-1], _rgb(colour), -1)
        return Chart(pixels, self.scale)

    def fill(self, points: np.ndarray, colour: tuple) -> None:
        cv2.fillPoly(self.pixels, [self._fixed(points)], colour, cv2.LINE_AA, _SHIFT)

    def line(self, points: np.ndarray, colour: tuple, width: float) -> None:
        """Lines along points (n, 2) or (m, n, 2), ``width`` in units."""
        points = np.asarray(points)
        lines = list(self._fixed(points)) if points.ndim == 3 else [self._fixed(points)]
        cv2.polylines(self.pixels, lines, False, colour, max(1, round(width * self.scale)), cv2.LINE_AA, _SHIFT)

    def dot(self, centre: np.ndarray, radius: float, colour: tuple) -> None:
        x, y = self._fixed(np.asarray(centre)).tolist()
        cv2.circle(self.pixels, (x, y), round(radius * self.scale * (1 << _SHIFT)), colour, -1, cv2.LINE_AA, _SHIFT)

    def window(self, left: float, top: float, right: float, bottom: float) -> tuple[np.ndarray, np.ndarray]:
        """The pixels inside a box of the chart, as a view, and the box's corner in chart units."""
        (x0, y0), (x1, y1) = (
            ((np.array(corner) + _ORIGIN) * self.scale).astype(int) for corner in ((left, top), (right, bottom))
        )
        return self.pixels[y0:y1, x0:x1], np.array([x0, y0]) / self.scale - _ORIGIN


def chart_shape(scale: float) -> tuple[int, int]:
    """Rows and columns of a chart with ``scale`` pixels per unit."""
    return int((Y_BOTTOM - Y_TOP) * scale) + 1, int(2 * PHI_MAX * scale) + 1


def _rgb(colour: np.ndarray) -> tuple[float, float, float]:
    return tuple(np.clip(colour, 0, 255).tolist())


def _bezier(*points: tuple[float, float]) -> np.ndarray:
    """Points on the quadratic or cubic Bézier curve with these control points: (13, 2)."""
    controls = np.array(points, float)
    while len(controls) > 1 and controls.ndim == 2:
        controls = controls[:, None, :]
    while len(controls) > 1:
        controls = controls[:-1] * (1 - _T[:, None]) + controls[1:] * _T[:, None]
    return controls[0]


def paint(p: Person, s: Scene, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """The head's colours, uint8 (rows, columns, 3), and soft shadows as factors, float32 on the chart, RGB."""
    colour = Chart(np.empty((*chart_shape(scale), 3), np.uint8), scale).like(p.skin * s.tan)
    shadow = Chart(np.zeros((len(Y), len(PHI)), np.uint8), CHART)
    _lips(colour, shadow, p, s)
    _nose(colour, shadow, p)
    _lines(shadow, p, s)
    _marks(colour, p)
    for side in (-1, 1):
        _eye(colour, shadow, p, s, side)
    _brows(colour, p, s)
    tint = _skin_tint(p, cv2.GaussianBlur(shadow.pixels, (5, 5), 1.1))
    _hair(colour, p, s)
    if s.hat:
        _hat(colour, s)
    return colour.pixels, tint


def _skin_tint(p: Person, shadow: np.ndarray) -> np.ndarray:
    """Soft changes of the skin's colour as factors of RGB: shadows, blush, stubble, unevenness."""
    depth = shadow.astype(np.float32) * (1 / 255)
    rows = np.stack([np.exp(-(((Y - 0.48) / 0.24) ** 2)), np.exp(-(((Y - 0.5) / 0.1) ** 2))], 1)
    columns = np.stack([np.exp(-(((np.abs(PHI) - 0.62) / 0.24) ** 2)), 0.8 * np.exp(-((PHI / 0.16) ** 2))])
    blush = (rows @ columns).astype(np.float32) * (0.10 * p["blush"])
    uneven = cv2.resize(p.mottle, PHI.shape + Y.shape, interpolation=cv2.INTER_LINEAR)
    if p["stubble"] > 0:
        inside = 1 / (1 + np.exp(-(Y[:, None] - 0.78 - 0.3 * np.cos(1.3 * PHI) ** 8 + 0.18 * np.abs(PHI)) / 0.06))
        depth = depth + inside.astype(np.float32) * (0.36 * p["stubble"])
    light = 1 + uneven
    return np.stack(
        [light - 0.62 * depth + 0.2 * blush, light - 0.85 * depth - blush, light - 0.9 * depth - 0.8 * blush], 2
    )


def eye_outline(p: Person, s: Scene, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower lid from the inner to the outer corner, (13, 2) each, chart units."""
    half, middle = p["eye_width"], side * p["eye_spacing"]
    x = middle + side * half * (2 * _T - 1)
    rise = -p["eye_tilt"] * (2 * _T - 1) + 0.012
    opening = p["eye_height"] * s.eye_open
    squint = 0.25 * p["eye_height"] * max(s.smile, 0)
    upper = rise - 1.12 * opening * np.sin(np.pi * _T ** p["eye_peak"]) ** 0.8
    lower = rise + np.maximum(0.75 * opening - squint, 0.004) * np.sin(np.pi * _T**1.15) ** 0.9
    return np.stack([x, upper], 1), np.stack([x, lower], 1)


def _eye(colour: Chart, shadow: Chart, p: Person, s: Scene, side: int) -> None:
    upper, lower = eye_outline(p, s, side)
    outline = np.concatenate([upper, lower[::-1]])
    crease = upper - _DOWN * (p["crease"] * (0.5 + 0.5 * _ARC))[:, None]
    shadow.line(crease, 105, 0.03)
    shadow.fill(np.concatenate([upper, crease[::-1]]), 48)
    shadow.line(lower + 0.02 * _DOWN, 60, 0.03)
    bag = lower + _DOWN * (0.03 + (0.075 * _ARC))[:, None]
    shadow.line(bag[2:-2], int(20 + 85 * p["bags"]), 0.03)
    if s.eye_open > 0.3:
        _eyeball(colour, p, s, outline, side)
    thickness = (0.012 + 0.020 * p["lashes"]) * (0.35 + _T**0.6)
    thickness[-1] *= 0.3
    wing = np.array([side * 0.03, -0.018]) * p["lashes"] * (_T**4)[:, None]
    lash = _rgb(0.25 * p.hair + (22, 14, 12))
    colour.fill(np.concatenate([upper + 0.006 * _DOWN, (upper - _DOWN * thickness[:, None] + wing)[::-1]]), lash)
    skin = p.skin * s.tan
    colour.line(lower[1:], _rgb(skin * 0.55), 0.011)
    if s.eye_open <= 0.3:
        colour.line(lower, lash, 0.02)


def _eyeball(colour: Chart, p: Person, s: Scene, outline: np.ndarray, side: int) -> None:
    """Sclera, iris and pupil, seen through the opening of the lids."""
    (left, top), (right, bottom) = outline.min(0) - 0.03, outline.max(0) + 0.03
    pixels, corner = colour.window(left, top, right, bottom)
    ball = Chart(np.empty_like(pixels), colour.scale)
    opening = Chart(np.zeros(pixels.shape[:2], np.uint8), colour.scale)
    move = -_ORIGIN - corner
    ball.pixels[:] = (236, 230, 226)
    centre = np.array([side * p["eye_spacing"], -0.006]) + s.gaze
    r = p["iris_size"]
    ball.dot(outline[0] + move, 0.035, (214, 152, 142))
    ball.dot(centre + move, r * 1.06, _rgb(p.iris * 0.35))
    ball.dot(centre + move, r * 0.90, _rgb(p.iris * 0.85))
    ball.dot(centre + move + 0.22 * r * _DOWN, r * 0.62, _rgb(p.iris * 1.3 + 8))
    ball.dot(centre + move, r * 0.44, (14, 11, 11))
    ball.line(outline[:13] + move, (92, 78, 76), 0.022)
    glint = centre + move + (0.42 * r * np.sign(s.light_direction[0] or 1), -0.38 * r)
    ball.dot(glint, r * 0.2, (255, 255, 255))
    opening.fill(outline + move, 255)
    alpha = opening.pixels[..., None].astype(np.float32) * (1 / 255)
    pixels[:] = pixels + alpha * (ball.pixels.astype(np.float32) - pixels)


def brow_curve(p: Person, s: Scene, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Centre line (13, 2) from the nose outwards and half thickness (13,), chart units."""
    inner = p["brow_gap"] + 0.02
    x = side * (inner + p["brow_length"] * _T)
    y = -p["brow_height"] - s.brow_raise - p["brow_tilt"] * (2 * _T - 1) - p["brow_arch"] * np.sin(np.pi * _T**1.5)
    y = y + 0.05 * _T**3
    half = p["brow_thickness"] * np.minimum(0.72 + 1.6 * _T, 1) * (1 - _T**2.2 * 0.88)
    return np.stack([x, y], 1), half


def _brows(colour: Chart, p: Person, s: Scene) -> None:
    """Both brows: a soft body with single hairs, blended with the skin."""
    pixels, corner = colour.window(-0.95, -0.68, 0.95, -0.02)
    mask = Chart(np.zeros(pixels.shape[:2], np.uint8), colour.scale)
    move = -_ORIGIN - corner
    steps = np.linspace(0.02, 0.96, 22)
    for side in (-1, 1):
        curve, half = brow_curve(p, s, side)
        curve = curve + move
        down = _DOWN * half[:, None]
        mask.fill(np.concatenate([curve - down, (curve + down)[::-1]]), int(165 * p["brow_density"]))
        root = np.stack([np.interp(steps, _T, curve[:, 0]), np.interp(steps, _T, curve[:, 1])], 1)
        height = np.interp(steps, _T, half)
        lean = 0.2 + 0.8 * steps
        start = root + np.stack([0 * steps, height * 0.85], 1)
        end = root + np.stack([side * 0.075 * lean, -height * (1.1 - 0.9 * lean)], 1)
        mask.line(np.stack([start, end], 1), int(245 * p["brow_density"]), 0.01)
    alpha = cv2.GaussianBlur(mask.pixels, (3, 3), 0.7)[..., None].astype(np.float32) * (1 / 255)
    hair = (0.72 * p.hair + 0.06 * p.skin).astype(np.float32)
    pixels[:] = pixels + alpha * (hair - pixels)


def mouth_corners(p: Person, s: Scene) -> np.ndarray:
    """The mouth's corners on the chart, image's left first: (2, 2)."""
    x = p["mouth_width"] * (0.97 + 0.15 * s.smile) - 0.03 * s.mouth_open
    y = p["mouth_height"] - 0.10 * s.smile + 0.03 * s.mouth_open
    return np.array([[-x, y], [x, y]])


def _lips(colour: Chart, shadow: Chart, p: Person, s: Scene) -> None:
    (left, y), (right, _) = mouth_corners(p, s)
    m, gap = p["mouth_height"] + 0.03 * s.smile, 0.13 * s.mouth_open
    up, low = p["upper_lip"] * (1 - 0.2 * max(s.smile, 0)), p["lower_lip"]
    top = m - up * 0.55
    bow = np.concatenate(
        [
            _bezier((left, y), (left * 0.45, top - 0.01), (-0.075, top - 0.028)),
            _bezier((-0.075, top - 0.028), (0, top + 0.028), (0.075, top - 0.028)),
            _bezier((0.075, top - 0.028), (right * 0.45, top - 0.01), (right, y)),
        ]
    )
    seam = m + 0.015
    inner_up = _bezier((right, y), (right * 0.5, seam - 0.02), (0, seam + 0.02), (left * 0.5, seam - 0.02), (left, y))
    inner_low = _bezier(
        (left, y), (left * 0.5, seam + gap * 1.25), (0, seam + gap * 1.1), (right * 0.5, seam + gap * 1.25), (right, y)
    )
    bottom = _bezier(
        (right, y),
        (right * 0.62, m + low * 1.25 + gap),
        (0, m + low * 1.3 + gap),
        (left * 0.62, m + low * 1.25 + gap),
        (left, y),
    )
    skin = p.skin * s.tan
    red = skin * (0.9, 0.71, 0.70) + p["lip_colour"] ** 2 * np.array([10, -24, -8])
    if gap > 0.01:
        colour.fill(np.concatenate([inner_low, inner_up]), (70, 30, 30))
        teeth = inner_up[2:-2]
        edge = teeth + _DOWN * (0.6 * gap * np.sin(np.pi * _T[2:-2]) ** 0.5)[:, None]
        colour.fill(np.concatenate([teeth, edge[::-1]]), (226, 218, 206))
    colour.fill(np.concatenate([bow, inner_up]), _rgb(red * 0.88))
    colour.fill(np.concatenate([inner_low, bottom]), _rgb(red))
    colour.line(inner_up, _rgb(red * 0.45), 0.014)
    shadow.line(bottom[3:-3] + 0.03 * _DOWN, 70, 0.05)
    for x in (left, right):
        shadow.dot((x * 1.02, y), 0.03, 95)


def _nose(colour: Chart, shadow: Chart, p: Person) -> None:
    n, w = p["nose_length"], p["nose_width"]
    skin = p.skin
    for side in (-1, 1):
        wing = _bezier(
            (side * 0.165 * w, n - 0.08),
            (side * 0.25 * w, n - 0.0),
            (side * 0.225 * w, n + 0.09),
            (side * 0.12 * w, n + 0.08),
        )
        shadow.line(wing[2:], 95, 0.03)
        hole = np.array([[0.035, 0.088], [0.075, 0.066], [0.12, 0.074], [0.115, 0.092], [0.07, 0.100]]) * (side * w, 1)
        colour.fill(hole + n * _DOWN, _rgb(skin * 0.38))
    shadow.fill(
        np.array([[-0.14 * w, n + 0.07], [0.14 * w, n + 0.07], [0.08 * w, n + 0.13], [-0.08 * w, n + 0.13]]), 30
    )


def _lines(shadow: Chart, p: Person, s: Scene) -> None:
    """Nasolabial folds, and lines that come with age and with the face one makes."""
    old, smile = p["lines"], max(s.smile, 0)
    n, m = p["nose_length"], p["mouth_height"]
    e = p["eye_spacing"]
    for side in (-1, 1):
        fold = _bezier((side * 0.25, n - 0.02), (side * 0.38, n + 0.16), (side * (0.47 + 0.05 * smile), m - 0.05))
        shadow.line(fold, int(min(150, 18 + 90 * old + 70 * smile)), 0.035)
        if old > 0.15:
            corner = np.array([side * (e + p["eye_width"] + 0.05), -0.02])
            for angle in (-0.5, 0.0, 0.45):
                end = corner + 0.13 * np.array([side * np.cos(angle), np.sin(angle)])
                shadow.line(np.stack([corner, end]), int(110 * old), 0.02)
            shadow.line([[side * 0.075, -0.32], [side * 0.06, -0.14]], int(110 * old), 0.025)
    if old > 0.1:
        x = np.linspace(-0.55, 0.55, 9)
        for i, y in enumerate((-0.58, -0.7, -0.83)):
            wave = y + 0.025 * np.cos(5 * x + i) - s.brow_raise
            shadow.line(
                np.stack([x * (1 - 0.12 * i), wave], 1), int(min(150, 120 * old + 600 * max(s.brow_raise, 0))), 0.022
            )


def _marks(colour: Chart, p: Person) -> None:
    for phi, y, radius in p.freckles:
        colour.dot((phi, y), radius, _rgb(p.skin * (0.84, 0.72, 0.62)))
    for phi, y, radius in p.moles:
        colour.dot((phi, y), radius, _rgb(p.skin * (0.42, 0.34, 0.30)))


def _hair(colour: Chart, p: Person, s: Scene) -> None:
    """Hair over everything above the hairline, with strands whose tips hang over it."""
    rng = np.random.default_rng(s.strands)
    edge = hairline(p, s, PHI)
    fall = falling_hair(p, s, PHI)
    mask = Chart(np.zeros(colour.pixels.shape[:2], np.uint8), colour.scale)
    for border in (edge, fall):
        mask.fill(np.concatenate([[(-PHI_MAX, Y_TOP)], np.stack([PHI, border], 1), [(PHI_MAX, Y_TOP)]]), 255)
    hair = colour.like(p.hair)
    strands = _strands(p, np.maximum(edge, fall), rng)
    mask.line(strands[:, -2:], 255, 0.03)
    hair.line(strands[0::5], _rgb(p.hair * 0.6), 0.013)
    hair.line(strands[1::5], _rgb(p.hair * 0.78), 0.013)
    hair.line(strands[2::5], _rgb(p.hair * 1.2 + 6), 0.013)
    hair.line(strands[3::5], _rgb(p.hair * 1.42 + 10), 0.013)
    cv2.copyTo(hair.pixels, mask.pixels, colour.pixels)


def _hat(colour: Chart, s: Scene) -> None:
    """A knitted hat: ribs from the crown to a folded rim."""
    edge = hat_edge(s, PHI)
    corners = [(PHI_MAX, Y_TOP), (-PHI_MAX, Y_TOP)]
    colour.fill(np.concatenate([np.stack([PHI, edge], 1), corners]), _rgb(s.hat_colour))
    colour.fill(np.concatenate([np.stack([PHI, edge - 0.24], 1), corners]), _rgb(s.hat_colour * 0.86))
    ribs = np.arange(-PHI_MAX, PHI_MAX, 0.09)
    top, bottom = np.full_like(ribs, Y_TOP), np.interp(ribs, PHI, edge)
    colour.line(np.stack([np.stack([ribs, top], 1), np.stack([ribs, bottom], 1)], 1), _rgb(s.hat_colour * 0.7), 0.02)


def _strands(p: Person, edge: np.ndarray, rng: np.random.Generator, count: int = 130) -> np.ndarray:
    """Strands from the crown to the hair's edge: (count, 7, 2)."""
    root = np.linspace(-PHI_MAX, PHI_MAX, count) + rng.normal(0, 0.03, count)
    rng.shuffle(root)
    tip_phi = root + 0.3 * p["fringe_sweep"] * np.cos(root) + rng.normal(0, 0.05, count)
    tip = np.interp(tip_phi, PHI, edge) + rng.uniform(-0.02, 0.05, count)
    along = _T[None, ::2]
    curl = p["hair_curl"] ** 2
    wave = 0.10 * curl * np.sin(along * 22 * (0.5 + curl) + rng.uniform(0, 6.3, (count, 1)))
    phi = root[:, None] + (tip_phi - root)[:, None] * along**2 + wave * along
    return np.stack([phi, Y_TOP + (tip - Y_TOP)[:, None] * along], 2)
