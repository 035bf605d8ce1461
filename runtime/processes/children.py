"""Processes that this one starts: none outlives it, and it waits for none at its end."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing.util import Finalize

import cv2

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


def stop_with_parent() -> None:
    """In a forked process on Linux, before its program starts: have it sent SIGTERM when its parent ends, in whatever
    way."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def end_with_parent() -> None:
    """In a started process: end when the one that started it has ended, however that was.

    A worker that waits for work, or for a disk, would not notice, and keep its memory for good.
    """
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def no_opencv_threads() -> None:
    """In a started process: OpenCV works in the thread that calls it, so that processes do not fight for the cores.

    Zero threads, not one: that would end those of the parent, which a fork does not have, and wait for them for good.
    """
    cv2.setNumThreads(0)


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
