"""A DataLoader that says what it waits for, and ends in one line if one of its workers dies.

torch's own has no words for slow data, and raises for a dead worker wherever the program happens to be: in the middle
of an optimiser's step, or of a plot.
"""

import math
import mmap
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any, NoReturn

import numpy as np
from torch.utils.data import DataLoader, get_worker_info
from torch.utils.data._utils import signal_handling
from tqdm import tqdm

from runtime.errors import InputError
from runtime.processes.children import kill_daemons_at_exit
from runtime.processes.waiting import PATIENCE, called_while_waiting

_OUT_OF_MEMORY = ", as the system does when memory runs out: set workers lower, or find more memory"


class DataLost(InputError):
    """No more data will come. It is raised only while data is waited for, so that a training's state is whole."""


class Progress:
    """Which item each of a loader's workers is at, and since when; in memory that forked workers share."""

    def __init__(self, workers: int):
        memory = mmap.mmap(-1, 16 * max(workers, 1))
        self._at = np.frombuffer(memory, np.float64).reshape(-1, 2)  # item and seconds, a row a worker
        self._at[:, 0] = -1

    def at(self, item: int) -> None:
        """Called where an item is read."""
        self._at[_worker_number()] = item, time.monotonic()

    def done(self) -> None:
        """Called after a batch."""
        self._at[_worker_number(), 0] = -1

    def longest(self) -> tuple[int, int, float] | None:
        """Worker, item and seconds of what is taking longest; None if no worker is at anything."""
        busy = np.flatnonzero(self._at[:, 0] >= 0)
        if not len(busy):
            return None
        worker = busy[self._at[busy, 1].argmin()]
        item, since = self._at[worker].tolist()
        return int(worker), int(item), time.monotonic() - since


class WatchedLoader(DataLoader):
    """A DataLoader over a dataset of whole batches whose ``progress`` is a Progress and which has a ``name`` of a row.

    Iterating raises DataLost within seconds if a worker has died, and if no data came for ``timeout_minutes``
    (0: it waits for as long as it takes), InputError if the workers can't be started. This needs the main thread; in
    another one, and on Windows, only a death is seen.
    """

    def __init__(self, *arguments: Any, timeout_minutes: float = 0.0, **options: Any):
        super().__init__(*arguments, **options)
        self._longest_wait = timeout_minutes * 60 or math.inf
        self._patience = PATIENCE
        self._workers: Sequence[BaseProcess] = ()

    def __iter__(self) -> Iterator:
        if self.persistent_workers and self._workers:
            with self._watched():  # until they have heard of the new epoch
                batches = super().__iter__()
        else:
            batches = self._start()
        while True:
            with self._watched():
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def read(self, rows: Sequence) -> Any:
        """A batch that is read here and now."""
        with self._watched():
            return self.collate_fn(self.dataset.__getitems__(rows))

    def _start(self) -> Iterator:
        """Starts the workers, which is not watched: an alarm now and then would keep a large process from forking."""
        try:
            batches = super().__iter__()
        except OSError as error:
            raise InputError(
                f"can't start {self.num_workers} processes that load data ({error.strerror}); set workers lower"
            ) from None
        finally:
            _remove_torchs_handler()
            kill_daemons_at_exit()
        self._workers = getattr(batches, "_workers", ())
        return batches

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Around what waits for data."""
        try:
            with called_while_waiting(self._look):
                yield
        except RuntimeError:  # torch's word for a dead worker, and for much else
            self._refuse_dead(alive=(None,))
            raise

    def _look(self, seconds: float) -> None:
        self._refuse_dead()
        if seconds >= self._longest_wait:
            waited = self._what_is_waited_for(seconds)
            self._give_up(f"{waited}; data_timeout_minutes allows no more: see whether the disk answers")
        if seconds >= self._patience:
            self._patience *= 2
            # Not stdout, on which only the first of several processes speaks.
            tqdm.write(self._what_is_waited_for(seconds), file=sys.stderr)

    def _refuse_dead(self, alive: tuple = (None, 0)) -> None:
        """Give up if a worker's exit code is not among ``alive``; 0 is the end of an epoch."""
        for number, worker in enumerate(self._workers):
            if worker.exitcode not in alive:
                self._give_up(f"worker {number} of the data loader {_how_it_ended(worker.exitcode)}")

    def _give_up(self, reason: str) -> NoReturn:
        for worker in self._workers:
            worker.kill()  # torch would give each some seconds to end by itself
        raise DataLost(reason) from None

    def _what_is_waited_for(self, seconds: float) -> str:
        found = self.dataset.progress.longest()
        if found is None:
            return f"no data for {seconds:.0f} s"
        worker, row, reading = found
        reader = f"worker {worker}" if self.num_workers else "this process"
        return f"no data for {seconds:.0f} s: {reader} has been reading {self.dataset.name(row)} for {reading:.0f} s"


def _worker_number() -> int:
    worker = get_worker_info()
    return worker.id if worker else 0


def _remove_torchs_handler() -> None:
    """torch raises for a dead worker anywhere. Its handler may be there since another loader of this process."""
    if hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread():
        handler = signal.getsignal(signal.SIGCHLD)
        if getattr(handler, "__module__", None) == signal_handling.__name__:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _how_it_ended(exit_code: int) -> str:
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    number = -exit_code
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    return f"was killed by {name}" + (_OUT_OF_MEMORY if number == signal.SIGKILL else "")
