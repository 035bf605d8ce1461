"""The built-in faces: same seed, same pixels; landmarks where they are seen; people apart; made once."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

import data.synthetic.make as make
from data.gallery import GallerySettings, gallery
from data.masks.render import MASK_KINDS, random_mask_kind, render_mask
from data.synthetic import FaceSet, draw_face, ensure_faces, make_faces
from data.synthetic.draw import render
from data.synthetic.people import NUISANCE, POSE_LIMITS_DEG, TRAITS, Scene, make_person, make_scene
from data.tables.train_csv import LANDMARK_COLUMNS
from data.transforms import ARCFACE_TEMPLATE_112
from runtime.errors import InputError

SMALL = {
    "train_people": 4,
    "eval_people": 3,
    "test_people": 3,
    "images_per_person": 3,
    "seed": 0,
    "size": 64,
    "eval_pairs": 12,
    "test_pairs": 12,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("faces") / "builtin"
    make_faces(made, FaceSet(**SMALL))
    return made


def test_same_numbers_same_pixels_whatever_was_drawn_before():
    first = draw_face(3, 5, seed=9)
    draw_face(4, 5, seed=9)
    again = draw_face(3, 5, seed=9)
    assert first.image.dtype == np.uint8 and first.image.shape == (128, 128, 3)
    assert first.landmarks.dtype == np.float32 and first.landmarks.shape == (5, 2)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.landmarks, again.landmarks)


def test_another_person_image_or_seed_gives_another_picture():
    shown = draw_face(3, 5, seed=9).image.astype(int)
    for other in (draw_face(4, 5, seed=9), draw_face(3, 6, seed=9), draw_face(3, 5, seed=10)):
        assert np.abs(shown - other.image).mean() > 5


def test_pictures_of_a_person_share_the_traits_and_differ_in_the_scene():
    assert make_person(2, 1).traits == make_person(2, 1).traits
    assert make_person(2, 1).traits != make_person(3, 1).traits
    assert len(TRAITS) >= 25
    yaws = [make_scene(2, image, 1).yaw for image in range(300)]
    limit = np.deg2rad(POSE_LIMITS_DEG["yaw"])
    assert max(np.abs(yaws)) <= limit + 1e-9 and np.std(yaws) > limit / 5


@pytest.mark.parametrize("size", [96, 128])
def test_landmarks_are_aligned_to_the_template(size):
    """An independent fit (homogeneous least squares) of landmarks → template finds next to no turn, scale or shift."""
    goal = ARCFACE_TEMPLATE_112.astype(float) * size / 112
    for person in range(12):
        x, y = draw_face(person, 1, size=size).landmarks.astype(float).T
        one, zero = np.ones(5), np.zeros(5)
        system = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
        (a, b, _, _), *_ = np.linalg.lstsq(system, np.concatenate([goal[:, 0], goal[:, 1]]), rcond=None)
        assert abs(np.hypot(a, b) - 1) < 0.12
        assert abs(np.degrees(np.arctan2(b, a))) < 6
        assert np.abs(np.array([x.mean(), y.mean()]) - goal.mean(0)).max() < 0.02 * size
        assert np.abs(np.stack([x, y], 1) - goal).max() < 0.12 * size


def _changed(person, scene, change):
    """Where the picture changes when ``change`` is applied to the person: weights (128, 128)."""
    before, after = render(person, scene), render(change(person), scene)
    np.testing.assert_array_equal(before.landmarks, after.landmarks)
    return np.abs(before.image.astype(float) - after.image).sum(2), before.landmarks


def _centre(weights):
    y, x = np.mgrid[: weights.shape[0], : weights.shape[1]]
    return np.array([(weights * x).sum(), (weights * y).sum()]) / weights.sum()


@pytest.mark.parametrize("yaw, pitch, roll", [(0, 0, 0), (0.5, 0, 0), (-0.5, 0.2, 0.1), (0.2, -0.2, -0.1)])
def test_the_eyes_landmarks_are_where_the_irises_are_seen(yaw, pitch, roll):
    """Recolour the irises alone: what changes must lie around the two eye landmarks."""
    person = make_person(1, 0)
    scene = Scene(yaw=yaw, pitch=pitch, roll=roll)
    weights, landmarks = _changed(person, scene, lambda p: replace(p, iris=255 - p.iris))
    middle = (landmarks[0, 0] + landmarks[1, 0]) / 2
    for left, landmark in ((True, landmarks[0]), (False, landmarks[1])):
        half = weights * ((np.arange(128) < middle) == left)
        assert np.linalg.norm(_centre(half) - landmark) < 2.0


@pytest.mark.parametrize("yaw", [-0.4, 0.0, 0.4])
def test_the_mouths_landmarks_are_the_ends_of_the_lips(yaw):
    """Recolour the lips alone: the change must reach from one mouth corner to the other."""
    person = make_person(1, 0)

    def paler(p):
        return replace(p, traits={**p.traits, "lip_colour": p.traits["lip_colour"] + 4})

    weights, landmarks = _changed(person, Scene(yaw=yaw), paler)
    columns = np.flatnonzero(weights.max(0) > 8)
    rows = np.flatnonzero(weights.max(1) > 8)
    assert abs(columns[0] - landmarks[3, 0]) < 3.5 and abs(columns[-1] - landmarks[4, 0]) < 3.5
    assert rows[0] - 1 < landmarks[3:, 1].mean() < rows[-1] + 1


def test_a_turned_head_shows_the_nose_off_the_middle_of_the_eyes():
    shift = {}
    for yaw in (-0.5, 0.0, 0.5):
        left, right, nose, *_ = render(make_person(5, 0), Scene(yaw=yaw)).landmarks
        shift[yaw] = nose[0] - (left[0] + right[0]) / 2
    assert shift[-0.5] < -6 and abs(shift[0.0]) < 0.5 and shift[0.5] > 6


def test_the_nuisance_table_is_what_decides(monkeypatch):
    monkeypatch.setitem(NUISANCE, "yaw_deg", 0.0)
    monkeypatch.setitem(NUISANCE, "hat", 0.0)
    scenes = [make_scene(0, image, 0) for image in range(20)]
    assert all(scene.yaw == 0 and scene.hat == 0 for scene in scenes)


def test_a_made_folder_is_complete(folder):
    card = json.loads((folder / "dataset.json").read_text())
    assert (card["crop"], card["size"]) == ("arcface5", 64)
    train = pd.read_csv(folder / "train.csv")
    assert list(train.columns) == ["path", "target", "masked", "mask_kind", *LANDMARK_COLUMNS]
    assert len(train) == 4 * 3 * 2 and train["masked"].sum() == 4 * 3
    assert (train["mask_kind"].notna() == (train["masked"] == 1)).all()
    assert set(train["mask_kind"].dropna()) <= set(MASK_KINDS)
    for path, masked in zip(train["path"], train["masked"], strict=True):
        assert path.startswith("masked/" if masked else "plain/")
        assert cv2.imread(str(folder / path)).shape == (64, 64, 3)
    plain = {path.removeprefix("plain/") for path in train["path"] if path.startswith("plain/")}
    assert plain == {path.removeprefix("masked/") for path in train["path"] if path.startswith("masked/")}
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        ["plain", "masked", "train.csv", "eval_same.csv", "eval_diff.csv", "test.csv", "dataset.json"]
    )


def test_masked_pictures_differ_from_plain_ones_below_the_eyes_only_by_the_mask(folder):
    plain = [cv2.imread(str(p)).astype(int) for p in sorted((folder / "plain").rglob("*.jpg"))]
    masked = [cv2.imread(str(p)).astype(int) for p in sorted((folder / "masked").rglob("*.jpg"))]
    change = np.mean([np.abs(a - b).mean(2) for a, b in zip(plain, masked, strict=True)], 0)
    assert change[48:60, 20:44].mean() > 20
    assert change[:24].mean() < 2


def test_people_of_train_eval_and_test_are_different_ones(folder):
    people = {}
    for part in ("train", "eval_same", "eval_diff", "test"):
        table = pd.read_csv(folder / f"{part}.csv")
        people[part] = set(table["target"]) | set(table.get("pair_target", table["target"]))
    evaluation = people["eval_same"] | people["eval_diff"]
    assert len(people["train"]) == 4 and len(evaluation) <= 3 and len(people["test"]) <= 3
    assert not people["train"] & evaluation
    assert not people["train"] & people["test"]
    assert not evaluation & people["test"]


def test_pairs_have_both_kinds_and_all_conditions(folder):
    same, different = pd.read_csv(folder / "eval_same.csv"), pd.read_csv(folder / "eval_diff.csv")
    assert len(same) == len(different) == 6
    assert (same["target"] == same["pair_target"]).all()
    assert (different["target"] != different["pair_target"]).all()
    test = pd.read_csv(folder / "test.csv")
    assert len(test) == 12 and (test["target"] == test["pair_target"]).sum() == 6
    assert set(test["masked"] + test["pair_masked"]) == {0, 1, 2}


def test_more_train_people_leave_the_test_people_as_they_are(folder, tmp_path):
    more = tmp_path / "more"
    make_faces(more, FaceSet(**{**SMALL, "train_people": 5}))
    pd.testing.assert_frame_equal(pd.read_csv(folder / "test.csv"), pd.read_csv(more / "test.csv"))
    for path in pd.read_csv(more / "test.csv")["path"]:
        assert (folder / path).read_bytes() == (more / path).read_bytes()


def test_worker_processes_draw_the_same_as_one(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(make, "_ALONE", 0)
    monkeypatch.setattr(make.os, "cpu_count", lambda: 2)
    make_faces(tmp_path / "twice", FaceSet(**SMALL))
    files = sorted(p.relative_to(folder) for p in folder.rglob("*.*"))
    assert files == sorted(p.relative_to(tmp_path / "twice") for p in (tmp_path / "twice").rglob("*.*"))
    for name in files:
        assert (folder / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()


def test_a_killed_worker_process_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(make, "_ALONE", 0)
    monkeypatch.setattr(make.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(make, "draw_face", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(InputError, match="a process that draws .* died"):
        make_faces(tmp_path / "faces", FaceSet(**SMALL))
    assert list(tmp_path.iterdir()) == []


def test_faces_are_made_once(tmp_path):
    folder = tmp_path / "faces"
    ensure_faces(folder, FaceSet(**SMALL))
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    ensure_faces(folder, FaceSet(**SMALL))
    assert before == {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    ensure_faces(folder, FaceSet(**{**SMALL, "seed": 1}))
    assert json.loads((folder / "dataset.json").read_text())["seed"] == 1


def test_faces_of_other_code_are_drawn_anew(tmp_path, monkeypatch):
    folder = tmp_path / "faces"
    ensure_faces(folder, FaceSet(**SMALL))
    (folder / "train.csv").unlink()
    ensure_faces(folder, FaceSet(**SMALL))
    assert not (folder / "train.csv").exists()
    monkeypatch.setattr(make, "drawing_version", lambda: "other")
    ensure_faces(folder, FaceSet(**SMALL))
    assert (folder / "train.csv").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interruption_leaves_nothing_that_counts(tmp_path, monkeypatch, error):
    drawn = []

    def interrupted(*arguments):
        drawn.append(arguments)
        if len(drawn) == 5:
            raise error
        return draw_face(*arguments)

    monkeypatch.setattr(make, "draw_face", interrupted)
    with pytest.raises(error):
        ensure_faces(tmp_path / "faces", FaceSet(**SMALL))
    assert len(drawn) == 5
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_change_keeps_the_old_faces(tmp_path, monkeypatch):
    folder = tmp_path / "faces"
    ensure_faces(folder, FaceSet(**SMALL))
    monkeypatch.setattr(make, "draw_face", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        ensure_faces(folder, FaceSet(**{**SMALL, "seed": 1}))
    assert [p.name for p in tmp_path.iterdir()] == ["faces"]
    assert json.loads((folder / "dataset.json").read_text())["seed"] == 0


@pytest.mark.parametrize("content", ["notes.txt", "dataset.json"])
def test_a_folder_of_something_else_is_refused_and_kept(tmp_path, content):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / content).write_text('{"crop": "mtcnn_box", "size": 160}')
    with pytest.raises(InputError, match="something else"):
        ensure_faces(folder, FaceSet(**SMALL))
    assert [p.name for p in folder.iterdir()] == [content]


@pytest.mark.parametrize("number, value", [("train_people", 1), ("images_per_person", 1), ("size", 8)])
def test_too_small_numbers_are_refused(tmp_path, number, value):
    with pytest.raises(InputError, match=number):
        make_faces(tmp_path / "faces", FaceSet(**{**SMALL, number: value}))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't write .*faces"):
        make_faces(tmp_path / "file" / "faces", FaceSet(**SMALL))


def _masked_colours(people, images):
    """Mean colours on an 8×8 grid of masked faces: (people, images, 192)."""
    rows = []
    for person in people:
        for image in range(images):
            face = draw_face(person, image, seed=7)
            rng = np.random.default_rng((person, image))
            masked = render_mask(face.image, face.landmarks, random_mask_kind(rng), rng)
            rows.append(cv2.resize(masked.astype(np.float32), (8, 8), interpolation=cv2.INTER_AREA).ravel())
    return np.array(rows).reshape(len(people), images, -1)


def test_colours_alone_do_not_identify_masked_people():
    """Linear discriminants of mean colours, fitted on some people, stay under 75 % on others, at the best threshold."""
    discriminant = pytest.importorskip("sklearn.discriminant_analysis").LinearDiscriminantAnalysis()
    known, others = _masked_colours(range(70), 5), _masked_colours(range(70, 110), 4)
    discriminant.fit(known.reshape(-1, 192), np.repeat(np.arange(70), 5))
    vectors = discriminant.transform(others.reshape(-1, 192))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).reshape(40, 4, -1)
    first, second = vectors[:, :2], vectors[:, 2:]
    same = np.linalg.norm(first - second, axis=2).ravel()
    different = np.linalg.norm(first - np.roll(second, 1, axis=0), axis=2).ravel()
    accuracy = max(((same <= t).mean() + (different > t).mean()) / 2 for t in np.linspace(0, 2, 201))
    assert accuracy < 0.75


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"file": Path("faces")}, "faces has no ending of a picture"),
        ({"file": Path("faces.txt")}, "no ending of a picture"),
        ({"people": 0}, "people is 0, but must be at least 1"),
        ({"images": 0}, "images is 0"),
        ({"size": 0}, "size is 0, but must be at least 32"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_what_no_gallery_can_be_made_of_is_one_line(wrong, line):
    with pytest.raises(InputError, match=line):
        GallerySettings(**{"file": Path("faces.png"), **wrong})


def test_the_gallery_shows_a_column_a_person_plain_above_masked():
    sheet = gallery(people=3, images=2, size=64, seed=1)
    assert sheet.shape == (2 * 2 * 64, 3 * 64, 3)
    plain, masked = sheet[:64, 64:128], sheet[64:128, 64:128]
    assert np.array_equal(plain, draw_face(1, 0, 1, 64).image)
    assert np.array_equal(plain[:16], masked[:16]), "a mask leaves the forehead alone"
    assert (plain[36:] != masked[36:]).any(axis=2).mean() > 0.3
