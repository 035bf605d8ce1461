"""A network under upstream's names, for the programs that it came from: the inverse of ``models.weights.recognise``."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from models.backbones import ir, iresnet
from models.weights import names
from models.weights.imported import ARCFACE_PREPROCESSING
from models.weights.recognise import recognise
from runtime.checkpoints.file import load_state
from runtime.errors import InputError


@dataclass(frozen=True)
class Upstream:
    """What a loader of another project takes. ``wrap``: a state dict of RGB → what the file holds."""

    backbones: tuple[str, ...]
    neck: dict[str, str]
    wrap: Callable[[dict[str, Tensor]], dict]
    suffix: str


def _adaface(state: dict[str, Tensor]) -> dict:
    """As its Lightning checkpoint: the network as ``model``, for BGR."""
    stem = "input_layer.0.weight"
    turned = {**state, stem: state[stem].flip(1)}
    return {"state_dict": {f"model.{name}": value for name, value in turned.items()}}


UPSTREAM = {
    "insightface": Upstream(tuple(iresnet.BLOCKS), names.IRESNET, dict, "pth"),
    "adaface": Upstream(tuple(name for name, form in ir.FORMS.items() if form.middle_norm), names.IR, _adaface, "ckpt"),
    "curricularface": Upstream(
        tuple(name for name, form in ir.FORMS.items() if not form.middle_norm), names.IR, dict, "pth"
    ),
}


def as_upstream(model: nn.Module, network: dict, preprocessing: dict, name: str) -> bytes:
    """A file of ``torch.save`` for the loader of ``name`` (one of UPSTREAM).

    ``network``: the settings that the model was built from. Raises InputError if that project has no such network, or
    would feed it otherwise than its ``preprocessing`` says.
    """
    to = UPSTREAM[name]
    for part in ("crop", "mean", "std"):
        shown, theirs = preprocessing[part], ARCFACE_PREPROCESSING[part]
        shown = shown if part == "crop" else list(shown)
        if shown != theirs:
            raise InputError(f"this network takes {part} {shown}, that of format {name} is {theirs}; export it as onnx")
    if network["backbone"] not in to.backbones or network["pooling"] != "backbone":
        shown = f"{network['backbone']} with pooling {network['pooling']}"
        raise InputError(f"format {name} is for {', '.join(to.backbones)} with pooling backbone, not for {shown}")
    state = {key: value.cpu().contiguous() for key, value in model.state_dict().items()}
    file = io.BytesIO()
    torch.save(to.wrap(names.upstream_names(state, to.neck)), file)
    return file.getvalue()


def open_upstream(content: bytes, fresh: nn.Module) -> nn.Module:
    """``fresh``, a network of the same architecture, with the file's weights, recognised as an import does."""
    held = torch.load(io.BytesIO(content), weights_only=True)
    network = recognise(held.get("state_dict", held), Path("the export"))
    load_state(fresh, network.state, "the export")
    return fresh.eval()
