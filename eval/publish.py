"""The results table, generated from run folders: ``python -m eval.publish``.

    python -m eval.publish                                     make results.csv and README.md from published/
    python -m eval.publish --publish results/RUN results/RUN2  first copy these runs' small files there

A published run keeps settings, log, metrics and curves: no weights, no faces and no names of faces (the report, the
worst pairs and the list of test pairs are left out). A JSON file written by eval.verify is published under its name.
Every number of the tables comes from these files; runs that differ only in their seed share a row.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import tyro

from configs.cli import constants_of, option_words
from eval.compare.seeds import group_by_settings
from eval.finished_run import objective_name, read_run_file, read_verification
from eval.text import counted, has_width
from runtime.errors import InputError, one_line_errors
from runtime.files import copy_file, write_file
from runtime.kinds import TEXT, Fields, require, whole
from runtime.run_folder import WITHOUT_EFFECT
from runtime.spreadsheet import csv_for_people
from runtime.text_tables import markdown_table

SMALL_FILES = ("config.json", "log.jsonl", "metrics.json", "iou.png", "train_loss.png", "test_result.png")
# Plots of newer runs.
_MORE_FILES = ("roc.png", "det.png", "distances_by_condition.png")
# The settings of a preset are repeated one by one.
_NOT_REPEATED = WITHOUT_EFFECT | {"preset"}
# Of a run's settings those that the table shows.
_SETTINGS: Fields = {**dict.fromkeys(("backbone", "pretrained", "data_root", "precision"), TEXT), "seed": whole()}
_CONDITIONS = ("plain-plain", "plain-masked", "masked-masked")


@dataclass(frozen=True)
class TableSettings:
    """Where the runs are."""

    results: Path = Path("results")
    """Folder with published/, in which results.csv and README.md are written."""
    publish: tuple[Path, ...] = ()
    """Run folders, or JSON files of eval.verify, to copy into published/ first."""


def publish(source: Path, published: Path) -> None:
    """Copy a run's small files, with the last epoch's distances; or one JSON file of eval.verify.

    Raises InputError if the run has not been tested yet.
    """
    refuse_unfit(source)
    if source.is_file():
        copy_file(source, published / source.name)
        return
    target = published / source.name
    last = len((source / "log.jsonl").read_text().splitlines())
    for name in (*SMALL_FILES, *_MORE_FILES, f"distribution_epoch{last}.png"):
        if name not in _MORE_FILES or (source / name).is_file():
            copy_file(source / name, target / name)


def refuse_unfit(source: Path) -> None:
    """Raise InputError where something can't be published: before anything of it, or of others, is copied."""
    if source.is_file():
        verification_row(source)
    elif not (source / "metrics.json").is_file():
        raise InputError(f"{source} has no metrics.json: publish it after its test, or name another run")
    else:
        run_row(source)


def run_row(run: Path) -> dict:
    """A row of the table, from a published run."""
    config, metrics, log = (read_run_file(run, name) for name in ("config.json", "metrics.json", "log.jsonl"))
    settings = config["settings"]
    require(settings, _SETTINGS, str(run / "config.json"), "publish a run of main_arcface or main_triplet")
    seconds = sum(line["seconds"] + line["evaluation_seconds"] for line in log)
    return {
        "run": run.name,
        "objective": objective_name(settings),
        "backbone": settings["backbone"],
        "start": Path(settings["pretrained"]).name,
        "data": Path(settings["data_root"]).name,
        "seed": settings["seed"],
        "images seen": log[-1]["images_seen"],
        "minutes": round(seconds / 60, 1),
        **_accuracies(metrics),
        "hardware": ", ".join(config["gpus"]) or _processor(config),
        "precision": config.get("precision", settings["precision"]),  # older runs have the setting alone
        "command": command_of(config),
    }


def command_of(config: dict) -> str:
    """The command that repeats a run with today's constants of its script.

    Settings that are no more are left out, as are those that came later, which do not change what they were added to.
    """
    script = config["command"].split()[0]
    path = Path(__file__).parents[1] / script
    if not path.is_file():
        return f"python {config['command']}"
    today = constants_of(path).to_dict()
    known = today.keys() - _NOT_REPEATED
    changed = {k: v for k, v in config["settings"].items() if k in known and v != today[k]}
    return shlex.join(["python", script, *option_words(changed)])


def verification_row(file: Path) -> dict:
    """A row of the second table, from a JSON file of eval.verify."""
    figures = read_verification(file)
    rows = {"all": figures, **figures["by_condition"]}
    return {
        "file": file.stem,
        "weights": Path(figures["model"]).name,
        "pairs": Path(figures["pairs_csv"]).name,
        "mirror": figures["mirror"],
        **{f"10-fold {name}": rows[name]["fold_accuracy"] for name in ("all", *_CONDITIONS) if name in rows},
        **{f"AUC {name}": rows[name]["auc"] for name in ("all", *_CONDITIONS) if name in rows},
    }


def write_tables(results: Path) -> None:
    """results.csv and README.md from everything under published/."""
    published = results / "published"
    runs = [run_row(path.parent) for path in sorted(published.glob("*/metrics.json"))]
    checks = [verification_row(path) for path in sorted(published.glob("*.json"))]
    if not runs:
        raise InputError(f"{published} holds no run yet; publish one with --publish results/RUN")
    frame = pd.DataFrame(runs)
    seeds = pd.DataFrame(_seed_rows(frame, published))
    write_file(results / "results.csv", csv_for_people(frame))
    write_file(results / "README.md", _page(frame, seeds, pd.DataFrame(checks)))


def main() -> None:
    """The command."""
    settings = tyro.cli(TableSettings, description=__doc__)
    for source in settings.publish:
        refuse_unfit(source)
    for source in settings.publish:
        publish(source, settings.results / "published")
    write_tables(settings.results)


def _processor(config: dict) -> str:
    """Which one, and how much of it PyTorch computed with; runs of older versions do not know their cores."""
    cores = f", {counted(config['cores'], 'core')}" if "cores" in config else ""
    return f"{config['processor']}{cores}, PyTorch on {counted(config['threads'], 'thread')}"


def _accuracies(metrics: dict) -> dict:
    conditions = metrics["by_condition"]
    low, high = (metrics.get("intervals") or {}).get("accuracy") or (None, None)
    return {
        "pairs": metrics["pairs"],
        "accuracy": metrics["accuracy"],
        "accuracy low": low,
        "accuracy high": high,
        **{name: conditions[name]["accuracy"] for name in _CONDITIONS if name in conditions},
        "AUC": metrics["auc"],
        "EER": metrics["eer"],
    }


def _seed_rows(runs: pd.DataFrame, published: Path) -> list[dict]:
    """Mean and standard deviation of the figures of runs that differ in their seed alone."""
    configs = {run: read_run_file(published / run, "config.json")["settings"] for run in runs["run"]}
    rows = []
    for model, names in group_by_settings(configs).items():
        if len(names) > 1:
            of_model = runs[runs["run"].isin(names)]
            figures = [name for name in ("accuracy", *_CONDITIONS, "AUC", "EER") if of_model.get(name) is not None]
            spreads = {name: _spread(name, of_model[name]) for name in figures}
            rows.append({"model": model, "seeds": len(names), **spreads})
    return rows


def _spread(column: str, values: pd.Series) -> str:
    """ "92.47 ± 0.57 %"; a dash where a run lacks the figure."""
    if values.isna().any():
        return "–"
    mean, std = values.mean(), values.std(ddof=1)
    return f"{mean:.4f} ± {std:.4f}" if column == "AUC" else f"{100 * mean:.2f} ± {100 * std:.2f} %"


def _page(runs: pd.DataFrame, seeds: pd.DataFrame, checks: pd.DataFrame) -> str:
    figures = runs.drop(columns=["command", "hardware", "precision", "accuracy low", "accuracy high"])
    figures["accuracy"] = [_with_interval(row) for row in runs.to_dict("records")]
    origins = runs[["run", "hardware", "precision", "command"]]
    parts = [
        "# Results",
        "Generated by `python -m eval.publish` from `published/`; no number is typed by hand. Accuracy is measured on "
        "test pairs of people not seen in training, with the best checkpoint and the threshold chosen on the "
        "evaluation pairs. Brackets give 95 % intervals (bootstrap over people). The built-in demo: "
        "[docs/demo.md](../docs/demo.md). Real faces: [STUDY.md](STUDY.md).",
        _markdown(figures),
        *(["## Mean and standard deviation over seeds", _markdown(seeds)] if len(seeds) else []),
        "## Where each run comes from",
        _markdown(origins),
    ]
    if len(checks):
        parts += [
            "## Pretrained weights, no fine-tuning",
            "By `python -m eval.verify`: 10-fold accuracy, with each fold's threshold chosen on the other nine. The "
            "MobileFaceNet weights were trained on MS1M, which may contain some of the test people. Masks were drawn "
            "after alignment.",
            _markdown(checks),
        ]
    return "\n\n".join(parts) + "\n"


def _with_interval(row: dict) -> str:
    text = _cell("accuracy", row["accuracy"])
    low, high = row["accuracy low"], row["accuracy high"]
    return text if pd.isna(low) or not has_width([low, high]) else f"{text} ({100 * low:.1f}–{100 * high:.1f})"


def _markdown(frame: pd.DataFrame) -> str:
    rows = ([_cell(name, value) for name, value in row.items()] for row in frame.to_dict("records"))
    return markdown_table(list(frame.columns), rows).rstrip("\n")


def _cell(column: str, value: object) -> str:
    if isinstance(value, float) and pd.isna(value):
        return "–"
    if isinstance(value, float) and column.startswith("AUC"):
        return f"{value:.4f}"
    if isinstance(value, float) and column != "minutes":
        return f"{100 * value:.2f} %"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


if __name__ == "__main__":
    with one_line_errors():
        main()
