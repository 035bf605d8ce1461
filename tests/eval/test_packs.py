"""A pack serves wherever a CSV does: every command gives the same with packs alone as with the CSVs and their faces."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from data.check import CheckSettings, check
from data.tables.write_pack import pack_csv
from eval.audit import AuditSettings, audit
from eval.threshold import ThresholdSettings, store_threshold
from eval.two_folds.halves import TwoFoldSettings, two_folds
from eval.verify import VerifySettings, verify
from models.trained_model import open_model
from runtime.errors import InputError
from runtime.run_folder import RunFolder
from tests.small_run import write_small_run

EVALUATION, TEST = ("eval_same", "eval_diff"), ("test",)
CPU = {"device": "cpu"}


@pytest.fixture(scope="module")
def packs(drawn_faces, tmp_path_factory) -> Path:
    """A folder of packs, and no faces."""
    folder = tmp_path_factory.mktemp("packs")
    for name in ("train", *EVALUATION, *TEST):
        pack_csv(drawn_faces / f"{name}.csv", folder / f"{name}.pack", root=drawn_faces)
    return folder


@pytest.fixture
def run(tmp_path) -> Path:
    folder = write_small_run(tmp_path / "run")
    RunFolder(folder).write_config({"run_name": "run"})
    return folder


def tables(folder: Path, names=EVALUATION + TEST) -> tuple[Path, ...]:
    suffix = "csv" if (folder / "test.csv").is_file() else "pack"
    return tuple(folder / f"{name}.{suffix}" for name in names)


def test_verify(run, drawn_faces, packs):
    from_csv, from_pack = (
        verify(VerifySettings(str(run), *tables(folder, TEST), folder, workers=0, **CPU))
        for folder in (drawn_faces, packs)
    )
    assert from_csv.pop("pairs_csv") != from_pack.pop("pairs_csv")
    assert from_csv == from_pack and from_pack["crop_stated_by_data"]


def test_verify_reads_the_pack_and_not_the_files_that_lie_beside_it(run, drawn_faces, packs, tmp_path):
    faces = shutil.copytree(drawn_faces, tmp_path / "faces")
    wanted = verify(VerifySettings(str(run), *tables(packs, TEST), packs, workers=0, **CPU))
    for image in faces.rglob("*.jpg"):
        image.write_bytes(b"another picture")
    found = verify(VerifySettings(str(run), *tables(packs, TEST), faces, workers=0, **CPU))
    assert found["accuracy"] == wanted["accuracy"] and found["lost_pairs"] == 0


def test_threshold(run, drawn_faces, packs):
    chosen = [store_threshold(ThresholdSettings(run, tables(folder), folder, **CPU)) for folder in (drawn_faces, packs)]
    assert chosen[0].threshold == chosen[1].threshold and chosen[0].pairs == chosen[1].pairs == 80
    assert set(open_model(str(run)).thresholds) == {"all pairs", "plain-plain", "plain-masked", "masked-masked"}


def test_two_folds(run, drawn_faces, packs):
    found = []
    for folder in (drawn_faces, packs):
        halves = ([table.name for table in tables(folder, half)] for half in (EVALUATION, TEST))
        first, second = map(tuple, halves)
        found.append(two_folds(TwoFoldSettings(run, root=folder, first=first, second=second, **CPU)))
    assert found[0] == found[1]


def test_audit(run, drawn_faces, packs, tmp_path):
    found = [
        audit(
            AuditSettings(
                str(run), tables(folder, ("train", "test")), folder, out=tmp_path / folder.name, most=2, **CPU
            )
        )
        for folder in (drawn_faces, packs)
    ]
    assert found[0] == found[1] and found[0]  # an untrained network takes many for one
    sheets = [sorted(path.name for path in (tmp_path / folder.name).iterdir()) for folder in (drawn_faces, packs)]
    assert sheets[0] == sheets[1] and len(sheets[0]) > 1


def test_check(drawn_faces, packs, tmp_path):
    found = [check(CheckSettings(tables(folder, ("train", *EVALUATION, *TEST)))) for folder in (drawn_faces, packs)]
    assert found[0] == found[1] and len(found[0][0]) == 3 and not found[0][1]
    shutil.copy(packs / "train.pack", tmp_path / "copy.pack")
    (both,), lost = check(CheckSettings((tmp_path / "copy.pack", drawn_faces / "train.csv")))
    assert not lost and len(both.images) == len(pd.read_csv(drawn_faces / "train.csv"))


def test_faces_of_another_crop_are_refused_by_the_card_of_the_pack(run, drawn_faces, tmp_path):
    faces = shutil.copytree(drawn_faces, tmp_path / "faces")
    (faces / "dataset.json").write_text(json.dumps({"crop": "mtcnn_box", "size": 64}))
    pack_csv(faces / "test.csv", tmp_path / "test.pack", root=faces)
    with pytest.raises(InputError, match=r"test.pack were cropped as mtcnn_box, but arcface5"):
        verify(VerifySettings(str(run), tmp_path / "test.pack", tmp_path, workers=0, **CPU))
    with pytest.raises(InputError, match=r"test.pack were cropped as mtcnn_box, but arcface5"):
        audit(AuditSettings(str(run), (tmp_path / "test.pack",), tmp_path, out=tmp_path / "audit", **CPU))


def test_a_csv_of_the_working_folder_comes_before_one_under_the_root(run, drawn_faces, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pd.read_csv(drawn_faces / "test.csv")[::2].to_csv("test.csv", index=False)
    assert verify(VerifySettings(str(run), Path("test.csv"), drawn_faces, workers=0, **CPU))["pairs"] == 20
