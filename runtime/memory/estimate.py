"""Estimate a run's time and memory from a few steps that leave no trace."""

import copy
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from runtime.durations import in_words
from runtime.precision import Precision, cpu_has_bf16
from runtime.processes.distributed import from_all, from_first
from runtime.processes.watched_loader import WatchedLoader
from runtime.seeds import restore_rng_state, rng_state

# A bfloat16 trial costs two steps more: not for runs that are over soon, nor to announce a trifle.
SECONDS_WORTH_A_TRIAL = 900
GAIN_WORTH_A_WORD = 1.2


@dataclass(frozen=True)
class Trial:
    """The cost of one step: seconds of computing, and for reading its batch; peak bytes of memory."""

    computing: float
    reading: float
    memory: int

    def step_seconds(self, workers: int) -> float:
        """Reading goes on beside computing where there are workers."""
        return max(self.computing, self.reading / workers) if workers else self.computing + self.reading


def estimate(
    loader: WatchedLoader,
    run_step: Callable,
    model: nn.Module,
    optimiser: Optimizer,
    precision: Precision,
    steps: int,
    warm_up: int = 1,
) -> str:
    """Time and memory of ``steps`` steps, in words; ``warm_up`` steps come before the one that is timed.

    ``run_step(images, labels, masked)`` does a forward and backward pass in ``precision`` and changes nothing that
    lasts but BatchNorm's statistics and the random generators, which are put back here.
    """
    trial = _try(loader, run_step, model, precision, warm_up)
    if trial is None:
        return "no estimate, as its first images can't be read"
    seconds = trial.step_seconds(loader.num_workers) * steps
    text = (
        f"about {in_words(seconds)} for {steps:,} steps of {trial.step_seconds(loader.num_workers):.2g} s "
        f"(evaluation comes on top), {(trial.memory + bytes_to_come(optimiser)) / 2**30:.1f} GiB of memory"
    )
    faster = _bfloat16_gain(loader, run_step, model, precision, trial) if seconds > SECONDS_WORTH_A_TRIAL else 1.0
    if faster > GAIN_WORTH_A_WORD:
        text += f"; with --precision bf16 about {in_words(seconds / faster)}"
    return text


def bytes_to_come(optimiser: Optimizer) -> int:
    """Bytes that an optimiser will keep from its first step on, such as Adam's two moments; 0 if it has them already.

    Measured in one step of the optimiser on a small tensor.
    """
    if optimiser.state:
        return 0
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    sample = torch.zeros(2, 2, device=parameters[0].device, requires_grad=True)
    sample.grad = torch.zeros_like(sample)
    small = copy.copy(optimiser)
    small.state, small.param_groups = defaultdict(dict), [{**optimiser.param_groups[0], "params": [sample]}]
    small.step()
    copies = sum(isinstance(value, Tensor) and value.shape == sample.shape for value in small.state[sample].values())
    return copies * sum(p.nbytes for p in parameters)


def _try(
    loader: WatchedLoader, run_step: Callable, model: nn.Module, precision: Precision, warm_up: int = 1
) -> Trial | None:
    """The cost of one step on the first batch, after ``warm_up`` others on it, which fill caches."""
    generators = rng_state()
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    started = time.perf_counter()
    batch = loader.read(next(iter(loader.batch_sampler)))
    reading = time.perf_counter() - started
    if min(from_all(len(batch.labels))) < 2:
        return None
    parts = [part.to(precision.device) for part in (batch.images, batch.labels, batch.masked)]
    for _ in range(warm_up + 1):
        started = time.perf_counter()
        run_step(*parts)
        if precision.device.type == "cuda":
            torch.cuda.synchronize(precision.device)
        computing = time.perf_counter() - started
    for buffer, before in buffers:
        buffer.copy_(before)
    restore_rng_state(generators)
    # What the first process saw, so that all come to the same conclusions.
    return from_first(Trial(computing, reading, peak_memory(precision.device)))


def _bfloat16_gain(
    loader: WatchedLoader, run_step: Callable, model: nn.Module, precision: Precision, trial: Trial
) -> float:
    """How many times faster a step computes in bfloat16 on a CPU with instructions for it; 1 elsewhere."""
    if precision.device.type != "cpu" or precision.dtype != torch.float32 or not cpu_has_bf16():
        return 1.0
    with precision.switched_to("bf16"):
        return trial.computing / _try(loader, run_step, model, precision).computing


def peak_memory(device: torch.device) -> int:
    """Bytes at the most so far: of the fullest GPU, or of this process."""
    if device.type == "cuda":
        return max(torch.cuda.max_memory_allocated(i) for i in range(torch.cuda.device_count()))
    try:
        import resource  # not on Windows
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
