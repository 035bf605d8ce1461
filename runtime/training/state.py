"""What training changes: gathered, saved and restored, so that a run resumes from any step bit for bit."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from runtime.checkpoints.file import copy_checkpoint, load_checkpoint, load_state
from runtime.checkpoints.store import Position
from runtime.devices import unwrap
from runtime.errors import InputError, in_one_line
from runtime.precision import Precision, precision_of_resumed
from runtime.processes.distributed import equal_buffers, from_all, from_first, is_first, rank
from runtime.processes.shards import own_state, whole_optimiser_state, whole_state
from runtime.run_folder import RunFolder
from runtime.seeds import restore_rng_state, rng_state
from runtime.training.ema import EMA
from runtime.training.resumed import refuse_changes, restore_optimiser, restore_schedule

if TYPE_CHECKING:
    from configs import Settings


@dataclass
class EpochSums:
    """The sums of an epoch so far."""

    batches: int = 0  # taken from the loader
    steps: int = 0  # of them those with a finite loss and gradient
    skipped: int = 0
    skipped_in_a_row: int = 0
    unreadable: int = 0
    images: int = 0
    waited: float = 0.0  # seconds for data
    computed: float = 0.0  # seconds in steps
    lr: float = 0.0  # of the last step
    stats: dict[str, float] = field(default_factory=dict)  # sums over the steps that had the figure
    counts: dict[str, int] = field(default_factory=dict)  # number of those steps
    # (B, D) of the last step, which are checked for collapse. Faces without a name count: the same network embeds them,
    # so a collapse shows in them too, and more people make a better sample.
    embeddings: Tensor | None = None

    def add(self, stats: dict[str, float], embeddings: Tensor) -> None:
        """One step with a finite loss."""
        self.steps += 1
        self.skipped_in_a_row = 0
        self.embeddings = embeddings
        for name, value in stats.items():
            self.stats[name] = self.stats.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    @property
    def means(self) -> dict[str, float]:
        """The figures' means so far."""
        return {name: total / self.counts[name] for name, total in self.stats.items()}

    @property
    def seconds(self) -> float:
        """The seconds of the epoch's training so far."""
        return self.waited + self.computed

    @property
    def images_per_second(self) -> float:
        """Images per second over the epoch so far."""
        return self.images / max(self.seconds, 1e-9)


class Preprocessing(Protocol):
    """How faces become the network's input: ``data.transforms.Preprocessing``."""

    normalise: Callable[[Tensor], Tensor]  # uint8 (B, H, W, 3) → float (B, 3, H, W)

    def to_dict(self) -> dict:
        """Plain values."""


@dataclass
class TrainingState:
    """Everything a checkpoint must hold."""

    model: nn.Module
    criterion: nn.Module
    optimiser: Optimizer
    scheduler: LRScheduler
    precision: Precision
    settings: "Settings"
    preprocessing: Preprocessing
    identities: list[str]  # (C,) names in the order of their class centres
    epoch: int = 0  # epochs finished
    images_seen: int = 0  # training forward passes, repeats counted
    history: list[dict] = field(default_factory=list)  # a dict per epoch, as in log.jsonl
    sums: EpochSums = field(default_factory=EpochSums)  # of the epoch under way
    remedies: list[str] = field(default_factory=list)  # taken against collapses
    healthy: Position | None = None  # the last checkpoint that was far from any collapse

    def __post_init__(self) -> None:
        decay = self.settings.ema_decay
        self.ema = EMA(unwrap(self.model), decay) if decay else None

    @property
    def best(self) -> dict | None:
        """The epoch with the lowest IOU; ties go to the higher AUC, then to the earlier epoch."""
        return _best(self.history)

    @property
    def needed_to_recover(self) -> set[Position]:
        """The checkpoints that a return to the last healthy one needs: itself, and the best epoch up to there."""
        if self.healthy is None:
            return set()
        bests = _best(self.history[: self.healthy.epoch]), self.best
        return {self.healthy} | {Position(line["epoch"], 0) for line in bests if line}

    @property
    def position(self) -> Position:
        """Epochs finished, and batches of the next one."""
        return Position(self.epoch, self.sums.batches)

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return self.optimiser.param_groups[0]["lr"]

    @contextlib.contextmanager
    def evaluated_weights(self) -> Iterator[None]:
        """Inside, the model has the weights that are evaluated, the same in all processes: their average where there
        is one."""
        with self.ema.applied() if self.ema else contextlib.nullcontext():
            equal_buffers(unwrap(self.model))
            yield

    def state_dict(self) -> dict:
        """Tensors and plain values. ``model`` are the weights that are evaluated, ``raw_model`` those that train.

        All processes must call it; what the first one gets is whole.
        """
        own = unwrap(self.model).state_dict()
        averaged = (
            {"model": self.ema.state_dict(), "raw_model": own, "ema_updates": self.ema.updates} if self.ema else {}
        )
        return {
            "model": own,
            **averaged,
            "criterion": whole_state(self.criterion),
            "optimiser": whole_optimiser_state(self.optimiser),
            "scheduler": self.scheduler.state_dict(),
            "precision": self.precision.name,
            "scaler": self.precision.scaler.state_dict(),
            "sampler": self.position._asdict(),
            "rng": from_all(rng_state()),
            "epoch": self.epoch,
            "images_seen": self.images_seen,
            "history": self.history,
            "sums": {**vars(self.sums)},
            "settings": self.settings.to_dict(),
            "remedies": self.remedies,
            "healthy": self.healthy and self.healthy._asdict(),
        }

    def load_state_dict(self, state: dict, name: str) -> None:
        """Inverse of ``state_dict``, except that learning rate, weight decay and the like follow the settings.

        Raises InputError if model or criterion are of another shape, and as ``refuse_changes`` does.
        """
        refuse_changes(self.scheduler, state, self.settings, name)
        load_state(unwrap(self.model), state.get("raw_model", state["model"]), name)
        load_state(self.criterion, own_state(self.criterion, state["criterion"]), name)
        if self.ema:
            self.ema.load_state_dict(state["model"], state.get("ema_updates", 0))
        restore_optimiser(self.optimiser, state)
        restore_schedule(self.scheduler, state, self.settings)
        if state["scaler"]:  # empty if the run was not in fp16 before
            self.precision.scaler.load_state_dict(state["scaler"])
        self.epoch, self.images_seen = state["epoch"], state["images_seen"]
        self.history = state["history"]
        sums = state["sums"]  # without counts in older checkpoints, where each step had all figures
        self.sums = EpochSums(**{"counts": dict.fromkeys(sums["stats"], sums["steps"]), **sums})
        self.remedies = state["remedies"]
        self.healthy = state["healthy"] and Position(**state["healthy"])
        restore_rng_state(state["rng"][rank() % len(state["rng"])])


def resume(state: TrainingState, run: RunFolder) -> None:
    """Put ``state`` where the run's newest whole checkpoint stands, and say so; at the start if it has none.

    Raises InputError if all its checkpoints are damaged, of another architecture, or of other identities than the
    state's (class centres would belong to other people), or if this machine can't compute in the run's precision.
    """
    path = from_first(run.store.newest() if is_first() else None)
    if path is None:
        return
    content = load_checkpoint(path)
    if content["identities"] != state.identities:
        raise InputError(
            f"{path} was trained on other identities than the training CSV has; restore that CSV, "
            "or start a new run with --resume never"
        )
    setting, stored = state.settings.precision, content.get("precision")
    state.precision = precision_of_resumed(state.precision, setting, stored, run.path)
    state.load_state_dict(content, str(path))
    if state.history and not state.sums.batches:
        _publish(state, run, path)  # which a kill may have prevented
    print(in_one_line(f"{run.path}: resuming after {where(state.position)}"))


def where(position: Position) -> str:
    """A position in words."""
    return f"epoch {position.epoch}" + (f" and {position.batch} batches of the next" if position.batch else "")


def save(state: TrainingState, run: RunFolder) -> Path | None:
    """Write a checkpoint to resume from, by the first process. Raises InputError if it can't be written."""
    content = {
        **state.state_dict(),
        "preprocessing": state.preprocessing.to_dict(),
        "identities": state.identities,
    }
    if state.history and not state.sums.batches:
        content |= {"threshold": state.history[-1]["threshold"], "threshold_metric": "balanced_accuracy"}
    if not is_first():
        return None
    keep, also_keep = state.settings.keep_checkpoints, state.needed_to_recover
    return run.store.save(content, state.position, keep=keep, also_keep=also_keep)


def save_epoch(state: TrainingState, run: RunFolder) -> None:
    """At an epoch's end: the checkpoint, which is last.pt and, if it is the best, best.pt too; then the log."""
    _publish(state, run, save(state, run))


def restore_best(state: TrainingState, run: RunFolder) -> None:
    """Make best.pt the best epoch of the state's history again, after a return to an earlier position."""
    if not is_first():
        return
    if state.best is None:
        run.best.unlink(missing_ok=True)
    elif path := run.store.path(Position(state.best["epoch"], 0)):
        copy_checkpoint(path, run.best)


def _best(history: list[dict]) -> dict | None:
    return min(history, key=lambda line: (line["iou"], -line["auc"]), default=None)


def _publish(state: TrainingState, run: RunFolder, path: Path | None) -> None:
    if not is_first():
        return
    if state.best is state.history[-1]:
        copy_checkpoint(path, run.best)
    copy_checkpoint(path, run.last)
    run.write_log(state.history)
