"""Tested runs, the models that they are seeds of, and the figures and differences of these as tables."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from eval.finished_run import PAIR_FILE, FinishedRun, read_pair_file, read_run_file
from eval.metrics.accuracy import accuracy
from eval.metrics.conditions import parts
from eval.metrics.intervals.bootstrap import LEAST_PEOPLE, resampled_figures
from eval.metrics.intervals.significance import difference, mcnemar
from eval.metrics.intervals.spread import Resamples
from eval.metrics.intervals.weighted_figures import tar_name
from eval.metrics.roc import FALSE_ACCEPT_RATES, auc, curve, eer, tar_at_far
from runtime.errors import InputError
from runtime.kinds import NUMBER, Fields, require, whole

_CURVES: Fields = {"epoch": whole(1), "iou": NUMBER, "loss": NUMBER}


def open_runs(folders: tuple[Path, ...]) -> dict[str, FinishedRun]:
    """Read the runs and bring their test pairs into one order. Raises InputError as ``compare`` does."""
    if len(folders) < 2:
        raise InputError("one run can't be compared; name two run folders or more")
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    if len(set(names)) < len(names):
        raise InputError("a run is named twice; name each run folder once")
    runs = {}
    for name, folder in zip(names, folders, strict=True):
        config, metrics, log = (read_run_file(folder, n) for n in ("config.json", "metrics.json", "log.jsonl"))
        pairs = read_pair_file(folder) if (folder / PAIR_FILE).is_file() else None
        for line in log:  # what the curves show, before anything is written
            require(line, _CURVES, str(folder / "log.jsonl"), "train it again")
        runs[name] = FinishedRun(name, config["settings"], log, metrics, pairs)
    return share_pairs(runs)


def share_pairs(runs: dict[str, FinishedRun]) -> dict[str, FinishedRun]:
    """The runs with their pairs in one order, those alone that all have."""
    shared = _shared_pairs([run.pairs for run in runs.values()])
    return {run.name: dataclasses.replace(run, pairs=frame) for run, frame in zip(runs.values(), shared, strict=True)}


def _shared_pairs(frames: list[pd.DataFrame | None]) -> list[pd.DataFrame] | list[None]:
    """The rows that all runs have, in one order; all None where a run has no pair file, or they share no pair.

    Each list numbers its people anew: the first one's numbers count for all, so that resamples draw the same people.
    """
    if any(frame is None for frame in frames):
        return [None] * len(frames)
    keyed = [frame.set_index(["path", "pair_path", "same"]) for frame in frames]
    shared = keyed[0].index
    for frame in keyed[1:]:
        shared = shared[shared.isin(frame.index)]
    if not len(shared):
        return [None] * len(frames)
    found = [frame.loc[shared].reset_index() for frame in keyed]
    people = found[0][["person", "pair_person"]]
    return [frame.assign(**people) for frame in found]


def model_table(runs: dict[str, FinishedRun], models: dict[str, list[str]]) -> pd.DataFrame:
    """A row for each model and figure: mean and std over its runs, and a single run's interval."""
    rows = []
    for model, names in models.items():
        metrics = [runs[name].metrics for name in names]
        for part in ("all pairs", *metrics[0]["by_condition"]):
            of_part = [m if part == "all pairs" else m["by_condition"].get(part) for m in metrics]
            if None in of_part:
                continue
            for figure in _figures_of(of_part[0]):
                values = [_value(m, figure) for m in of_part]
                known = None not in values
                low, high = (_ends(of_part[0], figure) if len(names) == 1 else None) or (None, None)
                rows.append(
                    {
                        "model": model,
                        "runs": len(names),
                        "pairs": part,
                        "figure": figure,
                        "mean": float(np.mean(values)) if known else None,
                        "std": float(np.std(values, ddof=1)) if known and len(values) > 1 else None,
                        "low": low,
                        "high": high,
                    }
                )
    return pd.DataFrame(rows)


def significance_table(runs: dict[str, FinishedRun], models: dict[str, list[str]]) -> pd.DataFrame:
    """A row for each two models, part of the pairs and figure; empty if the runs share no test pairs."""
    columns = ["first", "second", "pairs", "figure", "difference", "low", "high", "p"]
    columns += ["only_first_right", "only_second_right", "mcnemar_p"]
    pairs = next(iter(runs.values())).pairs
    rows = []
    for part, chosen in {} if pairs is None else parts(pairs["condition"].to_numpy(str)).items():
        samples = {name: resample(run, chosen) for name, run in runs.items()}
        if None in samples.values():
            continue
        for first, second in itertools.combinations(models, 2):
            both = [[samples[name] for name in models[model]] for model in (first, second)]
            rows += [{"first": first, "second": second, "pairs": part, **row} for row in _differences(*both)]
    return pd.DataFrame(rows, columns=columns)


@dataclasses.dataclass(frozen=True)
class Sample:
    """A run on a part of the shared pairs: its results, those of each resample, and which pairs it gets right."""

    figures: dict[str, float]
    resampled: dict[str, Resamples]
    right: np.ndarray


def resample(run: FinishedRun, chosen: np.ndarray) -> Sample | None:
    """The run on the ``chosen`` rows, bool (P,), of its pairs; None with one kind of pairs or too few people."""
    frame = run.pairs[chosen]
    distances, same = frame["distance"].to_numpy(float), frame["same"].to_numpy(bool)
    people, threshold = frame[["person", "pair_person"]].to_numpy(), run.metrics["threshold"]
    if same.all() or not same.any() or len(np.unique(people)) < LEAST_PEOPLE:
        return None
    pairs = curve(distances, same)
    tar = {name: tar_at_far(pairs, rate) for name, rate in FALSE_ACCEPT_RATES.items()}
    rates = {name: FALSE_ACCEPT_RATES[name] for name, value in tar.items() if value is not None}
    figures = {"accuracy": accuracy(distances, same, threshold), "auc": auc(pairs), "eer": eer(pairs)}
    figures |= {tar_name(name): tar[name] for name in rates}
    found = resampled_figures(distances, same, people, threshold=threshold, folds=None, rates=rates)
    return Sample(figures, {name: found[name] for name in figures}, (distances <= threshold) == same)


def _differences(first: list[Sample], second: list[Sample]) -> list[dict]:
    rows = []
    for figure in first[0].figures:
        value = float(np.mean([s.figures[figure] for s in first]) - np.mean([s.figures[figure] for s in second]))
        found = difference(*([s.resampled[figure] for s in model] for model in (first, second)), value)
        low, high = found.interval or (None, None)
        row = {"figure": figure, "difference": found.value, "low": low, "high": high, "p": found.p}
        if figure == "accuracy" and len(first) == len(second) == 1:
            names = ("only_first_right", "only_second_right", "mcnemar_p")
            row |= dict(zip(names, mcnemar(first[0].right, second[0].right), strict=True))
        rows.append(row)
    return rows


def _figures_of(metrics: dict) -> list[str]:
    return ["accuracy", "auc", "eer", "iou", *(tar_name(rate) for rate in metrics["tar_at_far"])]


def _value(metrics: dict, figure: str) -> float | None:
    return metrics["tar_at_far"].get(figure[4:]) if figure.startswith("tar ") else metrics[figure]


def _ends(metrics: dict, figure: str) -> list[float] | None:
    found = metrics.get("intervals") or {}
    return found.get("tar_at_far", {}).get(figure[4:]) if figure.startswith("tar ") else found.get(figure)
