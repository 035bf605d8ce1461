"""A list of pairs with a network: as it is, and once more with masks on one or both sides."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from tqdm import tqdm

from data.alignment.alignment import LANDMARKS, Alignment, MaskOrder
from data.alignment.finder import detector_name
from data.alignment.unaligned import raw_photographs
from data.sources.source_file import SourceFile
from data.tables.images import Images
from eval.benchmark.contract import AS_LISTED, MASKED_MASKED, PLAIN, PLAIN_MASKED, Result, Work
from eval.benchmark.faces import (
    AFTER,
    BEFORE,
    DrawnMask,
    FaceOptions,
    detector_for,
    face_batches,
    faces_of_pictures,
    masks_checksums,
)
from eval.benchmark.pair_figures import pair_result
from eval.benchmark.pair_set import PairSet
from eval.text import counted
from runtime.devices import available_cores
from runtime.errors import InputError

_ORDERS = {"none": (), "before": (BEFORE,), "after": (AFTER,), "both": (BEFORE, AFTER)}
_TRIAL = 4


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


class PairBenchmark:
    """A ``BenchmarkSet`` of one list of pairs."""

    def __init__(self, pairs: PairSet) -> None:
        self.name, self.pairs = pairs.name, pairs
        self._aligned = pairs.aligned

    def describe(self) -> str:
        pairs, missing = self.pairs, self.pairs.missing
        folds = "in its own ten folds" if pairs.folds is not None else "without folds of its own"
        text = f"{pairs.kind}: {counted(len(pairs.same), 'pair')} of {counted(len(pairs.names), 'picture')}, {folds}"
        return f"{text}; {counted(len(missing), 'picture')} missing, such as {missing[0]}" if missing else text

    def seconds(self, work: Work) -> float:
        options, found = self._options(work), self.pairs.found
        embedding = work.network.seconds_a_face * len(found) * (1 + len(options.orders))
        if detector_for(options)() is None:
            return embedding
        start = time.perf_counter()
        faces_of_pictures(dict(islice(found.items(), _TRIAL)), options)
        a_picture = (time.perf_counter() - start) / min(_TRIAL, len(found))
        return embedding + a_picture * len(found) / min(work.processes or available_cores(), len(found))

    def run(self, work: Work) -> list[Result]:
        if not self.pairs.found:
            raise InputError(f"{self.pairs.place}: not one of its pictures is there")
        options = self._options(work)
        if options.aligned and options.crop != "arcface5":
            raise InputError(
                f"{self.name} is aligned to the five points of arcface5, but the network takes {options.crop} crops; "
                "leave it out with --only"
            )
        embedded = self._embed(work, options)
        masks = {"masks": masks_checksums(embedded.drawn), "seed": work.seed} if options.orders else {}
        return [
            pair_result(
                self.pairs,
                condition,
                left,
                right,
                masks=order,
                alignment=self._alignment(work, options, order),
                network=work.network,
                details=masks if order else {},
            )
            for condition, order, left, right in self._sides(embedded)
        ]

    def _sides(self, found: EmbeddedSet) -> Iterator[tuple[str, MaskOrder | None, Embedded, Embedded]]:
        """Each row of the table: condition, when masks were put on, and what either side is."""
        yield (PLAIN if self.pairs.plain else AS_LISTED), None, found.plain, found.plain
        for order, masked in found.masked.items():
            yield PLAIN_MASKED, order, found.plain, masked
            yield MASKED_MASKED, order, masked, masked

    def _options(self, work: Work) -> FaceOptions:
        aligned = self._is_aligned()
        orders = _ORDERS[work.twins] if self.pairs.plain else ()
        # What came aligned keeps its place.
        orders = (AFTER,) if orders and aligned else orders
        network = work.network
        return FaceOptions(network.size, network.crop, aligned, work.detector, orders, work.seed)

    def _is_aligned(self) -> bool:
        """As the set says; if it doesn't, a few of its faces are looked at."""
        if self._aligned is None:
            pictures: list[SourceFile] = list(self.pairs.found.values())
            raw, found, _ = raw_photographs(Images(pictures[0].root, [p.path for p in pictures]), range(len(pictures)))
            self._aligned = bool(found) and 2 * raw <= found
        return self._aligned

    def _alignment(self, work: Work, options: FaceOptions, order: MaskOrder | None) -> Alignment | None:
        """How faces were aligned here; None if they came aligned."""
        return None if options.aligned else Alignment(detector_name(work.detector), LANDMARKS, order or BEFORE)

    def _embed(self, work: Work, options: FaceOptions) -> EmbeddedSet:
        found, missing = self.pairs.found, set(range(len(self.pairs.names)))
        rows = {None: {}, **{order: {} for order in options.orders}}
        lost: dict[MaskOrder | None, dict[int, str]] = {order: {} for order in rows}
        drawn: dict[int, DrawnMask] = {}
        with tqdm(total=len(found), desc=self.name, unit="picture", leave=False) as bar:
            for batch in face_batches(found, options, work.processes):
                for order, faces in {None: batch.plain, **batch.masked}.items():
                    rows[order] |= _rows(work, faces)
                lost[None] |= batch.lost
                for order, reasons in batch.lost_masked.items():
                    lost[order] |= reasons
                drawn |= batch.drawn
                bar.update(len(batch.plain) + len(batch.lost))
        gone = dict.fromkeys(missing - found.keys(), "no file") | lost[None]
        embedded = {order: _embedded(rows[order], gone | lost[order], len(missing)) for order in rows}
        return EmbeddedSet(embedded.pop(None), embedded, drawn)


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
