"""Preparation from other sources than a folder, with stages left out, and with real masked photos."""

import io
import json
import os
import pickle
import resource
import signal
import struct
import subprocess
import sys
import unicodedata
import urllib.error
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import sklearn.datasets
import torch
from PIL import Image

from data.alignment.detectors.detection import Detection
from data.datasets import TrainFaces
from data.prepare import faces as prepare_faces
from data.prepare.pipeline import prepare
from data.prepare.settings import PrepareSettings
from data.prepare.split import split_people
from data.samplers import SampleKey
from data.sources.folders import list_folder
from data.sources.open_source import open_source
from data.sources.read_image import UnreadableImage, read_image
from data.tables.card import read_dataset_card
from data.tables.images import Images
from data.tables.pair_csv import read_pair_csvs
from data.tables.paths import missing_files
from data.tables.train_csv import read_train_csv
from data.transforms import template
from runtime.errors import InputError
from tests.processes import ROOT

SIDE = 112
POINTS = template(SIDE) + 1.0


class FixedPoints:
    """Sees the same five points in every picture but the dark ones."""

    def __call__(self, images):
        found = Detection(np.array([20, 20, 90, 105], np.float32), POINTS.astype(np.float32), 1.0)
        return [found if image.mean() > 30 else None for image in images]


class Refuses:
    """A detector that must not be asked."""

    def __call__(self, images):
        assert not images, "nothing was to be detected"
        return []


def picture(seed: int, side: int = SIDE) -> np.ndarray:
    small = np.random.default_rng(seed).integers(60, 220, (6, 6, 3), dtype=np.uint8)
    return cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, quality=95)
    return path


def jpeg(image: np.ndarray) -> bytes:
    whole = io.BytesIO()
    Image.fromarray(image).save(whole, "JPEG", quality=95)
    return whole.getvalue()


def people(folder: Path, names: str = "ABCDEFGH", images: int = 3) -> Path:
    for person, name in enumerate(names):
        for i in range(images):
            save(folder / name / f"{name}_{i:04d}.jpg", picture(10 * person + i))
    return folder


def run(source: Path | str, out: Path, detector=FixedPoints, **more) -> dict:
    wanted = {"size": SIDE, "jobs": 1, "train_share": 0.5, **more}
    return prepare(PrepareSettings(str(source), out, **wanted), detector)


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*.jpg")}


# ==== layouts and containers ====


def test_cfps_views_are_one_person(tmp_path):
    for person in ("001", "002"):
        save(tmp_path / "cfp" / "Data" / "Images" / person / "frontal" / "01.jpg", picture(1))
        save(tmp_path / "cfp" / "Data" / "Images" / person / "profile" / "01.jpg", picture(2))
    found = list_folder(tmp_path / "cfp").pictures
    assert [(f.person, f.name) for f in found] == [
        ("001", "001/frontal/01.jpg"),
        ("001", "001/profile/01.jpg"),
        ("002", "002/frontal/01.jpg"),
        ("002", "002/profile/01.jpg"),
    ]
    run(tmp_path / "cfp", tmp_path / "out", train_share=1.0)
    assert set(read_train_csv(tmp_path / "out" / "train.csv").names) == {"001", "002"}
    assert len(files(tmp_path / "out" / "plain")) == 4


def test_people_called_after_a_view_stay_people(tmp_path):
    save(tmp_path / "frontal" / "1.jpg", picture(1))
    save(tmp_path / "Ann" / "1.jpg", picture(2))
    assert {f.person for f in list_folder(tmp_path).pictures} == {"frontal", "Ann"}


def record_file(folder: Path, pictures: list[tuple[int, bytes]]) -> Path:
    folder.mkdir()
    rec, lines = b"", []
    for key, (label, data) in enumerate(pictures):
        lines.append(f"{key}\t{len(rec)}\n")
        content = struct.pack("<IfQQ", 0, label, 0, 0) + data
        rec += struct.pack("<II", 0xCED7230A, len(content)) + content + b"\0" * (-len(content) % 4)
    (folder / "train.idx").write_text("".join(lines))
    (folder / "train.rec").write_bytes(rec)
    return folder


def test_recordio_from_start_to_csvs_and_again(tmp_path):
    pictures = [(label, jpeg(picture(10 * label + i))) for label in range(6) for i in range(2)]
    source = record_file(tmp_path / "faces_emore", [*pictures, (6, b"junk")])
    summary = run(source, tmp_path / "out")
    assert (summary["files"], summary["written"], summary["unreadable"]) == (13, 12, 1)
    assert files(tmp_path / "out" / "plain") == {f"{k // 2}/{k:08d}.jpg" for k in range(12)}
    failures = pd.read_csv(tmp_path / "out" / "failures.csv")
    assert failures["path"].tolist() == ["train.rec/12"]
    again = run(source / "train.rec", tmp_path / "out", Refuses)
    assert again["kept_from_before"] == 12  # all but the unreadable one


def test_the_first_record_decides_the_size_only_if_it_can_be_read(tmp_path):
    pictures = [(k % 4, jpeg(picture(k))) for k in range(8)]
    source = record_file(tmp_path / "faces", [(0, b"junk"), *pictures])
    run(source, tmp_path / "out", size=None, align="landmarks", train_share=1.0)
    assert read_dataset_card(tmp_path / "out")["size"] == SIDE


@pytest.mark.parametrize("align", ["landmarks", "none"])
def test_faces_of_112_pixels_in_a_container_stay_as_they_are(tmp_path, align):
    """No other size, and no second JPEG; of another size they are written anew, and so are turned ones."""
    pictures = [(label, jpeg(picture(10 * label + i))) for label in range(6) for i in range(2)]
    (tmp_path / "lfw.bin").write_bytes(pickle.dumps(([data for _, data in pictures], [True] * 6)))
    source = record_file(tmp_path / "rec", pictures)
    more = {"align": align, "masks": "none" if align == "none" else "simulated"}
    for where, name in ((source, "{0}/{1:08d}.jpg"), (tmp_path / "lfw.bin", "lfw/{1:06d}.jpg")):
        out = tmp_path / f"out {where.name}"
        run(where, out, size=None, **more)
        assert json.loads((out / "dataset.json").read_text())["size"] == SIDE
        for number, (label, data) in enumerate(pictures):
            assert (out / "plain" / name.format(label, number)).read_bytes() == data
    run(source, tmp_path / "larger", size=128, **more)
    assert read_image(tmp_path / "larger" / "plain" / "0" / "00000000.jpg").shape == (128, 128, 3)
    exif = Image.Exif()
    exif[0x0112] = 3
    (tmp_path / "turned" / "A").mkdir(parents=True)
    Image.fromarray(picture(1)).save(tmp_path / "turned" / "A" / "1.jpg", quality=95, exif=exif)
    run(people(tmp_path / "turned", "BCD"), tmp_path / "upright", train_share=1.0, **more)
    assert np.abs(read_image(tmp_path / "upright/plain/A/1.jpg").astype(int) - picture(1)[::-1, ::-1]).mean() < 3


def test_folders_are_made_at_128_pixels_unless_told(tmp_path):
    run(people(tmp_path / "raw"), tmp_path / "out", size=None, align="landmarks")
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["size"] == 128


def test_a_cut_recordio_accounts_for_every_record(tmp_path):
    source = record_file(tmp_path / "rec", [(k % 4, jpeg(picture(k))) for k in range(12)])
    whole = (source / "train.rec").read_bytes()
    starts = [int(line.split()[1]) for line in (source / "train.idx").read_text().splitlines()]
    (source / "train.rec").write_bytes(whole[: starts[8] + 100])
    summary = run(source, tmp_path / "out", train_share=1.0)
    assert summary["written"] + summary["unreadable"] == summary["files"] == 12
    assert summary["unreadable"] == 4 and len(pd.read_csv(tmp_path / "out" / "failures.csv")) == 4


def test_a_verification_bin_becomes_faces_and_pairs(tmp_path):
    blobs = [jpeg(picture(k)) for k in range(6)]
    blobs[3] = jpeg(np.zeros((SIDE, SIDE, 3), np.uint8))
    (tmp_path / "lfw.bin").write_bytes(pickle.dumps((blobs, [True, False, True])))
    summary = run(tmp_path / "lfw.bin", tmp_path / "out", align="landmarks")
    assert (summary["written"], summary["no_face_found"], summary["pairs"], summary["lost_pairs"]) == (5, 1, 3, 1)
    pairs = read_pair_csvs([tmp_path / "out" / "pairs.csv"])
    assert pairs.same.tolist() == [True] * 6
    assert sorted(pairs.condition) == sorted(["plain-plain", "plain-masked", "masked-masked"] * 2)
    assert not (tmp_path / "out" / "train.csv").exists()
    kept = read_image(tmp_path / "out" / "plain" / "lfw" / "000000.jpg").astype(int)
    assert np.abs(kept - picture(0)).mean() < 3


@pytest.mark.parametrize("option", ["masked_source", "unnamed"])
def test_photographs_beside_a_list_of_test_pairs_are_refused(tmp_path, option):
    """They would be in no table."""
    (tmp_path / "lfw.bin").write_bytes(pickle.dumps(([jpeg(picture(k)) for k in range(2)], [True])))
    with pytest.raises(InputError, match=f"--{option.replace('_', '-')} needs training photographs instead"):
        run(tmp_path / "lfw.bin", tmp_path / "out", **{option: people(tmp_path / "raw")})


def test_sources_that_are_not_there(tmp_path):
    for name in ("none", "none.rec", "none.bin"):
        with pytest.raises(InputError, match="is not there"):
            open_source(str(tmp_path / name))
    (tmp_path / "x.rec").write_bytes(b"")
    with pytest.raises(InputError, match="idx"):
        open_source(str(tmp_path / "x.rec"))


# ==== LFW ====


def test_lfw_is_fetched_into_scikit_learns_folder(tmp_path, monkeypatch):
    def fetch(funneled, min_faces_per_person):
        assert not funneled
        people(tmp_path / "home" / "lfw_home" / "lfw")

    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "home"))
    monkeypatch.setattr(sklearn.datasets, "fetch_lfw_people", fetch)
    monkeypatch.chdir(tmp_path)
    path, source = open_source("lfw")
    assert path == tmp_path / "home" / "lfw_home" / "lfw" and len(source.pictures) == 24


def test_lfw_without_a_network_is_one_line_that_says_what_to_do(tmp_path, monkeypatch):
    def fetch(**_):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "home"))
    monkeypatch.setattr(sklearn.datasets, "fetch_lfw_people", fetch)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"can't be downloaded .*Name or service.*lfw_home/lfw"):
        open_source("lfw")


def test_a_folder_called_lfw_is_taken_first(tmp_path, monkeypatch):
    people(tmp_path / "lfw")
    monkeypatch.chdir(tmp_path)
    assert len(open_source("lfw")[1].pictures) == 24


# ==== stages left out ====


def test_aligned_faces_keep_their_place_and_get_landmarks(tmp_path):
    run(people(tmp_path / "raw"), tmp_path / "out", align="landmarks", size=160)
    rows = pd.read_csv(tmp_path / "out" / "train.csv")
    landmarks = rows.filter(regex=r"^[xy]\d$").to_numpy()[0].reshape(5, 2)
    assert landmarks == pytest.approx((POINTS + 0.5) * 160 / SIDE - 0.5, abs=0.01)
    row = rows[rows["masked"] == 0].iloc[0]
    raw = cv2.resize(read_image(tmp_path / "raw" / row["path"].removeprefix("plain/")), (160, 160))
    assert np.abs(read_image(tmp_path / "out" / row["path"]).astype(int) - raw).mean() < 2


def test_nothing_searched_no_masks(tmp_path):
    source = people(tmp_path / "raw")
    save(source / "A" / "wide.jpg", np.full((112, 130, 3), 90, np.uint8))
    save(source / "A" / "tiny.jpg", np.full((12, 12, 3), 90, np.uint8))
    summary = run(source, tmp_path / "out", Refuses, align="none", masks="none", train_share=1.0)
    assert (summary["written"], summary["unreadable"], summary["too_small"]) == (24, 1, 1)
    table = read_train_csv(tmp_path / "out" / "train.csv")
    assert table.landmarks is None and not table.masked.any() and len(table.masked) == 24
    assert not (tmp_path / "out" / "masked").exists()


def test_masks_left_out_pairs_are_plain(tmp_path):
    run(people(tmp_path / "raw"), tmp_path / "out", masks="none", train_share=0.0)
    assert set(read_pair_csvs([tmp_path / "out" / "test.csv"]).condition) == {"plain-plain"}
    with pytest.raises(InputError, match="masks are fitted to landmarks"):
        run(tmp_path / "raw", tmp_path / "other", align="none")
    with pytest.raises(InputError, match="begun with masks none"):
        run(tmp_path / "raw", tmp_path / "out")


# ==== real masked photos ====


def worn_source(tmp_path: Path) -> tuple[Path, Path]:
    source, worn = people(tmp_path / "raw"), tmp_path / "real masks"
    for i in range(2):
        save(worn / "A" / f"A_{i + 2:04d}.jpg", picture(900 + i))
    save(worn / "Z" / "z.jpg", picture(910))
    (worn / "Z" / "note.txt").write_text("x")
    return source, worn


def test_real_masked_photos_go_in_as_they_are(tmp_path):
    source, worn = worn_source(tmp_path)
    summary = run(source, tmp_path / "out", masked_source=worn, train_share=1.0)
    assert (summary["files"], summary["written"], summary["not_a_picture"]) == (28, 27, 1)
    rows = pd.read_csv(tmp_path / "out" / "train.csv", keep_default_na=False).set_index("path")
    real = rows[rows["mask_kind"] == "worn"]
    # A_0002.jpg is in both sources: its simulated copy has the name already.
    assert set(real.index) == {"masked/A/A_0002_worn.jpg", "masked/A/A_0003.jpg", "masked/Z/z.jpg"}
    assert real["masked"].tolist() == [1, 1, 1]
    assert set(real["target"]) == {"A", "Z"} and rows.loc["masked/A/A_0002.jpg", "mask_kind"] != "worn"
    assert "plain/Z/z.jpg" not in rows.index and not (tmp_path / "out" / "plain" / "Z").exists()
    kept = read_image(tmp_path / "out" / "masked" / "A" / "A_0003.jpg").astype(int)
    warped = cv2.warpAffine(picture(901), np.array([[1, 0, -1.0], [0, 1, -1]]), (SIDE, SIDE))
    assert np.abs(kept - warped).mean() < 3


def test_folders_that_share_their_paths_with_the_source_keep_all_their_pictures(tmp_path):
    """Of train/A/A_0000.jpg in the source and in the masked source called train, one used to take the other's place."""
    source = tmp_path / "plain"
    people(source / "train", "ABCD")
    people(source / "test", "EFGH")
    worn, unnamed = people(tmp_path / "masked" / "train", "AB"), people(tmp_path / "web" / "train", "AB", images=1)
    more = {"masked_source": worn, "unnamed": unnamed, "train_share": 1.0}
    summary = run(source, tmp_path / "out", **more)
    rows = pd.read_csv(tmp_path / "out" / "train.csv", keep_default_na=False)
    assert set(rows["path"]) == files(tmp_path / "out") and rows["path"].is_unique
    assert (rows["mask_kind"] == "worn").sum() == 6 and (rows["target"] == "").sum() == 2
    assert (rows["path"].str.startswith("plain/")).sum() == 24 + 2
    again = run(source, tmp_path / "out", **more)
    assert summary["written"] == again["kept_from_before"] == 24 + 6 + 2


def test_aligned_photos_of_masks_are_kept_though_no_face_is_found(tmp_path):
    source, worn = people(tmp_path / "raw"), tmp_path / "real masks"
    save(worn / "A" / "dark.jpg", np.full((SIDE, SIDE, 3), 9, np.uint8))
    assert run(source, tmp_path / "a", masked_source=worn, train_share=1.0)["no_face_found"] == 1
    summary = run(source, tmp_path / "b", masked_source=worn, train_share=1.0, align="landmarks")
    assert (summary["written"], summary["no_face_found"]) == (25, 0)
    table = read_train_csv(tmp_path / "b" / "train.csv")
    unknown = np.isnan(table.landmarks).all((1, 2))
    assert unknown.sum() == 1 and table.masked[unknown].all()
    text = (tmp_path / "b" / "train.csv").read_text().replace("masked/A/dark.jpg,A,1", "masked/A/dark.jpg,A,0")
    (tmp_path / "b" / "train.csv").write_text(text)
    with pytest.raises(InputError, match="plain face without landmarks"):
        read_train_csv(tmp_path / "b" / "train.csv")


def test_faces_without_a_name_go_into_training_bare_and_once(tmp_path):
    source, out = people(tmp_path / "raw"), tmp_path / "out"
    for i, name in enumerate(("one.jpg", "trip/one.jpg", "trip/day 2/three.png")):
        save(tmp_path / "anybody" / name, picture(700 + i))
    (tmp_path / "anybody" / "note.txt").write_text("x")
    summary = run(source, out, unnamed=tmp_path / "anybody")
    assert (summary["unnamed_faces"], summary["not_a_picture"]) == (3, 1)
    rows = pd.read_csv(out / "train.csv", keep_default_na=False)
    nameless = rows[rows["target"] == ""]
    assert set(nameless["path"]) == {f"plain/unnamed/{n}.jpg" for n in ("one", "trip/one", "trip/day 2/three")}
    assert (nameless["masked"] == 0).all() and not (out / "masked" / "unnamed").exists()
    table = read_train_csv(out / "train.csv")
    assert table.unnamed == 3 and len(table.names) == summary["people"]["train"]
    again = run(source, out, unnamed=tmp_path / "anybody")
    assert again["kept_from_before"] == again["written"] + again["no_face_found"]
    assert run(source, out)["kept_from_before"] == summary["written"] - 3
    assert not list((out / "plain" / "unnamed").rglob("*.jpg"))


def test_a_folder_without_pictures_is_no_source_of_faces_without_a_name(tmp_path):
    (tmp_path / "empty").mkdir()
    for folder, said in (("empty", "has no pictures"), ("absent", "is not there")):
        with pytest.raises(InputError, match=said):
            run(people(tmp_path / "raw"), tmp_path / "out", unnamed=tmp_path / folder)


def test_real_and_fresh_masks_mix_in_training(tmp_path):
    source, worn = worn_source(tmp_path)
    out = tmp_path / "out"
    run(source, out, masked_source=worn, train_share=1.0, masks="none")
    table = read_train_csv(out / "train.csv")
    assert table.masked.sum() == 3 and len(table.masked) == 27
    images = Images(out, table.paths)
    faces = TrainFaces(images, table, SIDE, disk_size=SIDE, mask_probability=1.0, seed=0)
    for index, masked in enumerate(table.masked):
        image = faces.__getitems__([SampleKey(index, 0, index)]).images[0].numpy().astype(int)
        disk = read_image(out / images.name(index)).astype(int)
        unchanged = min(np.abs(image - disk).mean(), np.abs(image[:, ::-1] - disk).mean()) < 2
        assert unchanged == bool(masked)


def test_a_label_file_says_who_wears_a_mask(tmp_path, capsys):
    source = people(tmp_path / "raw")
    labels = tmp_path / "labels.txt"
    labels.write_text("A, 0, no-mask\nA, 1, surgical\nB, 0, cloth\n")
    run(source, tmp_path / "out", mask_labels=labels, train_share=1.0)
    assert "3 pictures have a label; 21 have none" in capsys.readouterr().out
    out = tmp_path / "out"
    assert files(out / "masked") - files(out / "plain") == {"A/A_0001.jpg", "B/B_0000.jpg"}
    labels.write_text("A, 0, no-mask\nA, 1, no-mask\nB, 0, cloth\n")
    summary = run(source, out, mask_labels=labels, train_share=1.0)
    assert summary["kept_from_before"] == 23 and "A/A_0001.jpg" in files(out / "plain")
    labels.write_text("Nobody, 0, cloth\n")
    with pytest.raises(InputError, match="names no picture"):
        run(source, tmp_path / "other", mask_labels=labels)


# ==== people, names, leftovers ====


def test_two_spellings_of_a_name_are_reported(tmp_path):
    source = people(tmp_path / "raw", "AB")
    for name in ("Jose_Muller", "José Müller"):
        save(source / name / "1.jpg", picture(len(name)))
    summary = run(source, tmp_path / "out", train_share=1.0)
    assert summary["perhaps_one_person"] == [["Jose_Muller", "José Müller"]]
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["perhaps_one_person"] == [
        ["Jose_Muller", "José Müller"]
    ]


def test_names_with_spaces_quotes_and_unicode_come_through(tmp_path):
    source = people(tmp_path / "raw", "AB")
    odd = ['Ann "the, 1st" Lee', "李 小龙", "new\nline", "emoji 😷", "O'Neill; rm -rf"]
    for name in odd:
        save(source / name / f"{name} 1.jpg", picture(1))
    run(source, tmp_path / "out", train_share=1.0)
    table = read_train_csv(tmp_path / "out" / "train.csv")
    assert set(odd) <= set(table.names)
    assert all((tmp_path / "out" / str(path)).is_file() for path in table.paths)


def test_faces_of_removed_pictures_go(tmp_path):
    source = people(tmp_path / "raw")
    run(source, tmp_path / "out")
    (source / "A" / "A_0000.jpg").unlink()
    assert run(source, tmp_path / "out", Refuses)["files"] == 23
    assert files(tmp_path / "out" / "plain") == files(source) == files(tmp_path / "out" / "masked")


def test_another_source_into_the_same_folder_is_refused(tmp_path):
    run(people(tmp_path / "raw"), tmp_path / "out")
    with pytest.raises(InputError, match="begun with source raw"):
        run(people(tmp_path / "other"), tmp_path / "out")


def test_the_callers_threads_come_back(tmp_path):
    own = torch.get_num_threads()
    torch.set_num_threads(own + 1)  # none of the numbers that data.prepare sets
    try:
        before = torch.get_num_threads(), cv2.getNumThreads()
        run(people(tmp_path / "raw"), tmp_path / "out")
        assert (torch.get_num_threads(), cv2.getNumThreads()) == before
    finally:
        torch.set_num_threads(own)


# ==== the machine fails ====


class Killed(FixedPoints):
    """A process that the system kills at its second batch, when all processes run."""

    batches = 0

    def __call__(self, images):
        self.batches += 1
        if self.batches == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(images)


def test_a_killed_process_is_one_line_and_no_hang(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare_faces, "BATCH", 4)
    source = people(tmp_path / "raw")
    with pytest.raises(InputError, match="worker process died"):
        run(source, tmp_path / "out", Killed, jobs=2)
    assert run(source, tmp_path / "out")["written"] == 24


def test_a_disk_that_takes_no_more_is_one_line(tmp_path):
    """A real failing write, in worker processes: no file may grow beyond 3,000 bytes."""
    source = people(tmp_path / "raw")

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, 3_000))

    command = [sys.executable, "-m", "data.prepare", str(source), "--out", str(tmp_path / "out"), "--size", "112"]
    done = subprocess.run(
        [*command, "--align", "none", "--masks", "none"],
        preexec_fn=limit,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"error: can't write {tmp_path / 'out' / 'plain'}/")
    assert "(File too large; more than 0.0 MB needed, " in done.stderr
    assert not [p for p in (tmp_path / "out").rglob(".*") if p.suffix == ".tmp"]


def test_where_nobody_has_two_pictures_it_is_said(tmp_path):
    source = people(tmp_path / "raw", images=1)
    with pytest.raises(InputError, match=r"no evaluation person has two pictures.*0 of all 8 people.*add pictures"):
        run(source, tmp_path / "out")
    assert run(source, tmp_path / "out", train_share=1.0)["kept_from_before"] == 8
    people(source, "AB")
    with pytest.raises(InputError, match="2 of all 8 people have two.*other shares or another seed"):
        run(source, tmp_path / "other", train_share=0.5, seed=next(s for s in range(99) if not _two(s)))


def _two(seed: int) -> set[str]:
    parts = split_people("ABCDEFGH", {"train": 0.5, "eval": 0.25, "test": 0.25}, seed)
    return set(parts["eval"]) & set("AB")


def test_other_endings_and_what_systems_leave_beside_pictures(tmp_path):
    source = people(tmp_path / "raw", "ABCD", images=1)
    image = Image.fromarray(picture(5))
    for person in "ABCD":
        for ending, form in (("jfif", "JPEG"), ("avif", "AVIF"), ("JPG", "JPEG")):
            image.save(source / person / f"1.{ending}", form)
        (source / person / "._1.jpg").write_bytes(b"\0\5\x16\7")
        save(source / person / "@eaDir" / "thumbnail.jpg", picture(6))
    save(source / "__MACOSX" / "A" / "1.jpg", picture(7))
    summary = run(source, tmp_path / "out", train_share=1.0)
    assert (summary["written"], summary["people"]["train"], summary["unreadable"]) == (16, 4, 0)
    reasons = pd.read_csv(tmp_path / "out" / "failures.csv").set_index("path")["reason"]
    assert reasons["A/._1.jpg"] == "macOS's notes on another file" and reasons["__MACOSX/"] == "a folder of the system"


def test_an_iphones_picture_is_read_or_named_with_what_to_do(tmp_path, monkeypatch):
    heif = pytest.importorskip("pillow_heif")
    path = tmp_path / "1.heic"
    heif.from_pillow(Image.fromarray(picture(1))).save(path, quality=95)
    assert np.abs(read_image(path).astype(int) - picture(1)).mean() < 4
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UnreadableImage, match="pip install pillow-heif"):
        read_image(path)


def test_a_picture_that_can_be_read_now_is_no_longer_left_out(tmp_path, monkeypatch):
    """Nothing of the file has changed: a package was installed, or a disk answers again."""
    source = people(tmp_path / "raw")
    whole = run(source, tmp_path / "whole")
    read_bytes = Path.read_bytes

    def refusing(path):
        if path.name == "A_0000.jpg":
            raise PermissionError(13, "Permission denied")
        return read_bytes(path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", refusing)
        assert run(source, tmp_path / "out")["unreadable"] == 1
        assert run(source, tmp_path / "out")["unreadable"] == 1
    summary = run(source, tmp_path / "out")
    assert (summary["written"], summary["unreadable"]) == (whole["written"], 0)
    for name in ("train.csv", "eval_same.csv", "test.csv", "failures.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_name_in_either_unicode_form_is_one_person_and_found_by_either(tmp_path):
    source, forms = people(tmp_path / "raw", "AB"), {}
    for form, part in (("NFC", "train"), ("NFD", "val")):
        forms[form] = unicodedata.normalize(form, "José")
        save(source / part / forms[form] / f"{forms[form]}.jpg", picture(3))
    for name in "AB":
        (source / name).rename(source / "train" / name)
    run(source, tmp_path / "out", train_share=1.0)
    assert read_train_csv(tmp_path / "out" / "train.csv").names == ["A", "B", forms["NFC"]]
    listed = Images(source, [f"train/{forms['NFD']}/{forms['NFD']}.jpg", f"val/{forms['NFC']}/{forms['NFC']}.jpg"])
    assert missing_files(source, listed.paths) == []
    for row in range(2):
        assert listed.size(row) == len(listed.read(row)) > 0
    assert missing_files(source, [f"val/{forms['NFC']}/é.jpg"]) == [f"val/{forms['NFC']}/é.jpg"]


def test_folders_of_one_name_in_both_unicode_forms_keep_all_pictures(tmp_path):
    """The same folder of a Mac and of another system, unpacked beside each other: two folders that look alike."""
    source = people(tmp_path / "raw", "AB")
    for number, form in enumerate(("NFC", "NFD")):
        for i in range(2):
            save(source / unicodedata.normalize(form, "José") / f"{i}.jpg", picture(50 + 2 * number + i))
    run(source, tmp_path / "out", train_share=1.0)
    rows = pd.read_csv(tmp_path / "out" / "train.csv")
    assert rows["path"].is_unique and set(rows["path"]) == files(tmp_path / "out")
    assert (rows["target"] == unicodedata.normalize("NFC", "José")).sum() == 2 * 4


def test_names_with_a_backslash_or_as_long_as_can_be_come_through(tmp_path):
    source = people(tmp_path / "raw", "AB")
    save(source / "A" / "trip\\1.jpg", picture(1))
    save(source / "C\\D" / f"{'long' * 62}.jpg", picture(2))
    save(tmp_path / "web" / "x\\y" / "1.jpg", picture(3))
    summary = run(source, tmp_path / "out", train_share=1.0, unnamed=tmp_path / "web")
    paths = read_train_csv(tmp_path / "out" / "train.csv").paths.distinct.tolist()
    assert summary["written"] == 9 and missing_files(tmp_path / "out", paths) == []
    assert {"plain/A/trip_1.jpg", f"plain/C_D/{'long' * 62}.jpg", "plain/unnamed/x_y/1.jpg"} < set(paths)
