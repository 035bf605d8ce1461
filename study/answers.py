"""What the finished trainings of a question say: figures of each arm over its seeds, and what is more than luck."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from eval.bootstrap import interval
from eval.compare import TestedRun, model_table, resample, share_pairs, significance_table
from eval.conditions import parts
from eval.pair_file import read_pair_file
from eval.report import read_run_file
from eval.significance import mean_of_drawn_runs
from eval.two_folds import FIGURES_FILE, PAIRS_FILE
from runtime.files import replace_file

UNTOUCHED = "untouched"
_FIGURES = ("accuracy", "fold_accuracy", "auc", "eer")


@dataclasses.dataclass(frozen=True)
class ArmRuns:
    """An arm's finished run folders, one a seed."""

    name: str
    folders: Sequence[Path]


def write_answer(path: Path, asks: str, arms: Sequence[ArmRuns], untouched: Path) -> None:
    """Write ``path``, a JSON file: no pictures and no paths of pictures, so that it can be published.

    ``arms`` as of the question, the first being what the others are compared with; ``untouched`` is the run folder of
    the imported weights.
    """
    runs = share_pairs({run.name: run for run in (_tested(untouched), *map(_trained, _folders(arms)))})
    models = {arm.name: [folder.name for folder in arm.folders] for arm in arms}
    before = runs.pop(untouched.name)
    answer = {
        "asks": asks,
        UNTOUCHED: {name: {key: part[key] for key in _FIGURES} for name, part in _parts(before.metrics).items()},
        "by_mask": {mask: part["accuracy"] for mask, part in before.metrics["by_mask"].items()},
        "pairs": before.metrics["pairs"],
        "people": before.metrics["people"],
        "arms": [_arm(arm, runs, before) for arm in arms],
        "figures": _records(model_table(runs, models)),
        "differences": _records(significance_table(runs, models)) if len(models) > 1 else [],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary:
        temporary.write_text(json.dumps(answer, indent=1) + "\n")


def _folders(arms: Sequence[ArmRuns]) -> list[Path]:
    return [folder for arm in arms for folder in arm.folders]


def _tested(folder: Path) -> TestedRun:
    """Imported weights: they have neither settings nor a log."""
    return TestedRun(folder.name, {}, [], read_run_file(folder, FIGURES_FILE), read_pair_file(folder, PAIRS_FILE))


def _trained(folder: Path) -> TestedRun:
    settings, log = read_run_file(folder, "config.json")["settings"], read_run_file(folder, "log.jsonl")
    return dataclasses.replace(_tested(folder), settings=settings, log=log)


def _arm(arm: ArmRuns, runs: Mapping[str, TestedRun], before: TestedRun) -> dict:
    own = [runs[folder.name] for folder in arm.folders]
    config = read_run_file(arm.folders[0], "config.json")
    of_parts = [_parts(run.metrics) for run in own]
    return {
        "name": arm.name,
        "seeds": [run.settings["seed"] for run in own],
        "images_seen": own[0].log[-1]["images_seen"],
        "minutes": [sum(line["seconds"] + line["evaluation_seconds"] for line in run.log) / 60 for run in own],
        "hardware": ", ".join(config["gpus"]) or f"{config['processor']}, {config['threads']} threads",
        "collapsed": [read_run_file(folder, "metrics.json")["stopped"] for folder in arm.folders],
        "accuracy": {name: [part[name]["accuracy"] for part in of_parts] for name in of_parts[0]},
        "fold_accuracy": {name: [part[name]["fold_accuracy"] for part in of_parts] for name in of_parts[0]},
        "by_mask": {
            mask: [run.metrics["by_mask"][mask]["accuracy"] for run in own] for mask in own[0].metrics["by_mask"]
        },
        "errors_removed": errors_removed(own, before),
    }


def errors_removed(runs: Sequence[TestedRun], before: TestedRun) -> dict[str, dict]:
    """What share of the errors of ``before`` the runs (seeds of one model) don't make: of all pairs and each condition.

    All have the same pairs in the same order. ``seeds``: the share of each run; ``mean``, and the ``interval`` that
    holds it with 95 %, over people and seeds as ``eval.significance`` draws them. A condition is left out where
    ``before`` makes no error.
    """
    found = {}
    for name, chosen in parts(before.pairs["condition"].to_numpy(str)).items():
        first, *own = (resample(run, chosen) for run in (before, *runs))
        if first is None or first.figures["accuracy"] == 1:
            continue
        shares = [1 - (1 - sample.figures["accuracy"]) / (1 - first.figures["accuracy"]) for sample in own]
        accuracy = mean_of_drawn_runs(
            np.stack([sample.resampled["accuracy"] for sample in own]), np.random.default_rng(0)
        )
        errors_before = 1 - first.resampled["accuracy"]
        drawn = 1 - (1 - accuracy) / np.where(errors_before > 0, errors_before, np.nan)
        found[name] = {"seeds": shares, "mean": float(np.mean(shares)), "interval": interval(drawn)}
    return found


def _parts(figures: dict) -> dict[str, dict]:
    return {"all pairs": figures, **figures["by_condition"]}


def _records(frame: pd.DataFrame) -> list[dict]:
    return json.loads(frame.to_json(orient="records"))
