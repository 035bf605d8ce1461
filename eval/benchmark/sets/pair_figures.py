"""From the embedded faces of a list of pairs to a row of the table."""

from collections.abc import Mapping

import numpy as np

from data.alignment.alignment import Alignment, MaskOrder
from eval.benchmark.contract import AS_LISTED, TEN_FOLDS, Figure, Result
from eval.benchmark.network import FaceNetwork
from eval.benchmark.set_pictures import Embedded, picture_notes
from eval.benchmark.sets.pair_set import PairSet
from eval.benchmark.sets.tar_figures import tar_name
from eval.metrics.accuracy import FOLDS
from eval.metrics.distances import MAX_DISTANCE
from eval.metrics.error_curves import errors_of
from eval.metrics.figures import figures
from eval.metrics.published_folds import published_fold_accuracy, squared_distances
from eval.text import counted
from runtime.errors import InputError


def pair_result(
    pairs: PairSet,
    condition: str,
    left: Embedded,
    right: Embedded,
    *,
    masks: MaskOrder | None,
    alignment: Alignment | None,
    network: FaceNetwork,
    details: dict,
) -> Result:
    """The figures of the pairs that have both faces; the others are counted and their faces named.

    Raises InputError if there is no such pair.
    """
    lost = {**left.lost, **right.lost}
    listed = len(pairs.same) + sum(pairs.left_out.values())
    kept = pairs.part(~(np.isin(pairs.left, list(left.lost)) | np.isin(pairs.right, list(right.lost))))
    if not len(kept.same):
        raise InputError(f"{pairs.name}: not one of its {counted(listed, 'pair')} has two faces; check its pictures")
    rows = np.concatenate([left.sums, right.sums])
    squared = squared_distances(rows, kept.left, kept.right + len(left.sums))
    official, folds = _official(kept, squared)
    found = _own(kept, squared, condition, network.threshold)
    gone = listed - len(kept.same)
    return Result(
        set=pairs.name,
        condition=condition,
        protocol=TEN_FOLDS if pairs.folds is not None else "",
        official=official,
        own=_own_figures(found),
        intervals_over=_over(kept, found),
        alignment="as the pictures came" if alignment is None else alignment.found,
        faces=len(pairs.names),
        lost_faces=len(lost),
        pairs=len(kept.same),
        lost_pairs=gone,
        masks=masks or "",
        not_comparable=f"{gone:,} of {listed:,} pairs are missing" if gone else "",
        notes=_notes(pairs, alignment, masks, lost, network),
        curve=errors_of(pairs.name, np.sqrt(squared), kept.same, None),
        details={**details, "figures": found, "folds": folds, "lost": _named(pairs, lost)},
    )


def _official(kept: PairSet, squared: np.ndarray) -> tuple[list[Figure], dict]:
    if kept.folds is None or len(np.unique(kept.folds)) < FOLDS:
        return [], {}
    found = published_fold_accuracy(squared, kept.same, kept.folds)
    folds = {"accuracies": found.accuracies.tolist(), "squared_thresholds": found.thresholds.tolist()}
    return [Figure("accuracy", found.mean, std=found.std)], folds


def _own(kept: PairSet, squared: np.ndarray, condition: str, threshold: float | None) -> dict:
    distances = np.minimum(np.sqrt(squared), MAX_DISTANCE)
    listed = kept.condition if condition == AS_LISTED else np.full(len(kept.same), condition)
    people = _each_by_itself(kept.same) if kept.people is None else kept.people
    return figures(distances, kept.same, listed, threshold, people=people, folds=kept.folds)


def _each_by_itself(same: np.ndarray) -> np.ndarray:
    """People of pairs, int64 (P, 2), of whom nobody is in two pairs: intervals over them are over pairs."""
    numbers = np.arange(len(same), dtype=np.int64)
    return np.stack([numbers, np.where(same, numbers, numbers + len(same))], axis=1)


def _over(kept: PairSet, found: Mapping) -> str:
    if not found["intervals"]:
        return ""
    return "pairs" if kept.people is None else "people"


def _own_figures(found: Mapping) -> list[Figure]:
    ends = found["intervals"] or {}
    shares = {"10-fold accuracy": "fold_accuracy", "accuracy at the stored threshold": "accuracy"}
    shares |= {"EER": "eer", "AUC": "auc"}
    listed = [
        Figure(name, found[key], found["fold_accuracy_std"] if key == "fold_accuracy" else None, ends.get(key))
        for name, key in shares.items()
    ]
    of_rates, rates = ends.get("tar_at_far", {}), found["tar_at_far"]
    return listed + [Figure(tar_name(rate), rates[rate], None, of_rates.get(rate)) for rate in rates]


def _notes(
    pairs: PairSet, alignment: Alignment | None, masks: MaskOrder | None, lost: Mapping[int, str], network: FaceNetwork
) -> list[str]:
    notes = []
    if masks is not None and alignment is None:
        notes.append("the pictures were already aligned: masks were drawn after alignment, at landmarks found on them")
    notes += picture_notes(alignment, lost, pairs.names, network)
    return notes + [
        f"{counted(count, 'pair')} of the list left out: {reason}" for reason, count in pairs.left_out.items()
    ]


def _named(pairs: PairSet, lost: Mapping[int, str]) -> dict[str, str]:
    return {pairs.names[number]: reason for number, reason in sorted(lost.items())}
