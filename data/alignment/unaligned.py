"""Pictures in a table of aligned faces that are none: photographs as they came from a camera."""

import io
from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np
from PIL import Image

from data.sources.read_image import UnreadableImage, decode_image
from data.tables.images import Images
from data.transforms import template
from runtime.errors import InputError
from runtime.processes.waiting import named_while_waiting

# So many pictures, spread over the table, are looked at; to find faces in more would take seconds.
_SIZES, _FACES = 64, 8
# Mean distance of the five points from the template, as a share of the side. Of faces of LFW and CFP aligned to five
# points it was 0.02, 0.06 at the most; of LFW's photographs 0.13, 0.12 or more of 90 %.
_FAR = 0.08


def refuse_not_square(images: Images, table: str) -> None:
    """Raise InputError if most of a table's pictures are not square, as no aligned face is."""
    wrong = [f"{images.name(row)}, {w}×{h}" for row, w, h in _sizes(images) if w != h]
    looked_at = len(_spread(len(images), _SIZES))
    if 2 * len(wrong) > looked_at:
        raise InputError(
            f"{table}: {len(wrong)} of {looked_at} pictures looked at are no aligned faces, as they are not "
            f"square (such as {wrong[0]}); align photographs with python -m data.prepare"
        )


def sides_of(images: Images) -> list[int]:
    """The different sides in pixels of a table's faces, of those looked at."""
    return sorted({width for _, width, height in _sizes(images) if width == height})


def raw_photographs(images: Images, rows: Sequence[int]) -> tuple[int, int, str]:
    """Of a few of the ``rows``: how many don't lie as aligned faces do, in how many a face was found, and a name of the
    former."""
    faces, names = [], []
    for row in (rows[i] for i in _spread(len(rows), _FACES)):
        try:
            faces.append(decode_image(bytes(_read(images, row))))
            names.append(images.name(row))
        except (OSError, ValueError, UnreadableImage):
            continue
    # It imports facenet-pytorch, which only tables without a card wait for.
    from data.alignment.detectors.mtcnn import FaceDetector

    found = [
        (name, _off_template(detection.landmarks, len(face)))
        for name, face, detection in zip(names, faces, FaceDetector()(faces) if faces else [], strict=True)
        if detection is not None
    ]
    raw = [name for name, off in found if off > _FAR]
    return len(raw), len(found), raw[0] if raw else ""


def _sizes(images: Images) -> Iterator[tuple[int, int, int]]:
    """Row, width and height of the pictures looked at that can be read."""
    for row in _spread(len(images), _SIZES):
        with suppress(OSError, ValueError, Image.DecompressionBombError):
            with Image.open(io.BytesIO(_read(images, row))) as picture:
                size = picture.size
            yield row, *size


def _read(images: Images, row: int) -> bytes:
    with named_while_waiting(images.name(row)):
        return images.read(row)


def _off_template(landmarks: np.ndarray, side: int) -> float:
    return float(np.linalg.norm(landmarks - template(side), axis=1).mean() / side)


def _spread(count: int, most: int) -> Sequence[int]:
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int)).tolist()
