"""Where a step's time goes: forward, loss, backward, optimiser, and what lies between two steps."""

import time
from collections import defaultdict

import torch

from runtime.training.state import TrainingState

PARTS = ("forward", "loss", "backward", "optimiser", "between")


class PartTimer:
    """Marks of time around the parts of each step, of a loop that knows nothing of them.

    On a GPU a mark is an event in its stream: it holds nothing up, and says when the GPU was there.
    """

    def __init__(self, device: torch.device):
        self._on_gpu = device.type == "cuda"
        self._marks: list[tuple[str, torch.cuda.Event | float]] = []

    def attach(self, state: TrainingState) -> None:
        """Mark the steps of this state from now on. The model must not be compiled itself, only what lies in it."""
        state.model.register_forward_pre_hook(lambda *_: self._mark("between"))
        state.model.register_forward_hook(lambda *_: self._mark("forward"))
        state.criterion.register_forward_hook(lambda *_: self._mark("loss"))
        state.optimiser.register_step_pre_hook(lambda *_: self._mark("backward"))
        state.optimiser.register_step_post_hook(lambda *_: self._mark("optimiser"))

    def restart(self) -> None:
        """Forget what was marked so far."""
        self._marks.clear()

    def milliseconds(self) -> dict[str, float]:
        """Of each part in a step, on average. The GPU must have finished."""
        sums, steps = defaultdict(float), max(1, sum(name == "optimiser" for name, _ in self._marks))
        for (_, earlier), (name, later) in zip(self._marks, self._marks[1:], strict=False):
            sums[name] += earlier.elapsed_time(later) if self._on_gpu else 1000 * (later - earlier)
        return {name: sums[name] / steps for name in PARTS}

    def _mark(self, name: str) -> None:
        if self._on_gpu:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks.append((name, event))
        else:
            self._marks.append((name, time.perf_counter()))
