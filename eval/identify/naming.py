"""Who is nearest to a face, and is that near enough? NumPy only. F faces, G enrolled people, D dimensions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from eval.metrics.distances import distances_of_cosines

UNKNOWN = "unknown"
# Distances held in memory at once.
_BLOCK = 8_000_000


@dataclass(frozen=True)
class NamedFace:
    """``name``: an enrolled person's, or UNKNOWN; ``distance`` to the ``nearest`` person, accepted or not; ``remark``:
    reasons for doubt, or empty."""

    name: str
    distance: float
    nearest: str
    remark: str


@dataclass(frozen=True)
class Namer:
    """Names faces after the enrolled ``people``, whose ``templates`` are (G, D). A face stays unknown above
    the distance ``threshold``, or if its shorter side has fewer pixels than ``least_face``."""

    people: Sequence[str]
    templates: np.ndarray
    threshold: float
    least_face: int

    def name(
        self,
        embeddings: np.ndarray,
        pixels: Sequence[float],
        remarks: Sequence[str],
        *,
        another: str = "another face of this picture",
        together: Callable[[int, int], bool] = lambda one, other: True,
    ) -> list[NamedFace]:
        """Name F faces by their ``embeddings`` (F, D), shorter sides in ``pixels`` and ``remarks``. ``together`` is as
        in ``accept``; ``another`` is what a remark calls a face seen together with this one."""
        rows, distances = nearest_people(embeddings, self.templates)
        large = np.asarray(pixels) >= self.least_face
        accepted = accept(rows, np.where(large, distances, np.inf), self.threshold, together)
        found = []
        for face, (nearest, distance) in enumerate(zip((self.people[row] for row in rows), distances, strict=True)):
            said = [remarks[face]]
            if not large[face]:
                said.append(f"smaller than {self.least_face} pixels")
            elif not accepted[face] and distance <= self.threshold:
                said.append(f"{another} is nearer to {nearest}")
            name = nearest if accepted[face] else UNKNOWN
            found.append(NamedFace(name, float(distance), nearest, "; ".join(filter(None, said))))
        return found


def nearest_people(embeddings: np.ndarray, templates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of ``templates`` (G, D) to each of ``embeddings`` (F, D), all unit rows: its row, int (F,), and L2
    distance, float64 (F,); a tie goes to the first."""
    rows, cosines = np.zeros(len(embeddings), int), np.zeros(len(embeddings))
    step = max(1, _BLOCK // len(templates))
    for start in range(0, len(embeddings), step):
        block = embeddings[start : start + step] @ templates.T
        best = block.argmax(axis=1)
        rows[start : start + step], cosines[start : start + step] = best, block[np.arange(len(block)), best]
    # Float32 is too coarse for the distance of near vectors; the one pair of each face is computed again.
    difference = embeddings.astype(np.float64) - templates[rows]
    return rows, np.sqrt((difference * difference).sum(axis=1))


def accept(
    rows: np.ndarray,
    distances: np.ndarray,
    threshold: float,
    together: Callable[[int, int], bool] = lambda one, other: True,
) -> np.ndarray:
    """Which faces are who they are nearest to, bool (F,): within ``threshold``, and no nearer face of that person is
    seen ``together`` with it, as nobody is in a picture twice. The faces of one photograph all are."""
    accepted = np.zeros(len(rows), bool)
    faces_of: dict[int, list[int]] = {}
    for face in np.argsort(distances, kind="stable").tolist():
        if distances[face] > threshold:
            break
        others = faces_of.setdefault(int(rows[face]), [])
        accepted[face] = not any(together(face, other) for other in others)
        if accepted[face]:
            others.append(face)
    return accepted


def look_alikes(templates: np.ndarray, threshold: float) -> tuple[int, tuple[int, int, float] | None]:
    """How many pairs of enrolled people are within ``threshold`` of each other, and the nearest two with their
    distance, None if there is no such pair. ``templates`` (G, D), unit rows."""
    least = 1 - threshold**2 / 2
    count, nearest, best = 0, None, -2.0
    step = max(1, _BLOCK // max(len(templates), 1))
    for start in range(0, len(templates), step):
        cosines = templates[start : start + step] @ templates.T
        # Each pair once: the later of the two in the row.
        cosines[np.tri(*cosines.shape, start, dtype=bool)] = -2
        count += int((cosines >= least).sum())
        row, column = np.unravel_index(cosines.argmax(), cosines.shape)
        if cosines[row, column] > best:
            best, nearest = float(cosines[row, column]), (start + int(row), int(column))
    if not count:
        return 0, None
    return count, (*nearest, float(distances_of_cosines(np.array(best))))
