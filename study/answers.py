"""What the finished trainings of a question say: figures of each arm over its seeds, and what is more than luck."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from eval.compare import TestedRun, model_table, share_pairs, significance_table
from eval.pair_file import read_pair_file
from eval.report import read_run_file
from eval.two_folds import FIGURES_FILE, PAIRS_FILE
from runtime.files import replace_file

UNTOUCHED = "untouched"
_FIGURES = ("accuracy", "auc", "eer")


@dataclass(frozen=True)
class ArmRuns:
    """An arm's finished run folders, one a seed."""

    name: str
    folders: Sequence[Path]


def write_answer(path: Path, asks: str, arms: Sequence[ArmRuns], untouched: Path) -> None:
    """Write ``path``, a JSON file: no pictures and no paths of pictures, so that it can be published.

    ``arms`` as of the question, the first being what the others are compared with; ``untouched`` is the run folder of
    the imported weights. Each arm's ``errors_removed`` is the share of the untouched network's errors that it does not
    make, by condition.
    """
    runs = share_pairs({folder.name: _tested(folder) for arm in arms for folder in arm.folders})
    models = {arm.name: [folder.name for folder in arm.folders] for arm in arms}
    before = read_run_file(untouched, FIGURES_FILE)
    answer = {
        "asks": asks,
        UNTOUCHED: {name: {key: part[key] for key in _FIGURES} for name, part in _parts(before).items()},
        "pairs": before["pairs"],
        "people": before["people"],
        "arms": [_arm(arm, runs, before) for arm in arms],
        "figures": _records(model_table(runs, models)),
        "differences": _records(significance_table(runs, models)) if len(models) > 1 else [],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary:
        temporary.write_text(json.dumps(answer, indent=1) + "\n")


def _tested(folder: Path) -> TestedRun:
    config, log = read_run_file(folder, "config.json"), read_run_file(folder, "log.jsonl")
    figures, pairs = read_run_file(folder, FIGURES_FILE), read_pair_file(folder, PAIRS_FILE)
    return TestedRun(folder.name, config["settings"], log, figures, pairs)


def _arm(arm: ArmRuns, runs: Mapping[str, TestedRun], before: dict) -> dict:
    own = [runs[folder.name] for folder in arm.folders]
    config = read_run_file(arm.folders[0], "config.json")
    parts = [_parts(run.metrics) for run in own]
    removed = {
        name: [1 - (1 - part[name]["accuracy"]) / (1 - part_before["accuracy"]) for part in parts]
        for name, part_before in _parts(before).items()
        if part_before["accuracy"] < 1
    }
    return {
        "name": arm.name,
        "seeds": [run.settings["seed"] for run in own],
        "images_seen": own[0].log[-1]["images_seen"],
        "minutes": [sum(line["seconds"] + line["evaluation_seconds"] for line in run.log) / 60 for run in own],
        "hardware": ", ".join(config["gpus"]) or f"{config['processor']}, {config['threads']} threads",
        "collapsed": [read_run_file(folder, "metrics.json")["stopped"] for folder in arm.folders],
        "accuracy": {name: [part[name]["accuracy"] for part in parts] for name in parts[0]},
        "by_mask": {
            mask: [run.metrics["by_mask"][mask]["accuracy"] for run in own] for mask in own[0].metrics["by_mask"]
        },
        "errors_removed": removed,
    }


def _parts(figures: dict) -> dict[str, dict]:
    return {"all pairs": figures, **figures["by_condition"]}


def _records(frame: pd.DataFrame) -> list[dict]:
    return json.loads(frame.to_json(orient="records"))
