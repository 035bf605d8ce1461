"""Compare two or more tested runs: which is better, and could it be chance?

    python -m eval.compare results/RUN results/RUN2 [RUN3 …] --out DIR

Runs that differ only in their seed or machine are one model: mean and standard deviation over its seeds. DIR gets
compare.html (everything in one file), compare.csv and significance.csv, and the curves over one another. Differences
are paired on the test pairs that the runs share, with 95 % intervals over people.

    python -m eval.compare results/RUN/benchmark results/RUN2/benchmark --out DIR

Benchmarks (eval.benchmark) are put beside each other, as far as set, condition, protocol and masks are the same:
benchmarks.html and benchmarks.csv.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import tyro

from eval.compare.benchmarks import compare_benchmarks, is_benchmark
from eval.compare.differences import model_table, open_runs, significance_table
from eval.compare.seeds import OF_A_SEED, group_by_settings
from eval.compare.words import model_rows, sentences, significance_rows
from eval.finished_run import FinishedRun, objective_name
from eval.plots.comparison import plot_curves, plot_rocs
from eval.report.render import render
from eval.text import counted
from runtime.errors import one_line_errors
from runtime.files import require_writable, write_file
from runtime.spreadsheet import csv_for_people


@dataclasses.dataclass(frozen=True)
class CompareSettings:
    """Which runs, and where the comparison goes."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Two or more tested run folders, or benchmarks: folders or JSON files that eval.benchmark has written."""
    out: Path
    """Folder to make or fill."""


def compare(settings: CompareSettings) -> list[str]:
    """Write the comparison, and return its sentences. Raises InputError on fewer than two runs, untested ones, or a
    folder that can't be written to."""
    require_writable(settings.out / "compare.csv")
    if any(map(is_benchmark, settings.runs)):
        return compare_benchmarks(settings.runs, settings.out)
    runs = open_runs(settings.runs)
    models = group_by_settings({run.name: run.settings for run in runs.values()})
    table = model_table(runs, models)
    tests = significance_table(runs, models)
    words = sentences(table, tests, models)
    for frame, name in ((table, "compare.csv"), (tests, "significance.csv")):
        write_file(settings.out / name, csv_for_people(frame))
    pictures = _draw(settings.out, runs, models)
    write_file(settings.out / "compare.html", _page(runs, models, table, tests, words, pictures))
    return words


def main() -> None:
    """The command."""
    settings = tyro.cli(CompareSettings, description=__doc__)
    print("\n".join(compare(settings)))
    page = "benchmarks.html" if any(map(is_benchmark, settings.runs)) else "compare.html"
    print(f"read {settings.out / page}")


def _draw(out: Path, runs: dict[str, FinishedRun], models: dict[str, list[str]]) -> dict[str, Path]:
    """The pictures by their captions."""
    names = {f"{model} ({counted(len(of_model), 'run')})": of_model for model, of_model in models.items()}

    def curves(key: str) -> dict[str, list]:
        return {
            title: [([line["epoch"] for line in runs[n].log], [line[key] for line in runs[n].log]) for n in of_model]
            for title, of_model in names.items()
        }

    words = {"title": "IOU per epoch", "subtitle": "evaluation pairs: lower is better", "label": "IOU"}
    plot_curves(out / "iou.png", curves("iou"), **words)
    words = {"title": "Training loss per epoch", "subtitle": "for different losses, compare only the shape"}
    plot_curves(out / "train_loss.png", curves("loss"), label="training loss", **words)
    pictures = {"IOU of the evaluation pairs per epoch": out / "iou.png", "Training loss": out / "train_loss.png"}
    if next(iter(runs.values())).pairs is not None:
        plot_rocs(out / "roc.png", {title: [_errors(runs[n]) for n in of_model] for title, of_model in names.items()})
        pictures["ROC on the shared test pairs"] = out / "roc.png"
    return pictures


def _errors(run: FinishedRun) -> tuple[np.ndarray, np.ndarray, float]:
    return run.pairs["distance"].to_numpy(), run.pairs["same"].to_numpy(), run.metrics["threshold"]


def _page(
    runs: dict[str, FinishedRun],
    models: dict[str, list[str]],
    table: pd.DataFrame,
    tests: pd.DataFrame,
    words: list[str],
    pictures: dict[str, Path],
) -> str:
    """compare.html."""
    pairs = next(iter(runs.values())).pairs
    return render(
        "compare/comparison.html.jinja",
        runs=list(runs),
        models=list(models),
        sentences=words,
        figures=_table(model_rows(table)),
        shared_pairs=0 if pairs is None else len(pairs),
        differences=[
            {"first": first, "second": second, **_table(significance_rows(rows))}
            for (first, second), rows in tests.groupby(["first", "second"], sort=False)
        ],
        pictures=pictures,
        members=[[m, objective_name(runs[names[0]].settings), ", ".join(names)] for m, names in models.items()],
        differing=_differing(runs, models),
    )


def _table(parts: tuple[list[str], list[list[str]]]) -> dict[str, list]:
    return dict(zip(("header", "rows"), parts, strict=True))


def _differing(runs: dict[str, FinishedRun], models: dict[str, list[str]]) -> list[list[str]]:
    """The settings that are not the same for all models: a row for each, a column for each model."""
    settings = [runs[names[0]].settings for names in models.values()]
    keys = dict.fromkeys(key for of_model in settings for key in of_model if key not in OF_A_SEED)
    cells = [[key, *(str(of_model.get(key, "–")) for of_model in settings)] for key in keys]
    return [row for row in cells if len(set(row[1:])) > 1]


if __name__ == "__main__":
    with one_line_errors():
        main()
