"""Write ``report.html``: everything about a run in one file that opens offline."""

import json
from functools import partial
from pathlib import Path

import pandas as pd

from eval.metrics.bootstrap import LEAST_PEOPLE, RESAMPLES
from eval.metrics.conditions import ALL_PAIRS
from eval.metrics.roc import FALSE_ACCEPT_RATES
from eval.report import html as page
from eval.report.figure_tables import NO_INTERVAL_LEGEND, TOO_FEW, figure_rows
from eval.report.verdict import verdict
from eval.text import counted, number, percent
from runtime.errors import InputError
from runtime.files import replace_file

REPORT = "report.html"

LEFT_OUT_FILE = "left_out_pairs.csv"

# Of each reason so many pairs are named in the report; the CSV has them all.
_NAMED = 10


def write_report(run: Path) -> Path:
    """Write ``report.html`` from the other files of a run folder, and return its path.

    Raises InputError where the folder is no tested run.
    """
    config, metrics, log = (read_run_file(run, name) for name in ("config.json", "metrics.json", "log.jsonl"))
    body = [
        page.heading(run.name, 1),
        page.paragraph(_subtitle(config, log), faint=True),
        page.verdict_box(verdict(metrics, log)),
        *_test_part(run, metrics),
        *_thresholds_part(metrics),
        *_worst_part(run),
        *_training_part(run, metrics, log),
        *_data_part(run, metrics, log),
        *_settings_part(config),
    ]
    with replace_file(run / REPORT) as temporary:
        temporary.write_text(page.document(f"{run.name}: report", body), encoding="utf-8")
    return run / REPORT


def read_run_file(run: Path, name: str) -> dict | list[dict]:
    """config.json, metrics.json (dicts) or log.jsonl (a dict an epoch). Raises InputError where it is not there."""
    try:
        text = (run / name).read_text()
        return [json.loads(line) for line in text.splitlines()] if name.endswith("l") else json.loads(text)
    except OSError:
        raise InputError(f"{run} has no {name}: it is no run folder, or the run was not tested yet") from None
    except ValueError as error:
        raise InputError(f"{run / name} is damaged ({error}); train the run again") from None


def _subtitle(config: dict, log: list[dict]) -> str:
    settings = config["settings"]
    minutes = sum(line["seconds"] + line["evaluation_seconds"] for line in log) / 60
    return (
        f"{settings['backbone']}, {settings.get('mining', 'ArcFace + focal')}, {counted(len(log), 'epoch')}, "
        f"{log[-1]['images_seen']:,} images seen in {minutes:.1f} minutes, started {config['started']}"
    )


def _test_part(run: Path, metrics: dict) -> list[str]:
    columns = {ALL_PAIRS: metrics, **metrics["by_condition"]}
    by_mask = metrics.get("by_mask", {})
    words = {
        "distances_by_condition.png": "Distances of the test pairs by who wears a mask",
        "roc.png": "ROC: same pairs accepted for each rate of different pairs accepted",
        "det.png": "DET: both error rates on log axes; nearer the lower left is better",
    }
    parts = [
        page.heading("Test"),
        page.table(["", *columns], _as_lines(columns)),
        page.paragraph(
            f"{_about_intervals(metrics)} Accuracy to F1 are at the threshold {number(metrics['threshold'], 4)}, "
            "chosen on the evaluation pairs for the best balanced accuracy; TAR is given with at least 10/FAR "
            f"different pairs, else “{TOO_FEW}”.",
            faint=True,
        ),
        page.side_by_side([*_pictures(run, words), _confusion(metrics["confusion_matrix"])]),
    ]
    if by_mask:
        parts += [page.heading("By mask", 3), page.table(["", *by_mask], _as_lines(by_mask))]
        parts.append(page.paragraph("A pair counts for every mask that one of its two faces wears.", faint=True))
    return parts


def _about_intervals(metrics: dict) -> str:
    if metrics.get("intervals") is None:
        return f"No 95 % intervals: they need {LEAST_PEOPLE} people at least."
    return (
        f"In brackets: 95 % intervals from {RESAMPLES:,} resamples of the people, in percent for shares; "
        f"{NO_INTERVAL_LEGEND}, which does not make a figure certain."
    )


def _confusion(counts: list[list[int]]) -> str:
    rows = [
        [name, *(f"{count:,} ({percent(count / sum(row), 1) if sum(row) else '–'})" for count in row)]
        for name, row in zip(("same person", "different people"), counts, strict=True)
    ]
    table = page.table(["in truth", "judged same", "judged different"], rows)
    return page.together([page.heading("Confusion matrix", 3), table])


def _as_lines(columns: dict[str, dict]) -> list[list[str]]:
    return [[label, *cells] for label, cells in figure_rows(columns)]


def _thresholds_part(metrics: dict) -> list[str]:
    points = metrics.get("operating_points", [])
    if not points:
        return []
    rows = [
        [
            point["pairs"],
            _rule(point["rule"]),
            number(point["threshold"], 4),
            percent(point["accuracy"], 2),
            percent(point["tar"], 2),
            percent(point["far"], 2),
        ]
        for point in points
    ]
    header = ["chosen for", "rule", "threshold", "accuracy", "same accepted (TAR)", "different accepted (FAR)"]
    return [
        page.heading("Thresholds"),
        page.paragraph(
            "Each was chosen on the evaluation pairs, and is shown with what it does on the test pairs. Balanced: "
            "fewest wrong judgements of either kind, what a table needs. A door needs the rate of strangers that it "
            "may let in."
        ),
        page.table(header, rows, text_columns=(1,)),
        page.paragraph(
            "Rates that are missing need more different pairs among the evaluation pairs: 10/FAR at least.", faint=True
        ),
    ]


def _rule(rule: str) -> str:
    rate = FALSE_ACCEPT_RATES.get(rule)
    return rule if rate is None else f"FAR {rule} ({rate * 100:g} %)"


def _worst_part(run: Path) -> list[str]:
    path = run / "worst_pairs.png"
    if not path.is_file():
        return []
    words = "The closest pairs of different people, and the farthest pairs of one person"
    return [page.heading("Most wrong pairs"), page.picture(path, words, "faces")]


def _training_part(run: Path, metrics: dict, log: list[dict]) -> list[str]:
    shown = {log[0]["epoch"]: "the first epoch", metrics["epoch"]: "the epoch kept", log[-1]["epoch"]: "the last epoch"}
    shown[metrics["epoch"]] = "the epoch kept"
    words = {
        "iou.png": "IOU of the evaluation pairs by epoch",
        "train_loss.png": "Training loss and learning rate",
        **{f"distribution_epoch{n}.png": f"Distances of the evaluation pairs, {shown[n]}" for n in sorted(shown)},
    }
    columns = {name: show for name, (key, show) in _EPOCH.items() if key in log[0]}
    rows = [[show(line.get(_EPOCH[name][0])) for name, show in columns.items()] for line in log]
    return [
        page.heading("Training"),
        page.side_by_side(_pictures(run, words)),
        page.folded("Every epoch, on the evaluation pairs", page.table(list(columns), rows)),
    ]


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


def _pictures(run: Path, words: dict[str, str]) -> list[str]:
    return [page.picture(run / name, text) for name, text in words.items() if (run / name).is_file()]


def _data_part(run: Path, metrics: dict, log: list[dict]) -> list[str]:
    lines = [f"{sum(line['unreadable'] for line in log):,} training images could not be read, all epochs together."]
    skipped = sum(line["skipped_steps"] for line in log)
    if skipped:
        lines.append(f"{skipped:,} training steps were skipped: loss or gradient was not finite.")
    rows = [
        [name, reason, f"{count:,}"]
        for name, reasons in metrics.get("left_out", {}).items()
        for reason, count in reasons.items()
    ]
    parts = [page.heading("Data"), *map(page.paragraph, lines)]
    if not rows:
        lost = metrics.get("lost_pairs", 0)
        return [*parts, page.paragraph("No pair was left out." if not lost else f"{lost:,} test pairs were left out.")]
    parts += [page.paragraph("Pairs that do not count:"), page.table(["list", "reason", "pairs"], rows, (1,))]
    return [*parts, *_named_pairs(run)]


def _named_pairs(run: Path) -> list[str]:
    path = run / LEFT_OUT_FILE
    if not path.is_file():
        return []
    frame = pd.read_csv(path, keep_default_na=False, dtype=str)
    first = frame.groupby(["list", "reason"], sort=False).head(_NAMED)
    rows = [
        [row.list, row.reason, f"{row.csv} line {row.line}" if row.csv else "", row.path, row.pair_path]
        for row in first.itertuples()
    ]
    table = page.table(["list", "reason", "place", "path", "pair_path"], rows, (1, 2, 3, 4))
    return [page.folded(f"Which (of each reason the first {_NAMED}; all are in {LEFT_OUT_FILE})", table)]


def _settings_part(config: dict) -> list[str]:
    environment = {k: v for k, v in config.items() if k != "settings"}
    return [
        page.heading("How it was made"),
        page.folded("Settings", page.table(["setting", "value"], _plain(config["settings"]), (1,))),
        page.folded("Environment", page.table(["", ""], _plain(environment), (1,))),
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
