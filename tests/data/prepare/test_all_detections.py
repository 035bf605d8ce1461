"""Every face of a picture is kept: names, tables, masks, resuming."""

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.alignment.align import align_face
from data.alignment.detectors.detection import Detection
from data.prepare.journal import JOURNAL, sides_of
from data.prepare.pipeline import prepare
from data.prepare.settings import PrepareSettings
from data.sources.read_image import read_image
from data.transforms import template
from runtime.errors import InputError

WIDE, HIGH, SIDE = 240, 120, 100
BOX, POINTS = np.array([10, 10, 90, 110], np.float32), (template(112) * 0.7 + 10).astype(np.float32)
RIGHT = np.array([130, 0], np.float32)
ONE, OTHER = Detection(BOX, POINTS, 1.0), Detection(BOX + np.tile(RIGHT, 2), POINTS + RIGHT, 1.0)
TINY = Detection(np.array([100, 0, 110, 12], np.float32), template(10), 1.0)


class Two:
    """Sees the left face; and beside it another and one that is too small, but in dark pictures alone."""

    def __init__(self):
        self.seen = 0

    def __call__(self, images):
        self.seen += len(images)
        return [ONE for _ in images]

    def crowds(self, images):
        return [[TINY, OTHER, ONE] if image.mean() < 140 else [ONE] for image in images]


@pytest.fixture
def source(tmp_path) -> Path:
    """Six people with four pictures each; the first two of each show two faces."""
    for person in range(6):
        for number in range(4):
            rng = np.random.default_rng(10 * person + number)
            low = 20 if number < 2 else 150
            small = rng.integers(low, low + 100, (6, 12, 3), dtype=np.uint8)
            path = tmp_path / "raw" / f"P{person}" / f"{number:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(cv2.resize(small, (WIDE, HIGH), interpolation=cv2.INTER_CUBIC)).save(path)
    return tmp_path / "raw"


def run(source: Path, out: Path, detector=None, **more) -> dict:
    settings = {"size": 112, "jobs": 1, "train_share": 0.5, "detections": "all", **more}
    return prepare(PrepareSettings(str(source), out, **settings), lambda: detector or Two())


def contents(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.suffix in (".jpg", ".csv")}


def test_further_faces_get_names_and_are_for_training_alone(source, tmp_path):
    summary = run(source, tmp_path / "out")
    assert (summary["written"], summary["further_faces"]) == (24, 12)
    for kind in ("plain", "masked"):
        names = sorted(path.name for path in (tmp_path / "out" / kind / "P0").iterdir())
        assert names == ["0000.jpg", "0000_face2.jpg", "0001.jpg", "0001_face2.jpg", "0002.jpg", "0003.jpg"]
    expected, _ = align_face(read_image(source / "P0" / "0000.png"), OTHER, 112)
    written = read_image(tmp_path / "out" / "plain" / "P0" / "0000_face2.jpg")
    assert np.abs(written.astype(int) - expected).mean() < 2
    train = pd.read_csv(tmp_path / "out" / "train.csv")
    further = train[train["path"].str.contains("_face")]
    assert len(train) == 2 * 12 and len(further) == 2 * 4
    assert (further["target"] == further["path"].str.split("/").str[1]).all()
    for name in ("eval_same", "eval_diff", "test"):
        pairs = pd.read_csv(tmp_path / "out" / f"{name}.csv")
        assert len(pairs) and not (pairs["path"] + pairs["pair_path"]).str.contains("_face").any()
    assert sides_of(tmp_path / "out")["masked/P0/0000_face2.jpg"] == 80


def test_each_face_wears_its_own_mask(source, tmp_path):
    run(source, tmp_path / "out")
    plain, masked = (
        read_image(tmp_path / "out" / kind / "P0/0000_face2.jpg").astype(int) for kind in ("plain", "masked")
    )
    changed = np.abs(plain - masked).max(2) > 30
    assert changed[60:].mean() > 0.3 and changed[:30].mean() < 0.02


def test_one_face_of_each_is_the_same_whether_others_are_kept(source, tmp_path):
    run(source, tmp_path / "all")
    run(source, tmp_path / "one", detections="one")
    every, one = contents(tmp_path / "all"), contents(tmp_path / "one")
    pictures = [path for path in one if path.endswith(".jpg")]
    assert all(every[path] == one[path] for path in pictures) and len(pictures) == 48
    for name in ("eval_same.csv", "eval_diff.csv", "test.csv"):
        assert every[name] == one[name]
    assert "more" not in json.loads((tmp_path / "one" / JOURNAL).read_text().splitlines()[1])


def test_it_resumes_and_makes_lost_faces_again(source, tmp_path):
    out = tmp_path / "out"
    run(source, out)
    first = contents(out)
    detector = Two()
    assert run(source, out, detector)["kept_from_before"] == 24 and detector.seen == 0
    (out / "plain" / "P0" / "0000_face2.jpg").unlink()
    assert run(source, out)["kept_from_before"] == 23 and contents(out) == first
    (source / "P0" / "0001.png").unlink()
    run(source, out)
    assert not list(out.rglob("P0/0001*"))
    with pytest.raises(InputError, match="was begun with detections all"):
        run(source, out, detections="one")


def test_what_cant_be_is_refused(source, tmp_path):
    with pytest.raises(InputError, match="detections all looks for faces: it needs align detect"):
        run(source, tmp_path / "out", align="landmarks")
    (source / "P0" / "0000_face2.png").write_bytes((source / "P0" / "0001.png").read_bytes())
    with pytest.raises(InputError, match=r"p0/0000_face2.jpg has the name that a further face of p0/0000.jpg gets"):
        run(source, tmp_path / "out")
