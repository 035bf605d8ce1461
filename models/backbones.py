"""Name → network from images (B, 3, H, W) to a feature map (B, C, h, w), with C as its ``out_channels``.

timm and facenet-pytorch are imported where one of their networks is asked for: facenet-pytorch, which brings
torchvision, was two fifths of the time of a script's imports, timm a tenth.
"""

import difflib
import math
from collections.abc import Callable
from functools import partial

import torch
from efficientnet_pytorch import EfficientNet
from torch import Tensor, nn

from models.mobilefacenet import IMAGE_SIZE as MOBILEFACENET_SIZE
from models.mobilefacenet import MobileFaceNetFeatures
from runtime.errors import InputError

TIMM_PREFIX = "timm:"
SERESNEXT101 = "seresnext101_32x4d"


class EfficientNetFeatures(nn.Module):
    """efficientnet-pytorch's B0 … B7 (Tan and Le 2019, arXiv:1905.11946) without the classifier.

    ``image_size`` fixes the padding of the strided convolutions, as TensorFlow's "same" does.
    """

    def __init__(self, variant: str, image_size: int) -> None:
        super().__init__()
        self.net = EfficientNet.from_name(f"efficientnet-{variant}", image_size=image_size, include_top=False)
        self.out_channels = self.net._conv_head.out_channels
        # The package's swish is an autograd function in Python; torch's SiLU saves the same tensor and is faster.
        for module in (self.net, *self.net._blocks):
            module._swish = nn.SiLU()
        for module in self.net.modules():
            if isinstance(module, nn.Conv2d):
                _init_as_in_the_paper(module)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, C, h, w)."""
        return self.net.extract_features(x)


def _init_as_in_the_paper(conv: nn.Conv2d) -> None:
    """Normal with variance 2 / fan-out, as in the authors' TensorFlow code; efficientnet-pytorch leaves it out.

    Without it a fresh network in evaluation mode shrinks its images to 1e-13, the length at which unit rows are noise.
    """
    fan_out = conv.out_channels // conv.groups * math.prod(conv.kernel_size)
    nn.init.normal_(conv.weight, std=math.sqrt(2 / fan_out))
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


class TimmFeatures(nn.Module):
    """Any network of timm. Tokens (B, N, C) become a map (B, C, N, 1), so that every pooling works."""

    def __init__(self, name: str, image_size: int) -> None:
        import timm

        super().__init__()
        config = timm.get_pretrained_cfg(name)
        fixed = {"img_size": image_size} if config is not None and config.fixed_input_size else {}
        self.net = timm.create_model(name, pretrained=False, num_classes=0, global_pool="", **fixed)
        self.channels_last = getattr(self.net, "output_fmt", "NCHW") == "NHWC"

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, C, h, w)."""
        features = self.net.forward_features(x)
        if features.dim() == 3:
            return features[:, getattr(self.net, "num_prefix_tokens", 0) :].mT.unsqueeze(-1)
        return features.permute(0, 3, 1, 2) if self.channels_last else features


def _inception_resnet_v1(image_size: int) -> nn.Module:
    from models.inception_resnet_v1 import InceptionResNetV1Features

    return InceptionResNetV1Features()


def _mobilefacenet(image_size: int) -> nn.Module:
    if image_size != MOBILEFACENET_SIZE:
        raise InputError(f"mobilefacenet takes 112×112 images only; image_size is {image_size}")
    return MobileFaceNetFeatures()


_BUILDERS: dict[str, Callable[[int], nn.Module]] = {
    "inception_resnet_v1": _inception_resnet_v1,
    "seresnext101": partial(TimmFeatures, SERESNEXT101),
    **{f"efficientnet_b{i}": partial(EfficientNetFeatures, f"b{i}") for i in range(8)},
    "mobilefacenet": _mobilefacenet,
}
BACKBONES = tuple(_BUILDERS)


def check_backbone(name: str) -> None:
    """Raise InputError unless ``name`` is one of BACKBONES or ``timm:`` and a name that timm knows."""
    if name in BACKBONES:
        return
    if not name.startswith(TIMM_PREFIX):
        raise InputError(f"unknown backbone {name!r}; choose one of {', '.join(BACKBONES)} or timm:NAME")
    import timm

    wanted = name.removeprefix(TIMM_PREFIX)
    if not timm.is_model(wanted):
        close = difflib.get_close_matches(wanted, timm.list_models(), n=5)
        hint = f"did you mean {', '.join(close)}?" if close else "timm.list_models() lists them"
        raise InputError(f"timm has no network {wanted!r}; {hint}")


def build_backbone(name: str, image_size: int) -> nn.Module:
    """The named network with fresh weights; ``out_channels`` is set.

    Raises InputError for an unknown name and for an image size that the network can't take.
    """
    check_backbone(name)
    builder = _BUILDERS.get(name) or partial(TimmFeatures, name.removeprefix(TIMM_PREFIX))
    backbone = builder(image_size)
    backbone.out_channels = _feature_channels(backbone, name, image_size)
    return backbone


@torch.no_grad()
def _feature_channels(backbone: nn.Module, name: str, image_size: int) -> int:
    """One black image through the network, so that an unfit size is an error now, not in the first batch."""
    backbone.eval()
    try:
        features = backbone(torch.zeros(1, 3, image_size, image_size))
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{name} can't take images of {image_size} px ({reason}); change image_size") from None
    backbone.train()
    return features.shape[1]
