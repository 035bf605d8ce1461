"""Detect, align, mask, write: from pictures to faces on disk, a batch at a time, in as many processes as wanted."""

import multiprocessing
import signal
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg
import torch

from data.alignment.align import align_face, eye_distance
from data.alignment.detector import Detection, is_beside
from data.masks.render import random_mask_kind, render_mask
from data.prepare.settings import PrepareSettings
from data.sources.headers import is_jpeg, lies_upright
from data.sources.outcome import LOST_UNDER_MASK, NO_FACE, NO_MASK, TOO_SMALL, UNREADABLE, WORN, WRITTEN, Outcome
from data.sources.read_image import UnreadableImage
from data.sources.source_file import SourceFile
from data.transforms import resize_face
from runtime.devices import available_cores
from runtime.errors import InputError
from runtime.files import write_file
from runtime.processes.children import end_with_parent

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

    Raises InputError if a process dies or a face can't be written.
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
            "a worker process died, perhaps out of memory; the same command with fewer --jobs resumes from here"
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
        end_with_parent()
    _detector = make_detector()


# ==== one batch ====


class _Found(NamedTuple):
    """A face in a picture."""

    file: SourceFile
    image: np.ndarray
    detection: Detection


class _Masked(NamedTuple):
    """A masked copy: ``face`` uint8 (S, S, 3), the ``kind`` of its mask, and the bare face's ``landmarks`` in it."""

    face: np.ndarray
    kind: str
    landmarks: np.ndarray


def _prepare_batch(job: _Job) -> list[Outcome]:
    outcomes: list[Outcome] = []
    pictures = []
    for file in job.files:
        try:
            pictures.append((file, file.read()))
        except UnreadableImage as error:
            outcomes.append(Outcome(file.path, file.stamp, UNREADABLE, str(error)))
    prepare = _detect_and_align if job.settings.align == "detect" else _keep_aligned
    return outcomes + prepare(job.settings, pictures)


def _detect_and_align(settings: PrepareSettings, pictures: list[tuple[SourceFile, np.ndarray]]) -> list[Outcome]:
    lost, found = [], []
    seen = _look_for_faces(settings, [image for _, image in pictures])
    for (file, image), detections in zip(pictures, seen, strict=True):
        large = [detection for detection in detections if detection.side >= MIN_FACE_PIXELS]
        if not detections:
            lost.append(_no_face(file, image))
        elif not large:
            lost.append(Outcome(file.path, file.stamp, TOO_SMALL, f"face of {detections[0].side:.0f} pixels"))
        for number, detection in enumerate(large, 1):
            found.append(_Found(replace(file, name=numbered(file.name, number)), image, detection))
    outcomes = []
    # Each has a masked copy of its whole picture in memory for a while.
    for start in range(0, len(found), BATCH):
        faces = found[start : start + BATCH]
        masked = _mask_and_align(settings, faces) if settings.alignment.masks == "before alignment" else {}
        outcomes += [_align(settings, face, masked) for face in faces]
    return lost + _by_picture(outcomes)


def _look_for_faces(settings: PrepareSettings, images: list[np.ndarray]) -> list[list[Detection]]:
    """The faces of each picture that are kept, first the one nearest the centre."""
    nearest = _detector(images)
    if settings.detections == "one":
        return [[] if face is None else [face] for face in nearest]
    return [
        crowd if face is None else [face, *(other for other in crowd if is_beside(other, face))]
        for face, crowd in zip(nearest, _detector.crowds(images), strict=True)
    ]


def numbered(name: str, number: int) -> str:
    """What face ``number`` of a picture is called: Ann/0001.jpg, Ann/0001_face2.jpg, …"""
    return name if number == 1 else f"{name.removesuffix('.jpg')}_face{number}.jpg"


def _by_picture(faces: list[Outcome]) -> list[Outcome]:
    """One outcome a picture, which holds those of its other faces."""
    pictures: dict[str, list[Outcome]] = {}
    for face in faces:
        pictures.setdefault(face.path, []).append(face)
    return [replace(first, more=tuple(others)) for first, *others in pictures.values()]


def _align(settings: PrepareSettings, found: _Found, masked: dict[str, _Masked | None]) -> Outcome:
    face, landmarks = align_face(found.image, found.detection, settings.size, settings.crop)
    if found.file.name in masked:
        worn = masked[found.file.name]
    else:
        worn = _mask_aligned(settings, found.file, face, landmarks)
    outcome = _write(settings, found.file, face, landmarks, worn)
    return replace(outcome, side=round(found.detection.side, 1))


def _keep_aligned(settings: PrepareSettings, pictures: list[tuple[SourceFile, np.ndarray]]) -> list[Outcome]:
    """Faces that were aligned before; one that wears a mask needs no landmarks to fit another by."""
    searched = [settings.align == "landmarks" and not file.masked for file, _ in pictures]
    found = iter(_detector([image for (_, image), wanted in zip(pictures, searched, strict=True) if wanted]))
    outcomes = []
    for (file, image), wanted in zip(pictures, searched, strict=True):
        detection = next(found) if wanted else None
        if wanted and detection is None:
            outcomes.append(_no_face(file, image))
        else:
            outcomes.append(_keep(settings, file, image, detection.landmarks if wanted else ()))
    return outcomes


# ==== masks ====


def _mask_and_align(settings: PrepareSettings, faces: list[_Found]) -> dict[str, _Masked | None]:
    """Name → the masked copy of a face as a camera would see it: mask first, then detection and alignment. None if the
    detector misses it, or takes something else for it."""
    bare = [face for face in faces if _gets_mask(settings, face.file)]
    drawn = [_draw_mask(settings, face.file, face.image, face.detection.landmarks) for face in bare]
    seen = _look_for_faces(settings, [image for image, _ in drawn])
    return {
        face.file.name: _as_seen(settings, image, kind, detections, face.detection.landmarks)
        for face, (image, kind), detections in zip(bare, drawn, seen, strict=True)
    }


def _as_seen(
    settings: PrepareSettings, image: np.ndarray, kind: str, detections: list[Detection], points: np.ndarray
) -> _Masked | None:
    found = next((detection for detection in detections if not _is_elsewhere(detection.landmarks, points)), None)
    if found is None:
        return None
    face, landmarks = align_face(image, found, settings.size, settings.crop, points)
    return _Masked(face, kind, landmarks)


def _is_elsewhere(found: np.ndarray, bare: np.ndarray) -> bool:
    """Whether points are off by more than half the eyes' distance on the mean: another face, or none."""
    return float(np.linalg.norm(found - bare, axis=1).mean()) > eye_distance(bare) / 2


def _mask_aligned(
    settings: PrepareSettings, file: SourceFile, face: np.ndarray, landmarks: np.ndarray
) -> _Masked | None:
    """The masked copy of a face whose place is known, None for one that gets no mask."""
    if not _gets_mask(settings, file):
        return None
    return _Masked(*_draw_mask(settings, file, face, landmarks), landmarks)


def _gets_mask(settings: PrepareSettings, file: SourceFile) -> bool:
    return settings.masks == "simulated" and not file.masked and not file.bare


def _draw_mask(
    settings: PrepareSettings, file: SourceFile, image: np.ndarray, landmarks: np.ndarray
) -> tuple[np.ndarray, str]:
    """The picture with a mask on its face, and the mask's kind."""
    # From the seed and the name: the same mask in whatever order the files come.
    rng = np.random.default_rng([settings.seed, zlib.crc32(file.name.encode())])
    kind = random_mask_kind(rng, settings.mask_kinds)
    return render_mask(image, landmarks, kind, rng), kind


# ==== one face ====


def _no_face(file: SourceFile, image: np.ndarray) -> Outcome:
    height, width = image.shape[:2]
    status = TOO_SMALL if min(height, width) < MIN_FACE_PIXELS else NO_FACE
    return Outcome(file.path, file.stamp, status, f"picture of {width}×{height} pixels")


def _keep(settings: PrepareSettings, file: SourceFile, image: np.ndarray, landmarks: Sequence) -> Outcome:
    """A face that was aligned before: only its size changes, which keeps the template; of the right size, nothing."""
    height, width = image.shape[:2]
    if min(height, width) < MIN_FACE_PIXELS:
        return _no_face(file, image)
    if height != width:
        reason = f"{width}×{height} pixels: no aligned face, which is square"
        return Outcome(file.path, file.stamp, UNREADABLE, reason)
    landmarks = np.asarray(landmarks, np.float32)
    if width == settings.size:
        masked = _mask_aligned(settings, file, image, landmarks)
        return _write(settings, file, image, landmarks, masked, _plain_jpeg(file))
    # Pixel centres: new = (old + 0.5) · factor − 0.5.
    points, face = (landmarks + 0.5) * (settings.size / width) - 0.5, resize_face(image, settings.size)
    return _write(settings, file, face, points, _mask_aligned(settings, file, face, points))


def _plain_jpeg(file: SourceFile) -> bytes | None:
    """The file's own bytes, which a second JPEG of its pixels would only make worse; None if it is no such file."""
    data = file.encoded()
    colours = simplejpeg.decode_jpeg_header(data)[2] if is_jpeg(data) else ""
    return data if colours in ("YCbCr", "Gray") and lies_upright(data) else None


def _write(
    settings: PrepareSettings,
    file: SourceFile,
    face: np.ndarray,
    landmarks: np.ndarray,
    masked: _Masked | None,
    encoded: bytes | None = None,
) -> Outcome:
    """Write the face, from its JPEG ``encoded`` if there is one, and its masked copy."""
    lost = masked is None and _gets_mask(settings, file)
    outcome = Outcome(
        file.path,
        file.stamp,
        WRITTEN,
        LOST_UNDER_MASK if lost else "",
        file.name,
        file.person,
        _numbers(landmarks),
        WORN if file.masked else masked.kind if masked else NO_MASK,
        _numbers(masked.landmarks) if masked and masked.landmarks is not landmarks else (),
    )
    for path in outcome.faces:
        data = _jpeg(masked.face) if masked and path.startswith("masked/") else encoded or _jpeg(face)
        write_file(settings.out / path, data, flush=False)
    return outcome


def _numbers(landmarks: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(v), 2) for v in landmarks.ravel())


def _jpeg(image: np.ndarray) -> bytes:
    return simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=JPEG_QUALITY)
