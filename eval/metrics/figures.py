"""All figures of a list of pairs as one dict of plain values, ready for a JSON file."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from eval.metrics.accuracy import FOLDS, accuracy, balanced_accuracy, deal_folds, fold_accuracies, precision_recall_f1
from eval.metrics.conditions import NO_MASKS, condition_names, size_parts
from eval.metrics.distances import checked, iou
from eval.metrics.intervals.bootstrap import intervals, losses_of_accuracy
from eval.metrics.roc import FALSE_ACCEPT_RATES, auc, curve, eer, tar_at_far, threshold_at_far
from runtime.devices import available_cores

# So many pairs are worth a thread for each core: NumPy works on them without the interpreter's lock. Of fewer pairs the
# threads would wait for each other.
_MANY_PAIRS = 100_000


def figures(
    distances: np.ndarray,
    same: np.ndarray,
    condition: np.ndarray | Sequence[str],
    threshold: float | None,
    *,
    people: np.ndarray | None = None,
    masks: np.ndarray | None = None,
    sides: np.ndarray | None = None,
    folds: np.ndarray | None = None,
) -> dict:
    """All figures over all pairs, under "by_condition" for each condition apart, under "by_mask" for each mask, and
    under "by_size" for each part of the sizes.

    ``distances`` float (P,), ``same`` bool (P,), ``condition`` (P,) who wears a mask, or "all" where that is not
    known: ``by_condition`` is empty then. ``threshold`` is applied, never chosen here; without one the figures that
    need it are None. With ``people`` int64 (P, 2), the two people of each pair, each part has "intervals": 95 %
    bootstrap intervals over people, and "losses_against_plain" says what masks cost. ``masks`` str (P, 2) are the
    masks that the two faces wear, "" for none; a pair counts for every mask that one of its faces wears. ``sides``
    float (P, 2) are the sides of the two faces in their photographs, in pixels or NaN; the smaller one counts.
    ``folds`` int (P,), 0 … 9: the list's own, for the 10-fold accuracy of every part that has pairs in all of them.
    Raises InputError on NaN.
    """
    distances, same = checked(distances, same)
    condition = np.asarray(condition)
    if condition.shape != same.shape:
        raise ValueError(f"{len(same)} pairs but {len(condition)} conditions")

    def part(chosen: np.ndarray) -> dict:
        of_part = (None if values is None else values[chosen] for values in (people, folds))
        return _figures(distances[chosen], same[chosen], threshold, *of_part)

    def losses() -> dict:
        if people is None or threshold is None or NO_MASKS not in names:
            return {}
        return losses_of_accuracy(distances, same, condition, people, threshold, NO_MASKS)

    names = condition_names(condition)
    kinds = [] if masks is None else sorted({str(kind) for kind in np.unique(masks)} - {""})
    sizes = {} if sides is None else size_parts(sides)
    with ThreadPoolExecutor(available_cores() if len(same) >= _MANY_PAIRS else 1) as pool:
        of_all = pool.submit(_figures, distances, same, threshold, people, folds)
        lost = pool.submit(losses)
        by_condition = pool.map(part, [condition == name for name in names])
        by_mask = pool.map(part, [(masks == kind).any(axis=1) for kind in kinds])
        by_size = pool.map(part, sizes.values())
    return {
        **of_all.result(),
        "by_condition": dict(zip(names, by_condition, strict=True)),
        "losses_against_plain": lost.result(),
        "by_mask": dict(zip(kinds, by_mask, strict=True)),
        "by_size": dict(zip(sizes, by_size, strict=True)),
    }


def _figures(
    distances: np.ndarray,
    same: np.ndarray,
    threshold: float | None,
    people: np.ndarray | None,
    folds: np.ndarray | None,
) -> dict:
    pairs = curve(distances, same)
    if folds is None or len(np.unique(folds)) < FOLDS:
        folds = deal_folds(distances, same)
    by_fold = None if folds is None else fold_accuracies(distances, same, folds=folds)
    rates = (None, None, None) if threshold is None else precision_recall_f1(distances, same, threshold)
    found = {
        "pairs": len(same),
        "same_pairs": int(same.sum()),
        "different_pairs": int((~same).sum()),
        "threshold": None if threshold is None else float(threshold),
        "accuracy": None if threshold is None else accuracy(distances, same, threshold),
        "balanced_accuracy": None if threshold is None else balanced_accuracy(distances, same, threshold),
        **dict(zip(("precision", "recall", "f1"), rates, strict=True)),
        "fold_accuracy": None if by_fold is None else float(by_fold.mean()),
        "fold_accuracy_std": None if by_fold is None else float(by_fold.std(ddof=1)),
        "auc": auc(pairs),
        "eer": eer(pairs),
        "iou": iou(distances, same),
        "tar_at_far": {name: tar_at_far(pairs, rate) for name, rate in FALSE_ACCEPT_RATES.items()},
        "threshold_at_far": {name: threshold_at_far(pairs, rate) for name, rate in FALSE_ACCEPT_RATES.items()},
    }
    if people is not None:
        given = {name: rate for name, rate in FALSE_ACCEPT_RATES.items() if found["tar_at_far"][name] is not None}
        found["people"] = len(np.unique(people))
        found["intervals"] = intervals(distances, same, people, threshold=threshold, folds=folds, rates=given)
    return found
