"""A trained model from disk, with all that its input must look like: for every command that uses one."""

import dataclasses
import hashlib
from pathlib import Path

from torch import nn

from models.backbones.by_name import check_backbone
from models.build import build_model
from models.weights.hub import PREFIX, fetch
from models.weights.known import NONE, find_weights
from models.weights.pretrained import Start, load_weights, open_pretrained, preprocessing_of
from models.weights.read import read_network, recognise_file
from runtime.checkpoints.file import (
    find_checkpoint,
    load_checkpoint,
    load_network,
    load_state,
    require_finite,
    save_checkpoint,
)
from runtime.errors import InputError
from runtime.extras import extra
from runtime.files import sha256


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A model with what its input must look like, and the threshold that was chosen for it, if any.

    ``preprocessing`` holds plain values, those of ``data.transforms.Preprocessing``: size, crop, mean and std.
    ``mirror``: the threshold was chosen on embeddings of each face and its mirror. ``thresholds``: those of
    ``eval.metrics.choose_threshold``, for each condition and false accept rate. ``least_face``: the side in pixels of
    the smallest face that the network can use, if it was measured.
    """

    name: str
    model: nn.Module
    preprocessing: dict
    threshold: float | None
    threshold_source: str | None
    mirror: bool = False
    thresholds: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    least_face: int | None = None


def open_model(name: str, backbone: str = "") -> TrainedModel:
    """A run folder, a checkpoint, anybody's ONNX file or weights: a file that is recognised, hf:OWNER/NAME, or with
    ``backbone`` a known name.

    Raises InputError: no such file, damaged, another architecture, weights whose preprocessing is not known, or an
    ONNX file that is no face network or that can't be trusted.
    """
    if is_onnx(name):
        if backbone:
            raise InputError(f"{name} already defines its network; omit --backbone {backbone}")
        return _open_onnx(name)
    if backbone:
        return _open_weights(name, backbone)
    path = fetch(name) if name.startswith(PREFIX) else find_checkpoint(Path(name))
    if name.startswith(PREFIX) or path.suffix == ".safetensors":
        return _of_recognised(name, Start(path, read_network(path)))
    try:
        return _open_checkpoint(name)
    except InputError:
        start = _recognised(name)
        if start is None:
            raise
    return _of_recognised(name, start)


def backbone_of_weights(name: str) -> str:
    """The backbone of weights whose file says whose they are; "" for all else, such as runs and checkpoints.

    Raises InputError as ``open_model`` does for a name on the Hub.
    """
    if name.startswith(PREFIX):
        return read_network(fetch(name)).settings["backbone"]
    start = None if Path(name).is_dir() or is_onnx(name) else _recognised(name)
    return start.network.settings["backbone"] if start else ""


def is_onnx(name: str | Path) -> bool:
    """Whether a model's name is that of an ONNX file."""
    return Path(name).suffix.lower() == ".onnx"


def network_digest(name: str, backbone: str = "") -> str:
    """SHA-256 of the file that ``open_model`` reads, in hexadecimal; an ONNX file with all that it keeps elsewhere.

    Raises InputError if there is no such file.
    """
    named = backbone or name.startswith(PREFIX)
    path = find_weights(backbone, name) if named else find_checkpoint(Path(name))
    if not path.is_file():
        raise InputError(f"there is no checkpoint {path}")
    digests = [sha256(file) for file in (path, *_neighbours(path))]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def write_threshold(opened: TrainedModel, chosen: dict) -> Path:
    """Write a threshold where ``open_model`` finds it: into the checkpoint, or an ONNX file's metadata. The file.

    ``chosen``: threshold, threshold_metric and thresholds, and what else a checkpoint holds of them (least_face).
    """
    path = find_checkpoint(Path(opened.name))
    if is_onnx(path):
        from models.onnx.network import write_threshold_in

        write_threshold_in(path, chosen, mirror=opened.mirror)
        return path
    content = {key: value for key, value in load_checkpoint(path).items() if key != "format"}
    save_checkpoint(path, {**content, **chosen})
    return path


def _recognised(name: str) -> Start | None:
    """A weight file that says by its tensors whose it is; None for any other."""
    path = find_checkpoint(Path(name))
    try:
        network, _ = recognise_file(path)
    except InputError:  # what is wrong with it as a checkpoint has been said already
        return None
    return Start(path, network) if network else None


def _neighbours(path: Path) -> list[Path]:
    if not is_onnx(path):
        return []
    extra("onnx")
    from models.onnx.read import external_files

    return external_files(path)


def _open_onnx(name: str) -> TrainedModel:
    extra("onnx")
    from models.onnx.network import open_onnx_file

    network, preprocessing, stated = open_onnx_file(Path(name))
    threshold = stated.get("threshold")
    return TrainedModel(
        name,
        network,
        preprocessing,
        threshold,
        None if threshold is None else stated.get("threshold_source", "the file's metadata"),
        mirror=stated.get("mirror", False),
        thresholds=stated.get("thresholds", {}),
        least_face=stated.get("least_face"),
    )


def _open_checkpoint(name: str) -> TrainedModel:
    path = find_checkpoint(Path(name))
    content = load_network(path)
    require_finite(content["model"], str(path))
    made_with = content["settings"]
    model = build_model(
        made_with["backbone"],
        embedding_size=made_with["embedding_size"],
        pooling=made_with["pooling"],
        dropout=made_with["dropout"],
        pretrained="none",
        image_size=made_with["image_size"],
    )
    load_state(model, content["model"], str(path))
    threshold = content.get("threshold")
    source = None
    if threshold is not None:
        epoch = content.get("epoch", "unknown")
        source = f"{content.get('threshold_metric', 'chosen')} on the evaluation pairs, epoch {epoch}"
    line = (content.get("history") or [{}])[-1]
    return TrainedModel(
        name,
        model,
        dict(content["preprocessing"]),
        threshold,
        source,
        mirror=made_with.get("mirror", False),
        thresholds=content.get("thresholds") or line.get("thresholds", {}),
        least_face=content.get("least_face"),
    )


def _open_weights(name: str, backbone: str) -> TrainedModel:
    check_backbone(backbone)
    if name in (NONE, "imagenet"):
        raise _no_face_weights(name, backbone)
    return _of_weights(name, backbone, open_pretrained(backbone, name))


def _of_recognised(name: str, start: Start) -> TrainedModel:
    return _of_weights(name, start.network.settings["backbone"], start)


def _of_weights(name: str, backbone: str, start: Start) -> TrainedModel:
    preprocessing = preprocessing_of(start)
    if preprocessing is None:
        raise _no_face_weights(name, backbone)
    model = build_model(**{**start.network.settings, "dropout": 0.0}, pretrained=NONE)
    load_weights(model, start)
    chosen = dict(start.network.chosen)
    metric = chosen.pop("threshold_metric", None)
    source = f"{metric} on the evaluation pairs" if metric else None
    return TrainedModel(name, model, preprocessing, chosen.pop("threshold", None), source, **chosen)


def _no_face_weights(name: str, backbone: str) -> InputError:
    return InputError(
        f"{name} for {backbone} are no published face weights with a known crop and normalisation; "
        "train with them first, and test the checkpoint"
    )
