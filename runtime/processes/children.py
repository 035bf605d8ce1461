"""Processes that this one starts: none outlives it, and it waits for none at its end."""

import multiprocessing
import os
import threading
from multiprocessing.util import Finalize


def end_with_parent() -> None:
    """In a started process: end when the one that started it has ended, however that was.

    A worker that waits for work, or for a disk, would not notice, and keep its memory for good.
    """
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def kill_daemons_at_exit() -> None:
    """multiprocessing would send them SIGTERM, which they may ignore, and wait for them forever."""
    Finalize(None, _kill_daemons, exitpriority=1)


def _kill_daemons() -> None:
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()
