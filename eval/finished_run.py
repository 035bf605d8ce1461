"""The contents of a tested run's folder, for reports, comparisons and tables: settings, log, metrics, test pairs.

``test_pairs.csv`` has the distance of every test pair. Columns: path, pair_path, same (0 or 1), condition, person and
pair_person (numbers, equal for a same pair), distance. It names faces, so it stays in the run folder and is never
published.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from eval.metrics.evaluation import Evaluation
from runtime.errors import InputError, in_one_line
from runtime.files import write_file
from runtime.kinds import (
    FLAG,
    NUMBER,
    TABLE,
    TEXT,
    Fields,
    Kind,
    list_of,
    or_none,
    parse_json,
    require,
    table_of,
    whole,
    with_fields,
)

PAIR_FILE = "test_pairs.csv"
PAIR_COLUMNS = ["path", "pair_path", "same", "condition", "person", "pair_person", "distance"]


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """The contents of a run folder; ``pairs`` are test pairs as ``read_pair_file`` gives them, or None."""

    name: str
    settings: dict
    log: list[dict]
    metrics: dict
    pairs: pd.DataFrame | None


# ==== config.json, metrics.json, log.jsonl: read and checked ====

_REMEDY = "take another run, or train and test it again"
_SHARE = Kind(lambda value: NUMBER.holds(value) and 0 <= value <= 1, "a number from 0 to 1")

# Of all pairs, and of each condition and mask. Older runs lack some: who asks for those gets the line of Found.
# Of an epoch: a mean over nothing is NaN, and JSON as Python writes it has that.
_FIGURE = Kind(lambda value: value is None or isinstance(value, int | float), "a number")
_INTERVAL = or_none(list_of(NUMBER, 2))
_INTERVALS = Kind(
    lambda value: (
        TABLE.holds(value) and all(_INTERVAL.holds(x) or table_of(_INTERVAL).holds(x) for x in value.values())
    ),
    "names, each with two ends",
)
_FIGURES: Fields = {
    **dict.fromkeys(("pairs", "same_pairs", "different_pairs", "people"), whole()),
    "threshold": or_none(NUMBER),
    **dict.fromkeys(("accuracy", "balanced_accuracy", "precision", "recall", "f1"), or_none(_SHARE)),
    **dict.fromkeys(("fold_accuracy", "fold_accuracy_std", "auc", "eer", "iou"), or_none(_SHARE)),
    "tar_at_far": table_of(or_none(_SHARE)),
    "threshold_at_far": table_of(or_none(NUMBER)),
    "intervals": or_none(_INTERVALS),
}
_POINT: Fields = {
    **dict.fromkeys(("pairs", "rule"), TEXT),
    "threshold": NUMBER,
    **dict.fromkeys(("accuracy", "tar", "far"), or_none(_SHARE)),
}
_KINDS: dict[str, Fields] = {
    "metrics.json": {
        "epoch": whole(),
        "by_condition": table_of(TABLE),
        **dict.fromkeys(("by_mask", "by_size"), table_of(TABLE)),
        "left_out": table_of(table_of(whole())),
        "lost_pairs": whole(),
        "least_face": or_none(whole(1)),
        "images_seen": whole(),
        "mirror": FLAG,
        "stopped": or_none(TEXT),
        "threshold_metric": TEXT,
        "losses_against_plain": table_of(with_fields({"loss": NUMBER, "interval": _INTERVAL})),
        "operating_points": list_of(with_fields(_POINT)),
        "confusion_matrix": or_none(list_of(list_of(whole(), 2), 2)),
        **_FIGURES,
    },
    "config.json": {
        "settings": TABLE,
        **dict.fromkeys(("started", "command", "processor", "precision", "ended"), TEXT),
        **dict.fromkeys(("threads", "cores"), whole()),
        "gpus": list_of(TEXT),
    },
    "log.jsonl": {
        "epoch": whole(1),
        **dict.fromkeys(("loss", "lr", "iou", "seconds", "evaluation_seconds"), NUMBER),
        **dict.fromkeys(("images_seen", "skipped_steps", "unreadable"), whole()),
        "thresholds": TABLE,
        "remedies": list_of(TEXT),
    },
}
_VERIFICATION: Fields = {"model": TEXT, "pairs_csv": TEXT, "mirror": FLAG, **_KINDS["metrics.json"]}


def read_run_file(run: Path, name: str) -> dict | list[dict]:
    """config.json, metrics.json or another JSON file (dicts), or log.jsonl (a dict per epoch).

    Raises InputError where it is not there, damaged, or holds a value of a wrong kind; and later, where something is
    asked for that it lacks.
    """
    try:
        text = (run / name).read_text()
    except OSError:
        raise InputError(f"{run} has no {name}: it is no run folder, or the run was not tested yet") from None
    except UnicodeDecodeError:
        raise InputError(f"{run / name} is no text; {_REMEDY}") from None
    if name.endswith(".jsonl"):
        return _log(text, run / name)
    content = parse_json(text, run / name, _REMEDY)
    require(content, _KINDS.get(name, {}), str(run / name), _REMEDY, optional=True)
    if name == "metrics.json":
        _check_parts(content, str(run / name))
    return content


def read_verification(file: Path) -> dict:
    """The JSON file of eval.verify. Raises InputError as ``read_run_file`` does."""
    figures = read_run_file(file.parent, file.name)
    require(figures, _VERIFICATION, str(file), "give a JSON file that eval.verify wrote", optional=True)
    _check_parts(figures, str(file))
    return figures


def _check_parts(figures: dict, place: str) -> None:
    parts = [figures.get(name, {}) for name in ("by_condition", "by_mask", "by_size")]
    for name, part in (each for of_kind in parts for each in of_kind.items()):
        require(part, _FIGURES, f"{place}, {name}", _REMEDY, optional=True)


def _log(text: str, path: Path) -> list[dict]:
    lines = [parse_json(line, f"{path}, line {number}", _REMEDY) for number, line in enumerate(text.splitlines(), 1)]
    if not lines:
        raise InputError(f"{path} has no epoch; {_REMEDY}")
    for number, line in enumerate(lines, 1):
        others = dict.fromkeys(line, _FIGURE) if TABLE.holds(line) else {}
        require(line, others | _KINDS["log.jsonl"], f"{path}, line {number}", _REMEDY, optional=True)
    return lines


# ==== what it trained with ====

_MARGINS = {"arcface": "ArcFace", "cosface": "CosFace", "adaface": "AdaFace", "magface": "MagFace"}


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
    name = _MARGINS.get(kind, kind) if settings.get("margin", 0.4) or kind == "magface" else "cosine softmax"
    if settings.get("sub_centres", 1) > 1:
        name = f"sub-centre {name}"
    return name + (" + focal" if settings.get("focal_gamma", 2.0) else "")


# ==== test_pairs.csv ====


def write_pair_file(run: Path, evaluation: Evaluation, paths: np.ndarray, name: str = PAIR_FILE) -> None:
    """Write the run's ``test_pairs.csv``; ``paths`` (N,) are the images that the pairs number."""
    pairs = evaluation.pairs
    columns = (
        paths[pairs.left], paths[pairs.right], pairs.same.astype(int), pairs.condition,
        *pairs.people.T, evaluation.distances.astype(np.float32),
    )  # fmt: skip
    write_file(run / name, pd.DataFrame(dict(zip(PAIR_COLUMNS, columns, strict=True))).to_csv(index=False))


def read_pair_file(run: Path, name: str = PAIR_FILE) -> pd.DataFrame:
    """The run's test pairs. Raises InputError if it has none (not tested, or by an older version)."""
    path = run / name
    try:
        text = {"path": str, "pair_path": str, "condition": str}
        frame = pd.read_csv(path, dtype=text, keep_default_na=False)
    except FileNotFoundError:
        raise InputError(f"{run} has no {name}: let the run finish its test, or train it again") from None
    except (OSError, ValueError) as error:  # pandas' own are ValueErrors
        raise InputError(f"{path} can't be read as a CSV ({in_one_line(error, 100)}); test the run again") from None
    if list(frame.columns) != PAIR_COLUMNS:
        raise InputError(f"{path} has other columns than {', '.join(PAIR_COLUMNS)}; test the run again")
    numbers = frame[["same", "person", "pair_person", "distance"]]
    if not all(map(pd.api.types.is_numeric_dtype, numbers.dtypes)) or not np.isfinite(numbers.to_numpy(float)).all():
        raise InputError(f"{path}: same, person, pair_person and distance must be numbers; test the run again")
    return frame.astype({"same": bool})
