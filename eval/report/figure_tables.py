"""Figures as tables: a row for each figure, a column for all pairs and one for each condition or mask."""

from collections.abc import Callable, Mapping
from typing import Literal

from eval.metrics.conditions import ALL_PAIRS
from eval.text import has_width
from runtime.text_tables import aligned_table

TOO_FEW = "too few pairs"

Row = tuple[str, list[str]]


def figures_table(figures: dict, parts: Literal["by_condition", "by_mask"] = "by_condition") -> str:
    """Lay out the dict of ``eval.metrics.figures`` as text; a figure that can't be given is a dash."""
    columns = {ALL_PAIRS: figures, **figures[parts]}
    return aligned_table(["", *columns], [[label, *row] for label, row in figure_rows(columns)])


def figure_rows(columns: Mapping[str, dict]) -> list[Row]:
    """(label, a cell for each column): the same figures of several parts, with their 95 % intervals in brackets."""
    parts = list(columns.values())
    return [(label, [show(part) for part in parts]) for label, show in _shown(parts[0])]


def percent_with_interval(figures: dict, name: str, digits: int = 2) -> str:
    """ "92.87 % (91.9–93.8)"; a dash where the figure can't be given, no bracket where there is no interval."""
    return _percent(figures[name], _interval(figures, name), digits)


def tar_with_interval(figures: dict, rate: str) -> str:
    """TAR at a FAR with its interval, or "too few pairs"."""
    value = figures["tar_at_far"][rate]
    interval = (_interval(figures, "tar_at_far") or {}).get(rate)
    return TOO_FEW if value is None else _percent(value, interval)


def _shown(figures: dict) -> list[tuple[str, Callable[[dict], str]]]:
    def percent(name: str) -> Callable[[dict], str]:
        return lambda part: percent_with_interval(part, name)

    def number(name: str) -> Callable[[dict], str]:
        return lambda part: _number(part[name], _interval(part, name))

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


def _interval(figures: dict, name: str) -> list[float] | dict | None:
    """A figure's interval, or for TAR those of all rates; None if people are too few or not known."""
    return (figures.get("intervals") or {}).get(name)


def _percent(value: float | None, interval: list[float] | None = None, digits: int = 2) -> str:
    if value is None:
        return "–"
    ends = f" ({interval[0] * 100:.1f}–{interval[1] * 100:.1f})" if has_width(interval) else ""
    return f"{value * 100:.{digits}f} %{ends}"


def _number(value: float | None, interval: list[float] | None) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" + (f" ({interval[0]:.4f}–{interval[1]:.4f})" if has_width(interval) else "")
