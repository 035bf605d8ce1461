"""What stands behind a backbone's feature map: a pooling and the neck."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from torch import nn

from models.backbones import ir, iresnet, mobilefacenet
from models.embedder import Neck
from models.pooling import AveragePooling, DepthwisePooling, FlattenPooling, GeM


@dataclass(frozen=True)
class Tail:
    """What face networks have behind their feature map: a pooling and a neck of their own.

    The neck's BatchNorm doesn't learn its scale, so that all values of an embedding have the same. ``learned_shift``:
    whether it learns what it adds.
    """

    pooling: Callable[[int], nn.Module]  # of so many channels
    values_of_channel: int  # that the pooling leaves
    neck_eps: float
    learned_shift: bool = True


def _flat(family: ModuleType, **shift: bool) -> Tail:
    return Tail(lambda channels: FlattenPooling(), family.FEATURE_MAP_SIZE**2, family.NECK_BATCHNORM_EPS, **shift)


TAILS = {
    "mobilefacenet": Tail(
        lambda channels: DepthwisePooling(channels, mobilefacenet.FEATURE_MAP_SIZE),
        1,
        mobilefacenet.NECK_BATCHNORM_EPS,
    ),
    **dict.fromkeys(iresnet.BLOCKS, _flat(iresnet)),
    **dict.fromkeys(ir.FORMS, _flat(ir, learned_shift=False)),
}


def same_pooling(backbone: str, a: str, b: str) -> bool:
    """Whether two names of poolings mean the same: a backbone without a pooling of its own takes the average."""
    meant = {} if backbone in TAILS else {"backbone": "average"}
    return meant.get(a, a) == meant.get(b, b)


def build_pooling(backbone: str, pooling: str, channels: int) -> nn.Module:
    """The pooling of that name over so many channels."""
    if pooling == "gem":
        return GeM()
    if pooling == "backbone" and backbone in TAILS:
        return TAILS[backbone].pooling(channels)
    return AveragePooling()


def build_neck(backbone: str, pooling: str, channels: int, embedding_size: int) -> Neck:
    """The neck behind that pooling."""
    if backbone not in TAILS:
        return Neck(channels, embedding_size)
    tail = TAILS[backbone]
    inputs = channels * (tail.values_of_channel if pooling == "backbone" else 1)
    neck = Neck(inputs, embedding_size, bias=True, eps=tail.neck_eps, affine=tail.learned_shift)
    if tail.learned_shift:
        neck.norm.weight.requires_grad_(False)  # fixed at 1 upstream
    return neck
