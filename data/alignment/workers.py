"""Work that needs a face detector, a batch at a time, in as many processes as wanted."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import cv2
import numpy as np
import torch

from data.alignment.detectors.detection import Detection
from runtime.devices import available_cores
from runtime.errors import InputError
from runtime.processes.children import end_with_parent

Detector = Callable[[Sequence[np.ndarray]], list[Detection | None]]
Job = TypeVar("Job")
Done = TypeVar("Done")


def with_detector(
    work: Callable[[Any, Job], Done],
    jobs: Sequence[Job],
    make_detector: Callable[[], Any],
    *,
    processes: int,
    preload: Sequence[str],
    remedy: str,
) -> Iterator[Done]:
    """``work(detector, job)`` of each job, in whatever order they are done.

    ``processes``; 0: one per core. ``preload``: modules that every process needs. Raises InputError, with the
    ``remedy``, if a process dies, and what ``work`` raises.
    """
    processes = min(processes or available_cores(), len(jobs))
    if processes > 1:
        yield from _in_processes(work, jobs, make_detector, processes, preload, remedy)
    elif jobs:
        threads = torch.get_num_threads(), cv2.getNumThreads()
        try:
            _start_worker(make_detector)
            for job in jobs:
                yield _work(work, job)
        finally:
            torch.set_num_threads(threads[0])
            cv2.setNumThreads(threads[1])


def _in_processes(
    work: Callable, jobs: Sequence, make_detector: Callable, processes: int, preload: Sequence[str], remedy: str
) -> Iterator:
    pool = ProcessPoolExecutor(processes, _process_context(preload), _start_worker, (make_detector,))
    running: set[Future] = set()
    try:
        for job in jobs:
            running.add(pool.submit(_work, work, job))
            # A few in advance, so that no process waits; not all, which would hold every job in memory twice.
            if len(running) >= 3 * processes:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    except BrokenProcessPool:
        raise InputError(f"a worker process died, perhaps out of memory; {remedy}") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _process_context(preload: Sequence[str]) -> multiprocessing.context.BaseContext:
    """Workers that share no threads with this process; where there is a fork server, all is imported only once."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # What the command imports, not itself: each worker runs it once more as its main module.
    context.set_forkserver_preload([*preload, "tyro"])
    return context


_detector: Any


def _start_worker(make_detector: Callable) -> None:
    """One thread a process: the processes share the cores. Ctrl-C is the parent's business."""
    global _detector
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        end_with_parent()
    _detector = make_detector()


def _work(work: Callable, job: Any) -> Any:
    return work(_detector, job)
