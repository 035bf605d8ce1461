"""Between two steps: bad losses are counted, collapses seen, the state saved in time, signals obeyed."""

import copy
import time
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

from torch import Tensor
from tqdm import tqdm

from runtime.errors import InputError
from runtime.processes.distributed import from_all, is_first, most_over_ranks
from runtime.processes.signals import Stopped, StopSignals
from runtime.processes.watched_loader import DataLost, WatchedLoader
from runtime.run_folder import RunFolder
from runtime.tensorboard import Board
from runtime.training.clock import StepClock
from runtime.training.collapse import CollapseGuard, embedding_health, is_healthy
from runtime.training.profile import StepProfile
from runtime.training.state import TrainingState, save, save_epoch, where

# After so many steps in a row without a finite loss nothing but the same can follow.
MOST_SKIPPED_IN_A_ROW = 3
# Paths of a bad batch that are shown; the file has them all.
PATHS_SHOWN = 3


class Diverged(Exception):
    """Training can't go on; the message says why and what to try."""


class Arrived(NamedTuple):
    """This process's part of a batch, uint8 (B, H, W, 3), int64 (B,), bool (B,), and what all processes got of it."""

    images: Tensor
    labels: Tensor
    masked: Tensor
    unreadable: list[str]
    readable: list[int]


class Watch:
    """Looks after one run; ``after_step`` is called when a step is done and the state is whole."""

    def __init__(self, state: TrainingState, run: RunFolder):
        self.state, self.run, self.settings = state, run, state.settings
        self.guard = CollapseGuard(self.settings.collapse_check_steps, self.settings.on_collapse)
        self.signals = StopSignals()
        self.board = Board(run.path) if self.settings.tensorboard and is_first() else None
        profiled = self.settings.profile if is_first() else 0
        self.profile = StepProfile(state, run.path, profiled) if profiled else None
        self._saved = time.monotonic()

    def preview(self, images: Tensor) -> None:
        """Images uint8 (B, H, W, 3) of an epoch's first batch."""
        if self.board:
            self.board.batch(self.state.scheduler.last_epoch, images)

    def batches(self, loader: WatchedLoader) -> Iterator[Arrived]:
        """The loader's batches, as long as every process gets its part.

        Raises, in all processes and once the state is saved, Stopped if a signal asked one of them to stop, and
        DataLost if one waits in vain.
        """
        batches = iter(loader)
        while True:
            batch, outcome = None, None
            try:
                with self.signals.at_once():  # the state is whole, and data may be long in coming
                    batch = next(batches, None)
                if batch is not None:
                    outcome = batch.unreadable, len(batch.labels)
            except (Stopped, DataLost) as reason:
                outcome = reason
            outcomes = from_all(outcome)
            for reason in outcomes:
                if isinstance(reason, Stopped | DataLost):
                    self.leave(reason)
            if batch is None:
                return
            unreadable = [path for paths, _ in outcomes for path in paths]
            yield Arrived(batch.images, batch.labels, batch.masked, unreadable, [readable for _, readable in outcomes])

    def timed(self, batches: Iterator[Arrived], clock: StepClock) -> Iterator[Arrived]:
        """The same batches, timed by ``clock``; the steps between them are profiled if the settings ask for it."""
        timed = clock.over(batches)
        return self.profile.over(timed, clock) if self.profile else timed

    def after_step(self, loader: WatchedLoader, stats: dict[str, float] | None) -> None:
        """``stats`` of the step, None if its loss or gradient was not finite.

        Raises Diverged after the third such step in a row, and Collapsed.
        """
        sums = self.state.sums
        if stats is None:
            if sums.skipped_in_a_row:  # else it was the fp16 scaler, looking for its scale
                self._report_skip(loader)
        else:
            self.guard.look(self.state.scheduler.last_epoch, sums.embeddings)
            if self.board:
                self.board.step(self.state.scheduler.last_epoch, {**stats, "lr": sums.lr})
        overdue = time.monotonic() - self._saved >= self.settings.checkpoint_minutes * 60
        (overdue,) = most_over_ranks(overdue)  # all do the same
        if overdue:
            try:
                self.save()
            except InputError as error:  # the epoch's end will have it, or end the run
                tqdm.write(f"training continues, but {error}")

    def leave(self, reason: Stopped | DataLost) -> NoReturn:
        """Save and raise the reason, which is the same in all processes; the first one says it."""
        self.save()
        saved = f"saved after {where(self.state.position)}; the same command resumes from there"
        if isinstance(reason, Stopped):
            tqdm.write(f"{self.run.path}: {saved}")
            raise reason
        raise DataLost(f"{reason} ({self.run.path}: {saved})") if is_first() else SystemExit(2)

    def before_start(self) -> None:
        """A run that may have to go back needs somewhere to go back to from the first step on."""
        if self.settings.on_collapse == "recover" and self.state.healthy is None:
            self.state.healthy = self.state.position
            self.save()

    def save(self) -> None:
        """A checkpoint now; the next one is due in checkpoint_minutes. Raises InputError if it can't be written."""
        self._saved = time.monotonic()
        if self.state.sums.embeddings is not None:
            self._note_health([embedding_health(self.state.sums.embeddings)])
        save(self.state, self.run)

    def save_epoch(self, healths: list[dict[str, float]]) -> None:
        """The checkpoint of an epoch's end; ``healths`` are what its embeddings looked like."""
        self._saved = time.monotonic()
        self._note_health(healths)
        save_epoch(self.state, self.run)
        if self.board:
            self.board.epoch(self.state.scheduler.last_epoch, self.state.history[-1])

    def _note_health(self, healths: list[dict[str, float]]) -> None:
        if self.settings.on_collapse == "recover" and all(map(is_healthy, healths)):
            self.state.healthy = self.state.position

    def _report_skip(self, loader: WatchedLoader) -> None:
        sums, epoch = self.state.sums, self.state.epoch + 1
        place = f"epoch {epoch}, step {sums.batches}, lr {sums.lr:.3g}"
        paths = self._batch_paths(loader, epoch, sums.batches - 1)
        self.run.add_skipped({"epoch": epoch, "step": sums.batches, "lr": sums.lr, "paths": paths})
        tqdm.write(f"{place}: loss or gradient is not finite; the step is skipped")
        if sums.skipped_in_a_row >= MOST_SKIPPED_IN_A_ROW:
            raise Diverged(
                f"{place}: {sums.skipped_in_a_row} steps in a row without a finite loss and gradient "
                f"(images {', '.join(paths[:PATHS_SHOWN])}, …: all in {self.run.skipped}); the last checkpoint is "
                "kept; lower the learning rate or lengthen the warm-up"
            )

    def _batch_paths(self, loader: WatchedLoader, epoch: int, batch: int) -> list[str]:
        sampler = copy.deepcopy(loader.batch_sampler)  # the one in use goes on undisturbed
        sampler.set_epoch(epoch, batch)
        own = [loader.dataset.name(key.index) for key in next(iter(sampler))]
        return [path for part in from_all(own) for path in part]
