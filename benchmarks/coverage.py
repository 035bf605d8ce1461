"""How often the 95 % intervals over people hold the truth, on simulated sets of pairs whose truth is known.

    python -m benchmarks.coverage [--quick] [--check] [--json FILE]

Each person of a world has a true embedding, photographs that scatter around it, and a likeness to everybody. A set
draws people, their photographs, and pairs of these, so that pairs share people and photographs: the errors of same
pairs gather at some people, those of different pairs a little, as on real faces. The truth is that of a set of fifty
thousand people. Coverage must be 92 to 98 % for each figure that nine of ten sets of a cell have errors enough for;
the last three cells are no bars and show where people or errors end.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.harness.table import Options, Report, run_command
from eval.metrics.accuracy import deal_folds
from eval.metrics.choose_threshold import best_threshold
from eval.metrics.figures import figures
from eval.metrics.intervals.bootstrap import intervals
from eval.metrics.intervals.spread import Interval
from eval.metrics.intervals.weighted_figures import tar_name

SETS, QUICK_SETS = 1000, 40
LOWEST, HIGHEST = 0.92, 0.98
# A bar needs so many sets that have an interval. Fewer are the unlucky ones, with more errors than they should have.
LEAST_GIVEN = 0.9
# Fewer than the 1,000 of a report: the interval rests on their spread, which 200 show.
RESAMPLES = 200
PAIRS_A_PERSON = 10  # of either kind
PHOTOS = 6
EMBEDDING = 64
# How much the scatter of photographs differs from person to person (the sd of its logarithm), and how much people look
# like everybody. Pairs of photographs of real people (MobileFaceNet, faces of LFW) have a design effect of 2.8 in the
# errors of same pairs and 1.1 in those of different pairs; these worlds have about 3.5 and 1.3.
UNEVEN, COMMON = 0.15, 0.4
# Distances are rounded to this, so that a set has few distinct ones and is quickly resampled. The truth's are, too.
GRAIN = 0.005
RATES = {"1e-1": 0.1, "1e-2": 0.01}
# Accuracy in percent → scatter of the photographs.
NOISE = {92.0: 1.25, 98.5: 0.815, 99.2: 0.72, 99.9: 0.52}
CELLS = [(people, accuracy) for accuracy in (92.0, 98.5, 99.2) for people in (100, 200, 400)]
BEYOND = [(10, 92.0), (30, 98.5), (100, 99.9)]


def main(options: Options) -> int:
    """All cells and the bars."""
    torch.set_num_threads(1)
    report = Report("coverage")
    sets = QUICK_SETS if options.quick else SETS
    worlds = {accuracy: World.of(noise) for accuracy, noise in NOISE.items()}
    held = {}
    for people, accuracy in [*CELLS, *BEYOND]:
        print(f"{sets:,} sets of {people} people at {accuracy} % …", file=sys.stderr, flush=True)
        cell = Cell.of(worlds[accuracy], people, sets)
        add_rows(report, people, accuracy, cell)
        if (people, accuracy) in CELLS:
            held[people, accuracy] = cell.barred()
    add_bars(report, held, sets)
    report.note(
        f"given: share of {sets:,} sets with errors enough for an interval, in %; coverage: in % of these, how many "
        f"intervals hold the truth, a bar where {LEAST_GIVEN:.0%} of the sets have one"
    )
    return report.finish(options)


# ==== worlds ====


@dataclass(frozen=True)
class Pairs:
    """Distances float64 (P,), same bool (P,) and the two people of each pair, int64 (P, 2)."""

    distances: np.ndarray
    same: np.ndarray
    people: np.ndarray


@dataclass(frozen=True)
class World:
    """The scatter of photographs, the threshold that is best for it, and its true figures by name."""

    noise: float
    threshold: float
    truth: Mapping[str, float]

    @classmethod
    def of(cls, noise: float) -> "World":
        """The truth from many sets."""
        rng = np.random.default_rng(1)
        parts = [draw(rng, 500, noise, 2 * PAIRS_A_PERSON) for _ in range(100)]
        distances, same = (np.concatenate([getattr(part, name) for part in parts]) for name in ("distances", "same"))
        threshold = best_threshold(distances, same)
        found = figures(distances, same, np.full(len(same), "all"), threshold)
        return cls(noise, threshold, found | {tar_name(rate): found["tar_at_far"][rate] for rate in RATES})


def draw(rng: np.random.Generator, people: int, noise: float, pairs_a_person: int = PAIRS_A_PERSON) -> Pairs:
    """A set of people with their photographs, and pairs of these: as many same pairs as different ones."""
    faces = photographs(rng, people, noise)
    size = people * pairs_a_person
    one, left, right = rng.integers(people, size=size), *two_of(rng, PHOTOS, size)
    distances = [np.linalg.norm(faces[one, left] - faces[one, right], axis=1)]
    first, second = two_of(rng, people, size)
    left, right = rng.integers(PHOTOS, size=(2, size))
    distances.append(np.linalg.norm(faces[first, left] - faces[second, right], axis=1))
    pairs = np.concatenate([np.stack([one, one], axis=1), np.stack([first, second], axis=1)])
    return Pairs(np.round(np.concatenate(distances) / GRAIN) * GRAIN, np.arange(2 * size) < size, pairs)


def photographs(rng: np.random.Generator, people: int, noise: float) -> np.ndarray:
    """Unit embeddings, float64 (people, photographs, D)."""
    likeness = np.abs(rng.normal(0, COMMON, (people, 1)))
    # Some directions tell people apart better than others, so that some pairs look alike.
    own = rng.normal(size=(people, EMBEDDING - 1)) * np.geomspace(1, 0.15, EMBEDDING - 1)
    faces = unit(np.concatenate([likeness, unit(own)], axis=1))
    scatter = noise * np.exp(rng.normal(0, UNEVEN, (people, 1, 1))) / np.sqrt(EMBEDDING)
    return unit(faces[:, None] + scatter * rng.normal(size=(people, PHOTOS, EMBEDDING)))


def two_of(rng: np.random.Generator, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Two different numbers under ``count``, ``size`` times."""
    first = rng.integers(count, size=size)
    return first, (first + rng.integers(1, count, size=size)) % count


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


# ==== cells ====


@dataclass(frozen=True)
class Cell:
    """By figure: the share of sets that have an interval, and of these the share whose interval holds the truth."""

    given: Mapping[str, float]
    coverage: Mapping[str, float | None]

    def barred(self) -> dict[str, float]:
        """Coverage of the figures that sets enough have."""
        return {name: held for name, held in self.coverage.items() if self.given[name] >= LEAST_GIVEN}

    @classmethod
    def of(cls, world: World, people: int, sets: int) -> "Cell":
        """Draw the sets and their intervals."""
        rng = np.random.default_rng([people, int(1000 * world.noise)])
        found = [intervals_of(draw(rng, people, world.noise), world.threshold, seed) for seed in range(sets)]
        given, coverage = {}, {}
        for name in found[0]:
            ends = [interval for interval in (of_set[name] for of_set in found) if interval]
            given[name] = len(ends) / sets
            held = [low <= world.truth[name] <= high for low, high in ends]
            coverage[name] = float(np.mean(held)) if held else None
        return cls(given, coverage)


def intervals_of(pairs: Pairs, threshold: float, seed: int) -> dict[str, Interval | None]:
    """The interval of each figure of a set."""
    folds = deal_folds(pairs.distances, pairs.same)
    rates = {name: rate for name, rate in RATES.items() if rate * (~pairs.same).sum() >= 10}
    options = {"threshold": threshold, "folds": folds, "rates": rates, "resamples": RESAMPLES, "seed": seed}
    found = intervals(pairs.distances, pairs.same, pairs.people, **options)
    tar = found.pop("tar_at_far")
    return found | {tar_name(rate): tar[rate] for rate in rates}


# ==== rows and bars ====


def add_rows(report: Report, people: int, accuracy: float, cell: Cell) -> None:
    """Two rows: how often an interval is given, and its coverage."""
    for what, shares in {"given": cell.given, "coverage": cell.coverage}.items():
        cells = {name: None if share is None else round(100 * share, 1) for name, share in shares.items()}
        report.add(cell=f"{people} people, {accuracy} %", what=what, **cells)


def add_bars(report: Report, held: Mapping[tuple[int, float], Mapping[str, float]], sets: int) -> None:
    """For each figure: the lowest and the highest coverage of its cells.

    Of few sets coverage is known to a few percent only: the bars of a short run are wider by three standard errors.
    """
    slack = 0 if sets >= SETS else 3 * np.sqrt(0.05 * 0.95 / sets)
    for name in dict.fromkeys(name for of_cell in held.values() for name in of_cell):
        of_cells = {cell: shares[name] for cell, shares in held.items() if name in shares}
        for words, pick, bar, limit in (
            ("lowest", min, report.at_least, LOWEST - slack),
            ("highest", max, report.at_most, HIGHEST + slack),
        ):
            people, accuracy = pick(of_cells, key=of_cells.__getitem__)
            bar(f"{name}: {words} coverage ({people} people, {accuracy} %)", of_cells[people, accuracy], limit)


if __name__ == "__main__":
    run_command(main, Options, __doc__)
