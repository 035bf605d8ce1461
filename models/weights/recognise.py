"""Recognise whose network a state dict is by its names, and give its tensors under this project's names.

The 2021 system wrapped every backbone as ``model.net``; beside it stood the class centres of ArcFace (``head.weight``),
a pooling (``global_pool.p``, GeM) and a neck (``neck.0`` linear, ``neck.1`` BatchNorm with eps 1e-3). With
InceptionResNetV1 those two were there but never used: its embedding is ``model.net.last_linear`` and ``last_bn``,
its pooling ``model.net.avgpool_1a`` (a ``p`` where it was GeM).
"""

from dataclasses import dataclass, field
from pathlib import Path

from efficientnet_pytorch import EfficientNet
from torch import Tensor

from models.backbones import mobilefacenet
from models.weights.known import FACENET_PREPROCESSING, MOBILEFACENET_PREPROCESSING, from_facenet
from runtime.errors import InputError

ORIGINAL_PREPROCESSING = {
    "size": 128,
    "crop": "mtcnn_box",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}
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
_SUPPORTED = (
    "checkpoints of the original with InceptionResNetV1, SE-ResNeXt-101 or EfficientNet, facenet-pytorch's "
    "InceptionResnetV1, InsightFace's MobileFaceNet (MXNet names)"
)


@dataclass(frozen=True)
class Imported:
    """A recognised network: ``state`` under this project's names, ``settings`` for build_model, ``preprocessing``,
    ``class_centres`` (C, D) or None, ``kind`` in words, ``remarks`` for the user."""

    kind: str
    state: dict[str, Tensor]
    settings: dict
    preprocessing: dict
    class_centres: Tensor | None = None
    remarks: list[str] = field(default_factory=list)


def recognise(state: dict[str, Tensor], path: Path, padded_for: int | None = None) -> Imported:
    """The network of a state dict; ``padded_for``: image size of an EfficientNet's padding, where it is known.

    Raises InputError for a network that is not here; ``path`` is named in it.
    """
    if not state:
        raise InputError(f"{path} holds a network without tensors; give a checkpoint")
    state = {_without(key, "module."): value for key, value in state.items()}
    net = {key.removeprefix("model.net."): x for key, x in state.items() if key.startswith("model.net.")}
    rest = {key.removeprefix("model."): x for key, x in state.items() if not key.startswith("model.net.")}
    if net:
        return _of_the_original(net, rest, path, padded_for)
    if "conv2d_1a.conv.weight" in state and "last_linear.weight" in state:
        return _bare_inception(state, path)
    if "conv_1_conv2d_weight" in state:
        return _mobilefacenet(state)
    if "layer1.0.prelu.weight" in state:
        raise InputError(f"{path} is one of InsightFace's IResNets, which are not here; known are {_SUPPORTED}")
    names = ", ".join(list(state)[:3])
    raise InputError(f"{path} is of a network that is not known here (its names: {names}, …); known are {_SUPPORTED}")


def _of_the_original(net: dict[str, Tensor], rest: dict[str, Tensor], path: Path, padded_for: int | None) -> Imported:
    centres = rest.get("head.weight")
    if "conv2d_1a.conv.weight" in net and "last_linear.weight" in net:
        found = _inception(net, "the original's InceptionResNetV1", ORIGINAL_PREPROCESSING)
    else:
        found = _with_neck(net, rest, path, padded_for)
    remarks = list(found.remarks)
    if centres is not None:
        remarks.append(f"class centres of {len(centres):,} people are kept in best.pt under criterion")
    return Imported(found.kind, found.state, found.settings, found.preprocessing, centres, remarks)


def _inception(net: dict[str, Tensor], kind: str, preprocessing: dict) -> Imported:
    exponent = net.pop("avgpool_1a.p", None)
    state = from_facenet(net)
    if exponent is not None:
        state["pooling.p"] = exponent.reshape(1)
    size = len(net["last_linear.weight"])
    settings = _settings("inception_resnet_v1", size, exponent, preprocessing["size"])
    return Imported(kind, state, settings, dict(preprocessing))


def _bare_inception(state: dict[str, Tensor], path: Path) -> Imported:
    found = _inception(state, "InceptionResnetV1 of facenet-pytorch", FACENET_PREPROCESSING)
    remark = f"{path.name} does not say how its faces were made: taken to be as for facenet-pytorch's own weights"
    return Imported(found.kind, found.state, found.settings, found.preprocessing, remarks=[remark])


def _mobilefacenet(state: dict[str, Tensor]) -> Imported:
    settings = {
        "backbone": "mobilefacenet",
        "embedding_size": mobilefacenet.EMBEDDING_SIZE,
        "pooling": "backbone",
        "image_size": mobilefacenet.IMAGE_SIZE,
    }
    renamed = mobilefacenet.from_mxnet(state)
    return Imported("MobileFaceNet of InsightFace", renamed, settings, dict(MOBILEFACENET_PREPROCESSING))


def _with_neck(net: dict[str, Tensor], rest: dict[str, Tensor], path: Path, padded_for: int | None) -> Imported:
    """SE-ResNeXt or EfficientNet of the original: the neck beside the backbone makes the embedding."""
    lacking = [key for key in ("neck.0.weight", "neck.1.running_mean") if key not in rest]
    if lacking:
        raise InputError(f"{path} lacks {', '.join(lacking)}, the original's embedding layer")
    backbone, size, remarks = _backbone(net, path, padded_for)
    exponent = rest.get("global_pool.p")
    state = {f"backbone.net.{key}": x for key, x in net.items() if not key.startswith(_CLASSIFIERS)}
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


def _backbone(net: dict[str, Tensor], path: Path, padded_for: int | None) -> tuple[str, int, list[str]]:
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
    raise InputError(f"{path} has a backbone that is not known here (its names: {names}, …); known are {_SUPPORTED}")


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


def _without(key: str, prefix: str) -> str:
    while key.startswith(prefix):
        key = key.removeprefix(prefix)
    return key
