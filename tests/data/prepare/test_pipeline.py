import io
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.alignment.align import apply_affine, similarity
from data.alignment.detectors.detection import Detection
from data.prepare import faces as module
from data.prepare.journal import JOURNAL, Journal, sides_of
from data.prepare.pipeline import prepare
from data.prepare.settings import PrepareSettings
from data.sources.folders import list_folder, output_names
from data.sources.outcome import WRITTEN, Outcome
from data.sources.read_image import read_image
from data.tables.card import read_dataset_card
from data.tables.pair_csv import read_pair_csvs
from data.tables.paths import require_files
from data.tables.train_csv import LANDMARK_COLUMNS, read_train_csv
from data.transforms import template
from runtime.errors import InputError
from tests.processes import ROOT

SIDE = 80
POINTS = template(112) * 0.5 + 12


class ToyDetector:
    """Sees a face at fixed points in every picture but the dark ones; counts what it was shown."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, images):
        self.seen += len(images)
        box = np.array([15, 10, 65, 70], np.float32)
        return [Detection(box, POINTS.astype(np.float32), 1.0) if image.mean() > 30 else None for image in images]


@pytest.fixture
def detector(monkeypatch) -> ToyDetector:
    return ToyDetector()


def picture(seed: int, side: int = SIDE) -> np.ndarray:
    rng = np.random.default_rng(seed)
    small = rng.integers(60, 220, (6, 6, 3), dtype=np.uint8)
    return cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


@pytest.fixture
def source(tmp_path) -> Path:
    folder = tmp_path / "raw faces"
    for person in range(8):
        for i in range(4):
            save(folder / f"Pérson {person}" / f"{person}_{i:04d}.jpg", picture(10 * person + i))
    return folder


def settings(source: Path, out: Path, **more) -> PrepareSettings:
    return PrepareSettings(str(source), out, **{"size": 112, "jobs": 1, "train_share": 0.5, **more})


def run(source: Path, out: Path, detector, **more) -> dict:
    return prepare(settings(source, out, **more), lambda: detector)


def contents(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*.jpg"))}


# ==== what comes out ====


def test_a_folder_of_faces_becomes_a_data_folder(source, tmp_path, detector):
    out = tmp_path / "out"
    summary = run(source, out, detector)
    assert summary["files"] == summary["written"] == 32
    assert summary["people"] == {"train": 4, "eval": 2, "test": 2}
    assert read_dataset_card(out).items() >= {"crop": "arcface5", "size": 112}.items()
    table = read_train_csv(out / "train.csv")
    assert len(table.paths) == 4 * 4 * 2 and table.masked.sum() == 16
    require_files(out, table.paths, "train.csv")
    assert (cv2.imread(str(out / "preview.png")) != 255).any()
    assert pd.read_csv(out / "failures.csv").empty
    for path in table.paths[:4]:
        assert read_image(out / path).shape == (112, 112, 3)


def test_people_of_the_three_parts_are_apart_and_pairs_name_files(source, tmp_path, detector):
    out = tmp_path / "out"
    run(source, out, detector)
    train = set(pd.read_csv(out / "train.csv")["target"])
    pairs = {n: pd.read_csv(out / f"{n}.csv") for n in ("eval_same", "eval_diff", "test")}
    evaluation = set(pairs["eval_same"]["target"]) | set(pairs["eval_diff"]["pair_target"])
    test = set(pairs["test"]["target"]) | set(pairs["test"]["pair_target"])
    assert train and evaluation and test
    assert not train & evaluation and not train & test and not evaluation & test
    same = pairs["test"]["target"] == pairs["test"]["pair_target"]
    assert same.sum() == (~same).sum() > 0
    for name in pairs:
        require_files(out, read_pair_csvs([out / f"{name}.csv"]).paths, name)


def test_tables_keep_the_side_of_the_face_in_its_photograph(source, tmp_path, detector):
    run(source, tmp_path / "out", detector)
    for name, columns in (("train", ["face_side"]), ("test", ["face_side", "pair_face_side"])):
        rows = pd.read_csv(tmp_path / "out" / f"{name}.csv")
        assert (rows[columns] == 50).all(axis=None)  # the shorter side of ToyDetector's box
    assert (read_pair_csvs([tmp_path / "out" / "test.csv"]).sides == 50).all()
    run(source, tmp_path / "aligned", detector, align="landmarks")  # no photographs
    assert "face_side" not in pd.read_csv(tmp_path / "aligned" / "train.csv")
    assert read_pair_csvs([tmp_path / "aligned" / "test.csv"]).sides is None


@pytest.mark.parametrize("damaged", ["3", "[1]", "{}", "null", '{"path": "a", "stamp": 3}', '{"path": [', "[" * 20_000])
def test_a_line_of_the_journal_that_holds_something_else_counts_for_nothing(tmp_path, damaged):
    journal = Journal(tmp_path / "out", {"size": 64})
    journal.add([Outcome("a.jpg", "stamp", WRITTEN, name="a.jpg", person="a", side=40.0)])
    whole = (tmp_path / "out" / JOURNAL).read_text()
    (tmp_path / "out" / JOURNAL).write_text(whole + damaged + "\n")
    assert sides_of(tmp_path / "out") == {"plain/a.jpg": 40.0}
    assert Journal(tmp_path / "out", {"size": 64}).outcomes == journal.outcomes
    assert (tmp_path / "out" / JOURNAL).read_text() == whole
    (tmp_path / "out" / JOURNAL).write_text("\n".join([damaged, *whole.splitlines()[1:]]))
    with pytest.raises(InputError, match="was begun with size None"):
        Journal(tmp_path / "out", {"size": 64})


def test_a_folder_begun_before_sides_were_kept_is_finished_with_those_that_are_known(source, tmp_path, detector):
    run(source, tmp_path / "out", detector)
    journal = tmp_path / "out" / "journal.jsonl"
    first, *lines = journal.read_text().splitlines()
    old = [json.dumps({k: v for k, v in json.loads(line).items() if k != "side"}) for line in lines[:8]]
    journal.write_text("\n".join([first, *old]) + "\n")
    run(source, tmp_path / "out", detector)
    sides = pd.concat([pd.read_csv(tmp_path / "out" / f"{name}.csv")["face_side"] for name in ("train", "test")])
    assert set(sides.dropna()) == {50} and sides.isna().any()


def test_aligned_faces_and_landmarks_agree(source, tmp_path, detector):
    out = tmp_path / "out"
    run(source, out, detector, train_share=1.0)
    rows = pd.read_csv(out / "train.csv")
    expected = apply_affine(similarity(POINTS, template(112)), POINTS)
    assert rows[LANDMARK_COLUMNS].to_numpy().reshape(-1, 5, 2)[0] == pytest.approx(expected, abs=0.01)
    row = rows[rows["masked"] == 0].iloc[0]
    raw = read_image(source / row["path"].removeprefix("plain/"))
    warped = cv2.warpAffine(raw, similarity(POINTS, template(112)), (112, 112))
    assert np.abs(read_image(out / row["path"]).astype(int) - warped).mean() < 3


def test_only_the_lower_face_differs_between_plain_and_masked(source, tmp_path, detector):
    out = tmp_path / "out"
    run(source, out, detector)
    for path in (out / "plain").rglob("*.jpg"):
        masked = read_image(out / "masked" / path.relative_to(out / "plain")).astype(int)
        difference = np.abs(masked - read_image(path)).max(-1)
        assert difference[:44].max() < 25 and (difference[75:100, 40:72] > 20).mean() > 0.5


def test_all_people_for_training_or_none(source, tmp_path, detector):
    everybody = run(source, tmp_path / "a", detector, train_share=1.0)
    assert everybody["people"] == {"train": 8, "eval": 0, "test": 0}
    nobody = run(source, tmp_path / "b", detector, train_share=0.0)
    assert nobody["people"] == {"train": 0, "eval": 4, "test": 4}
    assert list(pd.read_csv(tmp_path / "b" / "train.csv").columns)[:3] == ["path", "target", "masked"]


def test_same_seed_same_bytes_with_more_processes_too(source, tmp_path, detector, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 5)
    run(source, tmp_path / "a", detector)
    run(source, tmp_path / "b", ToyDetector())
    run(source, tmp_path / "c", ToyDetector(), seed=1)
    assert contents(tmp_path / "a") == contents(tmp_path / "b") != contents(tmp_path / "c")


# ==== every file accounted for ====


def bad_files(folder: Path) -> dict[str, str]:
    """Files that give no face, and what is to be said of each."""
    folder.mkdir(parents=True)
    (folder / "zero.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("not a picture at all")
    whole = io.BytesIO()
    Image.fromarray(picture(1, 200)).save(whole, "JPEG")
    (folder / "cut.jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    whole = io.BytesIO()
    Image.fromarray(picture(1, 200)).save(whole, "PNG")
    (folder / "cut.png").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    save(folder / "dark.png", np.zeros((SIDE, SIDE, 3), np.uint8))
    save(folder / "tiny.png", np.zeros((10, 10, 3), np.uint8))
    Image.new("1", (11_000, 11_000)).save(folder / "bomb.png")
    (folder / "notes.txt").write_text("x")
    os.symlink(folder / "nowhere", folder / "link.jpg")
    return {
        "zero.jpg": "unreadable",
        "text.jpg": "unreadable",
        "cut.jpg": "unreadable",
        "cut.png": "unreadable",
        "bomb.png": "unreadable",
        "dark.png": "no face found",
        "tiny.png": "too small",
        "notes.txt": "not a picture",
        "link.jpg": "not a picture",
    }


def test_counts_add_up_and_each_failure_has_its_reason(source, tmp_path, detector):
    expected = bad_files(source / "Bad")
    (source / "loose.jpg").write_bytes((source / "Pérson 0" / "0_0000.jpg").read_bytes())
    summary = run(source, tmp_path / "out", detector)
    failures = pd.read_csv(tmp_path / "out" / "failures.csv").set_index("path")
    assert {path.removeprefix("Bad/"): row.status for path, row in failures.iterrows()} == {
        **expected,
        "loose.jpg": "not a picture",
    }
    assert failures["reason"].str.len().min() > 0
    kinds = ["written", "no_face_found", "unreadable", "too_small", "not_a_picture"]
    on_disk = sum(len(files) for _, _, files in os.walk(source))
    assert summary["files"] == sum(summary[kind] for kind in kinds) == on_disk
    assert summary == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert "11000×11000" in failures.loc["Bad/bomb.png", "reason"]


def test_a_name_that_is_no_utf8_is_listed(source, tmp_path, detector):
    name = os.fsencode(source / "Pérson 0") + b"/b\xff.jpg"
    with open(name, "wb") as file:
        file.write(b"x")
    os.makedirs(os.fsencode(source) + b"/\xfe\xff person")
    os.makedirs(os.fsencode(source) + b"/\xfe\xff person/@eaDir")
    with open(os.fsencode(source) + b"/\xfe\xff person/1.jpg", "wb") as file:
        file.write((source / "Pérson 0" / "0_0000.jpg").read_bytes())
    summary = run(source, tmp_path / "out", detector)
    failures = pd.read_csv(tmp_path / "out" / "failures.csv")
    assert summary["not_a_picture"] == 3 and failures["reason"].str.contains("UTF-8|of the system").all()
    assert summary["written"] == 32


def test_links_in_a_loop_end(source, tmp_path, detector):
    os.symlink(source, source / "Pérson 0" / "again")
    assert run(source, tmp_path / "out", detector)["files"] == 32


def test_links_to_themselves_and_to_each_other_are_listed(source, tmp_path, detector):
    os.symlink("self.jpg", source / "Pérson 0" / "self.jpg")
    os.symlink("b", source / "Pérson 1" / "a")
    os.symlink("a", source / "Pérson 1" / "b")
    summary = run(source, tmp_path / "out", detector)
    assert (summary["files"], summary["written"], summary["not_a_picture"]) == (35, 32, 3)
    reasons = pd.read_csv(tmp_path / "out" / "failures.csv")["reason"]
    assert reasons.str.contains("symbolic links").all()


def test_a_folder_that_can_not_be_opened_is_listed(source, tmp_path, detector, monkeypatch):
    scandir = os.scandir

    def locked(path):
        if str(path).endswith("Pérson 3"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("data.sources.folders.os.scandir", locked)
    summary = run(source, tmp_path / "out", detector)
    assert (summary["files"], summary["written"]) == (29, 28)
    failure = pd.read_csv(tmp_path / "out" / "failures.csv").iloc[0]
    assert failure["path"] == "Pérson 3/" and "Permission denied" in failure["reason"]


def test_equal_names_in_one_folder_or_of_two_folders_stay_apart(tmp_path, detector):
    source = tmp_path / "raw"
    for folder in ("train/Ann", "val/Ann", "val/Bob"):
        save(source / folder / "1.jpg", picture(1))
        save(source / folder / "1.png", picture(2))
    files = list_folder(source).pictures
    assert [f.person for f in files] == ["Ann"] * 4 + ["Bob"] * 2
    assert [f.name for f in files][:4:2] == ["Ann/train/1.jpg", "Ann/val/1.jpg"]
    assert [f.name for f in files][-2:] == ["Bob/1.jpg", "Bob/1.png.jpg"]
    assert run(source, tmp_path / "out", detector, train_share=1.0)["written"] == 6
    assert len(contents(tmp_path / "out")) == 12


def test_names_that_differ_in_capitals_alone_all_stay_apart():
    names = output_names(["A.JPG", "A.jpg", "a.JPG", "a.jpg", "a.png"], set())
    assert len({name.lower() for name in names}) == 5


# ==== stop and go on ====


def test_stopped_in_the_middle_it_goes_on_and_gives_the_same(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "BATCH", 4)
    whole = tmp_path / "whole"
    run(source, whole, ToyDetector())

    class Stops(ToyDetector):
        def __call__(self, images):
            if self.seen >= 24:  # each photograph bare and masked
                raise KeyboardInterrupt
            return super().__call__(images)

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(source, out, Stops())
    with (out / JOURNAL).open("a") as file:
        file.write('{"path": "Pérs')
    second = ToyDetector()
    summary = run(source, out, second)
    assert summary["kept_from_before"] == 12 and second.seen == 40
    assert "12 files were done before" in capsys.readouterr().out
    assert contents(out) == contents(whole)
    for name in ("train.csv", "eval_same.csv", "eval_diff.csv", "test.csv", "failures.csv"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_a_second_run_looks_at_nothing_again(source, tmp_path, detector):
    (source / "Pérson 0" / "zero.jpg").write_bytes(b"")
    run(source, tmp_path / "out", detector)
    second = ToyDetector()
    summary = run(source, tmp_path / "out", second)
    assert second.seen == 0 and summary["kept_from_before"] == 32 and summary["unreadable"] == 1


def test_changed_input_and_lost_output_are_done_again(source, tmp_path, detector):
    out = tmp_path / "out"
    run(source, out, detector)
    save(source / "Pérson 0" / "0_0000.jpg", picture(99))
    (out / "masked" / "Pérson 1" / "1_0001.jpg").unlink()
    (out / "plain" / "Pérson 1" / "1_0002.jpg").write_bytes(b"")  # as a power cut leaves it
    second = ToyDetector()
    assert run(source, out, second)["kept_from_before"] == 29
    assert second.seen == 6  # bare and masked


def test_a_damaged_face_is_left_out_of_the_contact_sheet(source, tmp_path, detector):
    run(source, tmp_path / "out", detector)
    (tmp_path / "out" / "plain" / "Pérson 1" / "1_0002.jpg").write_bytes(b"damaged")
    assert run(source, tmp_path / "out", detector)["kept_from_before"] == 32


@pytest.mark.parametrize("journal", ["of today", "that still names what is gone"])
def test_a_picture_with_the_name_of_one_that_is_gone_keeps_its_face(source, tmp_path, detector, journal):
    """Saved again in another format, it gets the same name under plain/ and masked/."""
    out = tmp_path / "out"
    before, after = (source / "Pérson 0" / f"again.{suffix}" for suffix in ("png", "jpg"))
    save(before, picture(99))
    run(source, out, detector)
    lines = (out / JOURNAL).read_text().splitlines()
    before.unlink()
    save(after, picture(99))
    run(source, out, detector)
    if journal != "of today":
        settings_line, *new = (out / JOURNAL).read_text().splitlines()
        gone = next(line for line in lines if "again.png" in line)
        (out / JOURNAL).write_text("\n".join([settings_line, gone, *new]) + "\n")
    faces = contents(out)
    assert "plain/Pérson 0/again.jpg" in faces
    assert run(source, out, detector)["kept_from_before"] == 33
    assert contents(out) == faces
    assert "again.png" not in (out / JOURNAL).read_text()


def test_other_settings_for_the_same_folder_are_refused(source, tmp_path, detector):
    run(source, tmp_path / "out", detector)
    with pytest.raises(InputError, match="size 112"):
        run(source, tmp_path / "out", detector, size=128)


# ==== what the user can mend ====


def test_source_errors_have_one_clear_line(tmp_path, detector):
    out = tmp_path / "out"
    with pytest.raises(InputError, match="is not there"):
        run(tmp_path / "none", out, detector)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is empty"):
        run(tmp_path / "empty", out, detector)
    save(tmp_path / "flat" / "a.jpg", picture(0))
    with pytest.raises(InputError, match="no sub-folders"):
        run(tmp_path / "flat", out, detector)
    assert not out.exists()


def test_nothing_usable_is_an_error_with_the_list_written(tmp_path, detector):
    bad_files(tmp_path / "raw" / "Bad")
    with pytest.raises(InputError, match="no face was found in any of the 9 files"):
        run(tmp_path / "raw", tmp_path / "out", detector)
    assert len(pd.read_csv(tmp_path / "out" / "failures.csv")) == 9


def test_folders_one_in_the_other_are_refused(source, tmp_path, detector):
    for out in (source / "out", source, tmp_path):
        with pytest.raises(InputError, match="use separate folders"):
            run(source, out, detector)
    assert not (source / "out").exists()


def test_somebody_elses_folder_is_left_alone(source, tmp_path, detector):
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="not from data.prepare"):
        run(source, other, detector)
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file"):
        run(source, tmp_path / "file", detector)
    assert [p.name for p in other.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    "wrong", [{"size": 100}, {"train_share": 1.5}, {"eval_share": -0.1}, {"test_pairs": 1}, {"jobs": -1}, {"seed": -1}]
)
def test_impossible_settings_are_refused(source, tmp_path, detector, wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        run(source, tmp_path / "out", detector, **wrong)


def test_a_full_disk_is_one_line_and_leaves_no_half_file(source, tmp_path, detector, monkeypatch):
    def full(path, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(InputError, match="No space left"):
        run(source, tmp_path / "out", detector)
    assert not [p for p in (tmp_path / "out").rglob("*") if p.is_file()]


def test_the_command_with_two_processes(tmp_path):
    """Enough files for two batches; none gives a face, which is one line and no traceback."""
    for i in range(40):
        person = tmp_path / "raw" / str(i % 4)
        person.mkdir(parents=True, exist_ok=True)
        (person / f"{i}.jpg").write_bytes(b"")
    save(tmp_path / "raw" / "0" / "blotches.jpg", picture(0))
    command = [
        sys.executable,
        "-m",
        "data.prepare",
        str(tmp_path / "raw"),
        "--out",
        str(tmp_path / "out"),
        "--jobs",
        "2",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: no face was found in any of the 41 files")
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr
    statuses = pd.read_csv(tmp_path / "out" / "failures.csv")["status"].value_counts()
    assert statuses.to_dict() == {"unreadable": 40, "no face found": 1}
