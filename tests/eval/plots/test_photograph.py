"""Names on photographs: never cut off, never on one another where there is room, known and unknown told apart."""

import numpy as np
import pytest
from PIL import ImageFont

from eval.plots import photograph
from eval.plots.photograph import NamedBox, draw_names
from eval.plots.style import DIFFERENT, SAME

GREY = 120


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])


def drawn(picture: np.ndarray, colour: str) -> np.ndarray:
    """Where a colour is, bool (H, W)."""
    return (np.abs(picture.astype(int) - rgb(colour)).max(2)) < 6


def labels_of(monkeypatch, image: np.ndarray, faces: list[NamedBox]) -> list[tuple[str, list[float]]]:
    """Each label's text and box, as it is drawn."""
    found = []
    draw = photograph._Label.draw

    def spy(label, pen, place):
        found.append((label._name, [*place, place[0] + label.size[0], place[1] + label.size[1]]))
        draw(label, pen, place)

    monkeypatch.setattr(photograph._Label, "draw", spy)
    draw_names(image, faces)
    return found


@pytest.mark.parametrize("corner", [(0, 0), (700, 0), (0, 500), (700, 500), (-30, 300)])
def test_a_name_at_the_border_is_whole(monkeypatch, corner):
    image = np.full((600, 800, 3), GREY, np.uint8)
    face = NamedBox(np.array([*corner, corner[0] + 100, corner[1] + 100.0]), "Maximiliana Featherstone", "0.71")
    ((name, box),) = labels_of(monkeypatch, image, [face])
    assert name == "Maximiliana Featherstone"
    assert box[0] >= 0 and box[1] >= 0 and box[2] <= 800 and box[3] <= 600


def test_a_name_wider_than_the_picture_ends_in_an_ellipsis(monkeypatch):
    image = np.full((800, 300, 3), GREY, np.uint8)
    ((name, box),) = labels_of(monkeypatch, image, [NamedBox(np.array([90.0, 300, 200, 420]), "x" * 300)])
    assert name.endswith("…") and box[0] >= 0 and box[2] <= 300


def test_neighbours_names_do_not_hide_one_another(monkeypatch):
    image = np.full((640, 960, 3), GREY, np.uint8)
    faces = [NamedBox(np.array([x, 250.0, x + 90, 350]), f"Somebody Number {x}", "0.9") for x in range(40, 900, 100)]
    boxes = np.array([box for _, box in labels_of(monkeypatch, image, faces)])
    for number, box in enumerate(boxes):
        others = np.delete(boxes, number, 0)
        low, high = np.maximum(others[:, :2], box[:2]), np.minimum(others[:, 2:], box[2:])
        assert not (high > low).all(axis=1).any()


def test_known_and_unknown_differ_in_colour_and_in_form():
    image = np.full((600, 800, 3), GREY, np.uint8)
    box = np.array([300.0, 200, 450, 380])
    known = draw_names(image, [NamedBox(box, "Ann")])
    unknown = draw_names(image, [NamedBox(box, "unknown", known=False)])
    assert drawn(known, SAME).any() and not drawn(known, DIFFERENT).any()
    assert drawn(unknown, DIFFERENT).any() and not drawn(unknown, SAME).any()
    # The line on the left: whole for the known, open in the middle for the others.
    assert drawn(known, SAME)[230:350, 296:306].any(axis=1).all()
    assert not drawn(unknown, DIFFERENT)[275:300, 290:310].any()


def test_a_small_photograph_is_enlarged_so_that_the_name_can_be_read(monkeypatch):
    sizes = []
    font = ImageFont.truetype
    photograph._font.cache_clear()
    monkeypatch.setattr(ImageFont, "truetype", lambda path, size: sizes.append(size) or font(path, size))
    picture = draw_names(
        np.full((250, 250, 3), GREY, np.uint8), [NamedBox(np.array([80.0, 80, 170, 190]), "Ann", "0.5")]
    )
    photograph._font.cache_clear()
    assert picture.shape == (720, 720, 3) and min(sizes) >= 14
    empty = np.full((900, 900, 3), GREY, np.uint8)
    np.testing.assert_array_equal(draw_names(empty, []), empty)
