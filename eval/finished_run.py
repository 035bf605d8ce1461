"""What the folder of a tested run holds, for reports, comparisons and tables: settings, log, metrics, test pairs.

``test_pairs.csv`` has the distance of every test pair. Columns: path, pair_path, same (0 or 1), condition, person and
pair_person (numbers, equal for a same pair), distance. It names faces, so it stays in the run folder and is never
published.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from eval.metrics.evaluation import Evaluation
from runtime.errors import InputError
from runtime.files import write_file

PAIR_FILE = "test_pairs.csv"
_COLUMNS = ["path", "pair_path", "same", "condition", "person", "pair_person", "distance"]


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """What a run folder holds; ``pairs`` are test pairs as ``read_pair_file`` gives them, or None."""

    name: str
    settings: dict
    log: list[dict]
    metrics: dict
    pairs: pd.DataFrame | None


def read_run_file(run: Path, name: str) -> dict | list[dict]:
    """config.json, metrics.json (dicts) or log.jsonl (a dict per epoch). Raises InputError where it is not there."""
    try:
        text = (run / name).read_text()
        return [json.loads(line) for line in text.splitlines()] if name.endswith("l") else json.loads(text)
    except OSError:
        raise InputError(f"{run} has no {name}: it is no run folder, or the run was not tested yet") from None
    except ValueError as error:
        raise InputError(f"{run / name} is damaged ({error}); train the run again") from None


_MARGINS = {"arcface": "ArcFace", "cosface": "CosFace"}


def objective_name(settings: Mapping) -> str:
    """The objective of a run's settings in words: "ArcFace + focal", "semi-hard triplets + teacher", "teacher alone".

    A setting that an old run lacks counts as it was before there was a choice.
    """
    share = settings.get("teacher_share", 0.5) if settings.get("teacher") else 0
    if share == 1:
        return "teacher alone"
    return _own_objective(settings) + (" + teacher" if share else "")


def _own_objective(settings: Mapping) -> str:
    if "mining" in settings:
        return f"{settings['mining'].replace('_', '-')} triplets"
    kind = settings.get("margin_kind", "arcface")
    name = _MARGINS.get(kind, kind) if settings.get("margin", 0.4) else "cosine softmax"
    if settings.get("sub_centres", 1) > 1:
        name = f"sub-centre {name}"
    return name + (" + focal" if settings.get("focal_gamma", 2.0) else "")


def write_pair_file(run: Path, evaluation: Evaluation, paths: np.ndarray, name: str = PAIR_FILE) -> None:
    """Write the run's ``test_pairs.csv``; ``paths`` (N,) are the images that the pairs number."""
    pairs = evaluation.pairs
    columns = (
        paths[pairs.left], paths[pairs.right], pairs.same.astype(int), pairs.condition,
        *pairs.people.T, evaluation.distances.astype(np.float32),
    )  # fmt: skip
    write_file(run / name, pd.DataFrame(dict(zip(_COLUMNS, columns, strict=True))).to_csv(index=False))


def read_pair_file(run: Path, name: str = PAIR_FILE) -> pd.DataFrame:
    """The run's test pairs. Raises InputError where it has none (not tested, or by an older version)."""
    path = run / name
    try:
        text = {"path": str, "pair_path": str, "condition": str}
        frame = pd.read_csv(path, dtype=text, keep_default_na=False)
    except FileNotFoundError:
        raise InputError(f"{run} has no {name}: let the run finish its test, or train it again") from None
    if list(frame.columns) != _COLUMNS:
        raise InputError(f"{path} has other columns than {', '.join(_COLUMNS)}; test the run again")
    return frame.astype({"same": bool})
