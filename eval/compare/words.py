"""The tables and sentences of a comparison."""

import pandas as pd

from eval.metrics.conditions import ALL_PAIRS
from eval.text import has_width, percent

# The field's usual significance level.
_ALPHA = 0.05
_PLAIN_NUMBERS = ("auc", "iou")


def sentences(table: pd.DataFrame, tests: pd.DataFrame, models: dict[str, list[str]]) -> list[str]:
    """The sentences: which model is better, and whether that may be chance."""
    accuracy = table[(table["pairs"] == ALL_PAIRS) & (table["figure"] == "accuracy")].set_index("model")["mean"]
    order = accuracy.sort_values(ascending=False, kind="stable")
    if len(models) == 1:
        return [f"All runs are seeds of one model, {order.index[0]}: there is nothing to compare it with."]
    ranks = ", ".join(f"{name} {percent(value, 2)}" for name, value in order.items())
    lines = [f"Test accuracy: {ranks}."]
    if tests.empty:
        return [
            *lines,
            "Whether a difference is chance can't be said: a run has no test_pairs.csv, the runs share no test pairs, "
            "or there are too few people.",
        ]
    compared = tests[(tests["pairs"] == ALL_PAIRS) & (tests["figure"] == "accuracy")]
    lines += [_decision(row) for row in compared.itertuples()]
    if (tested := compared["p"].notna().sum()) > 2:
        lines.append(f"These are {tested} comparisons; among equal models, one in twenty looks significant.")
    if all(len(names) == 1 for names in models.values()):
        lines.append("Each model was trained once; another seed may reverse a small difference.")
    return lines


def model_rows(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of results: a row per part and figure, a column per model."""
    models = list(dict.fromkeys(table["model"]))
    runs = table.groupby("model")["runs"].first()
    header = ["", *(f"{model} ({runs[model]} {'run' if runs[model] == 1 else 'runs'})" for model in models)]
    lines = []
    for (part, figure), rows in table.groupby(["pairs", "figure"], sort=False):
        cells = {row.model: _cell(row) for row in rows.itertuples()}
        if any(cell != "–" for cell in cells.values()):
            lines.append([f"{figure_name(figure)}, {part}", *(cells.get(model, "–") for model in models)])
    return header, lines


def significance_rows(tests: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of differences of two models, with McNemar's test if there is one."""
    tested = tests["mcnemar_p"].notna().any()
    header = ["pairs", "figure", "difference", "p", *(["only one correct: counts, McNemar's p"] if tested else [])]
    lines = []
    for row in tests.itertuples():
        value, low, high = (_signed(row.figure, number) for number in (row.difference, row.low, row.high))
        cells = [value if pd.isna(row.low) else f"{value} ({low} to {high})", "–" if pd.isna(row.p) else _p(row.p)]
        if tested:
            counts = f"{row.only_first_right:.0f} : {row.only_second_right:.0f}, p {_p(row.mcnemar_p)}"
            cells.append("" if pd.isna(row.mcnemar_p) else counts)
        lines.append([row.pairs, figure_name(row.figure), *cells])
    return header, lines


def figure_name(figure: str) -> str:
    """The name of a figure as people write it."""
    names = {"accuracy": "accuracy", "auc": "AUC", "eer": "EER", "iou": "IOU"}
    return names.get(figure) or f"TAR at FAR {figure.removeprefix('tar ')}"


def _decision(row: tuple) -> str:
    ahead, sign = ((row.first, row.second), 1) if row.difference >= 0 else ((row.second, row.first), -1)
    points = f"{abs(row.difference) * 100:.2f} points"
    if pd.isna(row.p):
        return f"{ahead[0]} is ahead of {ahead[1]} by {points}. Whether this is chance can't be said: too few people."
    low, high = (_minus(end * 100, ".2f") for end in sorted((sign * row.low, sign * row.high)))
    spread = f"{points} (95 % interval {low} to {high}, p {_p(row.p)})"
    if row.p < _ALPHA:
        return f"{ahead[0]} is better than {ahead[1]} by {spread}: more than chance."
    return f"{ahead[0]} is ahead of {ahead[1]} by {spread}: this may be chance."


def _cell(row: tuple) -> str:
    if pd.isna(row.mean):
        return "–"
    if row.figure in _PLAIN_NUMBERS:
        text, digits, scale = f"{row.mean:.4f}", 4, 1
    else:
        text, digits, scale = percent(row.mean, 2), 2, 100
    if not pd.isna(row.std):
        return f"{text} ± {row.std * scale:.{digits}f}"
    ends = f" ({row.low * scale:.{digits - 1}f}–{row.high * scale:.{digits - 1}f})"
    return text + ends if has_width([row.low, row.high]) else text


def _signed(figure: str, value: float | None) -> str:
    if pd.isna(value):
        return "–"
    return _minus(value, "+.4f") if figure in _PLAIN_NUMBERS else _minus(value * 100, "+.2f")


def _minus(value: float, form: str) -> str:
    """The number with a minus sign instead of a hyphen."""
    return f"{value:{form}}".replace("-", "−")


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"
