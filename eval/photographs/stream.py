"""Photographs → their faces with embeddings, a few photographs at a time, so that memory does not grow with them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.alignment.every_face import PlacedFace
from eval.embed import AT_ONCE, Embedder
from eval.text import counted
from runtime.errors import InputError, in_one_line

# Reasons, and names of each, that are written out.
_NAMED = 5


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
    listed = list(files.items())
    with tqdm(total=len(listed), desc="photographs", unit="", leave=False) as bar:
        for start in range(0, len(listed), AT_ONCE):
            for photograph in _embedded(embedder, listed[start : start + AT_ONCE]):
                yield photograph
                bar.update()


def _embedded(embedder: Embedder, files: Sequence[tuple[str, Path]]) -> Iterator[Photograph]:
    opened, problems = {}, {}
    for name, path in files:
        try:
            opened[name] = embedder.open(path)
        except InputError as error:
            problems[name] = str(error).removeprefix(f"{path} ")
    found = dict(zip(opened, embedder.every_face(list(opened.values())), strict=True))
    for name, _ in files:
        if name in problems:
            yield Photograph(name, None, problems[name], [], np.empty((0, 0), np.float32))
        else:
            faces, rows = found[name]
            yield Photograph(name, opened[name].image, "" if faces else "no face found", faces, rows)


@dataclass(frozen=True)
class FoundFace:
    """A face without its pixels: the ``photo`` it is in, its ``box`` there, its shorter side in ``pixels``, and the
    ``remark`` about it."""

    photo: str
    box: np.ndarray
    pixels: float
    remark: str


@dataclass(frozen=True)
class FoundFaces:
    """All ``faces`` of many photographs, their ``embeddings`` float32 (N, D), and why there are none in ``without``, by
    the photograph's name."""

    faces: list[FoundFace]
    embeddings: np.ndarray
    without: dict[str, str]

    def problems(self) -> list[str]:
        """The photographs without a face in a few lines."""
        return in_words(self.without)


def found_faces(embedder: Embedder, files: Mapping[str, Path]) -> FoundFaces:
    """Every face of ``files`` (by name), for what needs all of them at once: memory grows with faces, not pictures."""
    faces, rows, without = [], [], {}
    for photograph in embedded_photographs(embedder, files):
        if not photograph.faces:
            without[photograph.name] = photograph.problem
            continue
        rows.append(photograph.embeddings)
        faces += [FoundFace(photograph.name, face.box, face.side, face.photo.remark) for face in photograph.faces]
    return FoundFaces(faces, np.concatenate(rows) if rows else np.empty((0, 0), np.float32), without)


def in_words(without: Mapping[str, str], thing: str = "photograph") -> list[str]:
    """A line for each reason why photographs, or other things, have no face, with the names of a few."""
    lines = []
    for problem, count in Counter(without.values()).most_common(_NAMED):
        names = [name for name, why in without.items() if why == problem][:_NAMED]
        more = ", …" if count > _NAMED else ""
        lines.append(in_one_line(f"{counted(count, thing)}: {problem} ({', '.join(names)}{more})"))
    return lines
