"""Two or more tested runs beside each other: which is better, and is it luck?

    python -m eval.compare results/RUN results/RUN2 [RUN3 …] --out DIR

Runs that differ in their seed alone are one model: mean and standard deviation over its seeds. DIR gets compare.html
(everything in one file), compare.csv and significance.csv, and the curves over one another. Differences are paired on
the test pairs that the runs share, with 95 % intervals over people.
"""

import dataclasses
import itertools
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import tyro

from eval import page
from eval import verification as v
from eval.bootstrap import LEAST_PEOPLE, resampled_figures, tar_name
from eval.compare_plots import plot_curves, plot_rocs
from eval.compare_words import model_rows, sentences, significance_rows
from eval.conditions import parts
from eval.pair_file import PAIR_FILE, read_pair_file
from eval.panels import counted
from eval.report import read_run_file
from eval.seeds import OF_A_SEED, group_by_settings
from eval.significance import difference, mcnemar
from runtime.errors import InputError, one_line_errors
from runtime.files import replace_file


@dataclasses.dataclass(frozen=True)
class CompareSettings:
    """Which runs, and where the comparison goes."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Two or more tested run folders."""
    out: Path
    """Folder to make or fill."""


@dataclasses.dataclass(frozen=True)
class TestedRun:
    """What a run folder holds; ``pairs`` are the shared test pairs, all runs' in one order, or None."""

    name: str
    settings: dict
    log: list[dict]
    metrics: dict
    pairs: pd.DataFrame | None


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


def open_runs(folders: tuple[Path, ...]) -> dict[str, TestedRun]:
    """Read the runs and bring their test pairs into one order. Raises InputError as ``compare`` does."""
    if len(folders) < 2:
        raise InputError("one run can't be compared; name two run folders or more")
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    if len(set(names)) < len(names):
        raise InputError("a run is named twice; name each run folder once")
    runs = {}
    for name, folder in zip(names, folders, strict=True):
        config, metrics, log = (read_run_file(folder, n) for n in ("config.json", "metrics.json", "log.jsonl"))
        pairs = read_pair_file(folder) if (folder / PAIR_FILE).is_file() else None
        runs[name] = TestedRun(name, config["settings"], log, metrics, pairs)
    return share_pairs(runs)


def share_pairs(runs: dict[str, TestedRun]) -> dict[str, TestedRun]:
    """The runs with their pairs in one order, those alone that all have."""
    shared = _shared_pairs([run.pairs for run in runs.values()])
    return {run.name: dataclasses.replace(run, pairs=frame) for run, frame in zip(runs.values(), shared, strict=True)}


def _shared_pairs(frames: list[pd.DataFrame | None]) -> list[pd.DataFrame] | list[None]:
    """The rows that all runs have, in one order; all None where a run has no pair file, or they share no pair."""
    if any(frame is None for frame in frames):
        return [None] * len(frames)
    keyed = [frame.set_index(["path", "pair_path", "same"]) for frame in frames]
    shared = keyed[0].index
    for frame in keyed[1:]:
        shared = shared[shared.isin(frame.index)]
    return [frame.loc[shared].reset_index() for frame in keyed] if len(shared) else [None] * len(frames)


def model_table(runs: dict[str, TestedRun], models: dict[str, list[str]]) -> pd.DataFrame:
    """A row for each model and figure: mean and std over its runs, and a single run's interval."""
    rows = []
    for model, names in models.items():
        metrics = [runs[name].metrics for name in names]
        for part in ("all pairs", *metrics[0]["by_condition"]):
            of_part = [m if part == "all pairs" else m["by_condition"].get(part) for m in metrics]
            if None in of_part:
                continue
            for figure in _figures_of(of_part[0]):
                values = [_value(m, figure) for m in of_part]
                known = None not in values
                low, high = (_ends(of_part[0], figure) if len(names) == 1 else None) or (None, None)
                rows.append(
                    {
                        "model": model,
                        "runs": len(names),
                        "pairs": part,
                        "figure": figure,
                        "mean": float(np.mean(values)) if known else None,
                        "std": float(np.std(values, ddof=1)) if known and len(values) > 1 else None,
                        "low": low,
                        "high": high,
                    }
                )
    return pd.DataFrame(rows)


def significance_table(runs: dict[str, TestedRun], models: dict[str, list[str]]) -> pd.DataFrame:
    """A row for each two models, part of the pairs and figure; empty where the runs share no test pairs."""
    columns = ["first", "second", "pairs", "figure", "difference", "low", "high", "p"]
    columns += ["only_first_right", "only_second_right", "mcnemar_p"]
    pairs = next(iter(runs.values())).pairs
    rows = []
    for part, chosen in {} if pairs is None else parts(pairs["condition"].to_numpy(str)).items():
        samples = {name: resample(run, chosen) for name, run in runs.items()}
        if None in samples.values():
            continue
        for first, second in itertools.combinations(models, 2):
            both = [[samples[name] for name in models[model]] for model in (first, second)]
            rows += [{"first": first, "second": second, "pairs": part, **row} for row in _differences(*both)]
    return pd.DataFrame(rows, columns=columns)


@dataclasses.dataclass(frozen=True)
class Sample:
    """A run on a part of the shared pairs: figures as they are, in each resample, and which pairs it judges rightly."""

    figures: dict[str, float]
    resampled: dict[str, np.ndarray]
    right: np.ndarray


def resample(run: TestedRun, chosen: np.ndarray) -> Sample | None:
    """The run on the ``chosen`` rows, bool (P,), of its pairs; None with one kind of pairs or too few people."""
    frame = run.pairs[chosen]
    distances, same = frame["distance"].to_numpy(float), frame["same"].to_numpy(bool)
    people, threshold = frame[["person", "pair_person"]].to_numpy(), run.metrics["threshold"]
    if same.all() or not same.any() or len(np.unique(people)) < LEAST_PEOPLE:
        return None
    pairs = v.curve(distances, same)
    tar = {name: v.tar_at_far(pairs, rate) for name, rate in v.FALSE_ACCEPT_RATES.items()}
    rates = {name: v.FALSE_ACCEPT_RATES[name] for name, value in tar.items() if value is not None}
    figures = {"accuracy": v.accuracy(distances, same, threshold), "auc": v.auc(pairs), "eer": v.eer(pairs)}
    figures |= {tar_name(name): tar[name] for name in rates}
    found = resampled_figures(distances, same, people, threshold=threshold, folds=None, rates=rates)
    return Sample(figures, {name: found[name] for name in figures}, (distances <= threshold) == same)


def _differences(first: list[Sample], second: list[Sample]) -> list[dict]:
    rows = []
    for figure in first[0].figures:
        value = float(np.mean([s.figures[figure] for s in first]) - np.mean([s.figures[figure] for s in second]))
        stacked = (np.stack([s.resampled[figure] for s in model]) for model in (first, second))
        found = difference(*stacked, value)
        low, high = found.interval or (None, None)
        row = {"figure": figure, "difference": found.value, "low": low, "high": high, "p": found.p}
        if figure == "accuracy" and len(first) == len(second) == 1:
            names = ("only_first_right", "only_second_right", "mcnemar_p")
            row |= dict(zip(names, mcnemar(first[0].right, second[0].right), strict=True))
        rows.append(row)
    return rows


def _figures_of(metrics: dict) -> list[str]:
    return ["accuracy", "auc", "eer", "iou", *(tar_name(rate) for rate in metrics["tar_at_far"])]


def _value(metrics: dict, figure: str) -> float | None:
    return metrics["tar_at_far"].get(figure[4:]) if figure.startswith("tar ") else metrics[figure]


def _ends(metrics: dict, figure: str) -> list[float] | None:
    found = metrics.get("intervals") or {}
    return found.get("tar_at_far", {}).get(figure[4:]) if figure.startswith("tar ") else found.get(figure)


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
        "± is the standard deviation over seeds; brackets are 95 % intervals over people. EER and IOU: less is better."
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
