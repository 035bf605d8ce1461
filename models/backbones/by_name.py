"""Name → network from images (B, 3, H, W) to a feature map (B, C, h, w), with C as its ``out_channels``.

timm and facenet-pytorch are imported where one of their networks is asked for: facenet-pytorch, which brings
torchvision, was two fifths of the time of a script's imports, timm a tenth.
"""

import difflib
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from models.backbones import ir, iresnet, mobilefacenet
from models.backbones.efficientnet import EfficientNetFeatures
from models.backbones.timm_networks import TIMM_PREFIX, TimmFeatures
from runtime.errors import InputError

SERESNEXT101 = "seresnext101_32x4d"


def _inception_resnet_v1(image_size: int) -> nn.Module:
    from models.backbones.inception_resnet_v1 import InceptionResNetV1Features

    return InceptionResNetV1Features()


def _mobilefacenet(image_size: int) -> nn.Module:
    _check_size("mobilefacenet", mobilefacenet.IMAGE_SIZE, image_size)
    return mobilefacenet.MobileFaceNetFeatures()


def _iresnet(name: str, image_size: int) -> nn.Module:
    _check_size(name, iresnet.IMAGE_SIZE, image_size)
    return iresnet.IResNetFeatures(name)


def _ir(name: str, image_size: int) -> nn.Module:
    _check_size(name, ir.IMAGE_SIZE, image_size)
    return ir.IRFeatures(name)


def _check_size(name: str, only: int, image_size: int) -> None:
    if image_size != only:
        raise InputError(f"{name} takes {only}×{only} images only; image_size is {image_size}: set it to {only}")


_BUILDERS: dict[str, Callable[[int], nn.Module]] = {
    "inception_resnet_v1": _inception_resnet_v1,
    "seresnext101": partial(TimmFeatures, SERESNEXT101),
    **{f"efficientnet_b{i}": partial(EfficientNetFeatures, f"b{i}") for i in range(8)},
    "mobilefacenet": _mobilefacenet,
    **{name: partial(_iresnet, name) for name in iresnet.BLOCKS},
    **{name: partial(_ir, name) for name in ir.FORMS},
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
