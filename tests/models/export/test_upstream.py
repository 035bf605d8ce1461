"""Import, then export: the same tensors under upstream's names, which its own loader would take."""

import io
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.export.__main__ import ExportSettings, export
from models.export.upstream import as_upstream
from models.weights.import_file import import_file
from runtime.checkpoints.file import load_checkpoint, save_checkpoint
from runtime.errors import InputError
from tests.models.upstream import DEPTHS, ir_tensors, iresnet_tensors

EMBEDDING = 16


def imported(content: object, folder: Path) -> Path:
    torch.save(content, folder / "theirs.pth")
    import_file(folder / "theirs.pth", folder / "run")
    return folder / "run"


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(a[name].equal(b[name]) for name in a)


def test_insightface_gets_its_own_tensors_back(tmp_path):
    theirs = iresnet_tensors(DEPTHS[18], EMBEDDING)
    out, difference = export(ExportSettings(str(imported(theirs, tmp_path)), "insightface"))
    assert out.name == "model_insightface.pth" and difference == 0
    assert same(torch.load(out, weights_only=True), theirs)


def test_adaface_gets_its_own_tensors_back_for_bgr(tmp_path):
    theirs = {f"model.{name}": value for name, value in ir_tensors(DEPTHS[18], EMBEDDING, True).items()}
    out, difference = export(ExportSettings(str(imported({"state_dict": theirs}, tmp_path)), "adaface"))
    assert out.name == "model_adaface.ckpt" and difference == 0
    assert same(torch.load(out, weights_only=True)["state_dict"], theirs)


def test_networks_that_a_project_does_not_have_are_refused_in_one_line(tmp_path):
    run = imported(iresnet_tensors(DEPTHS[18], EMBEDDING), tmp_path)
    with pytest.raises(InputError, match="format adaface is for ir_18, .* not for iresnet18 with pooling backbone$"):
        export(ExportSettings(str(run), "adaface"))
    content = load_checkpoint(run / "best.pt")
    content["preprocessing"]["std"] = [0.2, 0.2, 0.2]
    save_checkpoint(run / "best.pt", content)
    with pytest.raises(InputError, match="takes std .0.2, 0.2, 0.2., that of format insightface is .0.5, 0.5, 0.5.;"):
        export(ExportSettings(str(run), "insightface"))
    content["preprocessing"] |= {"std": [0.5, 0.5, 0.5], "crop": "mtcnn_box"}
    save_checkpoint(run / "best.pt", content)
    with pytest.raises(InputError, match="takes crop mtcnn_box, that of format insightface is arcface5;"):
        export(ExportSettings(str(run), "insightface"))
    assert [path.name for path in run.iterdir() if path.name.startswith("model")] == []


def test_curricularface_is_written_bare_and_for_rgb():
    class Held:
        def state_dict(self) -> dict[str, Tensor]:
            return {"backbone.input_layer.0.weight": torch.arange(3.0), "neck.linear.bias": torch.ones(2)}

    network = {"backbone": "ir_50_curricular", "pooling": "backbone"}
    preprocessing = {"crop": "arcface5", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    content = as_upstream(Held(), network, preprocessing, "curricularface")
    held = torch.load(io.BytesIO(content), weights_only=True)
    assert same(held, {"input_layer.0.weight": torch.arange(3.0), "output_layer.3.bias": torch.ones(2)})
