"""Optimisers and learning-rate schedules by name."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from runtime.devices import unwrap
from runtime.training.row_sgd import RowSGD

if TYPE_CHECKING:
    from configs import Settings

OptimiserName = Literal["sgd", "adam", "adamw", "rmsprop", "adadelta"]
ScheduleName = Literal["multistep", "cosine", "cyclic", "step", "constant"]


def optimiser_for(settings: "Settings", modules: Sequence[nn.Module]) -> Optimizer:
    """The optimiser of the settings over every parameter of ``modules`` that takes a gradient.

    A module's ``backbone``, if it has one, gets ``backbone_lr`` times the learning rate.

    Norms' scales, biases and PReLU slopes (vectors and scalars) are left out of weight decay unless ``decay_norms``:
    pulling them to zero shrinks the signal instead of regularising the function (He et al. 2019, arXiv:1812.01187).
    ``momentum`` is Nesterov's for sgd, plain for rmsprop, β1 for adam and adamw, unused by adadelta. On GPUs the
    step is one fused kernel if torch has one. With ``sparse_centres`` (sgd) parameters with sparse gradients move in
    the rows that have one.
    """
    lr, momentum, decay_norms = settings.lr, settings.momentum, settings.decay_norms
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    fused = all(p.is_cuda for p in parameters) or None  # None: torch chooses among the others
    decayed = [p for p in parameters if p.ndim > 1 or decay_norms]
    spared = [p for p in parameters if p.ndim <= 1 and not decay_norms]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    if settings.backbone_lr != 1:
        groups = _apart(groups, modules, lr * settings.backbone_lr)
    groups = [group for group in groups if group["params"]]
    match settings.optimiser:
        case "sgd":
            kind = RowSGD if settings.sparse_centres else torch.optim.SGD
            # The fp16 scaler leaves it to a fused step to see infinite gradients, which sparse ones would pass.
            fused = None if settings.sparse_centres else fused
            return kind(groups, lr=lr, momentum=momentum, nesterov=momentum > 0, fused=fused)
        case "adam":
            return torch.optim.Adam(groups, lr=lr, betas=(momentum, 0.999), fused=fused)
        case "adamw":
            return torch.optim.AdamW(groups, lr=lr, betas=(momentum, 0.999), fused=fused)
        case "rmsprop":
            return torch.optim.RMSprop(groups, lr=lr, momentum=momentum)
        case "adadelta":
            return torch.optim.Adadelta(groups, lr=lr)
    raise ValueError(f"unknown optimiser {settings.optimiser}")


def _apart(groups: list[dict], modules: Sequence[nn.Module], lr: float) -> list[dict]:
    """The groups without the backbones' parameters, and after them as many of these alone, with their own rate."""
    backbones = [module.backbone for module in map(unwrap, modules) if hasattr(module, "backbone")]
    inside = {id(p) for backbone in backbones for p in backbone.parameters()}
    others = [{**group, "params": [p for p in group["params"] if id(p) not in inside]} for group in groups]
    slower = [{**group, "params": [p for p in group["params"] if id(p) in inside], "lr": lr} for group in groups]
    return others + slower


def lr_factor(settings: "Settings", epoch: float) -> float:
    """The factor of the learning rate after ``epoch`` (fractional) epochs.

    A linear warm-up over ``warmup_epochs`` comes first in every schedule. ``multistep``: × lr_decay after each of
    ``milestones``; ``step``: × lr_decay an epoch; ``cosine``: to zero at the last epoch; ``cyclic``: triangles of two
    epochs between ``lr_decay`` and 1 (Smith 2017, arXiv:1506.01186); ``constant``: 1.
    """
    decay, warmup_epochs = settings.lr_decay, settings.warmup_epochs
    warmup = min(1.0, epoch / warmup_epochs) if warmup_epochs > 0 else 1.0
    match settings.schedule:
        case "multistep":
            factor = decay ** sum(epoch >= m for m in settings.milestones)
        case "step":
            factor = decay ** math.floor(epoch)
        case "cosine":
            past = max(0.0, epoch - warmup_epochs) / max(1e-9, settings.epochs - warmup_epochs)
            factor = 0.5 * (1 + math.cos(math.pi * min(1.0, past)))
        case "cyclic":
            factor = decay + (1 - decay) * (1 - abs(epoch % 2 - 1))
        case "constant":
            factor = 1.0
        case _:
            raise ValueError(f"unknown schedule {settings.schedule}")
    return warmup * factor


def scheduler_for(settings: "Settings", optimiser: Optimizer, steps_per_epoch: int) -> LambdaLR:
    """``lr_factor`` as a scheduler stepped once a batch.

    The first step of a warm-up has a rate above zero, so that no batch is wasted; so has the only one of a run.
    """

    def factor(step: int) -> float:
        offset = 1 if step < settings.warmup_epochs * steps_per_epoch else 0
        epoch = (step + offset) / steps_per_epoch
        # The end of a run, where cosine is zero, comes after its last step.
        return lr_factor(settings, min(epoch, settings.warmup_epochs) if offset and epoch >= settings.epochs else epoch)

    scheduler = LambdaLR(optimiser, factor)
    scheduler.steps_per_epoch = steps_per_epoch  # saved in its state
    return scheduler


def scale_lr(optimiser: Optimizer, scheduler: LambdaLR, factor: float) -> None:
    """Multiply the learning rate by ``factor``, now and for the rest of the schedule."""
    scheduler.base_lrs = [lr * factor for lr in scheduler.base_lrs]
    for group in optimiser.param_groups:
        group["lr"] *= factor
        group["initial_lr"] *= factor
