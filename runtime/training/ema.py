"""Exponential moving average of a network's weights, evaluated and saved in their place."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class EMA:
    """average ← d · average + (1 − d) · value after each step, for weights and BatchNorm statistics.

    The factor d is min(``decay``, (1 + n) / (10 + n)) at step n, as in TensorFlow's, so that a short run's average
    is not made of its random start. Averaging: Polyak and Juditsky 1992.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay, self.updates = decay, 0
        self._live = model.state_dict()  # the very tensors that training changes in place
        self._average = {name: value.clone() for name, value in self._live.items()}
        self._floats = [name for name, value in self._live.items() if value.is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are after a step; counters are copied."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        averages = [self._average[name] for name in self._floats]
        torch._foreach_lerp_(averages, [self._live[name] for name in self._floats], 1 - decay)
        for name in self._live.keys() - set(self._floats):
            self._average[name].copy_(self._live[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the network has the averaged weights; afterwards its own again, to the bit."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights under the network's own names."""
        return self._average

    def load_state_dict(self, average: dict[str, Tensor], updates: int) -> None:
        """Inverse of ``state_dict``; ``updates`` is that of the checkpoint."""
        for name, value in self._average.items():
            value.copy_(average[name])
        self.updates = updates

    @torch.no_grad()
    def _swap(self) -> None:
        for name, average in self._average.items():
            own = self._live[name].clone()
            self._live[name].copy_(average)
            average.copy_(own)
