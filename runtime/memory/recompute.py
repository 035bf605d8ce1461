"""Memory for time: activations that the backward pass computes again instead of keeping (Chen et al. 2016).

arXiv:1604.06174. Dropout draws the same numbers again, and BatchNorm's running statistics move once, not twice.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

# What a network gives: a tensor, or a tuple of them.
T = TypeVar("T")


def recomputed(function: Callable[..., T], *arguments: object, module: nn.Module, **options: object) -> T:
    """``function(*arguments, **options)``, of which backward keeps the inputs alone; ``module`` is what it runs."""
    if torch.compiler.is_compiling():
        # Compiled code recomputes values only; it does not update BatchNorm's statistics twice.
        return checkpoint(function, *arguments, use_reentrant=False, **options)
    contexts = lambda: (nullcontext(), _statistics_at_rest(module))  # noqa: E731
    return checkpoint(function, *arguments, use_reentrant=False, context_fn=contexts, **options)


def recompute_blocks(network: nn.Module) -> int:
    """Make each block of a network recompute its inside in backward; returns how many blocks that are.

    A block is a compound member of a sequence: a residual block of a stage, an MBConv of an EfficientNet. Names and
    weights stay as they are; without gradients a block runs as ever. Each becomes an instance of a subclass of its
    own class, not a wrapper, so that state dicts keep their keys and DataParallel can copy it.
    """
    blocks = list(_blocks(network))
    for block in blocks:
        kind = type(block)
        block.__class__ = type(kind.__name__, (_Recomputing, kind), {})
    return len(blocks)


class _Recomputing:
    def forward(self, *arguments: object, **options: object) -> Tensor:
        return recomputed(super().forward, *arguments, module=self, **options)


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    sequence = isinstance(module, nn.Sequential | nn.ModuleList)
    for child in module.children():
        plain = type(child) in (nn.Sequential, nn.ModuleList)
        if sequence and not plain and next(child.children(), None) is not None:
            yield child
        else:
            yield from _blocks(child)


@contextmanager
def _statistics_at_rest(module: nn.Module) -> Iterator[None]:
    """BatchNorms that normalise by the batch, as in training, and leave their running statistics as they are."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
    before = [(norm, norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, batches in before:
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(batches)
