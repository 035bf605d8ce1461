"""A trained model from disk, with all that its input must look like: for every command that uses one."""

import dataclasses
from pathlib import Path

from torch import nn

from models import NECK_SIZES, build_model, weights_preprocessing
from runtime.checkpoints.file import find_checkpoint, load_network, load_state, require_finite
from runtime.errors import InputError


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
    """A run folder, a checkpoint, or (with ``backbone``) published weights: a file or a known name.

    Raises InputError: no such file, damaged, another architecture, or weights whose preprocessing is not
    known.
    """
    return _open_weights(name, backbone) if backbone else _open_checkpoint(name)


def _open_checkpoint(name: str) -> TrainedModel:
    path = find_checkpoint(Path(name))
    if path.suffix == ".safetensors":
        raise InputError(f"{name} holds weights alone; say which network they belong to with --backbone")
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
    preprocessing = weights_preprocessing(backbone, name)
    if preprocessing is None or backbone not in NECK_SIZES:
        raise InputError(
            f"{name} for {backbone} are no published face weights with a known crop and normalisation; "
            "train with them first, and test the checkpoint"
        )
    model = build_model(
        backbone,
        embedding_size=NECK_SIZES[backbone],
        pooling="backbone",
        dropout=0.0,
        pretrained=name,
        image_size=preprocessing["size"],
    )
    return TrainedModel(name, model, preprocessing, None, None)
