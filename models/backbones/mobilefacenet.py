"""MobileFaceNet (Chen et al. 2018, arXiv:1804.07573) as InsightFace trained it: 1 M parameters, 112×112 px.

The modules carry the names of the stages of InsightFace's MXNet graph, so that ``from_mxnet`` only renames.
"""

import re
from collections import OrderedDict

import torch
from torch import Tensor, nn

from models.prelu import PReLU

IMAGE_SIZE = 112
EMBEDDING_SIZE = 128
FEATURE_MAP_SIZE = 7
BATCHNORM_EPS = 1e-3  # the graph leaves out eps; this is MXNet's default
NECK_BATCHNORM_EPS = 2e-5


class ConvUnit(nn.Sequential):
    """Convolution without bias, BatchNorm and, unless ``linear``, a PReLU with one slope a channel."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        *,
        linear: bool = False,
    ) -> None:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
        layers = OrderedDict(conv=conv, norm=nn.BatchNorm2d(outputs, eps=BATCHNORM_EPS))
        if not linear:
            layers["activation"] = PReLU(outputs)
        super().__init__(layers)


class Bottleneck(nn.Module):
    """Widen (1×1), filter each channel (3×3), narrow (1×1, linear); with a shortcut where the stride is 1."""

    def __init__(self, inputs: int, width: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.sep = ConvUnit(inputs, width, 1)
        self.dw = ConvUnit(width, width, 3, stride, groups=width)
        self.proj = ConvUnit(width, outputs, 1, linear=True)
        self.shortcut = stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H / stride, W / stride)."""
        out = self.proj(self.dw(self.sep(x)))
        return out + x if self.shortcut else out


class MobileFaceNetFeatures(nn.Sequential):
    """(B, 3, 112, 112) → (B, 512, 7, 7): everything before the 7×7 depthwise convolution."""

    out_channels = 512

    def __init__(self) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv_1=ConvUnit(3, 64, 3, stride=2), conv_2_dw=ConvUnit(64, 64, 3, groups=64)
        )
        layers["dconv_23"] = Bottleneck(64, 128, 64, stride=2)
        layers.update({f"res_3_block{i}": Bottleneck(64, 128, 64, stride=1) for i in range(4)})
        layers["dconv_34"] = Bottleneck(64, 256, 128, stride=2)
        layers.update({f"res_4_block{i}": Bottleneck(128, 256, 128, stride=1) for i in range(6)})
        layers["dconv_45"] = Bottleneck(128, 512, 128, stride=2)
        layers.update({f"res_5_block{i}": Bottleneck(128, 256, 128, stride=1) for i in range(2)})
        layers["conv_6sep"] = ConvUnit(128, 512, 1)
        super().__init__(layers)


_STAGE_OF = {"conv_6dw7_7": "pooling"}
_PART_OF = {
    "conv2d_weight": "conv.weight",
    "batchnorm_gamma": "norm.weight",
    "batchnorm_beta": "norm.bias",
    "batchnorm_moving_mean": "norm.running_mean",
    "batchnorm_moving_var": "norm.running_var",
    "relu_gamma": "activation.weight",
}
_NECK = {
    "fc1_weight": "neck.linear.weight",
    "pre_fc1_bias": "neck.linear.bias",
    "fc1_gamma": "neck.norm.weight",
    "fc1_beta": "neck.norm.bias",
    "fc1_moving_mean": "neck.norm.running_mean",
    "fc1_moving_var": "neck.norm.running_var",
}
_KEY = re.compile(rf"(?P<stage>\w+?)_(?P<part>{'|'.join(_PART_OF)})")
_BOTTLENECK = re.compile(r"(dconv_\d\d|res_\d_block\d)_conv_(sep|dw|proj)")


def from_mxnet(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """InsightFace's parameter names → those of a FaceEmbedder with this backbone and its own pooling.

    A name that is not of that graph stays as it is, for the loader to complain about. The neck's gamma becomes
    1 whatever the file says: the graph fixes it (``fix_gamma``).
    """
    renamed = {_embedder_key(key): value for key, value in state.items()}
    if "neck.norm.weight" in renamed:
        renamed["neck.norm.weight"] = torch.ones_like(renamed["neck.norm.weight"])
    return renamed


def _embedder_key(key: str) -> str:
    if key in _NECK:
        return _NECK[key]
    match = _KEY.fullmatch(key)
    if match is None:
        return key
    stage = _STAGE_OF.get(match["stage"]) or "backbone." + _BOTTLENECK.sub(r"\1.\2", match["stage"])
    return f"{stage}.{_PART_OF[match['part']]}"
