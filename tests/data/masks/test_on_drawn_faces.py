"""Masks on built-in faces, whose shape, pose and landmarks are known exactly."""

import cv2
import numpy as np
import pytest

from data.masks.render import MASK_KINDS, MaskFit, render_mask
from data.synthetic.draw import fit_similarity
from data.synthetic.head import radius_map, rotation, surface_points
from data.synthetic.paint import mouth_corners
from data.synthetic.people import Person, Scene, make_person
from data.transforms import template

SIZE = 192
PEOPLE = [make_person(number, seed=5) for number in range(4)]


def points_in_image(p: Person, yaw: float, roll: float) -> dict[str, np.ndarray]:
    """Places of the face, (n, 2) pixels of an aligned face that is then rolled by hand; angles in degrees."""
    scene = Scene(yaw=np.deg2rad(yaw), smile=0.0)
    radius, turn = radius_map(p, scene), rotation(scene)
    angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    eye = np.array([p["eye_spacing"], 0])
    lid = np.stack([p["eye_width"] * np.cos(angle), p["eye_height"] * np.sin(angle)], axis=1)
    corners = mouth_corners(p, scene)
    charts = {
        "landmarks": np.concatenate([[-eye, eye, [0, p["nose_length"]]], corners]),
        "lids": np.concatenate([lid - eye, lid + eye]),
        "mouth": np.concatenate([corners, [[0, p["mouth_height"] - 0.06], [0, p["mouth_height"] + 0.1]]]),
        "nostrils": np.array([[-0.1, p["nose_length"] + 0.04], [0.1, p["nose_length"] + 0.04]]),
        "chin": np.array([[x, p["chin_height"] - 0.12] for x in (-0.12, 0, 0.12)]),
    }
    seen = {name: (surface_points(radius, chart) @ turn.T)[:, :2] for name, chart in charts.items()}
    align = fit_similarity(seen["landmarks"], template(SIZE))
    tilt = cv2.getRotationMatrix2D((SIZE / 2, SIZE * 0.55), -roll, 0.8)
    linear, offset = tilt[:, :2] @ align[:, :2], tilt[:, :2] @ align[:, 2] + tilt[:, 2]
    return {name: at @ linear.T + offset for name, at in seen.items()}


def cover(points: np.ndarray, kind: str, seed: int) -> np.ndarray:
    """Where the mask hides the picture, bool (H, W): what lies under it makes no difference."""
    checks = np.where(np.indices((SIZE, SIZE)).sum(0) % 2, 10, -10)[..., None] * np.ones(3, int)
    first, second = (
        render_mask((150 + sign * checks).astype(np.uint8), points, kind, np.random.default_rng(seed)).astype(int)
        for sign in (1, -1)
    )
    return np.abs(first - second).max(-1) < 8


def share(hidden: np.ndarray, points: np.ndarray) -> float:
    x, y = np.clip(np.rint(points).astype(int), 0, SIZE - 1).T
    return float(hidden[y, x].mean())


@pytest.mark.parametrize("kind", MASK_KINDS)
@pytest.mark.parametrize("yaw", [-45, -20, 0, 20, 45])
@pytest.mark.parametrize("roll", [-30, 0, 30])
def test_nose_mouth_and_chin_are_under_the_mask_and_eyes_are_free(kind, yaw, roll):
    """Whoever it is: over several people and fits nearly every point of mouth and chin, and no lid."""
    shares = {"lids": [], "mouth": [], "nostrils": [], "chin": []}
    for number, person in enumerate(PEOPLE):
        places = points_in_image(person, yaw, roll)
        seed = next(s for s in range(number, 99) if not MaskFit.draw(np.random.default_rng(s)).nose_free)
        hidden = cover(places["landmarks"], kind, seed)
        for name, values in shares.items():
            values.append(share(hidden, places[name]))
    assert np.mean(shares["mouth"]) == 1 and np.mean(shares["nostrils"]) == 1
    assert np.mean(shares["chin"]) > 0.8
    assert np.mean(shares["lids"]) < 0.02


def test_the_nose_peeps_out_where_it_is_left_free():
    seed = next(s for s in range(999) if MaskFit.draw(np.random.default_rng(s)).nose_free)
    for person in PEOPLE:
        places = points_in_image(person, 0, 0)
        hidden = cover(places["landmarks"], "kn95", seed)
        assert share(hidden, places["landmarks"][2:3]) == 0 and share(hidden, places["mouth"]) == 1
