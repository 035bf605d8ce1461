"""Detect, align, mask, write: from pictures to faces on disk, a batch at a time, in as many processes as wanted."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import simplejpeg

from data.alignment.align import align_face, is_elsewhere
from data.alignment.detectors.detection import Detection, is_beside
from data.alignment.workers import Detector, with_detector
from data.masks.render import random_mask_kind, render_mask
from data.prepare.settings import PrepareSettings
from data.sources.headers import is_jpeg, lies_upright
from data.sources.outcome import LOST_UNDER_MASK, NO_FACE, NO_MASK, TOO_SMALL, UNREADABLE, WORN, WRITTEN, Outcome
from data.sources.read_image import UnreadableImage
from data.sources.source_file import SourceFile
from data.transforms import resize_face
from runtime.files import write_file

JPEG_QUALITY = 95
# Side of the detector's box in the source. Below it there are too few pixels to tell people apart.
MIN_FACE_PIXELS = 20
BATCH = 32


@dataclass(frozen=True)
class _Job:
    settings: PrepareSettings
    files: list[SourceFile]


def prepare_files(
    files: list[SourceFile], settings: PrepareSettings, make_detector: Callable[[], Detector]
) -> Iterator[list[Outcome]]:
    """Write the faces of ``files``; yield the outcomes, a batch at a time, in whatever order they are done.

    Raises InputError if a process dies or a face can't be written.
    """
    jobs = [_Job(settings, files[i : i + BATCH]) for i in range(0, len(files), BATCH)]
    yield from with_detector(
        _prepare_batch,
        jobs,
        make_detector,
        processes=settings.jobs,
        preload=["data.prepare.faces", "data.prepare.csvs"],
        remedy="the same command with fewer --jobs resumes from here",
    )


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


def _prepare_batch(detector: Detector, job: _Job) -> list[Outcome]:
    outcomes: list[Outcome] = []
    pictures = []
    for file in job.files:
        try:
            pictures.append((file, file.read()))
        except UnreadableImage as error:
            outcomes.append(Outcome(file.path, file.stamp, UNREADABLE, str(error)))
    prepare = _detect_and_align if job.settings.align == "detect" else _keep_aligned
    return outcomes + prepare(detector, job.settings, pictures)


def _detect_and_align(
    detector: Detector, settings: PrepareSettings, pictures: list[tuple[SourceFile, np.ndarray]]
) -> list[Outcome]:
    lost, found = [], []
    seen = _look_for_faces(detector, settings, [image for _, image in pictures])
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
        masked = _mask_and_align(detector, settings, faces) if settings.alignment.masks == "before alignment" else {}
        outcomes += [_align(settings, face, masked) for face in faces]
    return lost + _by_picture(outcomes)


def _look_for_faces(detector: Detector, settings: PrepareSettings, images: list[np.ndarray]) -> list[list[Detection]]:
    """The faces of each picture that are kept, first the one nearest the centre."""
    nearest = detector(images)
    if settings.detections == "one":
        return [[] if face is None else [face] for face in nearest]
    return [
        crowd if face is None else [face, *(other for other in crowd if is_beside(other, face))]
        for face, crowd in zip(nearest, detector.crowds(images), strict=True)
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


def _keep_aligned(
    detector: Detector, settings: PrepareSettings, pictures: list[tuple[SourceFile, np.ndarray]]
) -> list[Outcome]:
    """Faces that were aligned before; one that wears a mask needs no landmarks to fit another by."""
    searched = [settings.align == "landmarks" and not file.masked for file, _ in pictures]
    found = iter(detector([image for (_, image), wanted in zip(pictures, searched, strict=True) if wanted]))
    outcomes = []
    for (file, image), wanted in zip(pictures, searched, strict=True):
        detection = next(found) if wanted else None
        if wanted and detection is None:
            outcomes.append(_no_face(file, image))
        else:
            outcomes.append(_keep(settings, file, image, detection.landmarks if wanted else ()))
    return outcomes


# ==== masks ====


def _mask_and_align(detector: Detector, settings: PrepareSettings, faces: list[_Found]) -> dict[str, _Masked | None]:
    """Name → the masked copy of a face as a camera would see it: mask first, then detection and alignment. None if the
    detector misses it, or takes something else for it."""
    bare = [face for face in faces if _gets_mask(settings, face.file)]
    drawn = [_draw_mask(settings, face.file, face.image, face.detection.landmarks) for face in bare]
    seen = _look_for_faces(detector, settings, [image for image, _ in drawn])
    return {
        face.file.name: _as_seen(settings, image, kind, detections, face.detection.landmarks)
        for face, (image, kind), detections in zip(bare, drawn, seen, strict=True)
    }


def _as_seen(
    settings: PrepareSettings, image: np.ndarray, kind: str, detections: list[Detection], points: np.ndarray
) -> _Masked | None:
    found = next((detection for detection in detections if not is_elsewhere(detection.landmarks, points)), None)
    if found is None:
        return None
    face, landmarks = align_face(image, found, settings.size, settings.crop, points)
    return _Masked(face, kind, landmarks)


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
