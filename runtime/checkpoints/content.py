"""What a checkpoint of this project holds, by kinds: checked once, when it is read."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from runtime.errors import InputError
from runtime.kinds import FLAG, NUMBER, POSITIVE, TABLE, TEXT, Fields, Kind, list_of, or_none, require, table_of, whole
from runtime.precision import DTYPES

_REMEDY = "take another checkpoint"
_TENSORS = Kind(lambda value: TABLE.holds(value) and all(isinstance(x, Tensor) for x in value.values()), "tensors")
_SHARE = Kind(lambda value: NUMBER.holds(value) and 0 <= value < 1, "a number from 0, below 1")
_PRECISION = Kind(lambda value: value in list(DTYPES), f"one of {', '.join(DTYPES)}")

# What may stand in any checkpoint; a run's carry the states of what trains beside it.
_CONTENT: Fields = {
    "model": _TENSORS,
    "raw_model": _TENSORS,
    "criterion": _TENSORS,
    "settings": TABLE,
    "preprocessing": TABLE,
    "threshold": or_none(NUMBER),
    "threshold_metric": TEXT,
    "thresholds": table_of(table_of(or_none(NUMBER))),
    "least_face": whole(1),
    "false_matches_by_side": table_of(NUMBER),
    "identities": list_of(TEXT),
    "epoch": whole(),
    "images_seen": whole(),
    "history": list_of(TABLE),
    "remedies": list_of(TEXT),
    **dict.fromkeys(("optimiser", "scheduler", "scaler", "sampler", "sums"), TABLE),
    "precision": _PRECISION,
    "healthy": or_none(TABLE),
    "rng": list_of(TABLE),
}
# Of the settings those that a network is built from. The largest numbers are far above any that anybody trains with.
_SETTINGS: Fields = {
    "backbone": TEXT,
    "embedding_size": whole(2, 65_536),
    "pooling": TEXT,
    "dropout": _SHARE,
    "image_size": whole(1, 8_192),
}
ALIGNMENT = Kind(
    lambda value: table_of(TEXT).holds(value) and value.keys() <= {"detector", "landmarks", "masks"},
    "detector, landmarks and masks, each a text",
)
# Older ones lack it.
_ALIGNED: Fields = {"alignment": ALIGNMENT}
_PREPROCESSING: Fields = {
    "size": whole(1, 8_192),
    "crop": TEXT,
    "mean": list_of(NUMBER, 3),
    "std": list_of(POSITIVE, 3),
}
_LINE: Fields = {"epoch": whole(), "iou": NUMBER, "auc": or_none(NUMBER), "thresholds": _CONTENT["thresholds"]}


def check_content(content: object, path: Path) -> None:
    """Raise InputError where a part of a checkpoint is of another kind than its name says, or no tensor of the file."""
    require(content, _CONTENT, str(path), _REMEDY, optional=True)
    require(content.get("settings", {}), _SETTINGS | {"mirror": FLAG}, f"{path}, settings", _REMEDY, optional=True)
    shown = content.get("preprocessing", {})
    require(shown, _PREPROCESSING | _ALIGNED, f"{path}, preprocessing", _REMEDY, optional=True)
    for number, line in enumerate(content.get("history", []), 1):
        require(line, _LINE, f"{path}, history, line {number}", _REMEDY, optional=True)
    storages = {}
    for tensor in _tensors(content):
        if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise InputError(f"{path} holds a tensor that is not plain ({tensor.layout}, {tensor.device}); {_REMEDY}")
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        if tensor.numel() * tensor.itemsize > storage.nbytes():
            raise InputError(f"{path} holds a tensor that is larger than its bytes; {_REMEDY}")
    if sum(storages.values()) > path.stat().st_size:
        raise InputError(f"{path} asks for more memory than it has bytes; {_REMEDY}")


def check_network(content: dict, path: Path) -> None:
    """Raise InputError where a checkpoint lacks something that its network is built from."""
    remedy = "take a checkpoint of main_arcface or main_triplet"
    require(content, dict.fromkeys(("model", "settings", "preprocessing"), TABLE), str(path), remedy)
    require(content["settings"], _SETTINGS, f"{path}, settings", remedy)
    require(content["preprocessing"], _PREPROCESSING, f"{path}, preprocessing", remedy)
    require(content["preprocessing"], _ALIGNED, f"{path}, preprocessing", remedy, optional=True)


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)
