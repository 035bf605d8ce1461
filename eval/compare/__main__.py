"""Two or more tested runs beside each other: which is better, and is it luck?

    python -m eval.compare results/RUN results/RUN2 [RUN3 …] --out DIR

Runs that differ in their seed alone are one model: mean and standard deviation over its seeds. DIR gets compare.html
(everything in one file), compare.csv and significance.csv, and the curves over one another. Differences are paired on
the test pairs that the runs share, with 95 % intervals over people.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import tyro

from eval.compare.models import TestedRun, model_table, open_runs, significance_table
from eval.compare.seeds import OF_A_SEED, group_by_settings
from eval.compare.words import model_rows, sentences, significance_rows
from eval.plots.comparison import plot_curves, plot_rocs
from eval.report import html as page
from eval.text import counted
from runtime.errors import one_line_errors
from runtime.files import replace_file


@dataclasses.dataclass(frozen=True)
class CompareSettings:
    """Which runs, and where the comparison goes."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Two or more tested run folders."""
    out: Path
    """Folder to make or fill."""


def compare(settings: CompareSettings) -> list[str]:
    """Write the comparison, and return its sentences. Raises InputError on fewer than two runs, or untested ones."""
    runs = open_runs(settings.runs)
    models = group_by_settings({run.name: run.settings for run in runs.values()})
    table = model_table(runs, models)
    tests = significance_table(runs, models)
    words = sentences(table, tests, models)
    settings.out.mkdir(parents=True, exist_ok=True)
    for frame, name in ((table, "compare.csv"), (tests, "significance.csv")):
        with replace_file(settings.out / name) as temporary:
            frame.to_csv(temporary, index=False)
    pictures = _draw(settings.out, runs, models)
    with replace_file(settings.out / "compare.html") as temporary:
        temporary.write_text(_page(runs, models, table, tests, words, pictures), encoding="utf-8")
    return words


def main() -> None:
    """The command."""
    settings = tyro.cli(CompareSettings, description=__doc__)
    print("\n".join(compare(settings)))
    print(f"read {settings.out / 'compare.html'}")


def _draw(out: Path, runs: dict[str, TestedRun], models: dict[str, list[str]]) -> dict[str, Path]:
    """Words → picture."""
    names = {f"{model} ({counted(len(of_model), 'run')})": of_model for model, of_model in models.items()}

    def curves(key: str) -> dict[str, list]:
        return {
            title: [([line["epoch"] for line in runs[n].log], [line[key] for line in runs[n].log]) for n in of_model]
            for title, of_model in names.items()
        }

    words = {"title": "IOU by epoch", "subtitle": "evaluation pairs: lower is better", "label": "IOU"}
    plot_curves(out / "iou.png", curves("iou"), **words)
    words = {"title": "Training loss by epoch", "subtitle": "of different losses only the shape compares"}
    plot_curves(out / "train_loss.png", curves("loss"), label="training loss", **words)
    pictures = {"IOU of the evaluation pairs by epoch": out / "iou.png", "Training loss": out / "train_loss.png"}
    if next(iter(runs.values())).pairs is not None:
        plot_rocs(out / "roc.png", {title: [_judged(runs[n]) for n in of_model] for title, of_model in names.items()})
        pictures["ROC on the shared test pairs"] = out / "roc.png"
    return pictures


def _judged(run: TestedRun) -> tuple[np.ndarray, np.ndarray, float]:
    return run.pairs["distance"].to_numpy(), run.pairs["same"].to_numpy(), run.metrics["threshold"]


def _page(
    runs: dict[str, TestedRun],
    models: dict[str, list[str]],
    table: pd.DataFrame,
    tests: pd.DataFrame,
    words: list[str],
    pictures: dict[str, Path],
) -> str:
    shared = next(iter(runs.values())).pairs
    body = [page.heading("Comparison", 1), page.paragraph(", ".join(runs), faint=True), page.verdict_box(words)]
    header, rows = model_rows(table)
    spread = (
        "± is the standard deviation over seeds; brackets are 95 % intervals over people, left out with too few people "
        "or errors. EER and IOU: less is better."
    )
    body += [page.heading("Figures"), page.table(header, rows), page.paragraph(spread, faint=True)]
    body.append(page.heading("Is it luck?"))
    if len(tests):
        intro = (
            f"Differences on the {len(shared):,} test pairs that all runs share, resampled together, with their 95 %"
        )
        body.append(page.paragraph(f"{intro} intervals; those of shares in percentage points."))
        for two, rows in tests.groupby(["first", "second"], sort=False):
            body += [page.heading(f"{two[0]} minus {two[1]}", 3), page.table(*significance_rows(rows), (1,))]
    else:
        body.append(page.paragraph(words[-1]))
    body += [page.heading("Curves"), page.side_by_side(page.picture(path, text) for text, path in pictures.items())]
    members = [[model, ", ".join(names)] for model, names in models.items()]
    body += [page.heading("Models"), page.table(["model", "runs"], members, (1,)), *_differing(runs, models)]
    return page.document("Comparison", body)


def _differing(runs: dict[str, TestedRun], models: dict[str, list[str]]) -> list[str]:
    """The settings that are not the same for all models."""
    settings = [runs[names[0]].settings for names in models.values()]
    keys = dict.fromkeys(key for of_model in settings for key in of_model if key not in OF_A_SEED)
    cells = [[key, *(str(of_model.get(key, "–")) for of_model in settings)] for key in keys]
    rows = [row for row in cells if len(set(row[1:])) > 1]
    if not rows:
        return []
    table = page.table(["setting", *models], rows, tuple(range(1, len(models) + 1)))
    return [page.heading("Settings that differ", 3), table]


if __name__ == "__main__":
    with one_line_errors():
        main()
