"""A folder for the Hub: weights that training starts from again, and a card with the test's figures."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from data.alignment.alignment import Alignment
from models import build_model, weights_preprocessing
from models.export.__main__ import ExportSettings, export
from models.export.hub import Card, model_card
from models.trained_model import open_model
from models.weights.hub import HubFile
from models.weights.import_file import import_file
from models.weights.read import read_network
from runtime.checkpoints.file import load_checkpoint, save_checkpoint
from runtime.errors import InputError
from tests.processes import ROOT
from tests.small_run import SETTINGS, write_small_run

DEMO = ROOT / "results" / "published" / "demo_arcface_s0"


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    run = write_small_run(tmp_path_factory.mktemp("hub") / "run")
    shutil.copy(DEMO / "metrics.json", run)
    config = json.loads((DEMO / "config.json").read_text())
    start = {"file": "backbone.pth", "sha256": "ab" * 32, "kind": "InsightFace's iresnet50", "revision": "0123abc"}
    (run / "config.json").write_text(json.dumps({**config, "started_from": start}))
    folder, difference = export(ExportSettings(str(run), "hub"))
    assert folder == run / "hub" and difference == 0
    return folder


def test_training_starts_from_it_with_its_preprocessing(published):
    own = load_checkpoint(published.parent / "best.pt")
    file, settings = str(published / "model.safetensors"), {**SETTINGS, "dropout": 0.0}
    found = build_model(**settings, pretrained=file).state_dict()
    assert found.keys() == own["model"].keys() and all(found[name].equal(own["model"][name]) for name in found)
    # What the run does not say, the file does: how faces were aligned before there was a choice.
    stated = own["preprocessing"] | {"alignment": Alignment().to_dict()}
    assert weights_preprocessing(SETTINGS["backbone"], file) == stated
    with pytest.raises(InputError, match="holds an export of this project; set embedding_size 16 .not 32.$"):
        build_model(**{**settings, "embedding_size": 32}, pretrained=file)


def test_the_card_has_the_tests_figures_with_intervals_and_what_it_rests_on(published):
    card, metrics = (published / "README.md").read_text(), json.loads((DEMO / "metrics.json").read_text())
    low, high = (100 * end for end in metrics["intervals"]["accuracy"])
    assert f"| accuracy | {metrics['accuracy']:.2%}".replace("%", " %") in card.replace("\u202f", " ")
    assert f"({low:.1f}–{high:.1f})" in card
    for text in ("backbone.pth", "revision 0123abc", "ab" * 32, "non-commercial research", "mtcnn", "masked-masked"):
        assert text in card
    assert json.loads((published / "config.json").read_text())["network"]


@pytest.mark.parametrize("name", ["a file", "hf:me/net"])
def test_weights_that_say_whose_they_are_are_exported_as_they_are_tested(published, tmp_path, monkeypatch, name):
    """Without --backbone, as every other command takes them."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    file = HubFile.named("hf:me/net").put_at if name == "hf:me/net" else tmp_path / "weights.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(published / "model.safetensors", file)
    out, difference = export(ExportSettings(name if name == "hf:me/net" else str(file), "hub", out=tmp_path / "again"))
    assert difference == 0 and (out / "model.safetensors").is_file()
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (published, out))
    assert after["network"] == before["network"]
    assert f"started from an export of this project: {file.name}" in (out / "README.md").read_text()


@pytest.mark.parametrize(
    "changed",
    [
        {"network": "["},
        {"network": "[]"},
        {"network": "3"},
        {"network": '{"backbone": 3}'},
        {"network": '{"backbone": "ir_18", "embedding_size": 1e9, "pooling": "gem"}'},
        {"size": '"a"'},
        {"mean": "[0, 0]"},
        {"std": "[0, 0, 0]"},
        {"std": "[" * 20_000},
        {"threshold": '"a"'},
        {"threshold": "[" * 20_000},
        {"mirror": "3"},
    ],
)
def test_metadata_that_nobody_wrote_are_refused_in_one_line(tmp_path, changed):
    good = {"size": "112", "mean": "[0.5, 0.5, 0.5]", "std": "[0.5, 0.5, 0.5]", "crop": "arcface5"}
    good["network"] = '{"backbone": "ir_18", "embedding_size": 16, "pooling": "backbone"}'
    path = tmp_path / "model.safetensors"
    save_file({"neck.linear.weight": torch.zeros(2)}, path, {**good, **changed})
    with pytest.raises(InputError) as caught:
        read_network(path)
    assert "model.safetensors" in str(caught.value) and "\n" not in str(caught.value)
    save_file({"neck.linear.weight": torch.zeros(2)}, path, good)
    assert read_network(path).settings["image_size"] == 112


def test_threshold_and_mirror_come_back(tmp_path):
    run = write_small_run(tmp_path / "run", mirror=True)
    chosen = {"thresholds": {"all": {"0.001": 0.7}}, "least_face": 40, "threshold_metric": "balanced accuracy"}
    content = load_checkpoint(run / "best.pt")
    save_checkpoint(run / "best.pt", {key: value for key, value in content.items() if key != "format"} | chosen)
    file, _ = export(ExportSettings(str(run), "safetensors"))
    import_file(file, tmp_path / "again")
    for name in (str(file), str(tmp_path / "again")):
        found = open_model(name)
        assert (found.threshold, found.mirror, found.least_face) == (1.0, True, 40)
        assert found.thresholds == chosen["thresholds"]
        assert found.threshold_source.startswith("balanced accuracy on the evaluation pairs")


def test_an_export_without_a_threshold_comes_back_without(tmp_path):
    run = write_small_run(tmp_path / "run")
    content = load_checkpoint(run / "best.pt")
    save_checkpoint(run / "best.pt", {key: content[key] for key in content.keys() - {"format", "threshold"}})
    file, _ = export(ExportSettings(str(run), "safetensors"))
    assert "threshold" not in import_file(file, tmp_path / "again").chosen
    assert open_model(str(file)).threshold is None and open_model(str(tmp_path / "again")).threshold is None


def test_an_existing_folder_is_not_overwritten(published):
    with pytest.raises(InputError, match="hub exists; set --out"):
        export(ExportSettings(str(published.parent), "hub"))


def test_without_a_test_or_a_known_licence_the_card_says_so():
    names = ("crop_meaning", "channel_order", "preprocessing", "mean", "std", "postprocessing", "threshold")
    metadata = {**dict.fromkeys((*names, "threshold_source"), "x")}
    metadata["network"] = '{"backbone": "ir_18", "pooling": "backbone", "embedding_size": 512}'
    start = {"file": "a.ckpt", "sha256": "cd", "kind": "AdaFace's ir_18"}
    card = model_card(Card("mine", metadata, "mtcnn", "On faces.", start, False, []))
    assert "has not been tested" in card and "The licence is not recorded" in card
    scratch = model_card(Card("mine", metadata, "mtcnn", "On faces.", None, True, []))
    assert "It was trained from scratch" in scratch and "that the terms of the training images allow" in scratch


def test_a_network_whose_start_is_not_recorded_is_not_said_to_be_free(tmp_path):
    # A bare checkpoint, as the mean of several networks has none either.
    write_small_run(tmp_path / "run")
    checkpoint = shutil.copy(tmp_path / "run" / "best.pt", tmp_path / "some.pt")
    folder, _ = export(ExportSettings(str(checkpoint), "hub", out=tmp_path / "hub"))
    card = (folder / "README.md").read_text()
    assert "What it started from is not recorded" in card and "The licence is not recorded" in card
    assert "scratch" not in card


def test_an_export_keeps_how_faces_were_aligned(tmp_path):
    run = write_small_run(tmp_path / "run")
    content = load_checkpoint(run / "best.pt")
    aligned = {"detector": "yunet", "landmarks": "detector", "masks": "before alignment"}
    content["preprocessing"] = {**content["preprocessing"], "alignment": aligned}
    save_checkpoint(run / "best.pt", {key: value for key, value in content.items() if key != "format"})
    file, _ = export(ExportSettings(str(run), "safetensors"))
    assert weights_preprocessing(SETTINGS["backbone"], str(file))["alignment"] == aligned
