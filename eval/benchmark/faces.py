"""Pictures of a test set → aligned faces as the network takes them, and the same faces with a mask.

A mask follows from (seed, number of the picture in the set's own order) alone. On a photograph it is put on before
alignment, as at a door: then the masked face is detected and aligned. On a picture that came aligned it is put on where
the landmarks are found, and the face keeps its place.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from data.alignment.align import align_face, is_elsewhere
from data.alignment.alignment import LANDMARKS, MaskOrder
from data.alignment.detectors.detection import Detection
from data.alignment.finder import open_finder
from data.alignment.workers import Detector, with_detector
from data.masks.render import MaskFit, numbered_mask, render_mask
from data.sources.outcome import LOST_UNDER_MASK, NO_FACE, UNREADABLE
from data.sources.read_image import UnreadableImage
from data.sources.source_file import SourceFile
from data.transforms import Crop, resize_face

BEFORE: MaskOrder = "before alignment"
AFTER: MaskOrder = "after alignment"

_BATCH = 32


@dataclass(frozen=True)
class FaceOptions:
    """How pictures become faces: ``size`` and ``crop`` of a face; whether the pictures are ``aligned`` already; the
    ``detector`` by name; the ``orders`` in which masks are wanted, BEFORE and AFTER alignment; their ``seed``."""

    size: int
    crop: Crop
    aligned: bool
    detector: str
    orders: tuple[MaskOrder, ...]
    seed: int


@dataclass(frozen=True)
class DrawnMask:
    """What a mask follows from: its ``kind``, its fit, and the ``landmarks`` (5, 2) in the picture."""

    kind: str
    fit: MaskFit
    landmarks: np.ndarray


@dataclass
class FaceBatch:
    """Faces uint8 (S, S, 3) of a few pictures, by their numbers: ``plain``, and ``masked`` by order; why a picture has
    no face (``lost``), or its masked face was not found (``lost_masked``); the masks that were ``drawn``."""

    plain: dict[int, np.ndarray] = field(default_factory=dict)
    masked: dict[MaskOrder, dict[int, np.ndarray]] = field(default_factory=dict)
    lost: dict[int, str] = field(default_factory=dict)
    lost_masked: dict[MaskOrder, dict[int, str]] = field(default_factory=dict)
    drawn: dict[int, DrawnMask] = field(default_factory=dict)


@dataclass(frozen=True)
class _Job:
    options: FaceOptions
    pictures: Sequence[tuple[int, SourceFile]]


def face_batches(pictures: Mapping[int, SourceFile], options: FaceOptions, processes: int) -> Iterator[FaceBatch]:
    """The faces of the pictures (by number), a few at a time, in whatever order they are done.

    ``processes``; 0: one per core. Raises InputError if there is no such detector, or a process dies.
    """
    listed = list(pictures.items())
    jobs = [_Job(options, listed[i : i + _BATCH]) for i in range(0, len(listed), _BATCH)]
    remedy = "give the command again with fewer --jobs"
    make_detector = detector_for(options)
    preload = ["eval.benchmark.faces"]
    yield from with_detector(faces_of, jobs, make_detector, processes=processes, preload=preload, remedy=remedy)


def detector_for(options: FaceOptions) -> Callable[[], Detector | None]:
    """Makes the detector that the options need; None if they need none."""
    if options.aligned and not options.orders:
        return _no_detector
    return functools.partial(open_finder, options.detector, LANDMARKS)


def _no_detector() -> None:
    return None


def faces_of_pictures(pictures: Mapping[int, SourceFile], options: FaceOptions) -> FaceBatch:
    """The faces of a few pictures, in this process."""
    return faces_of(detector_for(options)(), _Job(options, list(pictures.items())))


def faces_of(detector: Detector | None, job: _Job) -> FaceBatch:
    """The faces of one job."""
    batch, images = FaceBatch(), {}
    for number, picture in job.pictures:
        try:
            images[number] = picture.read()
        except UnreadableImage as error:
            batch.lost[number] = f"{UNREADABLE}: {error}"
    keep = _keep_aligned if job.options.aligned else _detect_and_align
    keep(detector, job.options, images, batch)
    return batch


# ==== photographs ====


def _detect_and_align(
    detector: Detector, options: FaceOptions, images: Mapping[int, np.ndarray], batch: FaceBatch
) -> None:
    found = dict(zip(images, detector(list(images.values())), strict=True))
    batch.lost |= {number: NO_FACE for number, detection in found.items() if detection is None}
    seen = {number: detection for number, detection in found.items() if detection is not None}
    for number, detection in seen.items():
        batch.plain[number], points = align_face(images[number], detection, options.size, options.crop)
        if AFTER in options.orders:
            masked = _draw(options, number, batch.plain[number], points)
            batch.masked.setdefault(AFTER, {})[number] = masked
    if options.orders:
        _mask_and_align(detector, options, {number: (images[number], face) for number, face in seen.items()}, batch)


def _mask_and_align(
    detector: Detector, options: FaceOptions, faces: Mapping[int, tuple[np.ndarray, Detection]], batch: FaceBatch
) -> None:
    """Mask first, then detection and alignment, as a camera would see it."""
    batch.drawn |= {number: drawn_mask(options.seed, number, face.landmarks) for number, (_, face) in faces.items()}
    if BEFORE not in options.orders:
        return
    masked = {number: _draw(options, number, image, face.landmarks) for number, (image, face) in faces.items()}
    aligned, lost = batch.masked.setdefault(BEFORE, {}), batch.lost_masked.setdefault(BEFORE, {})
    for (number, image), detection in zip(masked.items(), detector(list(masked.values())), strict=True):
        if detection is None or is_elsewhere(detection.landmarks, faces[number][1].landmarks):
            lost[number] = LOST_UNDER_MASK
        else:
            aligned[number], _ = align_face(image, detection, options.size, options.crop)


# ==== pictures that came aligned ====


def _keep_aligned(
    detector: Detector | None, options: FaceOptions, images: Mapping[int, np.ndarray], batch: FaceBatch
) -> None:
    for number, image in images.items():
        height, width = image.shape[:2]
        if height == width:
            batch.plain[number] = resize_face(image, options.size)
        else:
            batch.lost[number] = f"{width}×{height} pixels: no aligned face, which is square"
    if not options.orders:
        return
    square = {number: images[number] for number in batch.plain}
    masked, lost = batch.masked.setdefault(AFTER, {}), batch.lost_masked.setdefault(AFTER, {})
    for (number, image), detection in zip(square.items(), detector(list(square.values())), strict=True):
        if detection is None:
            lost[number] = "no landmarks found to fit a mask to"
        else:
            batch.drawn[number] = drawn_mask(options.seed, number, detection.landmarks)
            masked[number] = resize_face(_draw(options, number, image, detection.landmarks), options.size)


def _draw(options: FaceOptions, number: int, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The picture with its mask."""
    return render_mask(image, landmarks, *numbered_mask(options.seed, number))


def drawn_mask(seed: int, number: int, landmarks: np.ndarray) -> DrawnMask:
    """The mask that the picture of that number gets."""
    kind, rng = numbered_mask(seed, number)
    return DrawnMask(kind, MaskFit.draw(rng), np.asarray(landmarks))


def masks_checksums(drawn: Mapping[int, DrawnMask], seed: int, count: int) -> dict[str, str]:
    """SHA-256 of which masks the ``count`` pictures of a list get ("parameters": number, kind and fit, whichever faces
    are found, the same on every machine) and of where they were drawn ("landmarks": to a whole pixel, of which a few
    may differ on another processor)."""

    def digest(lines: Iterator[str]) -> str:
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    masks = (drawn_mask(seed, number, np.empty((0, 2))) for number in range(count))
    fits = (f"{n} {m.kind} {[round(float(v), 6) for v in dataclasses.astuple(m.fit)]}" for n, m in enumerate(masks))
    places = (f"{n} {np.rint(m.landmarks).astype(int).ravel().tolist()}" for n, m in sorted(drawn.items()))
    return {"parameters": digest(fits), "landmarks": digest(places)}
