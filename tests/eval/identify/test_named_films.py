"""Who is in this film? A group picture that the camera moves over, with a detector that knows where everybody is."""

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.alignment import every_face
from data.alignment.align import align_face
from data.alignment.detectors.detection import Detection
from data.company import draw_group
from data.company.album import name_of
from data.tables.card import write_dataset_card
from eval.films.film import Film
from eval.identify.__main__ import IdentifySettings, identify
from runtime.errors import InputError
from tests.small_run import write_small_run

# The camera shows WIDTH of the picture's columns, and moves to the right by STEP a frame.
WIDTH, HEIGHT, STEP, FRAMES, RATE = 400, 320, 4, 24, 10
STRANGER = 2


class Knows:
    """Finds everybody whom the camera shows whole; it knows from the uppermost row how far that has moved."""

    def __init__(self, group):
        self._group = group

    def crowds(self, images):
        return [self._seen(image) for image in images]

    def _seen(self, image):
        moved = round(int(image[:8, :8].mean()) / 10) * STEP
        left = np.array([moved, 0], np.float32)
        guests = [g for g in self._group.guests if g.box[0] >= moved and g.box[2] <= moved + WIDTH]
        return [Detection(guest.box - np.tile(left, 2), guest.landmarks - left, 1.0) for guest in guests]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A run with a small network, people/ (two of the three), door.avi, and the group."""
    folder = tmp_path_factory.mktemp("films")
    write_small_run(folder / "run")
    group = draw_group([0, 1, STRANGER], 3, width=480, height=HEIGHT, masked_share=0.0)
    for guest in group.guests:
        if guest.person != STRANGER:
            face, _ = align_face(group.image, Detection(guest.box, guest.landmarks, 1.0), 64)
            (folder / "people" / name_of(guest.person)).mkdir(parents=True)
            Image.fromarray(face).save(folder / "people" / name_of(guest.person) / "1.png")
    write_dataset_card(folder / "people", "arcface5", 64)
    codec = cv2.VideoWriter_fourcc(*"MJPG")
    film = cv2.VideoWriter(str(folder / "door.avi"), cv2.CAP_FFMPEG, codec, RATE, (WIDTH, HEIGHT))
    for number in range(FRAMES):
        picture = group.image[:, min(number, 20) * STEP :][:, :WIDTH, ::-1].copy()
        picture[:16, :16] = min(number, 20) * 10
        film.write(picture)
    film.release()
    return folder, group


@pytest.fixture
def settings(scene, tmp_path, monkeypatch):
    folder, group = scene
    monkeypatch.setattr(every_face, "open_finder", lambda *_: Knows(group))
    common = {"people": tmp_path / "people.npz", "photos_out": tmp_path / "named", "device": "cpu", "threshold": 0.1}
    return lambda **more: IdentifySettings(str(folder / "run"), **{**common, **more})


def test_everybody_is_a_track_with_a_name_a_picture_and_a_box(scene, settings, tmp_path, capsys):
    folder, group = scene
    film = (folder / "door.avi",)
    identify(settings(gallery=folder / "people", photos=film, looks_per_second=5))
    table = pd.read_csv(tmp_path / "named" / "tracks.csv", keep_default_na=False)
    expected = [name_of(guest.person) if guest.person != STRANGER else "unknown" for guest in group.guests]
    assert sorted(table["name"]) == sorted(expected) and set(table["film"]) == {"door.avi"}
    for guest, name in zip(group.guests, expected, strict=True):
        row = table[table["name"] == name].iloc[0]
        moves = np.minimum(np.arange(0, FRAMES, 2), 20) * STEP
        seen = np.flatnonzero((guest.box[0] >= moves) & (guest.box[2] <= moves + WIDTH)) / 5
        assert (row["first"], row["last"], row["frames"]) == (seen[0], seen[-1], len(seen))
        moved = min(round(row["best"] * RATE), 20) * STEP
        np.testing.assert_allclose(row[["left", "right"]].astype(float), guest.box[[0, 2]] - moved, atol=0.06)
        assert Image.open(tmp_path / "named" / "door.avi_named" / row["picture"]).size[0] > guest.box[2] - guest.box[0]
    said = capsys.readouterr().out
    assert "1 film, 3 tracks: 2 recognised as 2 people, 1 unknown" in said and "ends in the middle" not in said
    named = Film(tmp_path / "named" / "door.avi_named" / "film.mp4")
    pictures = [frame.image for frame in named.frames()]
    assert len(pictures) == FRAMES and named.rate == RATE and pictures[0].shape == (576, 720, 3)
    # A box is blue, Okabe and Ito's.
    assert (np.abs(pictures[12].astype(int) - (0, 114, 178)).max(2) < 40).sum() > 500


def test_a_film_cut_short_one_without_faces_and_what_is_none(scene, settings, tmp_path, capfd):
    folder, _ = scene
    films = tmp_path / "films"
    films.mkdir()
    whole = (folder / "door.avi").read_bytes()
    (films / "cut.avi").write_bytes(whole[: len(whole) // 2])
    (films / "none.mp4").write_bytes(b"no film")
    (films / "notes.txt").write_bytes(b"no film either")
    identify(settings(gallery=folder / "people", photos=(films,)))
    said = capfd.readouterr().out
    assert "cut.avi ends in the middle, at 1." in said and "of 24 frames are there" in said
    assert "1 film: is no film that OpenCV can decode, or was cut off" in said and "(none.mp4)" in said
    table = pd.read_csv(tmp_path / "named" / "tracks.csv", keep_default_na=False)
    assert set(table["film"]) == {"cut.avi", "none.mp4"} and set(table["frames"]) == {"", "6"}
    identify(settings(photos=(films / "cut.avi",)))  # in the place of its own results
    (tmp_path / "named" / "cut.avi_named" / "film.mp4").unlink()
    with pytest.raises(InputError, match="holds other files and would be replaced"):
        identify(settings(photos=(films / "cut.avi",)))


@pytest.mark.parametrize("looks", [-1, float("nan"), 1e9])
def test_looks_that_cant_be_are_refused(settings, looks):
    with pytest.raises(InputError, match="looks_per_second must be from 0 to 1000"):
        identify(settings(photos=("door.avi",), looks_per_second=looks))
