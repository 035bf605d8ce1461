"""Sharpness against a naive loop and under light, size and blur; yaw on drawn heads whose pose is known."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from data.alignment.quality import FACE_SIDE, sharpness, yaw
from data.synthetic.draw import draw_face, render
from data.synthetic.people import make_person, make_scene
from data.transforms import box_side

SIZE = 112
BOX = box_side(SIZE, "arcface5")


@pytest.fixture(scope="module")
def faces():
    return [draw_face(person, 0, 0, SIZE).image for person in range(6)]


def blurred(face, pixels):
    return cv2.GaussianBlur(face, (0, 0), pixels)


def test_it_is_the_naive_sum_of_second_differences_around_the_eyes():
    face = np.random.default_rng(0).integers(0, 256, (40, 40, 1), dtype=np.uint8).repeat(3, axis=2)
    grey = face[..., 0].astype(float)[10:24, 4:35]  # 0.25 to 0.62 and 0.12 to 0.88 of 40
    rows, columns = grey.shape
    mirrored = np.pad(grey, 1, mode="reflect")
    second = [
        mirrored[y - 1, x] + mirrored[y + 1, x] + mirrored[y, x - 1] + mirrored[y, x + 1] - 4 * mirrored[y, x]
        for y in range(1, rows + 1)
        for x in range(1, columns + 1)
    ]
    assert sharpness(face, FACE_SIDE) == pytest.approx(np.var(second) / np.var(grey), rel=1e-4)


def test_blur_lowers_it_and_light_and_contrast_do_not(faces):
    for face in faces:
        found = [sharpness(blurred(face, pixels) if pixels else face, BOX) for pixels in (0, 1, 2, 4)]
        assert found == sorted(found, reverse=True) and found[-1] < found[0] / 20
        dim = (face * 0.4 + 60).astype(np.uint8)
        assert sharpness(dim, BOX) == pytest.approx(found[0], rel=0.1)


def test_a_blur_counts_by_its_share_of_the_face(faces):
    for face in faces:
        small = cv2.resize(blurred(face, 3), (80, 80), interpolation=cv2.INTER_AREA)
        assert sharpness(small, box_side(80, "arcface5")) == pytest.approx(sharpness(blurred(face, 3), BOX), rel=0.35)


def test_a_mask_changes_nothing_and_an_even_picture_has_none(faces):
    covered = faces[0].copy()
    covered[70:] = 255
    assert sharpness(covered, BOX) == pytest.approx(sharpness(faces[0], BOX), rel=0.02)
    assert sharpness(np.full((SIZE, SIZE, 3), 90, np.uint8), BOX) == 0


@pytest.mark.parametrize("degrees", [-45, -20, 0, 20, 45])
def test_yaw_of_drawn_heads(degrees):
    found = []
    for person in range(5):
        scene = replace(make_scene(person, 0, 0), yaw=np.deg2rad(degrees), pitch=0.0, roll=0.2)
        found.append(yaw(render(make_person(person, 0), scene, SIZE).landmarks))
    assert np.mean(found) == pytest.approx(degrees, abs=8)
