"""The files of a run folder, read and checked: config.json, metrics.json, log.jsonl."""

from pathlib import Path

from runtime.errors import InputError
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
        "by_mask": table_of(TABLE),
        "left_out": table_of(table_of(whole())),
        "lost_pairs": whole(),
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
        **dict.fromkeys(("started", "command", "processor", "ended"), TEXT),
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
    """config.json, metrics.json or another JSON file (dicts), or log.jsonl (a dict an epoch).

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
    for name, part in {**figures.get("by_condition", {}), **figures.get("by_mask", {})}.items():
        require(part, _FIGURES, f"{place}, {name}", _REMEDY, optional=True)


def _log(text: str, path: Path) -> list[dict]:
    lines = [parse_json(line, f"{path}, line {number}", _REMEDY) for number, line in enumerate(text.splitlines(), 1)]
    if not lines:
        raise InputError(f"{path} has no epoch; {_REMEDY}")
    for number, line in enumerate(lines, 1):
        others = dict.fromkeys(line, _FIGURE) if TABLE.holds(line) else {}
        require(line, others | _KINDS["log.jsonl"], f"{path}, line {number}", _REMEDY, optional=True)
    return lines
