"""Jitter, on pictures whose change can be measured: a dot, a grey ramp."""

import cv2
import numpy as np
import pytest

from data.loading.jitter import GAIN, SHIFT, TINT, TURN, ZOOM, jitter

SIZE = 100


class _Drawn:
    """A generator that draws the given numbers, in order, and zeros after them."""

    def __init__(self, *numbers: float):
        self._left = list(numbers)

    def standard_normal(self, count: int) -> np.ndarray:
        taken, self._left = self._left[:count], self._left[count:]
        return np.array([*taken, *[0.0] * (count - len(taken))])


def _moved_dot(rng, x: float, y: float) -> np.ndarray:
    """Where a blurred dot at (x, y) lies after the jitter: its centroid, pixels."""
    down, right = np.mgrid[:SIZE, :SIZE]
    dot = 200 * np.exp(-((right - x) ** 2 + (down - y) ** 2) / 18)
    face = np.repeat(dot.astype(np.uint8)[..., None], 3, axis=2)
    jitter(face, rng)
    weight = face[..., 1].astype(float)
    return np.array([(right * weight).sum(), (down * weight).sum()]) / weight.sum()


def _ramp() -> np.ndarray:
    """Every grey once in a row, so that a place's level is its column; all rows are alike."""
    return np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 256, axis=0).repeat(3, axis=2)


def test_where_nothing_is_drawn_nothing_changes():
    face = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    before = face.copy()
    jitter(face, _Drawn())
    assert np.array_equal(face, before)


@pytest.mark.parametrize(("x", "y"), [(49.5, 49.5), (70.0, 40.0), (30.0, 75.0)])
@pytest.mark.parametrize("drawn", [(1, 0, 0, 0), (0, 2, 0, 0), (0, 0, 1, -2), (-2, 1, 0.5, 1)])
def test_a_dot_goes_where_a_similarity_about_the_centre_puts_it(x, y, drawn):
    turn, zoom, right, down = drawn
    # Complex numbers with y upwards: a positive turn is counter-clockwise.
    offset = complex(x - 49.5, 49.5 - y) * np.exp(ZOOM * zoom + 1j * np.deg2rad(TURN * turn))
    expected = [49.5 + offset.real + SHIFT * SIZE * right, 49.5 - offset.imag + SHIFT * SIZE * down]
    assert _moved_dot(_Drawn(*drawn), x, y) == pytest.approx(expected, abs=0.15)


def test_shifts_spread_as_said():
    rng = np.random.default_rng(1)
    places = np.array([_moved_dot(rng, 49.5, 49.5) for _ in range(400)])
    assert places.mean(0) == pytest.approx([49.5, 49.5], abs=0.4)
    assert places.std(0) == pytest.approx([SHIFT * SIZE] * 2, rel=0.15)


def test_light_keeps_the_order_of_levels_and_tints_each_channel():
    face = _ramp()
    jitter(face, _Drawn(0, 0, 0, 0, 0, 1, 0, 1, -1))
    assert (np.diff(face[128].astype(int), axis=0) >= 0).all()
    for channel, tint in enumerate((0, TINT, -TINT)):
        assert face[128, 100, channel] == pytest.approx(100 * np.exp(GAIN + tint), abs=0.51)
    darker = _ramp()
    jitter(darker, _Drawn(0, 0, 0, 0, 2))
    assert darker[128, 0, 0] == 0 and darker[128, 255, 0] == 255
    assert darker[128, 100, 0] == pytest.approx(255 * (100 / 255) ** np.exp(0.5), abs=0.51)


def test_the_same_draw_gives_the_same_face_and_the_rim_is_repeated():
    face = cv2.merge([np.full((SIZE, SIZE), level, np.uint8) for level in (50, 120, 200)])
    found = [face.copy() for _ in range(2)]
    for one in found:
        jitter(one, np.random.default_rng(3))
    assert np.array_equal(*found)
    assert (found[0] == found[0][0, 0]).all(), "a plain surface stays plain up to its corners"
