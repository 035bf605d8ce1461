"""Figures as tables: a row for each figure, a column for all pairs and one for each condition or mask."""

from collections.abc import Callable, Mapping
from typing import Literal

from eval.metrics.conditions import ALL_PAIRS
from eval.text import TOO_FEW_ERRORS, has_width

TOO_FEW = "too few pairs"

# Stands in a cell in place of the interval.
_NO_INTERVAL = "(–)"

NO_INTERVAL_LEGEND = f"{_NO_INTERVAL}: {TOO_FEW_ERRORS}"

Row = tuple[str, list[str]]


def figures_table(figures: dict, parts: Literal["by_condition", "by_mask", "by_size"] = "by_condition") -> str:
    """Lay out the dict of ``eval.metrics.figures`` as text; a figure that can't be given is a dash.

    A legend follows where a figure has too few errors for an interval.
    """
    columns = {ALL_PAIRS: figures, **figures[parts]}
    cells = [["", *columns], *([label, *row] for label, row in figure_rows(columns))]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in cells
    ]
    legend = [NO_INTERVAL_LEGEND] if any(_NO_INTERVAL in line for line in lines) else []
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], *legend])


def figure_rows(columns: Mapping[str, dict]) -> list[Row]:
    """(label, a cell for each column): the same figures of several parts, with their 95 % intervals in brackets.

    "(–)" in place of an interval that rests on too few errors (``NO_INTERVAL_LEGEND``).
    """
    parts = list(columns.values())
    return [(label, [show(part) for part in parts]) for label, show in _shown(parts[0])]


def percent_with_interval(figures: dict, name: str, digits: int = 2) -> str:
    """ "92.87 % (91.9–93.8)"; a dash where the figure can't be given, no bracket where people are too few."""
    return _percent(figures[name], digits) + _brackets(figures.get("intervals"), name, _percent_ends)


def tar_with_interval(figures: dict, rate: str) -> str:
    """TAR at a FAR with its interval, or "too few pairs"."""
    value = figures["tar_at_far"][rate]
    intervals = (figures.get("intervals") or {}).get("tar_at_far")
    return TOO_FEW if value is None else _percent(value) + _brackets(intervals, rate, _percent_ends)


def _shown(figures: dict) -> list[tuple[str, Callable[[dict], str]]]:
    def percent(name: str) -> Callable[[dict], str]:
        return lambda part: percent_with_interval(part, name)

    def number(name: str) -> Callable[[dict], str]:
        return lambda part: _number(part[name]) + _brackets(part.get("intervals"), name, _number_ends)

    rows = [("same pairs", lambda part: f"{part['same_pairs']:,}")]
    rows.append(("different pairs", lambda part: f"{part['different_pairs']:,}"))
    if "people" in figures:
        rows.append(("people", lambda part: f"{part['people']:,}"))
    if figures["threshold"] is not None:
        at_threshold = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "precision": "precision"}
        at_threshold |= {"recall": "recall", "f1": "F1"}
        rows += [(label, percent(name)) for name, label in at_threshold.items() if name in figures]
    rows.append(("10-fold accuracy", percent("fold_accuracy")))
    rows.append(("  std of the folds", lambda part: _percent(part["fold_accuracy_std"])))
    rows += [("AUC", number("auc")), ("EER", percent("eer")), ("IOU", number("iou"))]
    rates = figures["tar_at_far"]
    return rows + [(f"TAR at FAR {rate}", lambda part, rate=rate: tar_with_interval(part, rate)) for rate in rates]


def _brackets(intervals: Mapping | None, name: str, ends: Callable[[list[float]], str]) -> str:
    """A figure's interval; nothing where there are none (people too few or not known) or it says nothing."""
    if not intervals or name not in intervals:
        return ""
    interval = intervals[name]
    if interval is None:
        return f" {_NO_INTERVAL}"
    return f" ({ends(interval)})" if has_width(interval) else ""


def _percent(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value * 100:.{digits}f} %"


def _percent_ends(interval: list[float]) -> str:
    return f"{interval[0] * 100:.1f}–{interval[1] * 100:.1f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _number_ends(interval: list[float]) -> str:
    return f"{interval[0]:.4f}–{interval[1]:.4f}"
