"""The answer to a question from its finished runs: results of each arm over its seeds, and their differences."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from eval.compare.differences import model_table, resample, share_pairs, significance_table
from eval.finished_run import FinishedRun, read_pair_file, read_run_file
from eval.metrics.conditions import parts
from eval.metrics.intervals.significance import mean_of_drawn_runs
from eval.metrics.intervals.spread import Resamples, interval_of_difference
from eval.text import counted
from eval.two_folds.halves import FIGURES_FILE, PAIRS_FILE
from runtime.errors import InputError
from runtime.files import write_json
from runtime.run_folder import read_ended
from study.distances import read_distances

# Where the answers lie, in the folder of the results.
ANSWERS = Path("published/study")
# Ending of the file of study.means.
MEANS = "_means"
UNTOUCHED, UNTOUCHED_MIRRORED = "untouched", "untouched_mirrored"
_FIGURES = ("accuracy", "fold_accuracy", "auc", "eer")


def seeds_of(folder: Path, arm: str) -> list[int]:
    """The seeds of the arm's runs in a folder of run folders or of published files, in order."""
    endings = (path.name.removeprefix(f"{arm}_s") for path in folder.glob(f"{arm}_s*"))
    return sorted(int(ending) for ending in endings if ending.isdecimal())


@dataclasses.dataclass(frozen=True)
class ArmRuns:
    """An arm's finished run folders, one per seed, or what was published of them; ``untested`` are those that collapsed
    in their first epoch."""

    name: str
    folders: Sequence[Path]
    untested: Sequence[Path] = ()


def write_answer(
    path: Path, asks: str, arms: Sequence[ArmRuns], untouched: Path, chosen: tuple[str, str] | None = None
) -> None:
    """Write ``path``, a JSON file: no pictures and no paths of pictures, so that it can be published.

    ``arms`` as of the question, the first being the baseline; ``untouched`` is the run folder of
    the imported weights; ``chosen`` as of the question: it is left out if one of the two was not tested. Raises
    InputError if an arm was tested on other faces, or none was tested.
    """
    if not _folders(arms):
        raise InputError(f"{path.stem}: all runs collapsed in their first epoch, so there is nothing to compare")
    own = tested_run(untouched, read_pair_file(untouched, PAIRS_FILE))
    runs = share_pairs({run.name: run for run in (own, *(_trained(folder, own.pairs) for folder in _folders(arms)))})
    models = {arm.name: [folder.name for folder in arm.folders] for arm in arms if arm.folders}
    before = runs.pop(untouched.name)
    answer = {
        "asks": asks,
        UNTOUCHED: {
            name: {key: part[key] for key in _FIGURES} for name, part in figures_by_part(before.metrics).items()
        },
        "by_mask": {mask: part["accuracy"] for mask, part in before.metrics["by_mask"].items()},
        "pairs": before.metrics["pairs"],
        "people": before.metrics["people"],
        "arms": [_arm(arm, runs, before) if arm.folders else _untested_arm(arm) for arm in arms],
        "lowest_iou": [_lowest_iou(models, runs, half) for half in (0, 1)],
        "chosen": chosen and _chosen_crosswise(chosen, _with_the_same_seeds(chosen, models, runs), before),
        "figures": _records(model_table(runs, models)),
        "differences": _records(significance_table(runs, models)) if len(models) > 1 else [],
    }
    write_json(path, answer, indent=None)


def read_answer(answers: Path, question: str, *, means: bool = False) -> dict:
    """The answer that ``write_answer`` wrote, or study.means. Raises InputError if it is missing."""
    path = answers / f"{question}{MEANS if means else ''}.json"
    if not path.is_file():
        raise InputError(f"{path} is missing: run python -m study.{'means' if means else 'run'} {question} first")
    return json.loads(path.read_text())


def _folders(arms: Sequence[ArmRuns]) -> list[Path]:
    return [folder for arm in arms for folder in arm.folders]


def tested_run(folder: Path, pairs: pd.DataFrame) -> FinishedRun:
    """A run of two_folds.json and its pairs alone: imported weights and means have neither settings nor a log."""
    return FinishedRun(folder.name, {}, [], read_run_file(folder, FIGURES_FILE), pairs)


def _trained(folder: Path, untouched: pd.DataFrame) -> FinishedRun:
    """A run from its run folder or its published files, whose distances are those of the pairs of ``untouched``."""
    whole = (folder / PAIRS_FILE).is_file()
    pairs = read_pair_file(folder, PAIRS_FILE) if whole else read_distances(folder, untouched)
    settings, log = read_run_file(folder, "config.json")["settings"], read_run_file(folder, "log.jsonl")
    return dataclasses.replace(tested_run(folder, pairs), settings=settings, log=log)


def _arm(arm: ArmRuns, runs: Mapping[str, FinishedRun], before: FinishedRun) -> dict:
    own = [runs[folder.name] for folder in arm.folders]
    of_parts = [figures_by_part(run.metrics) for run in own]
    return {
        "name": arm.name,
        "seeds": [run.settings["seed"] for run in own] + _seeds(arm.untested),
        "images_seen": own[0].log[-1]["images_seen"],
        "minutes": [sum(line["seconds"] + line["evaluation_seconds"] for line in run.log) / 60 for run in own],
        "hardware": [_hardware(read_run_file(folder, "config.json")) for folder in arm.folders],
        "collapsed": [read_ended(folder) for folder in (*arm.folders, *arm.untested)],
        "accuracy": {name: [part[name]["accuracy"] for part in of_parts] for name in of_parts[0]},
        "fold_accuracy": {name: [part[name]["fold_accuracy"] for part in of_parts] for name in of_parts[0]},
        "by_mask": {
            mask: [run.metrics["by_mask"][mask]["accuracy"] for run in own] for mask in own[0].metrics["by_mask"]
        },
        "errors_removed": errors_removed(own, before),
    }


def _untested_arm(arm: ArmRuns) -> dict:
    """An arm of which no seed finished an epoch."""
    return {
        "name": arm.name,
        "seeds": _seeds(arm.untested),
        "images_seen": None,
        "minutes": [],
        "hardware": [],
        "collapsed": [read_ended(folder) for folder in arm.untested],
        "accuracy": {},
        "by_mask": {},
        "errors_removed": {},
    }


def _seeds(folders: Sequence[Path]) -> list[int]:
    return [read_run_file(folder, "config.json")["settings"]["seed"] for folder in folders]


def _hardware(config: dict) -> str:
    return ", ".join(config["gpus"]) or f"{config['processor']}, {counted(config['threads'], 'thread')}"


def _lowest_iou(models: Mapping[str, Sequence[str]], runs: Mapping[str, FinishedRun], half: int) -> str:
    """The arm with the lowest mean IOU on a half, each run at the epoch that the other half chose."""
    return min(models, key=lambda arm: np.mean([runs[name].metrics["folds"][half]["iou"] for name in models[arm]]))


def _with_the_same_seeds(
    chosen: tuple[str, str], models: Mapping[str, Sequence[str]], runs: Mapping[str, FinishedRun]
) -> list[tuple[FinishedRun, FinishedRun]]:
    """Runs of the one and of the other chosen arm, a seed of both at a time."""
    of_first, of_second = ({runs[n].settings["seed"]: runs[n] for n in models.get(name, ())} for name in chosen)
    return [(run, of_second[seed]) for seed, run in of_first.items() if seed in of_second]


def _chosen_crosswise(
    arms: tuple[str, str], runs: Sequence[tuple[FinishedRun, FinishedRun]], before: FinishedRun
) -> dict | None:
    """The results of arms on the half they were not selected on: the first's choice on the second, and vice versa."""
    if not runs:
        return None
    both = [crossed(*two) for two in runs]
    conditions = parts(before.pairs["condition"].to_numpy(str))
    samples = {name: [resample(run, rows) for run in both] for name, rows in conditions.items()}
    return {
        "arms": list(arms),
        "accuracy": {name: [sample.figures["accuracy"] for sample in of_part] for name, of_part in samples.items()},
        "errors_removed": errors_removed(both, before),
    }


def crossed(of_first: FinishedRun, of_second: FinishedRun) -> FinishedRun:
    """The pairs of the first half with the distances of ``of_second``, and vice versa; the threshold is 1.

    So each half is tested with the network that was selected on the other.
    """
    in_first = np.arange(len(of_first.pairs)) < of_first.metrics["folds"][0]["pairs"]
    distances = (run.pairs["distance"] / run.metrics["threshold"] for run in (of_second, of_first))
    pairs = of_first.pairs.assign(distance=np.where(in_first, *distances))
    return dataclasses.replace(of_first, metrics={"threshold": 1.0}, pairs=pairs)


def errors_removed(runs: Sequence[FinishedRun], before: FinishedRun) -> dict[str, dict]:
    """The share of the errors of ``before`` that the runs (seeds of one model) avoid, over all pairs and by condition.

    All have the same pairs in the same order. ``seeds``: the share of each run; ``mean``, and the ``interval`` that
    holds it with 95 %, over people and seeds as ``intervals.significance`` draws them. A condition is left out if
    ``before`` makes no error.
    """
    found = {}
    for name, chosen in parts(before.pairs["condition"].to_numpy(str)).items():
        first, *own = (resample(run, chosen) for run in (before, *runs))
        if first is None or first.figures["accuracy"] == 1:
            continue
        shares = [1 - (1 - sample.figures["accuracy"]) / (1 - first.figures["accuracy"]) for sample in own]
        accuracy = mean_of_drawn_runs([sample.resampled["accuracy"] for sample in own], np.random.default_rng(0))
        removed = _share_removed(accuracy, first.resampled["accuracy"])
        found[name] = {"seeds": shares, "mean": float(np.mean(shares)), "interval": interval_of_difference(removed)}
    return found


def _share_removed(accuracy: Resamples, before: Resamples) -> Resamples:
    """1 − errors / errors before, with the spread of a ratio (Cochran 1977, 6.4): few resampled errors before do not
    make it grow beyond all bounds."""
    errors = 1 - before.value
    left = (1 - accuracy.value) / errors

    def removed(now: np.ndarray, earlier: np.ndarray) -> np.ndarray:
        return 1 - left - ((1 - now) - left * (1 - earlier)) / errors

    by_people = removed(accuracy.by_people, before.by_people)
    return Resamples(1 - left, by_people, removed(accuracy.by_pairs, before.by_pairs), before.people)


def figures_by_part(figures: dict) -> dict[str, dict]:
    """ "all pairs" or a condition → its figures."""
    return {"all pairs": figures, **figures["by_condition"]}


def _records(frame: pd.DataFrame) -> list[dict]:
    return json.loads(frame.to_json(orient="records"))
