"""Things that are timed side by side: they take turns, so that a busy machine slows all of them."""

import statistics
import time
from collections.abc import Callable, Mapping

_FEWEST = 3  # rounds, however long they take


def median_seconds(steps: Mapping[str, Callable[[], object]], *, rounds: int, seconds: float) -> dict[str, float]:
    """Median seconds of each step, after one that counts for nothing; no new round after ``seconds``."""
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    started = time.perf_counter()
    for number in range(rounds):
        if number >= _FEWEST and time.perf_counter() - started > seconds:
            break
        for name, step in steps.items():
            before = time.perf_counter()
            step()
            taken[name].append(time.perf_counter() - before)
    return {name: statistics.median(values) for name, values in taken.items()}
