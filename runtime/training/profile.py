"""Where the time of a few steps goes: torch's profiler, a trace to open, and a summary of about ten lines."""

import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from tqdm import tqdm

from runtime.errors import InputError
from runtime.files import copy_file, write_file
from runtime.training.clock import StepClock
from runtime.training.parts import PARTS, STEP, PartTimer
from runtime.training.state import TrainingState

# Kinds of operations by what the names of torch's operators contain; the first match counts.
KINDS = {
    "optimiser": ("optimizer", "_fused_sgd", "_fused_adam", "_foreach"),
    "reading data": ("dataloader",),
    "compiled kernels": ("triton", "compiled", "inductor"),
    "convolutions": ("conv",),
    "BatchNorm": ("batch_norm",),
    "activations": ("relu", "clamp", "threshold", "silu", "sigmoid"),
    "matrix products": ("mm", "linear", "matmul"),
    "copies and casts": ("copy", "memcpy", "cat", "_to_copy", "contiguous", "memset", "fill", "zero"),
    "pooling and sums": ("pool", "sum", "mean", "norm"),
    "element by element": ("add", "mul", "div", "sub", "where", "index"),
}
KINDS_SHOWN = 5
BUSY = 0.9  # a GPU that computes for this share of the time has enough to do
# Parts that should be small: above which share of a step something should be done, and what.
REMEDIES = {
    "data": (0.1, "a pack (data.pack), --cache memory, fewer fresh masks, or --workers if cores are idle"),
    "loss": (0.25, "--sampled-share 0.1 --optimiser sgd, if there are many identities"),
    "optimiser": (0.25, "larger batches, or --optimiser sgd"),
    "between": (0.1, "--checkpoint-minutes and --collapse-check-steps, both higher"),
}
# Steps before the profiled ones: they fill caches, choose kernels, compile.
WARM_UP = 3

T = TypeVar("T")


class Profile:
    """Some steps under torch's profiler, between ``start`` and ``stop``."""

    def __init__(self, device: torch.device):
        self._on_gpu = device.type == "cuda"
        if not self._on_gpu:
            os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # otherwise it warns that there is no GPU
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self._on_gpu else [])]
        self._profiler = profile(activities=activities)

    def start(self) -> None:
        """Start profiling."""
        self._profiler.start()
        self._started = time.perf_counter()

    def stop(self) -> None:
        """Stop profiling, once the GPU has finished."""
        if self._on_gpu:
            torch.cuda.synchronize()
        self.seconds = time.perf_counter() - self._started
        self._profiler.stop()

    def save_trace(self, path: Path) -> None:
        """A trace for chrome://tracing or ui.perfetto.dev; ``path`` ends in .json.gz. Raises InputError if it can't."""
        with tempfile.TemporaryDirectory() as scratch:
            trace = Path(scratch) / "trace.json.gz"
            self._profiler.export_chrome_trace(str(trace))
            copy_file(trace, path)

    def words(self, timer: PartTimer) -> list[str]:
        """About ten lines: where the time of the steps marked by ``timer`` went, and what to change."""
        steps, averages = timer.steps, [e for e in self._profiler.key_averages() if not _is_range(e.key)]
        step = 1000 * self.seconds / steps
        parts = {name: spent / step for name, spent in timer.milliseconds().items()}
        kinds = self._kinds(averages)
        total = sum(kinds.values()) or 1e-9
        lines = [f"steps profiled: {steps}, {step:.1f} ms each (the profiler slows them down a little)"]
        lines.append("of a step: " + ", ".join(f"{name} {share:.0%}" for name, share in parts.items()))
        if self._on_gpu:
            kernels = sum(e.count for e in averages if e.device_type == DeviceType.CUDA)
            reads = sum(e.count for e in averages if e.key in ("aten::_local_scalar_dense", "cudaStreamSynchronize"))
            lines.append(
                f"the GPU is busy {total / self.seconds:.0%} of the time; per step: {kernels / steps:,.0f} kernels, "
                f"{reads / steps:.0f} reads and synchronisations"
            )
        lines += [f"advice: {advice}" for advice in self._advice(parts, total / self.seconds)]
        lines.append(f"time on the {'GPU' if self._on_gpu else 'processor'}, by kind of operation:")
        shares = sorted(kinds.items(), key=lambda kind: -kind[1])[:KINDS_SHOWN]
        return lines + [
            f"  {share / total:4.0%}  {kind}, {1000 * share / steps:.2f} ms a step" for kind, share in shares
        ]

    def _kinds(self, averages: list) -> dict[str, float]:
        """Seconds of each kind of operation."""
        spent = defaultdict(float)
        for event in averages:
            if event.device_type == DeviceType.CPU:
                spent[_kind(event.key)] += (
                    event.self_device_time_total if self._on_gpu else event.self_cpu_time_total
                ) / 1e6
        return spent

    def _advice(self, parts: dict[str, float], busy: float) -> list[str]:
        """How to shorten the parts that take too long; if none does, what limits the step."""
        advice = [
            f"{part} ({parts[part]:.0%}): {remedy}" for part, (most, remedy) in REMEDIES.items() if parts[part] > most
        ]
        if advice:
            return advice
        if not self._on_gpu:
            return ["nothing waits; smaller images, a smaller network or --compile shorten a step"]
        if busy >= BUSY:
            return ["the GPU is busy; bf16, smaller images, a smaller network or --compile shorten a step"]
        return ["the GPU waits for kernel launches; larger batches or --compile --cuda-graphs help"]


class StepProfile:
    """The first steps of a run, or of a resumed one, under torch's profiler; the weights stay bit-identical.

    The run folder gets the trace (profile.json.gz) and the summary (profile.txt), which is also printed.
    """

    def __init__(self, state: TrainingState, folder: Path, steps: int):
        self._state, self._folder = state, folder
        self._warm_up, self._steps = WARM_UP, steps

    def over(self, batches: Iterator[T], clock: StepClock) -> Iterator[T]:
        """The batches of an epoch: a step is what is done between one and the next. If the epoch ends, so does the
        profile. The ``clock`` of the steps does not count what it takes to start, evaluate and save the profile."""
        for batch in islice(batches, self._warm_up):
            self._warm_up -= 1
            yield batch
        if self._steps:
            yield from self._profiled(islice(batches, self._steps), clock)
        yield from batches

    def _profiled(self, batches: Iterator[T], clock: StepClock) -> Iterator[T]:
        device = self._state.precision.device
        profile, timer = Profile(device), PartTimer(device)
        with timer.attached(self._state.criterion, self._state.optimiser):
            with clock.paused():
                profile.start()
            try:
                yield from timer.over(batches)
            finally:
                with clock.paused():
                    profile.stop()
        if timer.steps:
            self._steps = 0
            with clock.paused():
                self._tell(profile, timer)

    def _tell(self, profile: Profile, timer: PartTimer) -> None:
        trace = self._folder / "profile.json.gz"
        words = [*profile.words(timer), f"the trace {trace} opens in chrome://tracing or https://ui.perfetto.dev"]
        tqdm.write("\n".join(words))
        try:
            write_file(trace.with_name("profile.txt"), "\n".join(words) + "\n")
            profile.save_trace(trace)
        except InputError as error:
            tqdm.write(f"training continues, but {error}")


def _is_range(name: str) -> bool:
    """Whether this is one of our own marks, not an operator."""
    return name in PARTS or name.startswith(STEP)


def _kind(name: str) -> str:
    name = name.lower()
    return next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), "other")
