"""What to say while a disk or another process lets this one wait."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

# Seconds of waiting until a line says what for. The next one is due after twice the time, so that a slow disk does not
# fill the screen.
PATIENCE = 30.0
_SECONDS_BETWEEN_LOOKS = 1.0


@contextmanager
def named_while_waiting(name: str) -> Iterator[None]:
    """Around the reading of a file: a line on stderr if that takes very long."""
    patience = PATIENCE

    def look(seconds: float) -> None:
        nonlocal patience
        if seconds >= patience:
            patience *= 2
            tqdm.write(f"reading {name} has taken {seconds:.0f} s; see whether the disk answers", file=sys.stderr)

    with called_while_waiting(look):
        yield


@contextmanager
def called_while_waiting(look: Callable[[float], None]) -> Iterator[None]:
    """``look(seconds since the start)`` once a second while the body waits; what it raises ends the waiting.

    By the alarm, which interrupts any waiting of the main thread; nothing is called if somebody else uses it.
    """
    if not _alarm_is_free():
        yield
        return
    start = time.monotonic()
    signal.signal(signal.SIGALRM, lambda *_: look(time.monotonic() - start))
    signal.setitimer(signal.ITIMER_REAL, _SECONDS_BETWEEN_LOOKS, _SECONDS_BETWEEN_LOOKS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _alarm_is_free() -> bool:
    return (
        threading.current_thread() is threading.main_thread()
        and hasattr(signal, "SIGALRM")
        and signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
    )
