"""ONNX files wherever a trained model is taken: this project's own exports, and a hand-made one."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from data.tables.images import Images
from data.tables.train_csv import read_train_csv
from data.transforms import Preprocessing
from eval import audit as audit_command
from eval import same as same_command
from eval.embed import Embedder
from eval.identify.__main__ import IdentifySettings, identify
from eval.threshold import ThresholdSettings, store_threshold
from eval.verify import VerifySettings, verify
from models.export.__main__ import ExportSettings, export
from models.trained_model import open_model
from runtime.errors import InputError
from teacher import targets
from tests.models.onnx.graphs import network, write
from tests.small_run import write_small_run

CPU = {"device": "cpu"}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run folder, with the mirror, and its export beside it as model.onnx."""
    folder = write_small_run(tmp_path_factory.mktemp("onnx") / "run", mirror=True, backbone="timm:test_resnet")
    export(ExportSettings(str(folder), "onnx"))
    return folder


@pytest.fixture
def theirs(tmp_path) -> Path:
    """A file of somebody else."""
    return write(network([("Sub", 127.5), ("Mul", 1 / 128)], batch=1), tmp_path / "theirs.onnx")


def test_an_export_opens_as_its_run_does(run):
    ours, theirs = (open_model(str(path)) for path in (run, run / "model.onnx"))
    assert Preprocessing.from_dict(theirs.preprocessing) == Preprocessing.from_dict(ours.preprocessing)
    for name in ("threshold", "threshold_source", "mirror", "thresholds"):
        assert getattr(theirs, name) == getattr(ours, name)
    with pytest.raises(InputError, match="is an ONNX file already"):
        export(ExportSettings(str(run / "model.onnx"), "safetensors"))


def test_an_export_as_teacher_gives_the_targets_of_its_run(run, drawn_faces, tmp_path):
    table = read_train_csv(drawn_faces / "train.csv")
    images, options = Images(drawn_faces, table.paths), {"mean_share": 0.5, "crop": "arcface5", "device": "cpu"}
    plain = np.flatnonzero(~table.masked)
    names = [str(run), str(shutil.copy(run / "model.onnx", tmp_path / "teacher.onnx"))]
    whole = [targets._embed_plain(open_model(name), images, plain, "cpu", ()) for name in names]
    np.testing.assert_allclose(whole[1], whole[0], atol=1e-4)
    ours, theirs = (targets.teacher_embeddings(name, table, images, **options) for name in names)
    np.testing.assert_allclose(theirs.float(), ours.float(), atol=1e-3)  # they are kept as float16
    assert list((tmp_path / "taught").iterdir())


def test_verify_gives_the_figures_of_the_run(run, drawn_faces):
    ours, theirs = (
        verify(VerifySettings(str(model), drawn_faces / "test.csv", drawn_faces, workers=0, **CPU))
        for model in (run, run / "model.onnx")
    )
    different = {name for name in ours if ours[name] != theirs[name]}
    assert different <= {"model", "preprocessing", "iou", "auc", "eer", "intervals", "by_condition", "by_mask"}
    assert theirs["auc"] == pytest.approx(ours["auc"], abs=1e-3)


def test_verify_of_a_file_without_a_threshold_until_one_is_chosen(theirs, drawn_faces):
    settings = VerifySettings(str(theirs), drawn_faces / "test.csv", drawn_faces, workers=0, **CPU)
    assert verify(settings)["threshold"] is None
    chosen = store_threshold(
        ThresholdSettings(theirs, (drawn_faces / "eval_same.csv", drawn_faces / "eval_diff.csv"), drawn_faces, **CPU)
    )
    assert chosen.file == theirs
    figures = verify(settings)
    assert figures["threshold"] == chosen.threshold
    assert figures["threshold_source"] == "balanced_accuracy on the evaluation pairs"


def test_same_needs_a_threshold_and_compares_as_the_embedder_does(theirs, drawn_faces, monkeypatch, tmp_path):
    images = sorted((drawn_faces / "plain").glob("*/*.jpg"))[:2]
    settings = same_command.SameSettings(str(theirs), *images, out=tmp_path / "same.png", **CPU)
    with pytest.raises(InputError, match="no stored threshold; give --threshold, or choose one by eval.threshold"):
        same_command.compare(settings)
    model = onnx.load(theirs)
    onnx.helper.set_model_props(model, {"threshold": "0.75"})
    write(model, theirs)
    assert Embedder(str(theirs), device="cpu").threshold == 0.75


def test_identify_and_audit_take_it(theirs, drawn_faces, tmp_path):
    people = tmp_path / "people.npz"
    options = {
        "gallery": drawn_faces / "plain",
        "probe": drawn_faces / "masked",
        "people": people,
        "pictures": 1,
        **CPU,
    }
    assert identify(IdentifySettings(str(theirs), **options))["probes"] == 28
    changed = onnx.load(theirs)
    changed.producer_name = "another"
    write(changed, theirs)
    with pytest.raises(InputError, match="another network"):
        identify(IdentifySettings(str(theirs), **options))
    audited = audit_command.AuditSettings(
        str(theirs), (drawn_faces / "train.csv",), root=drawn_faces, out=tmp_path / "audit", **CPU
    )
    audit_command.audit(audited)
    assert (tmp_path / "audit" / "proposals.csv").is_file()


def test_metadata_say_alignment_and_thresholds(run):
    stated = {entry.key: entry.value for entry in onnx.load(run / "model.onnx").metadata_props}
    assert json.loads(stated["alignment"])["detector"] == "mtcnn" and json.loads(stated["thresholds"]) == {}
