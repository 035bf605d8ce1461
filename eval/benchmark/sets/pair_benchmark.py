"""A list of pairs with a network: as it is, and once more with masks on one or both sides."""

from collections.abc import Iterator

from data.alignment.alignment import MaskOrder
from eval.benchmark.contract import AS_LISTED, MASKED_MASKED, PLAIN, PLAIN_MASKED, Result, Work
from eval.benchmark.faces import FaceOptions, masks_checksums
from eval.benchmark.set_pictures import Embedded, EmbeddedSet, SetPictures
from eval.benchmark.sets.pair_figures import pair_result
from eval.benchmark.sets.pair_set import PairSet
from eval.text import counted
from runtime.errors import InputError


class PairBenchmark:
    """A ``BenchmarkSet`` of one list of pairs."""

    def __init__(self, pairs: PairSet) -> None:
        """Raises InputError if not one of its pictures is there."""
        if not pairs.found:
            raise InputError(f"{pairs.place}: none of its pictures is there, such as {pairs.names[0]}; unpack them")
        self.name, self.pairs = pairs.name, pairs
        self.folder = next(iter(pairs.found.values())).root
        self._pictures = SetPictures(pairs.name, pairs.found, len(pairs.names), pairs.aligned)

    def describe(self) -> str:
        pairs, missing = self.pairs, self.pairs.missing
        folds = "in its own ten folds" if pairs.folds is not None else "without folds of its own"
        text = f"{pairs.kind}: {counted(len(pairs.same), 'pair')} of {counted(len(pairs.names), 'picture')}, {folds}"
        return f"{text}; {counted(len(missing), 'picture')} missing, such as {missing[0]}" if missing else text

    def seconds(self, work: Work) -> float:
        return self._pictures.seconds(work, self._options(work))

    def run(self, work: Work) -> list[Result]:
        options = self._options(work)
        embedded = self._pictures.embedded(work, options)
        masks = {}
        if options.orders:
            checksums = masks_checksums(embedded.drawn, work.seed, len(self.pairs.names))
            masks = {"masks": checksums, "seed": work.seed}
        return [
            pair_result(
                self.pairs,
                condition,
                left,
                right,
                masks=order,
                alignment=self._pictures.alignment(work, options, order),
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
        return self._pictures.options(work, twins=self.pairs.plain)
