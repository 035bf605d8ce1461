"""Who is on these photographs? Group pictures of built-in people, with a detector that knows where they are."""

import shutil

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
from eval.identify.__main__ import IdentifySettings, identify
from runtime.errors import InputError
from tests.small_run import write_small_run


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A run with a small network; photos/: a group of three, an empty room, no picture; people/: two of the three, as
    their faces come out of that picture; and the group."""
    folder = tmp_path_factory.mktemp("photographs")
    write_small_run(folder / "run")
    group = draw_group([0, 1, 2], 3, width=480, height=320, masked_share=0.5)
    (folder / "photos").mkdir()
    Image.fromarray(group.image).save(folder / "photos" / "group.png")
    Image.fromarray(np.full((200, 300, 3), 90, np.uint8)).save(folder / "photos" / "room.png")
    (folder / "photos" / "broken.jpg").write_bytes(b"no picture")
    for guest in group.guests:
        if guest.person != 2:
            face, _ = align_face(group.image, Detection(guest.box, guest.landmarks, 1.0), 64)
            (folder / "people" / name_of(guest.person)).mkdir(parents=True)
            Image.fromarray(face).save(folder / "people" / name_of(guest.person) / "1.png")
    write_dataset_card(folder / "people", "arcface5", 64)
    return folder, group


class Knows:
    def __init__(self, group):
        self._group = group

    def crowds(self, images):
        known = [Detection(guest.box, guest.landmarks, 1.0) for guest in self._group.guests]
        return [known if np.array_equal(image, self._group.image) else [] for image in images]

    def __call__(self, images):
        return [None] * len(images)


@pytest.fixture
def settings(scene, tmp_path, monkeypatch):
    folder, group = scene
    monkeypatch.setattr(every_face, "open_finder", lambda *_: Knows(group))
    common = {"people": tmp_path / "people.npz", "photos_out": tmp_path / "named", "device": "cpu"}
    return lambda **more: IdentifySettings(str(folder / "run"), **{**common, "threshold": 0.005, **more})


def test_every_face_gets_its_name_its_row_and_its_box(scene, settings, tmp_path, capsys):
    folder, group = scene
    identify(settings(gallery=folder / "people", photos=(folder / "photos",)))
    faces = pd.read_csv(tmp_path / "named" / "faces.csv", keep_default_na=False)
    of_group = faces[faces["photo"] == "group.png"]
    expected = [name_of(guest.person) if guest.person != 2 else "unknown" for guest in group.guests]
    assert of_group["name"].tolist() == expected
    boxes = of_group[["left", "top", "right", "bottom"]].astype(float).to_numpy()
    np.testing.assert_allclose(boxes, [guest.box for guest in group.guests], atol=0.06)
    known = of_group["name"] != "unknown"
    assert (of_group["distance"].astype(float) <= 0.005).tolist() == known.tolist()
    remarks = dict(zip(faces["photo"], faces["remark"], strict=True))
    assert remarks["room.png"] == "no face found" and "can't be read" in remarks["broken.jpg"]
    drawn = np.array(Image.open(tmp_path / "named" / "group.png.jpg"))
    assert drawn.shape == (480, 720, 3) and len(list((tmp_path / "named").iterdir())) == 2
    said = capsys.readouterr().out
    assert "3 photographs, 3 faces: 2 recognised as 2 people, 1 unknown" in said
    assert "1 photograph: no face found (room.png)" in said and "(broken.jpg)" in said


def test_a_second_call_takes_the_enrolled_and_leaves_its_own_results_alone(scene, settings, tmp_path):
    folder, _ = scene
    identify(settings(gallery=folder / "people"))
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    shutil.copy(folder / "photos" / "group.png", mixed / "g.png")
    for _ in range(2):
        identify(settings(photos=(mixed,), photos_out=mixed / "named"))
        faces = pd.read_csv(mixed / "named" / "faces.csv")
        assert set(faces["photo"]) == {"g.png"} and len(faces) == 3


def test_photographs_are_not_written_over_by_their_copies_with_names(scene, settings, tmp_path):
    folder, _ = scene
    identify(settings(gallery=folder / "people"))
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.open(folder / "photos" / "group.png").save(photos / "group.jpg")
    before = (photos / "group.jpg").read_bytes()
    with pytest.raises(InputError, match=r"group.jpg is one of the photographs and would be overwritten"):
        identify(settings(photos=(photos,), photos_out=photos))
    assert (photos / "group.jpg").read_bytes() == before


def test_small_faces_stay_unknown_and_look_alikes_are_said(scene, settings, tmp_path, capsys):
    folder, _ = scene
    identify(settings(gallery=folder / "people", photos=(folder / "photos",), least_face=300, threshold=2.0))
    faces = pd.read_csv(tmp_path / "named" / "faces.csv", keep_default_na=False)
    of_group = faces[faces["photo"] == "group.png"]
    assert set(of_group["name"]) == {"unknown"} and of_group["remark"].str.contains("smaller than 300 pixels").all()
    assert "look alike" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"photos": "nowhere"}, "no photograph or folder"),
        ({"photos": "run"}, "no picture or film in"),
        ({"photos": "photos"}, "nobody is enrolled"),
    ],
)
def test_what_cant_be_done_is_said_in_one_line(scene, settings, changes, words):
    folder, _ = scene
    with pytest.raises(InputError, match=words):
        identify(settings(**{key: (folder / value,) for key, value in changes.items()}))
