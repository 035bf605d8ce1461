"""Figures as a table of text, a column for all pairs and one for each condition."""

from collections.abc import Callable

_TOO_FEW = "too few pairs"


def figures_table(figures: dict) -> str:
    """Lay out the dict of ``eval.verification.figures``; a figure that can't be given is a dash."""
    columns = {"all pairs": figures, **figures["by_condition"]}
    cells = [["", *columns]]
    for label, show in _rows(figures):
        cells.append([label, *(show(column) for column in columns.values())])
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in cells
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _rows(figures: dict) -> list[tuple[str, Callable[[dict], str]]]:
    rows = [
        ("same pairs", lambda f: f"{f['same_pairs']:,}"),
        ("different pairs", lambda f: f"{f['different_pairs']:,}"),
        ("accuracy", lambda f: _percent(f["accuracy"])),
        ("balanced accuracy", lambda f: _percent(f["balanced_accuracy"])),
        ("10-fold accuracy", lambda f: _percent(f["fold_accuracy"], f["fold_accuracy_std"])),
        ("AUC", lambda f: _number(f["auc"])),
        ("EER", lambda f: _percent(f["eer"])),
        ("IOU", lambda f: _number(f["iou"])),
    ]
    if figures["threshold"] is None:
        rows = [row for row in rows if row[0] not in ("accuracy", "balanced accuracy")]
    rates = list(figures["tar_at_far"])
    return rows + [(f"TAR at FAR {rate}", lambda f, rate=rate: _tar(f, rate)) for rate in rates]


def _tar(figures: dict, rate: str) -> str:
    value = figures["tar_at_far"][rate]
    return _TOO_FEW if value is None else _percent(value)


def _percent(value: float | None, spread: float | None = None) -> str:
    if value is None:
        return "–"
    return f"{value * 100:.2f} %" if spread is None else f"{value * 100:.2f} ± {spread * 100:.2f} %"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
