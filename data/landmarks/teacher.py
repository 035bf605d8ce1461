"""What the network learns from: photographs whose points are known, because nobody in them wears a mask yet."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.alignment.align import apply_affine, similarity, warp
from data.alignment.detectors.mtcnn import FaceDetector
from data.alignment.landmark_network import CROP_SIZE, CROP_WIDTH
from data.sources.folders import list_folder
from data.sources.read_image import UnreadableImage
from data.sources.source_file import SourceFile
from data.transforms import template
from runtime.errors import InputError
from runtime.files import replace_file, writing

# A kept crop is 1.75 times as wide as what the network sees of it, so that it can be turned, moved and shrunk.
KEPT_SIZE = 192
KEPT_SCALE = 112 / CROP_SIZE
_BATCH = 64
# The share of people who are never trained on: what the figures are measured on.
_HELD_OUT = 0.06


@dataclass(frozen=True)
class Taught:
    """``crops`` uint8 (N, 192, 192, 3), a face in the middle of each; ``landmarks`` float32 (N, 5, 2) in them;
    ``held_out`` bool (N,): faces of people who are not trained on."""

    crops: np.ndarray
    landmarks: np.ndarray
    held_out: np.ndarray

    @property
    def digest(self) -> str:
        """What tells these faces from those of other photographs."""
        return f"{zlib.crc32(self.landmarks.tobytes()):08x}"


def kept_template() -> np.ndarray:
    """Where a face's points lie in a kept crop: float64 (5, 2)."""
    inner = CROP_SIZE / CROP_WIDTH * KEPT_SCALE
    return template(1).astype(np.float64) * inner + (KEPT_SIZE - inner) / 2


def teach(folders: Sequence[Path], cache: Path, most_of_a_person: int) -> Taught:
    """Find the points of every bare face, or read those that an earlier run kept in the folder ``cache``.

    Raises InputError where there are no faces, or ``cache`` holds those of other photographs.
    """
    files = [file for folder in folders for file in _some_of_each(list_folder(folder).pictures, most_of_a_person)]
    name = f"{zlib.crc32(repr([(file.root.name, file.path, file.stamp) for file in files]).encode()):08x}"
    facts, crops = cache / f"{name}.npz", cache / f"{name}.npy"
    if not (facts.is_file() and crops.is_file()):
        _find(files, crops, facts)
    with np.load(facts) as kept:
        landmarks, held_out = kept["landmarks"], kept["held_out"]
    if not len(landmarks):
        raise InputError(f"no face found in {', '.join(map(str, folders))}; take photographs of bare faces")
    return Taught(np.load(crops, mmap_mode="r")[: len(landmarks)], landmarks, held_out)


def _some_of_each(files: list[SourceFile], most: int) -> list[SourceFile]:
    """At most so many of a person, evenly spread over the person's files."""
    people: dict[str, list[SourceFile]] = {}
    for file in files:
        people.setdefault(file.person, []).append(file)
    return [own[i] for own in people.values() for i in np.linspace(0, len(own) - 1, min(most, len(own))).astype(int)]


def _find(files: list[SourceFile], crops: Path, facts: Path) -> None:
    with writing(crops):
        crops.parent.mkdir(parents=True, exist_ok=True)
        kept = np.lib.format.open_memmap(crops, "w+", np.uint8, (max(len(files), 1), KEPT_SIZE, KEPT_SIZE, 3))
    landmarks, held_out = [], []
    for person, crop, points in tqdm(_bare_faces(files), total=len(files), desc="faces", unit="img"):
        kept[len(landmarks)] = crop
        landmarks.append(points)
        held_out.append(is_held_out(person))
    kept.flush()
    with replace_file(facts) as temporary, temporary.open("wb") as file:
        np.savez(file, landmarks=np.array(landmarks, np.float32).reshape(-1, 5, 2), held_out=np.array(held_out, bool))


def is_held_out(person: str) -> bool:
    """Whether a person's faces are only measured on: by the name, whatever else is in the folder."""
    return zlib.crc32(person.encode()) / 2**32 < _HELD_OUT


def _bare_faces(files: list[SourceFile]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Person, kept crop and landmarks in it of every photograph with a face."""
    detector = FaceDetector()
    for start in range(0, len(files), _BATCH):
        batch, images = [], []
        for file in files[start : start + _BATCH]:
            try:
                images.append(file.read())
                batch.append(file)
            except UnreadableImage:
                continue
        for file, image, found in zip(batch, images, detector(images), strict=True):
            if found is not None:
                matrix = similarity(found.landmarks, kept_template())
                yield file.person, warp(image, matrix, KEPT_SIZE), apply_affine(matrix, found.landmarks)
