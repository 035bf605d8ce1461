"""Several built-in people in one room, as a camera takes them: who is where, and who wears a mask."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from data.company.figure import ABOVE, BESIDE, Figure, cut_out
from data.masks.render import random_mask_kind, render_mask
from data.synthetic.people import Scene, make_person, make_scene
from data.transforms import template

# Muted colours of clothes, RGB.
_CLOTHES = np.array(
    [(58, 82, 122), (128, 54, 58), (70, 98, 74), (188, 160, 104), (92, 92, 100), (146, 104, 136), (206, 204, 196)],
    dtype=float,
)
# Eyes of the largest and the smallest person of a picture, as shares of its height.
_NEAR, _FAR = 0.085, 0.05
# Heads stand at least so far apart, in distances of the eyes.
_APART = 2 * BESIDE * 0.62


@dataclass(frozen=True)
class Guest:
    """One person of a picture: ``person``, its number; ``box`` (left, top, right, bottom) float32 pixels of the face,
    from the hairline to the chin; ``landmarks`` float32 (5, 2) pixels; ``mask``: the kind that is worn, or ""."""

    person: int
    box: np.ndarray
    landmarks: np.ndarray
    mask: str


@dataclass(frozen=True)
class GroupPicture:
    """``image`` uint8 (H, W, 3) RGB and the ``guests`` in it, from left to right."""

    image: np.ndarray
    guests: tuple[Guest, ...]


def draw_group(
    people: Sequence[int],
    picture: int,
    seed: int = 0,
    *,
    width: int = 960,
    height: int = 640,
    masked_share: float = 0.4,
) -> GroupPicture:
    """Picture number ``picture`` of ``people`` (their numbers, one to six), who stand side by side in random order and
    at random distances; ``masked_share`` of them wear a mask. The same arguments give the same pixels."""
    rng = np.random.default_rng((seed, 7, picture))
    order = rng.permutation(people).tolist()
    light = make_scene(int(rng.integers(1 << 20)), picture, seed)
    places = _places(len(order), width, height, rng)
    image = _room(width, height, rng).astype(np.float32)
    guests = []
    for number in np.argsort(places[:, 2], kind="stable"):  # those far off are behind
        x, y, eyes = places[number]
        figure = _figure(order[number], picture, seed, light, eyes, rng)
        corner = np.rint([x - figure.image.shape[1] / 2, y - ABOVE * eyes]).astype(int)
        _paste(image, figure, corner)
        guests.append((order[number], figure.landmarks + corner.astype(np.float32)))
    picture_of_all = image.clip(0, 255).astype(np.uint8)
    worn = []
    for person, landmarks in guests:
        kind = random_mask_kind(rng) if rng.random() < masked_share else ""
        if kind:
            picture_of_all = render_mask(picture_of_all, landmarks, kind, rng)
        worn.append(Guest(person, face_box(landmarks), landmarks, kind))
    return GroupPicture(_photograph(picture_of_all, light), tuple(sorted(worn, key=lambda guest: guest.box[0])))


def face_box(landmarks: np.ndarray) -> np.ndarray:
    """The upright box (4,) around a face whose landmarks (5, 2) are known: hairline to chin, temple to temple."""
    eyes = landmarks[:2].astype(np.float64)
    middle, unit = eyes.mean(0), _unit(landmarks)
    down = landmarks[3:].mean(0) - middle
    down /= np.linalg.norm(down)
    # A turned head's nose lies aside; the face's middle lies half-way to it.
    aside = (landmarks[2] - middle) - (landmarks[2] - middle) @ down * down
    centre = middle + 0.55 * unit * down + 0.3 * aside
    half = np.array([1.02, 1.3]) * unit
    return np.concatenate([centre - half, centre + half]).astype(np.float32)


def _unit(landmarks: np.ndarray) -> float:
    """The distance of the eyes of a frontal face of this height: turned eyes are seen near each other."""
    points = template(1).astype(np.float64)
    share = np.linalg.norm(points[3:].mean(0) - points[:2].mean(0)) / np.linalg.norm(points[1] - points[0])
    height = np.linalg.norm(landmarks[3:].mean(0) - landmarks[:2].mean(0))
    return float(max(height / share, np.linalg.norm(landmarks[1] - landmarks[0])))


def _places(count: int, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """x and y of the point between the eyes, and the distance of the eyes, for people from left to right: (n, 3)."""
    slot = width / count
    largest = min(_NEAR * height, slot / _APART)
    eyes = largest * rng.uniform(_FAR / _NEAR, 1, count)
    room = np.maximum(slot / 2 - 1.3 * eyes, 0)
    x = (np.arange(count) + 0.5) * slot + rng.uniform(-1, 1, count) * room * 0.6
    # Those who stand further off are seen higher up, and everybody is of another height.
    y = height * (0.36 + 0.10 * (eyes / largest - 0.8)) + rng.uniform(-0.9, 0.9, count) * largest
    return np.stack([x, np.maximum(y, (ABOVE + 0.2) * eyes), eyes], axis=1)


def _figure(number: int, picture: int, seed: int, light: Scene, eyes: float, rng: np.random.Generator) -> Figure:
    """A person in the light that all of a picture share."""
    shared = {name: getattr(light, name) for name in ("light_direction", "light", "ambient")}
    scene = replace(make_scene(number, 1_000 + picture, seed), **shared)
    clothes = _CLOTHES[int(rng.integers(len(_CLOTHES)))] * rng.uniform(0.85, 1.15, 3)
    return cut_out(make_person(number, seed), scene, float(eyes), clothes)


def _paste(image: np.ndarray, figure: Figure, corner: np.ndarray) -> None:
    """Lay a figure over a picture, in place, and stretch its lowest row down to the picture's edge."""
    height, width = image.shape[:2]
    (x, y), size = corner.tolist(), len(figure.image)
    left, top, right = max(x, 0), max(y, 0), min(x + size, width)
    if left >= right:
        return
    columns, bottom = slice(left - x, right - x), min(y + size, height)
    seen = image[top:bottom, left:right]
    rows = slice(top - y, bottom - y)
    seen += figure.alpha[rows, columns] * (figure.image[rows, columns] - seen)
    below = image[bottom:, left:right]
    below += figure.alpha[-1, columns] * (figure.image[-1, columns] - below)


def _room(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """A wall, blurred as behind people that a camera is focused on: uint8 (height, width, 3)."""
    base = rng.uniform(120, 205) * np.exp(rng.normal(0, 0.06, 3))
    coarse = base * rng.uniform(0.8, 1.15, (4, 6, 1)) + rng.normal(0, 6, (4, 6, 3))
    wall = cv2.resize(coarse.clip(0, 255).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(int(rng.integers(2, 5))):  # windows, pictures, doors
        w, h = rng.uniform(0.08, 0.22, 2) * (width, height * 1.6)
        x, y = rng.uniform(0, width - w), rng.uniform(-0.1, 0.35) * height
        tone = base * rng.uniform(0.55, 1.35)
        cv2.rectangle(wall, (int(x), int(y)), (int(x + w), int(y + h)), tone.clip(0, 255).tolist(), -1)
    blur = height * rng.uniform(0.015, 0.03)
    return cv2.GaussianBlur(wall, (0, 0), blur).clip(0, 255).astype(np.uint8)


def _photograph(image: np.ndarray, scene: Scene) -> np.ndarray:
    """White balance, tone curve, and noise, the same over the whole picture."""
    noise = np.random.default_rng(scene.noise_seed).standard_normal(image.shape, np.float32) * (0.6 * scene.noise)
    seen = image * scene.balance.astype(np.float32) + noise
    curve = 255 * np.power(np.arange(256) / 255, scene.gamma)
    return cv2.LUT(seen.clip(0, 255).astype(np.uint8), np.rint(curve).astype(np.uint8))
