"""Masks before detection and alignment: what is written, counted, measured and drawn from."""

import dataclasses
import zlib
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.alignment.align import align_face, apply_affine, similarity
from data.alignment.alignment import Alignment
from data.alignment.detectors.detection import Detection
from data.alignment.errors import AlignmentErrors, measure_errors
from data.datasets import TrainFaces
from data.masks.render import MASK_KINDS, random_mask_kind, render_mask
from data.prepare.pipeline import prepare
from data.prepare.settings import PrepareSettings
from data.samplers import SampleKey
from data.sources.read_image import read_image
from data.tables.card import read_dataset_card
from data.tables.images import Images
from data.tables.train_csv import LANDMARK_COLUMNS, read_train_csv
from data.transforms import template
from runtime.errors import InputError

SIDE, SIZE = 120, 112
POINTS = (template(112) * 0.7 + 20).astype(np.float32)
MISLED = np.array([3, 5], np.float32)


class Misled:
    """Sees the face at fixed points, and lower under a mask; misses it where the mask is dark."""

    def __init__(self, bare: list[np.ndarray], misses: bool = False) -> None:
        self.bare, self.misses = {image.tobytes() for image in bare}, misses

    def __call__(self, images):
        return [self._see(image) for image in images]

    def _see(self, image):
        box = np.array([20, 20, 100, 110], np.float32)
        if image.tobytes() in self.bare:
            return Detection(box, POINTS, 1.0)
        return None if self.misses else Detection(box, POINTS + MISLED, 1.0)


@pytest.fixture
def source(tmp_path) -> Path:
    for person in range(6):
        for i in range(4):
            small = np.random.default_rng(10 * person + i).integers(60, 220, (6, 6, 3), dtype=np.uint8)
            path = tmp_path / "raw" / f"P{person}" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)).save(path)
    return tmp_path / "raw"


def run(source: Path, out: Path, misses: bool = False, **more) -> dict:
    bare = [read_image(path) for path in sorted(source.glob("*/*.png"))]
    settings = PrepareSettings(str(source), out, size=SIZE, jobs=1, train_share=1.0, **more)
    return prepare(settings, lambda: Misled(bare, misses))


def test_the_photograph_gets_the_mask_and_is_aligned_as_it_is_seen_then(source, tmp_path):
    out = tmp_path / "out"
    run(source, out)
    rows = pd.read_csv(out / "train.csv").set_index("path")
    photo = read_image(source / "P2" / "1.png")
    rng = np.random.default_rng([0, zlib.crc32(b"P2/1.jpg")])
    kind = random_mask_kind(rng, MASK_KINDS)
    seen = Detection(np.zeros(4, np.float32), POINTS + MISLED, 1.0)
    expected, _ = align_face(render_mask(photo, POINTS, kind, rng), seen, SIZE)
    written = read_image(out / "masked" / "P2" / "1.jpg").astype(int)
    assert np.abs(written - expected).mean() < 2
    assert rows.loc["masked/P2/1.jpg", "mask_kind"] == kind
    # The true points lie where the bare face's are in that crop, the plain copy's on the template.
    there = apply_affine(similarity(POINTS + MISLED, template(SIZE)), POINTS)
    assert rows.loc["masked/P2/1.jpg", LANDMARK_COLUMNS].to_numpy(float) == pytest.approx(there.ravel(), abs=0.01)
    plain = rows.loc["plain/P2/1.jpg", LANDMARK_COLUMNS].to_numpy(float)
    assert plain == pytest.approx(template(SIZE).ravel(), abs=0.02)


def test_the_card_says_which_order_and_how_far_faces_moved(source, tmp_path):
    run(source, tmp_path / "new")
    card = read_dataset_card(tmp_path / "new")
    assert Alignment.of(card) == Alignment("mtcnn", "network", "before alignment")
    shift = float(np.hypot(*MISLED)) / 0.7 / np.linalg.norm(template(112)[1] - template(112)[0])
    for figures in card["alignment_errors"]["shift_of_eye_distance"].values():
        assert figures["median"] == pytest.approx(shift, abs=0.003)
    run(source, tmp_path / "old", masks_after_alignment=True)
    assert Alignment.of(read_dataset_card(tmp_path / "old")) == Alignment("mtcnn", "network", "after alignment")
    old = pd.read_csv(tmp_path / "old" / "train.csv")[LANDMARK_COLUMNS].to_numpy()
    assert np.allclose(old, template(SIZE).ravel(), atol=0.02)
    assert AlignmentErrors.read(tmp_path / "old") is None


def test_masks_come_first_where_faces_are_detected_and_copies_are_made(tmp_path):
    settings = PrepareSettings("raw", tmp_path)
    assert settings.alignment.masks == "before alignment"
    for other in ({"align": "landmarks"}, {"masks": "none"}, {"masks_after_alignment": True}):
        assert dataclasses.replace(settings, **other).alignment.masks == "after alignment"


@pytest.mark.parametrize(
    ("choice", "line"),
    [
        ({"landmarks": "network"}, "there is no trained landmark network .*landmarks.safetensors; get it"),
        ({"detector": "nowhere/mine.onnx", "landmarks": "detector"}, "there is no detector nowhere/mine.onnx"),
    ],
)
def test_a_choice_whose_file_is_missing_is_named_in_one_line(source, tmp_path, monkeypatch, choice, line):
    monkeypatch.setattr(Path, "is_file", lambda path: path.suffix not in (".safetensors", ".onnx"))
    with pytest.raises(InputError, match=line):
        prepare(PrepareSettings(str(source), tmp_path / "out", **choice))
    assert not (tmp_path / "out").exists()


def test_a_face_lost_under_its_mask_stays_plain_and_is_counted(source, tmp_path):
    summary = run(source, tmp_path / "out", misses=True)
    assert (summary["written"], summary["lost_under_mask"]) == (24, 24)
    assert not (tmp_path / "out" / "masked").exists()
    failures = pd.read_csv(tmp_path / "out" / "failures.csv")
    assert set(failures["reason"]) == {"not found under the mask"} and len(failures) == 24


def test_faces_that_tell_nothing_of_errors_can_be_trained_on(source, tmp_path):
    """All are lost under their masks; a folder that shows real masks alone has no errors either."""
    run(source, tmp_path / "out", misses=True)
    assert AlignmentErrors.read(tmp_path / "out") is None


def test_errors_come_back_as_they_were_measured():
    bare = template(SIZE).astype(np.float64)
    turn = np.array([[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]]) * 1.2
    masked = (bare - 55.5) @ turn.T + 55.5 + [4, -3]
    table = measure_errors(["n95"] * 30, np.stack([bare] * 30), np.stack([masked] * 30), SIZE)
    matrix = AlignmentErrors(table).draw(np.random.default_rng(0), "n95", bare * 2, 2 * SIZE)
    # At twice the size: the same turn about the middle, twice the shift.
    expected = (bare * 2 - 111.5) @ turn.T + 111.5 + [8, -6]
    assert apply_affine(matrix, bare * 2) == pytest.approx(expected, abs=0.05)


def test_errors_are_drawn_by_kind_and_pose_and_from_all_where_there_are_few():
    rows = [("n95", 0, 1.1), ("n95", 60, 1.2), ("cloth", 0, 1.3)]
    table = pd.DataFrame(
        [[kind, yaw, size, 0, 0, 0] for kind, yaw, size in rows for _ in range(30)],
        columns=["mask_kind", "yaw", "right_x", "right_y", "x", "y"],
    )
    errors, rng = AlignmentErrors(table), np.random.default_rng(0)
    frontal, profile = template(SIZE), template(SIZE) * [0.35, 1] + [10, 0]
    profile[2] = [75, 72]
    sizes = {
        (k, i): errors.draw(rng, k, p, SIZE)[0, 0] for k in ("n95", "cloth") for i, p in enumerate((frontal, profile))
    }
    assert (sizes["n95", 0], sizes["n95", 1], sizes["cloth", 0]) == (1.1, 1.2, 1.3)
    assert len({errors.draw(rng, "kn95", frontal, SIZE)[0, 0] for _ in range(40)}) == 3


def test_a_fresh_mask_moves_a_training_face_and_a_bare_face_stays(source, tmp_path):
    run(source, tmp_path / "out")
    table, errors = read_train_csv(tmp_path / "out" / "train.csv"), AlignmentErrors.read(tmp_path / "out")
    images, key = Images(tmp_path / "out", table.paths), SampleKey(int(np.flatnonzero(~table.masked)[0]), 0, 0)

    def drawn(probability: float, errors: AlignmentErrors | None) -> np.ndarray:
        faces = TrainFaces(images, table, SIZE, disk_size=SIZE, mask_probability=probability, errors=errors, seed=3)
        return faces.__getitems__([key]).images[0].numpy().astype(int)

    assert (drawn(0.0, errors) == drawn(0.0, None)).all()
    still, moved = drawn(1.0, None), drawn(1.0, errors)
    left, up = -MISLED / 0.7  # the crop follows the misled points, so that its content moves the other way
    shifted = cv2.warpAffine(still.astype(np.uint8), np.array([[1, 0, left], [0, 1, up]]), (SIZE, SIZE)).astype(int)
    inside = np.s_[20:90, 20:90]
    either = (
        np.abs(moved[inside] - s[inside]).mean()
        for s in (
            shifted,
            cv2.warpAffine(still.astype(np.uint8), np.array([[1, 0, -left], [0, 1, up]]), (SIZE, SIZE)).astype(int),
        )
    )
    assert min(either) < 4 < np.abs(moved[inside] - still[inside]).mean()
