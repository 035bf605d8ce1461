"""Built-in people in company: where they are is known, and what a detector sees is what the truth says."""

import numpy as np
import pandas as pd
import pytest

from data.alignment.detectors.mtcnn import SEARCHES, FaceDetector
from data.company import Album, draw_group, make_album
from data.sources.folders import list_folder
from data.sources.read_image import read_image
from runtime.errors import InputError


@pytest.fixture(scope="module")
def four():
    return draw_group([3, 1, 4, 7], 0, width=480, height=320, masked_share=0.5)


def test_each_face_lies_in_the_picture_and_on_no_other(four):
    assert four.image.shape == (320, 480, 3) and four.image.dtype == np.uint8
    assert sorted(guest.person for guest in four.guests) == [1, 3, 4, 7]
    boxes = np.array([guest.box for guest in four.guests])
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= (480, 320)).all()
    assert (boxes[1:, 0] > boxes[:-1, 2]).all()  # from left to right, apart
    for guest in four.guests:
        assert (guest.landmarks > guest.box[:2]).all() and (guest.landmarks < guest.box[2:]).all()


def test_the_same_arguments_give_the_same_pixels_and_a_mask_changes_the_face_alone(four):
    again = draw_group([3, 1, 4, 7], 0, width=480, height=320, masked_share=0.5)
    np.testing.assert_array_equal(four.image, again.image)
    bare = draw_group([3, 1, 4, 7], 0, width=480, height=320, masked_share=0.0)
    assert not any(guest.mask for guest in bare.guests) and any(guest.mask for guest in four.guests)
    for guest in four.guests:
        left, top, right, bottom = guest.box.astype(int)
        changed = (four.image != bare.image)[top:bottom, left:right].mean()
        assert (changed > 0.2) == bool(guest.mask)
    assert (four.image != bare.image)[:60].mean() < 0.01


def test_a_detector_finds_a_portrait_where_it_is():
    portrait = draw_group([2], 5, width=300, height=320, masked_share=0.0)
    (guest,), found = portrait.guests, FaceDetector(SEARCHES)([portrait.image])[0]
    assert found is not None
    side = guest.box[2] - guest.box[0]
    assert np.abs(found.landmarks - guest.landmarks).mean() < 0.06 * side
    low, high = np.maximum(found.box[:2], guest.box[:2]), np.minimum(found.box[2:], guest.box[2:])
    shared = np.prod(high - low)
    areas = [np.prod(box[2:] - box[:2]) for box in (found.box, guest.box)]
    assert shared / (sum(areas) - shared) > 0.6


def test_an_album_names_everybody_in_its_pictures(tmp_path):
    make_album(Album(tmp_path / "album", people=2, strangers=1, portraits=1, visits=1, pictures=1))
    known = {picture.person for picture in list_folder(tmp_path / "album" / "people").pictures}
    everybody = {picture.person for picture in list_folder(tmp_path / "album" / "visits").pictures}
    assert known == {"Ada", "Ben"} and everybody - known == {"Cleo"}
    faces = pd.read_csv(tmp_path / "album" / "faces.csv", keep_default_na=False)
    assert set(faces["name"]) <= everybody and len(faces) == 2 and set(faces["photo"]) == {"001.jpg"}
    height, width = read_image(tmp_path / "album" / "photos" / "001.jpg").shape[:2]
    assert (faces["right"] <= width).all() and (faces["bottom"] <= height).all()
    with pytest.raises(InputError, match="not empty"):
        make_album(Album(tmp_path / "album"))
    with pytest.raises(InputError, match="people is 1, but must be at least 2"):
        Album(tmp_path / "other", people=1)
    # One more would be the first visit without its mask.
    with pytest.raises(InputError, match="portraits is 101, but must be at most 100"):
        Album(tmp_path / "other", portraits=101)
