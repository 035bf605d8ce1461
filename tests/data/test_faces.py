"""What a run refuses of its tables before it starts."""

import dataclasses
import shutil

import pandas as pd
import pytest

import main_arcface
from data.faces import faces_for
from data.tables.train_csv import LANDMARK_COLUMNS
from runtime.errors import InputError


@pytest.fixture
def faces_of(drawn_faces, tmp_path):
    """``faces_of(change, **settings)``: the faces of a train CSV that ``change`` has changed."""
    folder = shutil.copytree(drawn_faces, tmp_path / "faces")

    def call(change, **settings):
        change(pd.read_csv(folder / "train.csv")).to_csv(folder / "train.csv", index=False)
        small = {"data_root": str(folder), "image_size": 64}
        return faces_for(dataclasses.replace(main_arcface.SETTINGS, **small | settings))

    call.folder = folder
    return call


def _moved(frame, factor=1.0, by=0.0, kind=0):
    """The landmarks of the plain faces (``kind`` 0) or the masked ones, moved."""
    frame = frame.astype(dict.fromkeys(LANDMARK_COLUMNS, float))
    frame.loc[frame["masked"] == kind, LANDMARK_COLUMNS] *= factor
    frame.loc[frame["masked"] == kind, LANDMARK_COLUMNS] += by
    return frame


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.drop(columns="y5"), "train.csv has no landmarks to fit to"),
        (lambda f: f[["path", "target"]], "train.csv has no landmarks to fit to"),
        (lambda f: _moved(f, factor=0.0, by=30.0), "landmarks of 18 plain faces .* are one point"),
        (lambda f: _moved(f, by=64.0), "outside a picture of 64 pixels"),
        (lambda f: _moved(f, by=float("inf")), "outside a picture of 64 pixels"),
    ],
)
def test_masks_that_fit_no_plain_face_are_refused_before_the_start(faces_of, change, said):
    with pytest.raises(InputError, match=said):
        faces_of(change, mask_probability=0.5)


@pytest.mark.parametrize(
    ("change", "probability"),
    [
        (lambda f: f[["path", "target"]], 0.0),
        (lambda f: _moved(f, by=64.0), 0.0),
        (lambda f: _moved(f, by=64.0, kind=1), 0.5),  # no mask goes over a mask
        (lambda f: f[f["masked"] == 1].drop(columns=LANDMARK_COLUMNS), 0.5),
    ],
)
def test_landmarks_that_no_mask_asks_for_may_be_lacking_or_wrong(faces_of, change, probability):
    assert len(faces_of(change, mask_probability=probability).train.names) == 6


def test_landmarks_that_no_card_speaks_of_rest_on_the_pictures_or_on_the_networks_size(faces_of):
    """The drawn faces have 64 pixels; a mask for 48 of them would sit beside the face."""
    faces_of.folder.joinpath("dataset.json").unlink()
    assert faces_of(lambda f: f, mask_probability=0.5, image_size=48).disk_size == 64
    both = lambda f: _moved(_moved(f, factor=0.75), factor=0.75, kind=1)  # noqa: E731
    assert faces_of(both, mask_probability=0.5, image_size=48).disk_size == 48
