"""Exports run elsewhere and give the same embeddings; their metadata say how to use them."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from data.sources.read_image import read_image
from data.transforms import Preprocessing
from models import build, build_model
from models.backbones.by_name import build_backbone
from models.export import formats
from models.export.__main__ import ExportSettings, describe, export
from models.trained_model import open_model
from runtime.checkpoints.file import save_checkpoint
from runtime.errors import InputError

SMALL = {"embedding_size": 16, "pooling": "gem", "dropout": 0.2}


def make_run(folder: Path, backbone: str, size: int, **changes) -> Path:
    """A run folder with a random network."""
    settings = {"backbone": backbone, **SMALL, "image_size": size, **changes}
    torch.manual_seed(0)
    model = build_model(**settings, pretrained="none")
    preprocessing = {"size": size, "crop": "arcface5", "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}
    content = {"model": model.state_dict(), "settings": settings, "preprocessing": preprocessing}
    save_checkpoint(folder / "best.pt", {**content, "threshold": 1.125, "epoch": 4})
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("export") / "run", "timm:test_resnet", 64)


def onnx_session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@torch.no_grad()
def expected(run: Path, images: torch.Tensor) -> np.ndarray:
    return open_model(str(run)).model.eval()(images).numpy()


def without_repeats(network: nn.Module) -> nn.Module:
    """Keep only the first of equal blocks in a row: tracing takes time for each layer, and the others add nothing."""
    for row in [module for module in network.modules() if isinstance(module, nn.Sequential | nn.ModuleList)]:
        before = ""
        for name, block in list(row.named_children()):
            if str(block) == before:
                del row._modules[name]
            before = str(block)
    return network


@pytest.mark.parametrize(
    ("backbone", "size", "changes"),
    [
        ("mobilefacenet", 112, {"embedding_size": 128, "pooling": "backbone"}),
        ("efficientnet_b0", 48, {"pooling": "average"}),
        ("inception_resnet_v1", 80, {}),
        ("iresnet18", 112, {"pooling": "backbone"}),
        ("ir_18_se", 112, {"pooling": "backbone"}),
    ],
)
def test_onnx_gives_the_embeddings_for_any_batch(tmp_path, monkeypatch, backbone, size, changes):
    monkeypatch.setattr(build, "build_backbone", lambda *which: without_repeats(build_backbone(*which)))
    run = make_run(tmp_path / "run", backbone, size, **changes)
    path, difference = export(ExportSettings(str(run), "onnx"))
    assert path == run / "model.onnx" and difference <= 1e-4
    session = onnx_session(path)
    assert session.get_inputs()[0].shape == ["batch", 3, size, size]
    for batch in (1, 5):
        images = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(batch))
        found = session.run(None, {"images": images.numpy()})[0]
        np.testing.assert_allclose(found, expected(run, images), atol=1e-4)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def check_metadata(metadata: dict[str, str]) -> None:
    assert (metadata["size"], metadata["channel_order"], metadata["crop"]) == ("64", "RGB", "arcface5")
    assert json.loads(metadata["mean"]) == [0.4, 0.5, 0.6] and json.loads(metadata["std"]) == [0.2, 0.25, 0.3]
    assert float(metadata["threshold"]) == 1.125 and metadata["threshold_source"].endswith("epoch 4")
    assert json.loads(metadata["network"])["backbone"] == "timm:test_resnet"
    assert "38.2946" not in metadata["crop_meaning"] and str(round(38.2946 * 64 / 112, 3)) in metadata["crop_meaning"]


def test_safetensors_hold_weights_and_metadata(run):
    path, difference = export(ExportSettings(str(run), "safetensors"))
    saved, own = load_file(path), open_model(str(run)).model.state_dict()
    assert difference == 0 and saved.keys() == own.keys()
    assert all(torch.equal(saved[name], own[name]) for name in own)
    with safe_open(path, "pt") as file:
        check_metadata(file.metadata())


def test_the_mirror_that_a_threshold_was_chosen_with_is_described(run):
    opened, settings = open_model(str(run)), ExportSettings(str(run), "onnx")
    assert describe(opened, settings)["postprocessing"].startswith("none")
    assert "mirrored" in describe(dataclasses.replace(opened, mirror=True), settings)["postprocessing"]


def test_pt2_is_loaded_by_torch_alone(run):
    path, difference = export(ExportSettings(str(run), "pt2"))
    extra = {"metadata.json": ""}
    program = torch.export.load(str(path), extra_files=extra).module()
    check_metadata(json.loads(extra["metadata.json"]))
    images = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        np.testing.assert_allclose(program(images).numpy(), expected(run, images), atol=1e-5)
    assert difference <= 1e-4


def test_a_file_with_other_embeddings_is_an_error_and_not_written(run, tmp_path, monkeypatch):
    def make_off_by(value):
        def slightly_off(content, fresh):
            runner = open_whole(content, fresh)
            return lambda images: runner(images) + np.float32(value)

        monkeypatch.setattr(formats, "open_safetensors", slightly_off)

    open_whole = formats.open_safetensors
    settings = ExportSettings(str(run), "safetensors", out=tmp_path / "off.safetensors")
    for wrong in (2e-4, np.nan):
        make_off_by(wrong)
        with pytest.raises(InputError, match="other embeddings than PyTorch"):
            export(settings)
    assert not list(tmp_path.iterdir())
    make_off_by(5e-5)
    assert export(settings)[1] == pytest.approx(5e-5, rel=0.01)


def test_int8_is_smaller_and_its_cost_is_printed(run, drawn_faces, tmp_path, capsys):
    whole, _ = export(ExportSettings(str(run), "onnx", out=tmp_path / "float.onnx"))
    check_metadata(onnx_session(whole).get_modelmeta().custom_metadata_map)
    pairs, foreign = pd.read_csv(drawn_faces / "test.csv"), tmp_path / "test.csv"
    pairs.assign(path="/old/" + pairs["path"], pair_path="/old/" + pairs["pair_path"]).to_csv(foreign, index=False)
    on_pairs = {"pairs": foreign, "root": drawn_faces, "path_prefix": "/old="}
    settings = ExportSettings(str(run), "onnx", int8=True, **on_pairs)
    path, difference = export(settings)
    assert path.name == "model_int8.onnx" and path.stat().st_size < 0.75 * whole.stat().st_size
    session = onnx_session(path)
    check_metadata(session.get_modelmeta().custom_metadata_map)
    assert session.get_modelmeta().custom_metadata_map["precision"] == "int8"
    # Faces of other people than those it was calibrated on; of noise it makes little.
    faces = np.stack([read_image(path) for path in sorted(drawn_faces.glob("plain/*/*"))[:20]])
    needed = Preprocessing.from_dict(open_model(str(run)).preprocessing)
    images = needed.normalise(torch.from_numpy(faces)).contiguous()
    cosines = (session.run(None, {"images": images.numpy()})[0] * expected(run, images)).sum(1)
    assert cosines.min() > 0.9 and 1e-4 < difference < 0.3
    printed = capsys.readouterr().out
    assert printed.count("on 40 pairs at threshold 1.1250, chosen before") == 2
    assert "float32" in printed and "int8" in printed and "MB" in printed


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "pt2", "int8": True}, "int8 is for onnx"),
        ({"pairs": Path("pairs.csv")}, "go together"),
        ({"model": "nowhere"}, "no checkpoint"),
        ({"out": Path("nowhere/x.onnx")}, "no folder"),
    ],
)
def test_wrong_settings_get_one_line(run, changes, words):
    with pytest.raises(InputError, match=words):
        export(ExportSettings(**{"model": str(run), "format": "onnx", **changes}))


def test_a_missing_package_is_named(monkeypatch, run, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(InputError, match="requirements-extras.txt"):
        export(ExportSettings(str(run), "onnx", out=tmp_path / "x.onnx"))
