"""The pictures of a set with a network: found and aligned, with and without simulated masks, and embedded."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from tqdm import tqdm

from data.alignment.alignment import LANDMARKS, Alignment, MaskOrder
from data.alignment.finder import detector_name
from data.alignment.unaligned import raw_photographs
from data.sources.source_file import SourceFile
from data.tables.images import Images
from eval.benchmark.contract import Work
from eval.benchmark.faces import (
    AFTER,
    BEFORE,
    DrawnMask,
    FaceOptions,
    detector_for,
    face_batches,
    faces_of_pictures,
)
from eval.benchmark.network import FaceNetwork
from eval.text import counted
from runtime.devices import available_cores
from runtime.errors import InputError

_ORDERS = {"none": (), "before": (BEFORE,), "after": (AFTER,), "both": (BEFORE, AFTER)}
_TRIAL = 4
_NAMED = 5


@dataclass
class Embedded:
    """Sums of the network's outputs float32 (N, D), rows of zeros where there is no face, and why there is none."""

    sums: np.ndarray
    lost: dict[int, str] = field(default_factory=dict)


@dataclass
class EmbeddedSet:
    """The faces of a set: ``plain``, ``masked`` by order, and what masks were ``drawn``."""

    plain: Embedded
    masked: dict[MaskOrder, Embedded]
    drawn: dict[int, DrawnMask]


class SetPictures:
    """The pictures of the set ``name``: those that were ``found``, by number, of ``count``.

    ``aligned``: whether the set says that they are aligned to the five points of ArcFace's template; None if it says
    nothing: then a few of them are looked at.
    """

    def __init__(self, name: str, found: Mapping[int, SourceFile], count: int, aligned: bool | None) -> None:
        self.name, self.found, self.count = name, found, count
        self._aligned = aligned

    def options(self, work: Work, twins: bool) -> FaceOptions:
        """How the pictures become faces; with ``twins`` also masked ones, if these are wanted."""
        aligned = self._is_aligned()
        orders = _ORDERS[work.twins] if twins else ()
        # What came aligned keeps its place.
        orders = (AFTER,) if orders and aligned else orders
        return FaceOptions(work.network.size, work.network.crop, aligned, work.detector, orders, work.seed)

    def alignment(self, work: Work, options: FaceOptions, order: MaskOrder | None) -> Alignment | None:
        """How faces were aligned here; None if they came aligned."""
        return None if options.aligned else Alignment(detector_name(work.detector), LANDMARKS, order or BEFORE)

    def seconds(self, work: Work, options: FaceOptions) -> float:
        """About how long ``embedded`` takes."""
        embedding = work.network.seconds_a_face * len(self.found) * (1 + len(options.orders))
        if detector_for(options)() is None:
            return embedding
        start = time.perf_counter()
        faces_of_pictures(dict(islice(self.found.items(), _TRIAL)), options)
        a_picture = (time.perf_counter() - start) / min(_TRIAL, len(self.found))
        return embedding + a_picture * len(self.found) / min(work.processes or available_cores(), len(self.found))

    def embedded(self, work: Work, options: FaceOptions) -> EmbeddedSet:
        """All faces with the network. Raises InputError if the pictures came aligned in another way than it needs."""
        if options.aligned and options.crop != "arcface5":
            raise InputError(
                f"{self.name} is aligned to the five points of arcface5, but the network takes {options.crop} crops; "
                "leave it out with --only"
            )
        rows = {None: {}, **{order: {} for order in options.orders}}
        lost: dict[MaskOrder | None, dict[int, str]] = {order: {} for order in rows}
        drawn: dict[int, DrawnMask] = {}
        with tqdm(total=len(self.found), desc=self.name, unit="picture", leave=False) as bar:
            for batch in face_batches(self.found, options, work.processes):
                for order, faces in {None: batch.plain, **batch.masked}.items():
                    rows[order] |= _rows(work, faces)
                lost[None] |= batch.lost
                for order, reasons in batch.lost_masked.items():
                    lost[order] |= reasons
                drawn |= batch.drawn
                bar.update(len(batch.plain) + len(batch.lost))
        gone = dict.fromkeys(set(range(self.count)) - self.found.keys(), "no file") | lost[None]
        embedded = {order: _embedded(rows[order], gone | lost[order], self.count) for order in rows}
        return EmbeddedSet(embedded.pop(None), embedded, drawn)

    def _is_aligned(self) -> bool:
        if self._aligned is None:
            pictures = list(self.found.values())
            raw, found, _ = raw_photographs(Images(pictures[0].root, [p.path for p in pictures]), range(len(pictures)))
            self._aligned = bool(found) and 2 * raw <= found
        return self._aligned


def _rows(work: Work, faces: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
    if not faces:
        return {}
    return dict(zip(faces, work.network.sums(np.stack(list(faces.values()))), strict=True))


def _embedded(rows: Mapping[int, np.ndarray], lost: dict[int, str], count: int) -> Embedded:
    width = len(next(iter(rows.values()))) if rows else 1
    sums = np.zeros((count, width), np.float32)
    for number, row in rows.items():
        sums[number] = row
    return Embedded(sums, lost)


# ==== sentences for the reader ====


def picture_notes(
    alignment: Alignment | None, lost: Mapping[int, str], names: Sequence[str], network: FaceNetwork
) -> list[str]:
    """Where faces were aligned in another way than the network's training faces, and which were ``lost`` and why."""
    notes = []
    if alignment is not None and not alignment.finds_as(network.alignment):
        trained = network.alignment
        notes.append(
            f"warning: aligned by {alignment.detector}, {alignment.landmarks} landmarks; the network was trained with "
            f"{trained.detector}, {trained.landmarks} landmarks: its accuracy may be lower"
        )
    if lost:
        first = ", ".join(f"{names[n]} ({reason})" for n, reason in list(lost.items())[:_NAMED])
        notes.append(f"{counted(len(lost), 'face')} lost: {first}{', …' if len(lost) > _NAMED else ''}")
    return notes
