"""Checkpoints of the 2021 system under this project's names.

It wrapped every backbone as ``model.net``; beside it stood the class centres of ArcFace (``head.weight``), a pooling
(``global_pool.p``, GeM) and a neck (``neck.0`` linear, ``neck.1`` BatchNorm with eps 1e-3). With InceptionResNetV1
those two were there but never used: its embedding is ``model.net.last_linear`` and ``last_bn``, its pooling
``model.net.avgpool_1a`` (a ``p`` where it was GeM).
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from efficientnet_pytorch import EfficientNet
from torch import Tensor

from models.weights.imported import ORIGINAL_PREPROCESSING, Imported
from models.weights.names import BACKBONE, FACENET, own_names
from runtime.errors import InputError

# EfficientNet's channels before the pooling and number of blocks tell the variant.
_EFFICIENTNETS = {
    (1280, 16): "b0",
    (1280, 23): "b1",
    (1408, 23): "b2",
    (1536, 26): "b3",
    (1792, 32): "b4",
    (2048, 39): "b5",
    (2304, 45): "b6",
    (2560, 55): "b7",
}
_CLASSIFIERS = ("logits.", "fc.", "_fc.", "last_linear.", "classifier.")


def is_inception(net: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of facenet-pytorch's InceptionResnetV1."""
    return "conv2d_1a.conv.weight" in net and "last_linear.weight" in net


def inception(net: Mapping[str, Tensor], kind: str, preprocessing: dict) -> Imported:
    """InceptionResNetV1, with its embedding layers or GeM as a part of it; the classifier behind them is dropped."""
    exponent = net.get("avgpool_1a.p")
    kept = {key: value for key, value in net.items() if key != "avgpool_1a.p" and not key.startswith("logits.")}
    state = own_names(kept, FACENET)
    if exponent is not None:
        state["pooling.p"] = exponent.reshape(1)
    settings = _settings("inception_resnet_v1", len(net["last_linear.weight"]), exponent, preprocessing["size"])
    return Imported(kind, state, settings, dict(preprocessing))


def of_the_original(
    net: Mapping[str, Tensor], rest: Mapping[str, Tensor], path: Path, padded_for: int | None
) -> Imported:
    """``net`` is the backbone, ``rest`` what stood beside it; ``padded_for`` as in ``recognise``.

    Raises InputError where the backbone is not known or the embedding layer is missing.
    """
    centres = rest.get("head.weight")
    if is_inception(net):
        found = inception(net, "the original's InceptionResNetV1", ORIGINAL_PREPROCESSING)
    else:
        found = _with_neck(net, rest, path, padded_for)
    return replace(found, class_centres=centres)


def _with_neck(net: Mapping[str, Tensor], rest: Mapping[str, Tensor], path: Path, padded_for: int | None) -> Imported:
    """SE-ResNeXt or EfficientNet of the original: the neck beside the backbone makes the embedding."""
    lacking = [key for key in ("neck.0.weight", "neck.1.running_mean") if key not in rest]
    if lacking:
        raise InputError(f"{path} lacks {', '.join(lacking)}, the original's embedding layer")
    backbone, size, remarks = _backbone(net, path, padded_for)
    exponent = rest.get("global_pool.p")
    state = {f"{BACKBONE}net.{key}": x for key, x in net.items() if not key.startswith(_CLASSIFIERS)}
    state |= {key.replace("neck.1.", "neck.norm."): x for key, x in rest.items() if key.startswith("neck.1.")}
    state["neck.linear.weight"] = rest["neck.0.weight"]
    if "neck.0.bias" in rest:
        # BatchNorm subtracts its mean: a bias before it is the same as a mean that is smaller by it.
        state["neck.norm.running_mean"] = rest["neck.1.running_mean"] - rest["neck.0.bias"]
    if exponent is not None:
        state["pooling.p"] = exponent.reshape(1)
    settings = _settings(backbone, len(rest["neck.0.weight"]), exponent, size)
    kind = f"the original's {backbone.removeprefix('timm:')}"
    return Imported(kind, state, settings, dict(ORIGINAL_PREPROCESSING), remarks=remarks)


def _backbone(net: Mapping[str, Tensor], path: Path, padded_for: int | None) -> tuple[str, int, list[str]]:
    """Its name here, the image size to build it for, and remarks."""
    size = ORIGINAL_PREPROCESSING["size"]
    if "layer1.0.se.fc1.weight" in net:
        return "seresnext101", size, []
    if "layer1.0.se_module.fc1.weight" in net:  # Cadene's names, which older timm and pretrainedmodels use
        return "timm:legacy_seresnext101_32x4d", size, []
    if "_conv_stem.weight" in net:
        blocks = len({key.split(".")[1] for key in net if key.startswith("_blocks.")})
        channels = len(net["_conv_head.weight"]) if "_conv_head.weight" in net else 0
        variant = _EFFICIENTNETS.get((channels, blocks))
        if variant is not None:
            return _padded_efficientnet(variant, padded_for)
    names = ", ".join(list(net)[:3])
    raise InputError(
        f"{path} has a backbone that is not known here (its names: {names}, …); known are the original's "
        "InceptionResNetV1, SE-ResNeXt-101 and EfficientNets"
    )


def _padded_efficientnet(variant: str, padded_for: int | None) -> tuple[str, int, list[str]]:
    """efficientnet-pytorch fixes its padding when it is built, by default for the variant's own image size; the
    network is therefore built for that size here, too, though its images are of another."""
    if padded_for is not None:
        return f"efficientnet_{variant}", padded_for, []
    size = EfficientNet.get_image_size(f"efficientnet-{variant}")
    remark = f"the file does not say how its layers pad: taken to be as in efficientnet-pytorch 0.7.1, for {size} px"
    return f"efficientnet_{variant}", size, [remark]


def _settings(backbone: str, embedding_size: int, exponent: Tensor | None, image_size: int) -> dict:
    pooling = "average" if exponent is None else "gem"
    return {"backbone": backbone, "embedding_size": embedding_size, "pooling": pooling, "image_size": image_size}
