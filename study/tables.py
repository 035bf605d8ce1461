"""Figures of the study as Markdown."""

import numpy as np


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table, all cells text."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines) + "\n"


def percent(values: list[float], digits: int = 2) -> str:
    """Shares of the seeds: their mean, and the standard deviation where there are several."""
    if not values:
        return "–"
    spread = f" ± {100 * np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):.{digits}f}{spread} %"
