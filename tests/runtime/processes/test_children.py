"""What becomes of the processes that a process starts."""

import multiprocessing
import os
import signal
import time

import cv2
import numpy as np
import pytest

from runtime.processes.children import end_with_parent, kill_daemons_at_exit, no_opencv_threads
from runtime.processes.signals import ignore_stop_signals

LONG = 60  # seconds until a test would fail
CONTEXT = multiprocessing.get_context("fork")


def _child(ready):
    ignore_stop_signals()
    end_with_parent()
    ready.send("")
    time.sleep(10 * LONG)


def _parent(told, killed):
    ready, child_is_ready = CONTEXT.Pipe(duplex=False)
    kill_daemons_at_exit()
    CONTEXT.Process(target=_child, args=(child_is_ready,), daemon=True).start()
    ready.recv()
    told.send("")
    if killed:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("killed", [True, False])
def test_a_child_that_ignores_stop_signals_ends_with_its_parent_and_does_not_keep_it(killed):
    receiver, told = CONTEXT.Pipe(duplex=False)
    parent = CONTEXT.Process(target=_parent, args=(told, killed))
    parent.start()
    told.close()
    receiver.recv()
    parent.join(LONG)
    assert parent.exitcode == (-signal.SIGKILL if killed else 0)
    assert receiver.poll(LONG)  # the pipe's other end is closed when both have ended
    with pytest.raises(EOFError):
        receiver.recv()


def _work_alone():
    no_opencv_threads()
    cv2.GaussianBlur(np.zeros((500, 500), np.uint8), (0, 0), 3)


def test_a_child_does_not_wait_for_its_parents_opencv_threads():
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (0, 0), 3)
        time.sleep(1)  # until the threads wait for work
        child = CONTEXT.Process(target=_work_alone, daemon=True)
        child.start()
        child.join(LONG)
        ended = child.exitcode
        child.kill()
        assert ended == 0
    finally:
        cv2.setNumThreads(before)
