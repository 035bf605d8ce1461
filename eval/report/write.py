"""Write ``report.html``: everything about a run in one file that opens offline."""

from functools import partial
from pathlib import Path

import pandas as pd

from eval.finished_run import objective_name, read_run_file
from eval.metrics.conditions import ALL_PAIRS
from eval.metrics.intervals.bootstrap import LEAST_PEOPLE, RESAMPLES
from eval.metrics.roc import FALSE_ACCEPT_RATES
from eval.report.figure_tables import NO_INTERVAL_LEGEND, TOO_FEW, figure_rows
from eval.report.render import render
from eval.report.verdict import verdict
from eval.text import number, percent
from runtime.files import write_file

REPORT = "report.html"

LEFT_OUT_FILE = "left_out_pairs.csv"

# Of each reason so many pairs are named in the report; the CSV has them all.
_NAMED = 10


def write_report(run: Path) -> Path:
    """Write ``report.html`` from the other files of a run folder, and return its path.

    Raises InputError if the folder is not a tested run.
    """
    config, metrics, log = (read_run_file(run, name) for name in ("config.json", "metrics.json", "log.jsonl"))
    page = render(
        "report/run.html.jinja",
        run=run.name,
        config=config,
        metrics=metrics,
        log=log,
        files={path.name: path for path in run.glob("*.png")},
        sentences=verdict(metrics, log),
        **_tables(run, metrics, log),
        **_making(config, log),
        figure_rows=_figure_lines,
        plain=_plain,
        least_people=LEAST_PEOPLE,
        resamples=RESAMPLES,
        too_few=TOO_FEW,
        no_interval=NO_INTERVAL_LEGEND,
        most_named=_NAMED,
        left_out_file=LEFT_OUT_FILE,
    )
    write_file(run / REPORT, page)
    return run / REPORT


def _making(config: dict, log: list[dict]) -> dict:
    """How the run was made."""
    settings = config["settings"]
    return {
        "settings": settings,
        "environment": {k: v for k, v in config.items() if k != "settings"},
        "objective": objective_name(settings),
        "minutes": sum(line["seconds"] + line["evaluation_seconds"] for line in log) / 60,
    }


def _tables(run: Path, metrics: dict, log: list[dict]) -> dict:
    """The tables by their names in the template, all cells text."""
    return {
        "by_condition": {ALL_PAIRS: metrics, **metrics["by_condition"]},
        "by_mask": metrics.get("by_mask", {}),
        "by_size": metrics.get("by_size", {}),
        "confusion": _confusion(metrics["confusion_matrix"]),
        "thresholds": [_threshold_row(point) for point in metrics.get("operating_points", [])],
        "distributions": _distributions(metrics, log),
        "epochs": _epochs(log),
        "left_out": _left_out(metrics),
        "named": _named_pairs(run),
    }


def _figure_lines(columns: dict[str, dict]) -> list[list[str]]:
    return [[label, *cells] for label, cells in figure_rows(columns)]


def _confusion(counts: list[list[int]]) -> list[list[str]]:
    """The confusion matrix, rows actual and columns predicted: counts, and in brackets shares of the row."""
    return [
        [name, *(f"{count:,} ({percent(count / sum(row), 1) if sum(row) else '–'})" for count in row)]
        for name, row in zip(("same person", "different people"), counts, strict=True)
    ]


def _threshold_row(point: dict) -> list[str]:
    rate = FALSE_ACCEPT_RATES.get(point["rule"])
    rule = point["rule"] if rate is None else f"FAR {point['rule']} ({rate * 100:g} %)"
    shares = (percent(point[name], 2) for name in ("accuracy", "tar", "far"))
    return [point["pairs"], rule, number(point["threshold"], 4), *shares]


def _distributions(metrics: dict, log: list[dict]) -> dict[str, str]:
    """The histograms of the first, the kept and the last epoch, and what each shows."""
    shown = {log[0]["epoch"]: "the first epoch", log[-1]["epoch"]: "the last epoch", metrics["epoch"]: "the epoch kept"}
    return {
        f"distribution_epoch{epoch}.png": f"Distances of the evaluation pairs, {which}"
        for epoch, which in sorted(shown.items())
    }


def _digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


# Column → the key of a line of the log, and how its values are shown.
_EPOCH = {
    "epoch": ("epoch", str),
    "training loss": ("loss", _digits),
    "learning rate": ("lr", _digits),
    "IOU": ("iou", number),
    "AUC": ("auc", partial(number, digits=4)),
    "threshold": ("threshold", number),
    "accuracy": ("accuracy", partial(percent, digits=2)),
    "mean distance": ("mean_distance", number),
    "effective rank": ("effective_rank", _digits),
}


def _epochs(log: list[dict]) -> dict[str, list]:
    """Header and rows of the table of epochs: the columns that the log has."""
    columns = {name: show for name, (key, show) in _EPOCH.items() if key in log[0]}
    rows = [[show(line.get(_EPOCH[name][0])) for name, show in columns.items()] for line in log]
    return {"header": list(columns), "rows": rows}


def _left_out(metrics: dict) -> list[list[str]]:
    """A row for each list of pairs and reason: how many do not count."""
    return [
        [name, reason, f"{count:,}"]
        for name, reasons in metrics.get("left_out", {}).items()
        for reason, count in reasons.items()
    ]


def _named_pairs(run: Path) -> list[list[str]]:
    """The first left-out pairs of each list and reason; none if the run has no file of them."""
    path = run / LEFT_OUT_FILE
    if not path.is_file():
        return []
    frame = pd.read_csv(path, keep_default_na=False, dtype=str)
    first = frame.groupby(["list", "reason"], sort=False).head(_NAMED)
    return [
        [row.list, row.reason, f"{row.csv} line {row.line}" if row.csv else "", row.path, row.pair_path]
        for row in first.itertuples()
    ]


def _plain(values: dict) -> list[list[str]]:
    """Names and values as text; what holds others is spread over lines of its own."""
    rows = []
    for name, value in values.items():
        if isinstance(value, dict):
            rows += [[f"{name}: {key}", str(inner)] for key, inner in value.items()]
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            rows.append([name, text or "–"])
    return rows
