"""One picture of one person: head, ears, glasses and camera put together."""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from data.synthetic.head import CHART, hair_length, look, radius_map, rotation, shade, surface_points
from data.synthetic.paint import mouth_corners, paint
from data.synthetic.people import Person, Scene, make_person, make_scene
from data.transforms import template

_OVER = 2  # the head's colours are looked up so many times finer than the image, then averaged
_CHART_SCALE = 0.62  # pixels of the head's colours per unit and pixel of the image's side
_EDGE = 0.035  # units: a ray that passes the head so near still sees half of it
_CELLS = 0.66  # cells of the head's geometry per pixel of the image
_METERING = 0.4  # 0: skin tones as they are, 1: all as bright as each other
_SHOULDER = np.float32(185)
_SHIFT = 4


@dataclass(frozen=True)
class DrawnFace:
    """``image`` uint8 (size, size, 3) RGB; ``landmarks`` float32 (5, 2): x, y of left eye, right eye, nose tip, left
    and right corner of the mouth as seen in the image, pixels (integers are pixel centres)."""

    image: np.ndarray
    landmarks: np.ndarray


def draw_face(person: int, image: int, seed: int = 0, size: int = 128) -> DrawnFace:
    """Picture number ``image`` of person number ``person``; the same arguments give the same pixels."""
    return render(make_person(person, seed), make_scene(person, image, seed), size)


def render(p: Person, s: Scene, size: int = 128, onto: np.ndarray | None = None) -> DrawnFace:
    """Draw a person under given circumstances, aligned to the ``arcface5`` crop, or to other places (5, 2) of the
    landmarks in pixels, ``onto``."""
    radius, rotate = radius_map(p, s), rotation(s)
    points = surface_points(radius, _landmark_chart(p, s)) @ rotate.T
    places = template(size) if onto is None else onto
    to_image = fit_similarity(points[:, :2], places + s.jitter * (size / 128))
    landmarks = points[:, :2] @ to_image[:, :2].T + to_image[:, 2]
    canvas = _draw(p, s, radius, rotate, to_image, size)
    return DrawnFace(_photograph(canvas, s, size), landmarks.astype(np.float32))


def _landmark_chart(p: Person, s: Scene) -> np.ndarray:
    eyes = [[-p["eye_spacing"], 0], [p["eye_spacing"], 0]]
    return np.concatenate([eyes, [[0, p["nose_length"]]], mouth_corners(p, s)])


def fit_similarity(points: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """Least-squares similarity (2, 3) that takes points (n, 2) to ``onto`` (n, 2), without mirroring.

    Closed form: with both sets centred and read as complex numbers, the factor is <a, b> / <a, a>.
    """
    a, b = (v - v.mean(0) for v in (points, onto))
    norm = (a * a).sum()
    c, d = (a * b).sum() / norm, (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / norm
    linear = np.array([[c, -d], [d, c]])
    return np.column_stack([linear, onto.mean(0) - linear @ points.mean(0)])


def _draw(p: Person, s: Scene, radius: np.ndarray, rotate: np.ndarray, to_image: np.ndarray, size: int) -> np.ndarray:
    """The scene before the camera: uint8 (size, size, 3)."""
    scale = _CHART_SCALE * size
    colour, tint = paint(p, s, scale)
    light, gloss = shade(radius, s, rotate)
    seen, clearance = look(radius, rotate, cv2.invertAffineTransform(to_image), int(size * _CELLS), size)
    large, small = (size * _OVER,) * 2, (size, size)
    place = cv2.resize(seen * np.float32(scale / CHART), large, interpolation=cv2.INTER_LINEAR)
    skin = cv2.remap(colour, place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    skin = cv2.resize(skin, small, interpolation=cv2.INTER_AREA)
    lit = cv2.merge([*cv2.split(light * tint), gloss * (50.0 + 40.0 * p["blush"])])
    place = cv2.resize(seen, small, interpolation=cv2.INTER_LINEAR)
    lit = cv2.remap(lit, place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    clearance = cv2.resize(clearance, small, interpolation=cv2.INTER_LINEAR)
    head = _expose(skin * lit[..., :3] + lit[..., 3:], p)
    canvas = cv2.resize(s.background.astype(np.uint8), small, interpolation=cv2.INTER_CUBIC)
    front, behind = _ears(p, s, radius, rotate)
    _draw_ears(canvas, behind, p, s, to_image)
    alpha = np.clip((_EDGE - clearance) * (size / 3.2) + 0.5, 0, 1)[..., None]
    canvas = np.clip(canvas + alpha * (head - canvas), 0, 255).astype(np.uint8)
    _draw_ears(canvas, front, p, s, to_image)
    _draw_glasses(canvas, p, s, rotate, to_image)
    return canvas


def _expose(light: np.ndarray, p: Person) -> np.ndarray:
    """Cameras give dark skin some more light, and let bright places fade out softly."""
    light = light * np.float32((150 / p.skin.mean()) ** _METERING)
    over = np.maximum(light - _SHOULDER, 0)
    return np.minimum(light, _SHOULDER) + over * (255 - _SHOULDER) / (255 - _SHOULDER + over)


def _ears(p: Person, s: Scene, radius: np.ndarray, rotate: np.ndarray) -> tuple[list, list]:
    """Outlines of the ears in the camera frame, (2, n, 2): outside and inside; those before and behind the head."""
    front, behind = [], []
    if hair_length(p, s) > 0.95:
        return front, behind
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    across, up = 0.5 - 0.5 * np.cos(angle), np.sin(angle)
    across = across * (0.8 + 0.2 * up)
    for side in (-1, 1):
        base = surface_points(radius, np.array([[side * 1.62, p["ear_height"] + 0.2]]))[0] * (0.93, 1, 1)
        out = np.array([side * np.sin(p["ear_flare"]), 0, -np.cos(p["ear_flare"])])
        rise = np.array([side * 0.12, -1, -0.15])
        shape = base + p["ear_size"] * (0.58 * across[:, None] * out + 0.5 * up[:, None] * rise)
        inner = base + p["ear_size"] * (0.42 * across[:, None] * out + 0.33 * (up[:, None] + 0.12) * rise)
        outlines = np.stack([shape, inner]) @ rotate.T
        facing = rotate[2] @ np.array([side * np.sin(1.75), 0, np.cos(1.75)])
        (front if facing > 0.05 else behind).append((side, outlines[..., :2]))
    return front, behind


def _draw_ears(canvas: np.ndarray, ears: list, p: Person, s: Scene, to_image: np.ndarray) -> None:
    for side, outlines in ears:
        facing = max(0.0, 0.45 + 0.55 * side * s.light_direction[0] + 0.25 * s.light_direction[2])
        skin = p.skin * s.tan * (1.02, 0.9, 0.88) * (s.ambient * 0.9 + s.light * facing)
        for outline, shade_of in zip(outlines, (1.0, 0.78), strict=True):
            cv2.fillPoly(canvas, [_fixed(outline, to_image)], (skin * shade_of).tolist(), cv2.LINE_AA, _SHIFT)


def _fixed(points: np.ndarray, to_image: np.ndarray) -> np.ndarray:
    """Camera units → fixed-point pixels of the canvas."""
    at = points @ to_image[:, :2].T + to_image[:, 2]
    return np.rint(at * (1 << _SHIFT)).astype(np.int32)


def _draw_glasses(canvas: np.ndarray, p: Person, s: Scene, rotate: np.ndarray, to_image: np.ndarray) -> None:
    if not s.glasses:
        return
    power, width, height = ((4.0, 0.36, 0.24), (2.0, 0.31, 0.29), (2.8, 0.37, 0.28))[s.glasses - 1]
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    c, d = np.cos(angle), np.sin(angle)
    x = np.sign(c) * np.abs(c) ** (2 / power) * width
    y = np.sign(d) * np.abs(d) ** (2 / power) * height + 0.04
    colour = (np.array(s.glasses_colour) * (s.ambient + 0.6 * s.light)).tolist()
    thick = max(1, round(canvas.shape[0] * (0.010 + 0.004 * (s.glasses == 1))))
    lines, arms = [], []
    for side in (-1, 1):
        centre = side * p["eye_spacing"] * 1.02
        lens = np.stack([x + centre, y, 1.20 - 0.22 * (x + centre) ** 2], 1)
        lines.append(_fixed((lens @ rotate.T)[:, :2], to_image))
        if rotate[2] @ (side * np.sin(1.45), 0, np.cos(1.45)) > 0.05:
            edge, end = abs(centre) + width, (0.99, 0.5) if hair_length(p, s) > 0.75 else (1.13, 0.1)
            arm = np.array([[side * edge, -0.03, 0.98], [side * end[0] * p["head_width"], -0.06, end[1]]])
            arms.append(_fixed((arm @ rotate.T)[:, :2], to_image))
    inner = abs(centre) - width
    bridge = np.array([[-inner, -0.02, 1.17], [0, -0.07, 1.23], [inner, -0.02, 1.17]])
    arms.append(_fixed((bridge @ rotate.T)[:, :2], to_image))
    cv2.polylines(canvas, lines, True, colour, thick, cv2.LINE_AA, _SHIFT)
    cv2.polylines(canvas, arms, False, colour, thick, cv2.LINE_AA, _SHIFT)


@cache
def _grains(side: int) -> np.ndarray:
    return np.random.default_rng(side).standard_normal((side, side, 3), np.float32)


def _grain(size: int, seed: int) -> np.ndarray:
    """Noise (size, size, 3) of standard deviation 1, cut from one sheet: drawing it anew takes as long as the ears."""
    top, left = seed % size, seed // size % size
    return _grains(2 * size)[top : top + size, left : left + size]


def _photograph(canvas: np.ndarray, s: Scene, size: int) -> np.ndarray:
    """The picture as a camera takes it: white balance, tone curve, blur, noise, JPEG."""
    image = canvas
    if s.blur > 0.2:
        image = cv2.GaussianBlur(canvas, (0, 0), s.blur * size / 128)
    image = image * cv2.resize(s.dapple * s.balance.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    if s.noise > 0.5:
        image += _grain(size, s.noise_seed) * np.float32(s.noise)
    curve = 255 * np.power(np.arange(256) / 255, s.gamma)
    image = cv2.LUT(np.clip(image, 0, 255).astype(np.uint8), curve.astype(np.uint8))
    if s.jpeg_quality >= 95:
        return image
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, s.jpeg_quality])
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])
