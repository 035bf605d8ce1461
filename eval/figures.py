"""All figures of a list of pairs as one dict of plain values, ready for a JSON file."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from eval import verification as v
from eval.bootstrap import intervals, losses_of_accuracy
from eval.conditions import NO_MASKS, condition_names
from runtime.cores import available_cores

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
) -> dict:
    """All figures over all pairs, under "by_condition" for each condition apart, and under "by_mask" for each mask.

    ``distances`` float (P,), ``same`` bool (P,), ``condition`` (P,) who wears a mask, or "all" where that is not
    known: ``by_condition`` is empty then. ``threshold`` is applied, never chosen here; without one the figures that
    need it are None. With ``people`` int64 (P, 2), the two people of each pair, each part has "intervals": 95 %
    bootstrap intervals over people, and "losses_against_plain" says what masks cost. ``masks`` str (P, 2) are the
    masks that the two faces wear, "" for none; a pair counts for every mask that one of its faces wears.
    Raises InputError on NaN.
    """
    distances, same = v.checked(distances, same)
    condition = np.asarray(condition)
    if condition.shape != same.shape:
        raise ValueError(f"{len(same)} pairs but {len(condition)} conditions")

    def part(chosen: np.ndarray) -> dict:
        return _figures(distances[chosen], same[chosen], threshold, None if people is None else people[chosen])

    def losses() -> dict:
        if people is None or threshold is None or NO_MASKS not in names:
            return {}
        return losses_of_accuracy(distances, same, condition, people, threshold, NO_MASKS)

    names = condition_names(condition)
    kinds = [] if masks is None else sorted({str(kind) for kind in np.unique(masks)} - {""})
    with ThreadPoolExecutor(available_cores() if len(same) >= _MANY_PAIRS else 1) as pool:
        of_all = pool.submit(_figures, distances, same, threshold, people)
        lost = pool.submit(losses)
        by_condition = pool.map(part, [condition == name for name in names])
        by_mask = pool.map(part, [(masks == kind).any(axis=1) for kind in kinds])
    return {
        **of_all.result(),
        "by_condition": dict(zip(names, by_condition, strict=True)),
        "losses_against_plain": lost.result(),
        "by_mask": dict(zip(kinds, by_mask, strict=True)),
    }


def _figures(distances: np.ndarray, same: np.ndarray, threshold: float | None, people: np.ndarray | None) -> dict:
    pairs = v.curve(distances, same)
    folds = v.fold_accuracies(distances, same)
    judged = (None, None, None) if threshold is None else v.precision_recall_f1(distances, same, threshold)
    found = {
        "pairs": len(same),
        "same_pairs": int(same.sum()),
        "different_pairs": int((~same).sum()),
        "threshold": None if threshold is None else float(threshold),
        "accuracy": None if threshold is None else v.accuracy(distances, same, threshold),
        "balanced_accuracy": None if threshold is None else v.balanced_accuracy(distances, same, threshold),
        **dict(zip(("precision", "recall", "f1"), judged, strict=True)),
        "fold_accuracy": None if folds is None else float(folds.mean()),
        "fold_accuracy_std": None if folds is None else float(folds.std(ddof=1)),
        "auc": v.auc(pairs),
        "eer": v.eer(pairs),
        "iou": v.iou(distances, same),
        "tar_at_far": {name: v.tar_at_far(pairs, rate) for name, rate in v.FALSE_ACCEPT_RATES.items()},
        "threshold_at_far": {name: v.threshold_at_far(pairs, rate) for name, rate in v.FALSE_ACCEPT_RATES.items()},
    }
    if people is not None:
        given = {name: rate for name, rate in v.FALSE_ACCEPT_RATES.items() if found["tar_at_far"][name] is not None}
        found["people"] = len(np.unique(people))
        found["intervals"] = intervals(
            distances, same, people, threshold=threshold, folds=v.deal_folds(distances, same), rates=given
        )
    return found
