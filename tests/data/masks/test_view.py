"""What of a mask is seen from one side: its place in the texture, its outline, the light on it, its sharpness."""

import cv2
import numpy as np
import pytest

from data.masks.cuts import CUTS, surface
from data.masks.light import measure_blur
from data.masks.pose import FACE_POINTS
from data.masks.render import MaskFit, render_mask
from data.masks.view import View, view

SKIN = (200, 150, 125)


def turn_of(yaw: float, pitch: float) -> np.ndarray:
    """Two plain rotation matrices, angles in degrees."""
    y, p = np.deg2rad([yaw, pitch])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    return np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]]) @ about_y


def at(seen: View, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The lattice at points of the view in millimetres, bilinear, (n, 4)."""
    cells = len(seen.lattice) - 1
    column = np.clip((x - seen.low.real) / (seen.high.real - seen.low.real) * cells, 0, cells - 1e-6)
    row = np.clip((y - seen.low.imag) / (seen.high.imag - seen.low.imag) * cells, 0, cells - 1e-6)
    i, j = row.astype(int), column.astype(int)
    a, b = (row - i)[:, None], (column - j)[:, None]
    upper = seen.lattice[i, j] * (1 - b) + seen.lattice[i, j + 1] * b
    return upper * (1 - a) + (seen.lattice[i + 1, j] * (1 - b) + seen.lattice[i + 1, j + 1] * b) * a


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (-24, 6), (24, -9), (-45, 0), (45, 9)])
def test_a_point_of_the_surface_lies_in_the_view_where_it_is_projected(cut, yaw, pitch):
    seen = view(cut, False, np.deg2rad(yaw), np.deg2rad(pitch))
    grid = surface(cut)
    v, u = np.meshgrid(*(np.linspace(0, 1, n) for n in grid.shape[:2]), indexing="ij")
    # The near half, well inside: nothing lies before it, and it does not turn away.
    near = (np.abs(v - 0.5) < 0.25) & ((u - 0.5) * np.sign(yaw or 1) < 0.02) & (np.abs(u - 0.5) < 0.25)
    x, y, _ = (grid[near] @ turn_of(yaw, pitch).T).T
    found = at(seen, x, y)
    assert np.abs(found[:, 0] - u[near]).max() < 0.02 and np.abs(found[:, 1] - v[near]).max() < 0.025
    assert found[:, 2].min() > 0, "inside the outline"


@pytest.mark.parametrize("cut", CUTS)
def test_inside_is_the_distance_to_the_outline(cut):
    """From the front, at the mouth's height: it falls by a millimetre a millimetre towards the side."""
    seen = view(cut, False, 0.0, 0.0)
    x = np.linspace(20, 90, 141)
    inside = at(seen, x, np.full_like(x, 68.0))[:, 2]
    edge = x[np.argmin(np.abs(inside))]
    assert 45 < edge < 70
    close = np.abs(x - edge) < 4
    assert np.polyfit(x[close], inside[close], 1)[0] == pytest.approx(-1, abs=0.2)


@pytest.mark.parametrize("cut", CUTS)
def test_light_comes_from_above(cut):
    seen = view(cut, False, 0.0, 0.0)
    above, below = at(seen, np.array([0.0, 0.0]), np.array([30.0, 110.0]))[:, 3]
    assert above > below + 0.02


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("yaw", [-45, -33, -21, 0, 21, 33, 45])
@pytest.mark.parametrize("pitch", [-9, 9])
def test_the_outline_has_no_holes_notches_or_spikes(cut, yaw, pitch):
    seen = view(cut, False, np.deg2rad(yaw), np.deg2rad(pitch))
    size = round(2 * (seen.high.real - seen.low.real)), round(2 * (seen.high.imag - seen.low.imag))
    mask = (cv2.resize(seen.lattice[..., 2], size, interpolation=cv2.INTER_LINEAR) > 0).astype(np.uint8)
    mask = cv2.copyMakeBorder(mask, 20, 20, 20, 20, cv2.BORDER_CONSTANT)
    assert cv2.connectedComponents(mask)[0] == cv2.connectedComponents(1 - mask)[0] == 2
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (25, 25))
    for smoother in (cv2.MORPH_CLOSE, cv2.MORPH_OPEN):
        rough = cv2.absdiff(cv2.morphologyEx(mask, smoother, disc), mask).sum()
        assert rough < 0.02 * mask.sum()


# ==== drawn ====


def drawn(kind: str, yaw: float, image: np.ndarray, seed: int = 0) -> np.ndarray:
    """A mask on a head turned by ``yaw`` degrees in an image of 128 pixels."""
    while MaskFit.draw(np.random.default_rng(seed)).nose_free:
        seed += 100
    points = 0.56 * (FACE_POINTS @ turn_of(yaw, 0).T)[:, :2] + [64, 55]
    return render_mask(image, points, kind, np.random.default_rng(seed)).astype(int)


@pytest.mark.parametrize("yaw", [-45, -33, -20, 20, 33, 45])
def test_the_far_edge_is_soft_too(yaw):
    rows = drawn("cloth", yaw, np.full((128, 128, 3), SKIN, np.uint8))[75:105, :, 0]
    far = rows[:, :64] if yaw < 0 else rows[:, 64:]
    assert np.ptp(far) > 150
    assert np.abs(np.diff(far, axis=1)).max() < 0.75 * np.ptp(far)


def test_a_mask_is_as_sharp_as_its_picture():
    rng = np.random.default_rng(3)
    # Brownian noise has the sharpness of a photograph in focus: differences grow with the root of the distance.
    noise = np.fft.irfft2(
        np.fft.rfft2(rng.normal(size=(128, 128)))
        / (1e-3 + np.hypot(*np.meshgrid(np.fft.rfftfreq(128), np.fft.fftfreq(128)))) ** 1.5
    )
    sharp = np.repeat((140 + 25 * noise / noise.std()).clip(0, 255).astype(np.uint8)[..., None], 3, 2)
    soft = cv2.GaussianBlur(sharp, (0, 0), 1.5)
    assert measure_blur(sharp) < 0.7 < 1.1 < measure_blur(soft)
    edges = [np.abs(np.diff(drawn("cloth", 0, image)[:, 64], axis=0)).max() for image in (sharp, soft)]
    assert edges[1] < 0.7 * edges[0]
