"""Photographs → their faces with embeddings, a few photographs at a time, so that memory does not grow with them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.alignment.every_face import PlacedFace
from eval.embed import Embedder
from runtime.errors import InputError

# Photographs held in memory at once: enough faces for a batch of the network's, yet no gigabyte of large pictures.
_AT_ONCE = 8


@dataclass(frozen=True)
class Photograph:
    """``name``; ``image`` uint8 (H, W, 3) RGB, None where it could not be read, and ``problem``, why; its ``faces`` and
    their ``embeddings``, float32 (F, D), unit rows."""

    name: str
    image: np.ndarray | None
    problem: str
    faces: list[PlacedFace]
    embeddings: np.ndarray


def embedded_photographs(embedder: Embedder, files: Mapping[str, Path]) -> Iterator[Photograph]:
    """Every photograph of ``files`` (by name), in their order, those that can't be read or show no face, too."""
    waiting: list[Photograph] = []
    for name, path in tqdm(files.items(), desc="photographs", unit="", leave=False):
        waiting.append(_read(embedder, name, path))
        if len(waiting) == _AT_ONCE:
            yield from _embedded(embedder, waiting)
            waiting = []
    yield from _embedded(embedder, waiting)


def _read(embedder: Embedder, name: str, path: Path) -> Photograph:
    try:
        image, faces = embedder.every_face(path)
    except InputError as error:
        return Photograph(name, None, str(error).removeprefix(f"{path} "), [], np.empty((0, 0), np.float32))
    return Photograph(name, image, "" if faces else "no face found", faces, np.empty((0, 0), np.float32))


def _embedded(embedder: Embedder, photographs: list[Photograph]) -> Iterator[Photograph]:
    """The same with the embeddings of all their faces, which go through the network together."""
    aligned = [face.photo.image for each in photographs for face in each.faces]
    if not aligned:
        yield from photographs
        return
    rows, start = embedder.embed_aligned(np.stack(aligned)), 0
    for each in photographs:
        end = start + len(each.faces)
        yield Photograph(each.name, each.image, each.problem, each.faces, rows[start:end])
        start = end
