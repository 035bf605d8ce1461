"""IJB-B and IJB-C, 1:1, as InsightFace's evaluation reads them (its test modes N, D and F).

A template's embedding is the sum over its media of their pictures' mean (``eval.metrics.many_pairs.templates``).
Pictures weigh by the length of their embedding before normalising (N1) or all alike (N0), and by the detector's score
(D1) or not (D0); an embedding is the sum of a face's and its mirror's (F1).
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.datasets import ImageLoader
from data.sources.ijb import IjbFiles, IjbLists, find_ijb, read_ijb
from data.tables.images import Images
from data.tables.paths import missing_files
from eval.benchmark.contract import MASKED_MASKED, PLAIN, PLAIN_MASKED, Figure, Result, Work
from eval.benchmark.faces import AFTER, drawn_mask, masks_checksums
from eval.benchmark.sets.tar_figures import drawn_over, tar_figures, tar_name
from eval.metrics.error_curves import errors_along
from eval.metrics.many_pairs.tar_intervals import near_pairs
from eval.metrics.many_pairs.templates import TemplatePairs, people_of_templates, template_embeddings
from eval.metrics.roc import curve, tars_nearest_far
from eval.text import counted
from runtime.devices import loader_workers
from runtime.errors import InputError

RATES = {f"1e-{n}": 10.0**-n for n in range(6, 0, -1)}
ALIGNMENT = "the five landmarks of the set's list, brought to the ArcFace template"
_BATCH = 64
_PEOPLE_UNKNOWN = "no intervals: two templates of a different-person pair are linked by same-person pairs of the list"
# Seconds a picture to read and align, and a pair for all its figures, on a core of 2020.
_READING, _PAIR = 2e-3, 5e-6


def find(folder: Path) -> list["IjbSet"]:
    """The sets whose lists lie in ``folder`` or its ``meta``."""
    return [IjbSet(files) for files in find_ijb(folder)]


class IjbSet:
    """A set of templates, as ``eval.benchmark.contract.BenchmarkSet``."""

    def __init__(self, files: IjbFiles) -> None:
        self.files, self.name, self.folder = files, files.name, files.pictures.parent

    @cached_property
    def lists(self) -> IjbLists:
        """The set's lists; of IJB-C they take ten seconds to read."""
        return read_ijb(self.files)

    def describe(self) -> str:
        """Templates, pictures and pairs, and how many are missing."""
        lists = self.lists
        line = f"{len(lists.same):,} pairs of {lists.templates:,} templates of {len(lists.paths):,} pictures"
        lost = {
            "missing": len(missing_files(self.files.pictures, lists.paths)),
            "pairs name a template without pictures": lists.unknown_pairs,
        }
        return "; ".join([line, *(f"{count:,} {what}" for what, count in lost.items() if count)])

    def seconds(self, work: Work) -> float:
        """About how long ``run`` takes."""
        plain = len(self.lists.paths) * (work.network.seconds_a_face + _READING)
        of_pairs = len(self.lists.same) * _PAIR
        return plain + of_pairs if work.twins == "none" else 2 * plain + 3 * of_pairs

    def run(self, work: Work) -> list[Result]:
        """A result for each of the test modes N1D1F1, N1D0F1, N0D1F1 and N0D0F1."""
        if work.network.crop != "arcface5":
            raise InputError(
                f"{work.network.name} takes {work.network.crop} crops, and {self.name} has landmarks of its faces but "
                "no boxes; leave the set out with --only"
            )
        plain, readable = _embedded(self.files, self.lists, work, None)
        results = evaluate(self.name, self.lists, Sides(PLAIN, "", plain, plain), readable)
        if work.twins != "none":
            masked, _ = _embedded(self.files, self.lists, work, work.seed)
            drawn = {n: drawn_mask(work.seed, n, points) for n, points in enumerate(self.lists.landmarks)}
            details = {"masks": masks_checksums(drawn, work.seed, len(self.lists.landmarks)), "seed": work.seed}
            for sides in (Sides(PLAIN_MASKED, AFTER, plain, masked), Sides(MASKED_MASKED, AFTER, masked, masked)):
                results += evaluate(self.name, self.lists, sides, readable, details)
        return results


@dataclass(frozen=True)
class Sides:
    """The ``condition`` of pairs, when its ``masks`` were put on, and the sums float32 (N, D) of a network's outputs
    for each picture as it is on either side of a pair."""

    condition: str
    masks: str
    left: np.ndarray
    right: np.ndarray


def _embedded(files: IjbFiles, lists: IjbLists, work: Work, mask_seed: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the outputs for each picture, masked if there is a seed, and its mirror, float32 (N, D); and which
    pictures could be read, bool (N,)."""
    loader = ImageLoader(
        Images(files.pictures, lists.paths),
        work.network.size,
        batch_size=_BATCH,
        workers=loader_workers(-1, work.network.device),
        landmarks=lists.landmarks,
        mask_seed=mask_seed,
    )
    sums, start = np.empty((0, 0), np.float32), 0
    title = f"{files.name}: embedding" + ("" if mask_seed is None else ", masked")
    for rows in work.network.sums_of(batch.numpy() for batch in tqdm(loader, desc=title, unit="batch", leave=False)):
        if not start:
            # Of half a million pictures a list of batches and its concatenation are two gigabytes.
            sums = np.empty((len(lists.paths), rows.shape[1]), np.float32)
        sums[start : start + len(rows)] = rows
        start += len(rows)
    return sums, ~np.isin(np.arange(len(sums)), list(loader.unreadable))


def evaluate(
    name: str, lists: IjbLists, sides: Sides, readable: np.ndarray, details: dict | None = None
) -> list[Result]:
    """The results of each test mode; pictures that are not ``readable``, bool (N,), count for nothing.

    Raises InputError if no pair has pictures of both templates.
    """
    if not readable.all():
        lists = replace(lists, **{each: getattr(lists, each)[readable] for each in ("scores", "template", "media")})
        sides = replace(sides, left=sides.left[readable], right=sides.right[readable])
    pictures = np.bincount(lists.template, minlength=lists.templates)
    kept = (pictures[lists.left] > 0) & (pictures[lists.right] > 0)
    if not kept.any():
        raise InputError(f"{name}: not one pair has a readable picture of both templates; copy the pictures again")
    pairs = replace(lists, left=lists.left[kept], right=lists.right[kept], same=lists.same[kept])
    lost_faces, lost_pairs = int((~readable).sum()), int((~kept).sum()) + lists.unknown_pairs
    common = {
        "set": name,
        "condition": sides.condition,
        "masks": sides.masks,
        "alignment": ALIGNMENT,
        "faces": len(readable),
        "lost_faces": lost_faces,
        "pairs": len(pairs.same),
        "lost_pairs": lost_pairs,
        "not_comparable": _losses(lost_faces, lost_pairs),
    }
    return [Result(**common, **found, details=(details or {}) | more) for found, more in _modes(name, pairs, sides)]


def _losses(faces: int, pairs: int) -> str:
    lost = [counted(count, what) for count, what in ((faces, "picture"), (pairs, "pair")) if count]
    return f"{' and '.join(lost)} of the set are missing" if lost else ""


def _modes(name: str, lists: IjbLists, sides: Sides) -> Iterator[tuple[dict, dict]]:
    """What a Result of each test mode has of its own, and its details."""
    pairs = TemplatePairs(lists.left, lists.right, lists.templates)
    person = people_of_templates(lists.left, lists.right, lists.same, lists.templates)
    people = None if person is None else person[np.stack([lists.left, lists.right], axis=1)]
    for by_length, by_score in ((True, True), (True, False), (False, True), (False, False)):
        mode = f"N{by_length:d}D{by_score:d}F1"
        start = time.perf_counter()
        left = _templates(lists, sides.left, by_length, by_score)
        right = left if sides.right is sides.left else _templates(lists, sides.right, by_length, by_score)
        blocks = tqdm(list(pairs.blocks()), desc=f"{name}, {sides.condition}: {mode}", unit="block", leave=False)
        yield _figures(mode, pairs.distances(left, right, blocks), lists.same, people, start)


def _templates(lists: IjbLists, sums: np.ndarray, by_length: bool, by_score: bool) -> np.ndarray:
    """Unit rows float64 (T, D) of one test mode."""
    weights = lists.scores.astype(np.float64) if by_score else np.ones(len(sums))
    if not by_length:
        lengths = np.sqrt(np.einsum("nd,nd->n", sums, sums, dtype=np.float64))
        weights /= np.where(lengths > 0, lengths, 1)
    return template_embeddings(sums, weights, lists.template, lists.media, lists.templates)


def _figures(
    mode: str, distances: np.ndarray, same: np.ndarray, people: np.ndarray | None, start: float
) -> tuple[dict, dict]:
    """Official and own figures of one test mode; and the time that they took since ``start``, when its work began."""
    pairs = curve(distances, same)
    official = tars_nearest_far(pairs, RATES)
    seconds = {"figures": time.perf_counter() - start}
    near = None if people is None else partial(near_pairs, distances, same, people)
    own = tar_figures(pairs, RATES, near)
    seconds["intervals"] = time.perf_counter() - start - seconds["figures"]
    return {
        "protocol": f"IJB 1:1 {mode}",
        "official": [Figure(tar_name(rate), tar) for rate, tar in official.items()],
        "own": own,
        "intervals_over": drawn_over(own),
        "curve": errors_along(mode, pairs, None),
        "notes": [_PEOPLE_UNKNOWN] * (people is None),
    }, {"same_pairs": int(same.sum()), "different_pairs": int((~same).sum()), "seconds": seconds}
