"""Optimiser and schedule of a resumed run, whose settings may have changed since its checkpoint."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from runtime.errors import InputError
from runtime.processes.shards import own_optimiser_state
from runtime.training.optim import scale_lr

if TYPE_CHECKING:
    from configs import Settings

# What an optimiser remembers, and of which parameters, depends on these.
_KEPT = ("optimiser", "backbone_lr", "decay_norms", "freeze")
# The learning rate of a step depends on these, and on the number of steps in an epoch.
_SCHEDULE = ("schedule", "epochs", "warmup_epochs", "milestones", "lr_decay")
# What training changes in an optimiser's groups.
_TRAINED = {"params", "lr", "initial_lr"}


def refuse_changes(scheduler: LambdaLR, state: Mapping, settings: "Settings", source: str) -> None:
    """Raise InputError if a checkpoint's ``state`` can't be continued with these settings.

    That is, if a setting differs that decides what the optimiser remembers, or, in the middle of an epoch, the number
    of steps in it.
    """
    before, now = settings.completed(state["settings"]), settings.to_dict()
    for name in _KEPT:
        if now[name] != before[name]:
            raise InputError(
                f"{source} was trained with {name} {before[name] or 'none'}, which can't change in a resumed run; "
                "leave it as it is, or start a new run from these weights with --pretrained"
            )
    batches, steps = state["sums"]["batches"], scheduler.steps_per_epoch
    saved = state["scheduler"].get("steps_per_epoch", steps)  # older checkpoints lack it
    if batches and saved != steps:
        raise InputError(
            f"{source} is {batches} batches into an epoch of {saved}, but with these settings and this training CSV an "
            f"epoch has {steps}; finish the epoch with the settings and the CSV that it began with"
        )


def restore_optimiser(optimiser: Optimizer, state: Mapping) -> None:
    """Moments and learning rates of a checkpoint's ``state``; weight decay, momentum and the like stay as the settings
    made them."""
    own = [{name: value for name, value in group.items() if name not in _TRAINED} for group in optimiser.param_groups]
    optimiser.load_state_dict(own_optimiser_state(optimiser, state["optimiser"]))
    for group, kept in zip(optimiser.param_groups, own, strict=True):
        group.update(kept)


def restore_schedule(scheduler: LambdaLR, state: Mapping, settings: "Settings") -> None:
    """The position of a checkpoint's ``state`` in the schedule, after its optimiser; the schedule is the settings'.

    If their learning rate has changed, the state's changes by the same factor: remedies against a collapse stay.
    """
    before, now = settings.completed(state["settings"]), settings.to_dict()
    steps = scheduler.steps_per_epoch
    scheduler.load_state_dict(state["scheduler"])
    other_steps, factor = scheduler.steps_per_epoch != steps, now["lr"] / before["lr"]
    if other_steps:
        scheduler.last_epoch, scheduler.steps_per_epoch = state["epoch"] * steps, steps
    if factor != 1:
        scale_lr(scheduler.optimizer, scheduler, factor)
    if other_steps or any(now[name] != before[name] for name in _SCHEDULE):
        rates = zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
        for group, (lr, share) in zip(scheduler.optimizer.param_groups, rates, strict=True):
            group["lr"] = lr * share(scheduler.last_epoch)
