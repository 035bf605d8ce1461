"""Orderly stops: Ctrl-C and SIGTERM are noted, the step ends, the run is saved."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM)
STDERR = 2


class Stopped(SystemExit):
    """A signal ended the program; the exit code is 128 + its number, as shells expect."""

    def __init__(self, number: int):
        super().__init__(number)
        self.code = 128 + number


class StopSignals:
    """While inside ``with``: the first SIGINT or SIGTERM is noted in ``received``, a second one acts as ever."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._at_once = False
        self._process = os.getpid()
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in STOPPING}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """What may be left at any moment, as nothing in it needs to be finished: a signal raises Stopped."""
        self._at_once = True
        try:
            if self.received is not None:
                raise Stopped(self.received)
            yield
        finally:
            self._at_once = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a forked worker: whoever forked it decides
        self.received = number
        for each, handler in self._before.items():
            signal.signal(each, handler)
        name = signal.Signals(number).name
        # Not print(), which fails where the signal came in the middle of another one to the same stream.
        os.write(STDERR, f"\n{name}: stopping after this step; once more to stop without saving\n".encode())
        if self._at_once:
            raise Stopped(number)


def ignore_stop_signals() -> None:
    """In a loader's worker: Ctrl-C reaches all processes of a terminal, and the run needs its workers to the end."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
