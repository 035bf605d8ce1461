"""The engine: one loop for both objectives.

``fit`` trains, evaluates after each epoch, keeps the checkpoint with the lowest IOU and resumes from any step.
It knows no face: the loader, the criterion and the evaluation are given to it.
"""

import math
import time
from collections import defaultdict
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from runtime.errors import InputError
from runtime.memory.estimate import estimate, peak_memory
from runtime.memory.recompute import recomputed
from runtime.processes.distributed import gather_rows, is_first, most_over_ranks, ranks, summed_afterwards
from runtime.processes.shards import clip_gradients
from runtime.processes.signals import Stopped
from runtime.processes.watched_loader import DataLost, WatchedLoader
from runtime.run_folder import RunFolder
from runtime.training.clock import StepClock
from runtime.training.collapse import ADVICE, Collapsed, embedding_health
from runtime.training.recovery import recover
from runtime.training.state import EpochSums, TrainingState
from runtime.training.watch import Arrived, Diverged, Watch

# BatchNorm's running statistics take about so many steps to follow the weights; until then a healthy network may
# look collapsed in evaluation.
STEPS_UNTIL_EVALUATION_COUNTS = 100
# CUDA graphs are warmed up in the first step, recorded in the second and set up for replaying in the third.
STEPS_UNTIL_GRAPHS_REPLAY = 3
# Of what the network sees at once: BatchNorm needs two.
FEWEST_IMAGES = 2


class Report(Protocol):
    """The report after each epoch: evaluation and plots."""

    def __call__(self, model: nn.Module, epoch: int) -> dict[str, float]:
        """Evaluate: at least ``iou``, ``auc``, ``threshold``, ``mean_distance`` and ``effective_rank``."""

    def draw(self, history: list[dict], best_epoch: int) -> None:
        """Plot all epochs so far."""


def fit(state: TrainingState, loader: WatchedLoader, report: Report, run: RunFolder) -> str | None:
    """Train up to ``settings.epochs``, from wherever ``state`` stands; returns why it stopped early, or None.

    ``loader`` yields batches with ``images`` uint8 (B, H, W, 3), ``labels`` int64 (B,), ``masked`` bool (B,) and
    ``unreadable`` paths; its batch sampler has ``set_epoch``, and its dataset gives the ``name`` of a row.

    Raises InputError if more than ``max_unreadable`` of an epoch's images can't be read or a checkpoint can't be
    written. Raises DataLost (an InputError) if no more data comes, and Stopped (a SystemExit) if a signal asked for a
    stop; the state is saved then.
    """
    watch, epochs = Watch(state, run), state.settings.epochs
    if state.history:
        report.draw(state.history, state.best["epoch"])  # which a kill may have prevented
    if state.epoch < epochs:
        print(_start_line(state, loader, run), flush=True)
    with watch.signals:
        watch.before_start()
        while state.epoch < epochs:
            try:
                trained = train_one_epoch(state, loader, watch)
                _finish_epoch(state, watch, trained, report)
            except Diverged as reason:
                return str(reason)
            except Collapsed as reason:
                if state.settings.on_collapse != "recover" or not recover(watch, str(reason)):
                    return f"{reason}; {ADVICE}"
    return None


def train_one_epoch(state: TrainingState, loader: WatchedLoader, watch: Watch) -> dict[str, float]:
    """The rest of an epoch's pass over the loader; returns the whole epoch's means and counts as floats.

    Raises Diverged if no step or three in a row have a finite loss, Collapsed, and what ``fit`` raises.
    """
    state.model.train()
    state.criterion.train()
    sums, device, buffers = state.sums, state.precision.device, _BufferCopy(state.model)
    batches, epochs = _set_epoch(state, loader), state.settings.epochs
    allowed = state.settings.max_unreadable * batches * loader.batch_sampler.batch_size * ranks()
    clock = StepClock(sums)
    title = f"epoch {state.epoch + 1}/{epochs}"
    look = {"unit": "batch", "leave": False, "disable": not is_first()}
    with tqdm(total=batches, initial=sums.batches, desc=title, **look) as bar:
        for batch in watch.timed(watch.batches(loader), clock):
            _count_unreadable(sums, batch, allowed)
            if sums.batches == 0:
                watch.preview(batch.images)
            sums.lr = state.lr
            state.criterion.set_progress((state.epoch + sums.batches / batches) / epochs)
            parts = [part.to(device, non_blocking=True) for part in (batch.images, batch.labels, batch.masked)]
            stats = _step(state, parts, buffers)
            sums.batches += 1
            sums.images += sum(batch.readable)
            state.images_seen += sum(batch.readable)
            clock.step_done()
            if stats is not None:
                bar.set_postfix_str(_bar_text(sums))
            bar.update()
            watch.after_step(loader, stats)
    return _epoch_figures(state)


def _bar_text(sums: EpochSums) -> str:
    return (
        f"loss {sums.stats['loss'] / sums.steps:.3f}, lr {sums.lr:.2g}, {sums.images_per_second:.0f} img/s, "
        f"waiting for data {sums.waited / max(sums.seconds, 1e-9):.0%}"
    )


def _set_epoch(state: TrainingState, loader: WatchedLoader) -> int:
    """Let the loader begin where the state stands; returns the batches of the whole epoch."""
    loader.batch_sampler.set_epoch(state.epoch + 1)
    batches = len(loader.batch_sampler)
    loader.batch_sampler.set_epoch(state.epoch + 1, state.sums.batches)
    return batches


def _step(state: TrainingState, parts: list[Tensor], buffers: "_BufferCopy") -> dict[str, float] | None:
    """One optimiser step; its figures are added to the state's sums. None where loss or gradient were not finite:

    then nothing was changed but the fp16 scale. A too large scale is the scaler's own search and counts for nothing.
    The engine waits for the GPU once per step, between backward pass and optimiser: gradients that are not finite must
    not reach the weights. Mining and sampled heads wait on their own, as the sizes of their results depend on the data.
    """
    buffers.keep()
    scaler = state.precision.scaler
    state.optimiser.zero_grad(set_to_none=True)
    with _gradients_of_parts(state):
        loss, stats, embeddings = _forward(state, *parts)
        scaler.scale(loss).backward()
    scaler.unscale_(state.optimiser)
    parameters = [p for group in state.optimiser.param_groups for p in group["params"]]
    norm = clip_gradients(parameters, state.settings.clip_grad_norm or math.inf)
    stats = _read({"loss": loss, "gradient_norm": norm, **stats})
    if not (math.isfinite(stats["loss"]) and math.isfinite(stats["gradient_norm"])):
        searching = scaler.is_enabled() and math.isfinite(stats["loss"]) and scaler.get_scale() > 1
        scaler.update()  # to a smaller scale
        buffers.restore()
        state.sums.skipped += 1
        state.sums.skipped_in_a_row += not searching
        return None
    state.optimiser.step()  # not by the scaler, which would wait for the GPU to look for infinite gradients again
    scaler.update()
    state.scheduler.step()
    if state.ema:
        state.ema.update()
    state.sums.add(stats, *gather_rows(embeddings.detach()))
    return stats


def _read(figures: dict[str, float | Tensor]) -> dict[str, float]:
    """The values of all scalars among the figures, with one wait for the GPU."""
    scalars = {name: figure.detach().double() for name, figure in figures.items() if isinstance(figure, Tensor)}
    return figures | dict(zip(scalars, torch.stack(list(scalars.values())).tolist(), strict=True))


def _forward(
    state: TrainingState, images: Tensor, labels: Tensor, masked: Tensor
) -> tuple[Tensor, dict[str, float | Tensor], Tensor]:
    """Loss, figures and embeddings (B, D) of images uint8 (B, H, W, 3).

    With several ``accumulate_steps`` the network runs on one part of the batch after another, keeps their embeddings
    alone, and runs again for the gradient, so that the loss sees the whole batch: weighted means and mined triplets
    are those of one large batch (Gao et al. 2021, arXiv:2101.06983), at the price of a second forward pass. BatchNorm
    sees the parts.
    """

    reads = state.criterion.reads

    def network(part: Tensor) -> tuple[Tensor, ...]:
        """Unit embeddings and, if the criterion reads them, their lengths before normalising."""
        with state.precision.autocast():
            images = state.preprocessing.normalise(part)
            return state.model(images, lengths=True) if "lengths" in reads else (state.model(images),)

    # An epoch's last batch may be smaller than the others.
    parts = min(state.settings.accumulate_steps, len(images) // FEWEST_IMAGES)
    if parts <= 1:
        embeddings, *lengths = network(images)
    else:
        outputs = [recomputed(network, part, module=state.model) for part in images.tensor_split(parts)]
        embeddings, *lengths = map(torch.cat, zip(*outputs, strict=True))
    more = {"lengths": lengths[0]} if lengths else {}
    if "masked" in reads:
        more["masked"] = masked
    loss, stats = state.criterion(embeddings, labels, **more)
    return loss, stats, embeddings


def _gradients_of_parts(state: TrainingState) -> AbstractContextManager:
    """Around forward and backward: with several parts the processes' gradients are summed when all are done."""
    return summed_afterwards(state.model) if state.settings.accumulate_steps > 1 else nullcontext()


class _BufferCopy:
    """BatchNorm's running statistics before a step: a non-finite batch would stay in them for good."""

    def __init__(self, model: nn.Module):
        same_type = defaultdict(list)  # which is copied at once: hundreds of small copies would keep a GPU waiting
        for buffer in model.buffers():
            same_type[buffer.dtype].append(buffer)
        self._lists = [(buffers, [b.clone() for b in buffers]) for buffers in same_type.values()]

    def keep(self) -> None:
        for buffers, copies in self._lists:
            torch._foreach_copy_(copies, buffers)

    def restore(self) -> None:
        for buffers, copies in self._lists:
            torch._foreach_copy_(buffers, copies)


def _count_unreadable(sums: EpochSums, batch: Arrived, allowed: float) -> None:
    """Images that can't be read are named and counted."""
    paths = batch.unreadable
    for path in paths:
        tqdm.write(f"unreadable image left out: {path}")
    sums.unreadable += len(paths)
    if paths and (sums.unreadable > allowed or min(batch.readable) < FEWEST_IMAGES):
        raise InputError(
            f"{sums.unreadable} training images of this epoch can't be read (last: {paths[-1]}), more than the "
            f"{allowed:.0f} that max_unreadable allows; repair the files, or raise it"
        )


def _epoch_figures(state: TrainingState) -> dict[str, float]:
    sums = state.sums
    if sums.embeddings is None:
        raise Diverged("not one step of the epoch had a finite loss; lower the learning rate")
    figures = {
        **sums.means,
        **{f"train_{name}": value for name, value in embedding_health(sums.embeddings).items()},
        "lr": sums.lr,
        "images_seen": state.images_seen,
        "skipped_steps": sums.skipped,
        "unreadable": sums.unreadable,
        "images_per_second": sums.images_per_second,
        "data_wait_share": sums.waited / max(sums.seconds, 1e-9),
        "step_seconds": sums.computed / sums.batches,
        "seconds": sums.seconds,
    }
    if state.precision.device.type == "cuda":
        figures["gpu_memory_gib"] = peak_memory(state.precision.device) / 2**30
    return figures


def _finish_epoch(state: TrainingState, watch: Watch, trained: dict[str, float], report: Report) -> None:
    """Evaluate, save, log. Raises Collapsed, and once the state is saved DataLost, and Stopped if a signal came."""
    epoch, started = state.epoch + 1, time.perf_counter()
    try:
        # Several processes evaluate to the end: they would wait for one that leaves in the middle.
        with state.evaluated_weights(), watch.signals.at_once() if ranks() == 1 else nullcontext():
            evaluated = report(state.model, epoch)
    except (Stopped, DataLost) as reason:
        watch.leave(reason)
    line = {"epoch": epoch, **trained, **evaluated, "evaluation_seconds": time.perf_counter() - started}
    if state.remedies:
        line["remedies"] = list(state.remedies)
    state.epoch, state.sums = epoch, EpochSums()
    state.history.append(line)
    healths = _healths(state, line)
    watch.save_epoch(healths)
    report.draw(state.history, state.best["epoch"])
    tqdm.write(_summary(line, best=state.best is line))
    for health in healths:
        watch.guard.judge(health)
    (signal,) = most_over_ranks(watch.signals.received or 0)
    if signal:
        watch.leave(Stopped(signal))


def _healths(state: TrainingState, line: dict) -> list[dict[str, float]]:
    """Mean distance and effective rank of the epoch's last batch and, once it counts, of the evaluation."""
    settled = state.scheduler.last_epoch >= STEPS_UNTIL_EVALUATION_COUNTS
    prefixes = ("train_", "") if settled else ("train_",)
    return [{name: line[prefix + name] for name in ("mean_distance", "effective_rank")} for prefix in prefixes]


def _start_line(state: TrainingState, loader: WatchedLoader, run: RunFolder) -> str:
    """One line about the run ahead: faces, network, device, time and memory."""

    def trial(*parts: Tensor) -> None:
        with _gradients_of_parts(state):
            loss, _, _ = _forward(state, *parts)
            loss.backward()
        state.optimiser.zero_grad(set_to_none=True)

    state.model.train()
    state.criterion.eval()  # what it follows of the batches, no trial may move
    loader.batch_sampler.set_epoch(state.epoch + 1)
    steps = (state.settings.epochs - state.epoch) * len(loader.batch_sampler) - state.sums.batches
    parameters = sum(p.numel() for p in state.model.parameters())
    device = f"{state.precision.device.type} in {state.precision.name}"
    threads = torch.get_num_threads()
    warm_up = STEPS_UNTIL_GRAPHS_REPLAY if state.settings.cuda_graphs else 1
    return (
        f"{run.path}: {_faces(loader)} of {len(state.identities):,} people{_unnamed(loader)}, "
        f"{parameters / 1e6:.1f} M parameters, on {device} with {threads} thread{'s' * (threads != 1)}"
        f"{_price_of_repeating(state)}; "
        f"{estimate(loader, trial, state.model, state.optimiser, state.precision, steps, warm_up)}"
    )


def _faces(loader: WatchedLoader) -> str:
    return f"{len(loader.dataset) - loader.dataset.unnamed:,} images"


def _unnamed(loader: WatchedLoader) -> str:
    return f" and {loader.dataset.unnamed:,} without a name" if loader.dataset.unnamed else ""


def _price_of_repeating(state: TrainingState) -> str:
    """What ``deterministic`` costs on a GPU, measured on one H200 (results/hardware)."""
    costs = state.settings.deterministic and state.precision.device.type == "cuda"
    return ", deterministic (--no-deterministic is 10 to 30 % faster)" if costs else ""


def _summary(line: dict, best: bool) -> str:
    text = (
        f"epoch {line['epoch']:3d}  loss {line['loss']:.4f}  IOU {line['iou']:.4f}  AUC {line['auc']:.4f}  "
        f"threshold {line['threshold']:.3f}  {line['images_per_second']:.0f} img/s"
    )
    if line["skipped_steps"]:
        text += f"  {line['skipped_steps']} steps skipped"
    if line["unreadable"]:
        text += f"  {line['unreadable']} images unreadable"
    return text + ("  ← best so far" if best else "")
