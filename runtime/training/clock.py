"""Measures an epoch's time: waiting for data, and computing."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Times(Protocol):
    """Holds the seconds, so that a resumed epoch continues the count."""

    waited: float
    computed: float


class StepClock:
    """Adds the seconds of a pass over a loader to ``times``."""

    def __init__(self, times: Times):
        self.times = times
        self._last = time.perf_counter()

    def over(self, loader: Iterable) -> Iterator:
        """The loader's batches; the time until each is waiting, that until the next is asked for is computing."""
        batches = iter(loader)
        while True:
            batch = next(batches, None)
            self.times.waited += self._lap()
            if batch is None:
                return
            yield batch
            self.step_done()

    def step_done(self) -> None:
        """Count the time of the step so far, for those who read ``times`` before the next batch."""
        self.times.computed += self._lap()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Around what is no part of a step: its time counts for nothing."""
        self.step_done()
        try:
            yield
        finally:
            self._lap()

    def _lap(self) -> float:
        now = time.perf_counter()
        lap, self._last = now - self._last, now
        return lap
