"""The engine: one loop for both objectives.

``fit`` trains, evaluates after each epoch, keeps the checkpoint with the lowest IOU and can go on from any last.pt.
It knows no face: the loader, the criterion and the evaluation are given to it.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader
from tqdm import tqdm

from runtime.checkpoint import copy_checkpoint, load_checkpoint, load_state, save_checkpoint
from runtime.collapse import ADVICE, collapse_reason, embedding_health
from runtime.devices import Precision, unwrap
from runtime.errors import InputError
from runtime.run_folder import RunFolder
from runtime.seeds import restore_rng_state, rng_state

# After so many steps in a row without a finite loss nothing but the same can follow.
MAX_SKIPPED_IN_A_ROW = 3
# BatchNorm's running statistics take about so many steps to follow the weights; until then a healthy network may
# look collapsed in evaluation.
STEPS_UNTIL_EVALUATION_COUNTS = 100


class Diverged(Exception):
    """Training can't go on; the message says why and what to try."""


@dataclass
class TrainingState:
    """What moves during training, and thereby what a checkpoint must hold."""

    model: nn.Module
    criterion: nn.Module
    optimiser: Optimizer
    scheduler: LRScheduler
    precision: Precision
    epoch: int = 0  # epochs finished
    images_seen: int = 0  # training forward passes, repeats counted
    history: list[dict] = field(default_factory=list)  # a dict an epoch, as in log.jsonl

    @property
    def best(self) -> dict | None:
        """The epoch with the lowest IOU; ties go to the higher AUC, then to the earlier epoch."""
        return min(self.history, key=lambda line: (line["iou"], -line["auc"]), default=None)

    def state_dict(self) -> dict:
        """Tensors and plain values."""
        return {
            "model": unwrap(self.model).state_dict(),
            "criterion": self.criterion.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.precision.scaler.state_dict(),
            "sampler": {"epoch": self.epoch, "batch": 0},
            "rng": rng_state(),
            "epoch": self.epoch,
            "images_seen": self.images_seen,
            "history": self.history,
        }

    def load_state_dict(self, state: dict, name: str) -> None:
        """Inverse of ``state_dict``. Raises InputError where model or criterion are of another shape."""
        load_state(unwrap(self.model), state["model"], name)
        load_state(self.criterion, state["criterion"], name)
        self.optimiser.load_state_dict(state["optimiser"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.precision.scaler.load_state_dict(state["scaler"])
        self.epoch, self.images_seen = state["epoch"], state["images_seen"]
        self.history = state["history"]
        restore_rng_state(state["rng"])


def resume(state: TrainingState, run: RunFolder, carry: dict) -> None:
    """Put ``state`` where the run's last.pt stands.

    Raises InputError where the checkpoint is damaged, of another architecture, or of other identities than
    ``carry`` (class centres would belong to other people).
    """
    checkpoint = load_checkpoint(run.last)
    if checkpoint["identities"] != carry["identities"]:
        raise InputError(f"{run.last} was trained on other identities than the training CSV has; restore that CSV")
    state.load_state_dict(checkpoint, str(run.last))


def fit(
    state: TrainingState,
    loader: DataLoader,
    evaluate: Callable[[nn.Module, int], dict[str, float]],
    *,
    epochs: int,
    normalise: Callable[[Tensor], Tensor],
    clip_grad_norm: float,
    max_unreadable: float,
    run: RunFolder,
    carry: dict,
    after_epoch: Callable[[list[dict]], None],
) -> str | None:
    """Train up to ``epochs``, from wherever ``state`` stands; returns why it stopped early, or None.

    ``loader`` yields (images uint8 (B, H, W, 3), labels int64 (B,), unreadable paths) and has a batch sampler with
    ``set_epoch``. ``evaluate(model, epoch)`` gives at least ``iou``, ``auc``, ``threshold``, ``mean_distance`` and
    ``effective_rank``. ``carry`` (plain values: settings, preprocessing, identities) goes into
    every checkpoint. ``after_epoch`` gets the history: plots.

    Raises InputError where more than ``max_unreadable`` of an epoch's images can't be read.
    """
    for epoch in range(state.epoch + 1, epochs + 1):
        loader.batch_sampler.set_epoch(epoch)
        try:
            trained = train_one_epoch(
                state,
                loader,
                epochs=epochs,
                normalise=normalise,
                clip_grad_norm=clip_grad_norm,
                max_unreadable=max_unreadable,
            )
        except Diverged as reason:
            return str(reason)
        started = time.perf_counter()
        evaluated = evaluate(state.model, epoch)
        state.epoch = epoch
        line = {"epoch": epoch, **trained, **evaluated, "evaluation_seconds": time.perf_counter() - started}
        state.history.append(line)
        _save(state, run, carry)
        after_epoch(state.history)
        tqdm.write(_summary(line, best=state.best is line))
        collapse = _collapse(state, line)
        if collapse:
            return f"{collapse}; {ADVICE}"
    return None


def train_one_epoch(
    state: TrainingState,
    loader: DataLoader,
    *,
    epochs: int,
    normalise: Callable[[Tensor], Tensor],
    clip_grad_norm: float,
    max_unreadable: float,
) -> dict[str, float]:
    """One pass over the loader; returns the epoch's means and counts as floats.

    ``epochs`` is the length of the whole run, of which the criterion is told how much is done. Raises Diverged
    after ``MAX_SKIPPED_IN_A_ROW`` steps without a finite loss, and InputError as ``fit`` does.
    """
    title = f"epoch {state.epoch + 1}/{epochs}"
    state.model.train()
    state.criterion.train()
    device = state.precision.device
    sums, steps, skipped, skipped_in_a_row = defaultdict(float), 0, 0, 0
    unreadable = _UnreadableCount(max_unreadable * len(loader) * loader.batch_sampler.batch_size)
    embeddings = None
    clock = _Clock()
    with tqdm(total=len(loader), desc=title, unit="batch", leave=False) as bar:
        for images, labels, lost in clock.waiting_for(loader):
            unreadable.add(lost, len(labels))
            lr = state.optimiser.param_groups[0]["lr"]
            state.criterion.set_progress((state.epoch + bar.n / len(loader)) / epochs)
            images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            stats, step_embeddings = _step(state, normalise(images), labels, clip_grad_norm)
            state.images_seen += len(labels)
            clock.images += len(labels)
            if stats is None:
                skipped, skipped_in_a_row = skipped + 1, skipped_in_a_row + 1
                _report_skip(title, bar.n + 1, lr, skipped_in_a_row)
            else:
                skipped_in_a_row = 0
                embeddings, steps = step_embeddings, steps + 1
                for name, value in stats.items():
                    sums[name] += value
                bar.set_postfix_str(
                    f"loss {sums['loss'] / steps:.3f}, lr {lr:.2g}, {clock.rate:.0f} img/s, "
                    f"waiting for data {clock.wait_share:.0%}"
                )
            bar.update()
    if embeddings is None:
        raise Diverged("not one step of the epoch had a finite loss; lower the learning rate")
    health = {f"train_{k}": v for k, v in embedding_health(embeddings).items()}
    return {
        **{name: total / steps for name, total in sums.items()},
        **health,
        "lr": lr,
        "images_seen": state.images_seen,
        "skipped_steps": skipped,
        "unreadable": unreadable.count,
        "images_per_second": clock.rate,
        "data_wait_share": clock.wait_share,
        "seconds": clock.elapsed,
    }


def _step(
    state: TrainingState, images: Tensor, labels: Tensor, clip_grad_norm: float
) -> tuple[dict[str, float] | None, Tensor]:
    """One optimiser step; (None, …) where loss or gradient were not finite and nothing was changed."""
    buffers = _BufferCopy(state.model)
    with state.precision.autocast():
        embeddings = state.model(images)
    loss, stats = state.criterion(embeddings, labels)
    scaler = state.precision.scaler
    state.optimiser.zero_grad(set_to_none=True)
    scaler.scale(loss).backward()
    scaler.unscale_(state.optimiser)
    parameters = [p for group in state.optimiser.param_groups for p in group["params"]]
    norm = nn.utils.clip_grad_norm_(parameters, clip_grad_norm or math.inf)
    finite = bool(torch.isfinite(loss) & torch.isfinite(norm))
    if finite or scaler.is_enabled():
        # The scaler passes over a step of infinite gradients itself and tries a smaller scale next.
        scaler.step(state.optimiser)
        scaler.update()
    if finite:
        state.scheduler.step()
        return {"loss": loss.item(), "gradient_norm": norm.item(), **stats}, embeddings.detach()
    buffers.restore()
    return None, embeddings.detach()


class _BufferCopy:
    """BatchNorm's running statistics before a step: a non-finite batch would stay in them for good."""

    def __init__(self, model: nn.Module):
        self.buffers = list(model.buffers())
        self.copies = [buffer.clone() for buffer in self.buffers]

    def restore(self) -> None:
        for buffer, copy in zip(self.buffers, self.copies, strict=True):
            buffer.copy_(copy)


class _Clock:
    """Images a second and the share of time spent waiting for the loader."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.waited = 0.0
        self.images = 0

    def waiting_for(self, loader: DataLoader) -> Iterator:
        """The loader's batches, with the time until each counted."""
        batches = iter(loader)
        while True:
            before = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - before
            if batch is None:
                return
            yield batch

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self.started

    @property
    def rate(self) -> float:
        return self.images / self.elapsed

    @property
    def wait_share(self) -> float:
        return self.waited / self.elapsed


class _UnreadableCount:
    """Counts and names images that could not be read, up to ``allowed`` of an epoch's."""

    def __init__(self, allowed: float):
        self.allowed, self.count = allowed, 0

    def add(self, paths: list[str], readable: int) -> None:
        for path in paths:
            tqdm.write(f"unreadable image left out: {path}")
        self.count += len(paths)
        if self.count > self.allowed or not readable:
            raise InputError(
                f"{self.count} training images of this epoch can't be read (last: {paths[-1]}), more than the "
                f"{self.allowed:.0f} that max_unreadable allows; mend the files, or raise it"
            )


def start_line(run: RunFolder, images: int, identities: int, model: nn.Module, device: torch.device) -> str:
    """What is about to happen, in one line."""
    parameters = sum(p.numel() for p in model.parameters())
    return (
        f"{run.path}: {images:,} images of {identities:,} people, {parameters / 1e6:.1f} M parameters, "
        f"on {device.type} with {torch.get_num_threads()} threads"
    )


def _report_skip(title: str, step: int, lr: float, in_a_row: int) -> None:
    tqdm.write(f"{title}, step {step}, lr {lr:.3g}: loss or gradient is not finite; the step is skipped")
    if in_a_row >= MAX_SKIPPED_IN_A_ROW:
        raise Diverged(
            f"{title}, step {step}: {in_a_row} steps in a row without a finite loss at lr {lr:.3g}; "
            "the last checkpoint is kept; lower the learning rate or lengthen the warm-up"
        )


def _collapse(state: TrainingState, line: dict) -> str | None:
    """Why the epoch counts as a collapse, or None: seen in its last batch, or in the evaluation."""
    names = ("mean_distance", "effective_rank")
    in_training = collapse_reason({name: line[f"train_{name}"] for name in names})
    settled = state.scheduler.last_epoch >= STEPS_UNTIL_EVALUATION_COUNTS
    return in_training or (collapse_reason({name: line[name] for name in names}) if settled else None)


def _save(state: TrainingState, run: RunFolder, carry: dict) -> None:
    line = state.history[-1]
    threshold = {"threshold": line["threshold"], "threshold_metric": "balanced_accuracy"}
    save_checkpoint(run.last, {**state.state_dict(), **threshold, **carry})
    if state.best is line:
        copy_checkpoint(run.last, run.best)
    run.write_log(state.history)


def _summary(line: dict, best: bool) -> str:
    text = (
        f"epoch {line['epoch']:3d}  loss {line['loss']:.4f}  IOU {line['iou']:.4f}  AUC {line['auc']:.4f}  "
        f"threshold {line['threshold']:.3f}  {line['images_per_second']:.0f} img/s"
    )
    if line["skipped_steps"]:
        text += f"  {line['skipped_steps']} steps skipped"
    return text + ("  ← best so far" if best else "")
