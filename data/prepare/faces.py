"""Detect, align, mask, write: from pictures to faces on disk, a batch at a time, in as many processes as wanted."""

import multiprocessing
import signal
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
import torch

from data.alignment.align import align_face
from data.alignment.detector import Detection
from data.masks.render import random_mask_kind, render_mask
from data.prepare.settings import PrepareSettings
from data.sources.outcome import NO_FACE, NO_MASK, TOO_SMALL, UNREADABLE, WORN, WRITTEN, Outcome
from data.sources.read_image import UnreadableImage
from data.sources.source_file import SourceFile
from runtime.devices import available_cores
from runtime.errors import InputError
from runtime.files import write_file

JPEG_QUALITY = 95
# Side of the detector's box in the source. Below it there are too few pixels to tell people apart.
MIN_FACE_PIXELS = 20
BATCH = 32

Detector = Callable[[Sequence[np.ndarray]], list[Detection | None]]


@dataclass(frozen=True)
class _Job:
    settings: PrepareSettings
    files: list[SourceFile]


# ==== processes ====


def prepare_files(
    files: list[SourceFile], settings: PrepareSettings, make_detector: Callable[[], Detector]
) -> Iterator[list[Outcome]]:
    """Write the faces of ``files``; yield the outcomes, a batch at a time, in whatever order they are done.

    Raises InputError where a process dies or a face can't be written.
    """
    jobs = [_Job(settings, files[i : i + BATCH]) for i in range(0, len(files), BATCH)]
    processes = min(settings.jobs or available_cores(), len(jobs))
    if processes > 1:
        yield from _in_processes(jobs, processes, make_detector)
    elif jobs:
        threads = torch.get_num_threads(), cv2.getNumThreads()
        try:
            _start_worker(make_detector)
            yield from map(_prepare_batch, jobs)
        finally:
            torch.set_num_threads(threads[0])
            cv2.setNumThreads(threads[1])


def _in_processes(jobs: list[_Job], processes: int, make_detector: Callable[[], Detector]) -> Iterator[list[Outcome]]:
    pool = ProcessPoolExecutor(processes, _process_context(), _start_worker, (make_detector,))
    running: set[Future[list[Outcome]]] = set()
    try:
        for job in jobs:
            running.add(pool.submit(_prepare_batch, job))
            # A few in advance, so that no process waits; not all, which would hold every job in memory twice.
            if len(running) >= 3 * processes:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    except BrokenProcessPool:
        raise InputError(
            "a worker process died, perhaps for want of memory; the same command with fewer --jobs goes on from here"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _process_context() -> multiprocessing.context.BaseContext:
    """Workers that share no threads with this process; where there is a fork server, all is imported only once."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # What data.prepare imports, not itself: each worker runs it once more as its main module.
    context.set_forkserver_preload(["data.prepare.faces", "data.prepare.csvs", "tyro"])
    return context


_detector: Detector


def _start_worker(make_detector: Callable[[], Detector]) -> None:
    """One thread a process: the processes share the cores. Ctrl-C is the parent's business."""
    global _detector
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    _detector = make_detector()


# ==== one batch, one face ====


def _prepare_batch(job: _Job) -> list[Outcome]:
    outcomes: list[Outcome] = []
    images, files = [], []
    for file in job.files:
        try:
            images.append(file.read())
            files.append(file)
        except UnreadableImage as error:
            outcomes.append(Outcome(file.path, file.stamp, UNREADABLE, str(error)))
    searched = [_is_searched(file, job.settings) for file in files]
    found = iter(_detector([image for image, wanted in zip(images, searched, strict=True) if wanted]))
    place = _align if job.settings.align == "detect" else _keep_landmarks
    for file, image, wanted in zip(files, images, searched, strict=True):
        if wanted:
            outcomes.append(place(job.settings, file, image, next(found)))
        else:
            outcomes.append(_keep(job.settings, file, image, ()))
    return outcomes


def _is_searched(file: SourceFile, settings: PrepareSettings) -> bool:
    """Whether the face has to be found; an aligned one that wears a mask needs no landmarks to fit another by."""
    return settings.align == "detect" or (settings.align == "landmarks" and not file.masked)


def _align(settings: PrepareSettings, file: SourceFile, image: np.ndarray, detection: Detection | None) -> Outcome:
    if detection is None:
        return _no_face(file, image)
    side = float(min(detection.box[2] - detection.box[0], detection.box[3] - detection.box[1]))
    if side < MIN_FACE_PIXELS:
        return Outcome(file.path, file.stamp, TOO_SMALL, f"face of {side:.0f} pixels")
    return _write(settings, file, *align_face(image, detection, settings.size, settings.crop))


def _keep_landmarks(
    settings: PrepareSettings, file: SourceFile, image: np.ndarray, detection: Detection | None
) -> Outcome:
    return _no_face(file, image) if detection is None else _keep(settings, file, image, detection.landmarks)


def _no_face(file: SourceFile, image: np.ndarray) -> Outcome:
    height, width = image.shape[:2]
    status = TOO_SMALL if min(height, width) < MIN_FACE_PIXELS else NO_FACE
    return Outcome(file.path, file.stamp, status, f"picture of {width}×{height} pixels")


def _keep(settings: PrepareSettings, file: SourceFile, image: np.ndarray, landmarks: Sequence) -> Outcome:
    """A face that was aligned before: only its size changes, which keeps the template."""
    height, width = image.shape[:2]
    if min(height, width) < MIN_FACE_PIXELS:
        return _no_face(file, image)
    if height != width:
        reason = f"{width}×{height} pixels: no aligned face, which is square"
        return Outcome(file.path, file.stamp, UNREADABLE, reason)
    if width != settings.size:
        how = cv2.INTER_AREA if width > settings.size else cv2.INTER_LINEAR
        image = cv2.resize(image, (settings.size, settings.size), interpolation=how)
    # Pixel centres: new = (old + 0.5) · factor − 0.5.
    factor = settings.size / width
    return _write(settings, file, image, (np.asarray(landmarks, np.float32) + 0.5) * factor - 0.5)


def _write(settings: PrepareSettings, file: SourceFile, face: np.ndarray, landmarks: np.ndarray) -> Outcome:
    mask = WORN if file.masked else NO_MASK
    masked = face
    if settings.masks == "simulated" and not file.masked:
        # From the seed and the name: the same mask in whatever order the files come.
        rng = np.random.default_rng([settings.seed, zlib.crc32(file.name.encode())])
        mask = random_mask_kind(rng, settings.mask_kinds)
        masked = render_mask(face, landmarks, mask, rng)
    numbers = tuple(round(float(v), 2) for v in landmarks.ravel())
    outcome = Outcome(file.path, file.stamp, WRITTEN, "", file.name, file.person, numbers, mask)
    for path in outcome.faces:
        _write_jpeg(settings.out / path, masked if path.startswith("masked/") else face)
    return outcome


def _write_jpeg(path: Path, image: np.ndarray) -> None:
    write_file(path, simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=JPEG_QUALITY), flush=False)
