"""Recognise whose network a state dict is by its names and shapes, and give its tensors under this project's names."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from models.backbones import ir, iresnet, mobilefacenet
from models.weights import names
from models.weights.imported import (
    ARCFACE_PREPROCESSING,
    FACENET_KIND,
    FACENET_PREPROCESSING,
    MOBILEFACENET_PREPROCESSING,
    Imported,
)
from models.weights.original import inception, is_inception, of_the_original
from runtime.errors import InputError

_COLOURS = re.compile(r"""color_space["']?\s*:\s*["']?(RGB|BGR)""")


def recognise(state: Mapping[str, Tensor], path: Path, padded_for: int | None = None) -> Imported | None:
    """The network of a state dict, None if it is of none that are known.

    ``padded_for``: image size of an EfficientNet's padding, where it is known. Raises InputError, with ``path`` in it,
    for a network of a known family that is not here.
    """
    state = {_without(key, "module."): value for key, value in state.items()}
    for known in (_iresnet, _ir):
        found = known(state, path)
        if found is not None:
            return found
    net = {key.removeprefix("model.net."): x for key, x in state.items() if key.startswith("model.net.")}
    if net:
        rest = {key.removeprefix("model."): x for key, x in state.items() if not key.startswith("model.net.")}
        return of_the_original(net, rest, path, padded_for)
    if is_inception(state):
        return _facenet(state, path)
    return _mobilefacenet(state) if "conv_1_conv2d_weight" in state else None


def _facenet(state: Mapping[str, Tensor], path: Path) -> Imported:
    found = inception(state, FACENET_KIND, FACENET_PREPROCESSING)
    remark = f"{path.name} does not say how its faces were made: taken to be as for facenet-pytorch's own weights"
    return replace(found, remarks=[remark], missing=("pooling.",))


def _mobilefacenet(state: Mapping[str, Tensor]) -> Imported:
    settings = _settings("mobilefacenet", mobilefacenet.EMBEDDING_SIZE)
    renamed = mobilefacenet.from_mxnet(dict(state))
    return Imported("MobileFaceNet of InsightFace", renamed, settings, dict(MOBILEFACENET_PREPROCESSING))


# ==== InsightFace: IResNet ====


def _iresnet(state: Mapping[str, Tensor], path: Path) -> Imported | None:
    prefix = _prefix(state, "layer1.0.prelu.weight")
    if prefix is None:
        return None
    net = _under(state, prefix)
    convolutions = [key.split(".")[0] for key in net if key.endswith(".conv1.weight")]
    blocks = tuple(convolutions.count(f"layer{number}") for number in (1, 2, 3, 4))
    backbone = next((name for name, own in iresnet.BLOCKS.items() if own == blocks), None)
    if backbone is None:
        raise InputError(f"{path} is an IResNet of {_in_words(blocks)} blocks; known are {', '.join(iresnet.BLOCKS)}")
    if "fc.weight" not in net:
        raise InputError(f"{path} lacks fc.weight, the embedding layer of an IResNet; get the whole file")
    found = _whole(net, names.IRESNET, backbone, f"InsightFace's {backbone}")
    return _turned(found, "backbone.conv1.weight") if _beside(path) == "BGR" else found


# ==== AdaFace, CVLface, CurricularFace: IR ====


def _ir(state: Mapping[str, Tensor], path: Path) -> Imported | None:
    prefix = _prefix(state, "input_layer.0.weight")
    if prefix is None:
        return None
    net = _under(state, prefix)
    backbone = _ir_name(net, path)
    if "output_layer.4.weight" in net:
        raise InputError(f"{path} is an IR network whose last BatchNorm learns (face.evoLVe's), which is not here")
    if "output_layer.3.weight" not in net:
        raise InputError(f"{path} lacks output_layer.3.weight, an IR network's embedding layer; get the whole file")
    author, bgr, remarks = _ir_colours(backbone, prefix, path)
    found = replace(_whole(net, names.IR, backbone, f"{author}'s {backbone}"), remarks=remarks)
    if "head.kernel" in state:
        found = replace(found, class_centres=state["head.kernel"].T.contiguous())
    return _turned(found, "backbone.input_layer.0.weight") if bgr else found


def _ir_name(net: Mapping[str, Tensor], path: Path) -> str:
    convolutions = [value for key, value in net.items() if re.fullmatch(r"body\.\d+\.res_layer\.1\.weight", key)]
    widths = [len(value) for value in convolutions]
    excited = any(key.endswith(".fc1.weight") for key in net)
    middle_norm = "body.0.res_layer.2.running_mean" in net
    form = ir.Form(tuple(widths.count(width) for width in ir.WIDTHS), excited, middle_norm)
    name = next((name for name, own in ir.FORMS.items() if own == form), None)
    if name is None:
        extras = f"excitation: {excited}, middle BatchNorm: {middle_norm}".lower()
        raise InputError(
            f"{path} is an IR network of {_in_words(form.blocks)} blocks ({extras}); known are {', '.join(ir.FORMS)}"
        )
    return name


def _ir_colours(backbone: str, prefix: str, path: Path) -> tuple[str, bool, list[str]]:
    """Whose network it is, whether it takes BGR, and remarks."""
    if not ir.FORMS[backbone].middle_norm:
        return "CurricularFace", False, []
    if prefix.endswith("net."):
        return "CVLface", _beside(path) == "BGR", []
    unsaid = f"{path.name} does not say whose it is: taken to be AdaFace's, which takes BGR"
    return "AdaFace", True, [] if prefix else [unsaid]


def _beside(path: Path) -> str | None:
    """The order of colours that CVLface's config file beside the weights gives, if there is one."""
    for name in ("model.yaml", "config.json"):
        config = path.with_name(name)
        if config.is_file():
            found = _COLOURS.search(config.read_bytes()[:65_536].decode(errors="replace"))
            if found:
                return found[1]
    return None


def _turned(network: Imported, stem: str) -> Imported:
    """The network of RGB that gives the same embeddings as that of BGR."""
    state = {**network.state, stem: network.state[stem].flip(1)}
    remark = "it takes BGR: the input channels of its first convolution were reversed, so that it takes RGB here"
    return replace(network, state=state, remarks=[*network.remarks, remark])


# ==== both ====


def _whole(net: Mapping[str, Tensor], neck: Mapping[str, str], backbone: str, kind: str) -> Imported:
    """An IResNet or IR from tensors under upstream's names."""
    state = names.own_names(net, neck)
    settings = _settings(backbone, len(state["neck.linear.weight"]))
    return Imported(kind, state, settings, dict(ARCFACE_PREPROCESSING))


def _settings(backbone: str, embedding_size: int) -> dict:
    return {"backbone": backbone, "embedding_size": embedding_size, "pooling": "backbone", "image_size": 112}


def _prefix(state: Mapping[str, Tensor], name: str) -> str | None:
    """What stands before the names of a network that has ``name``; None if there is none."""
    return next((key.removesuffix(name) for key in state if key.endswith(name)), None)


def _under(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _in_words(blocks: tuple[int, ...]) -> str:
    return "-".join(map(str, blocks))


def _without(key: str, prefix: str) -> str:
    while key.startswith(prefix):
        key = key.removeprefix(prefix)
    return key
