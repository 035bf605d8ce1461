"""Benchmarks of several models beside each other: ``python -m eval.compare A/benchmark B/benchmark --out DIR``.

A cell stands beside another only if set, condition, protocol and figure are the same, and simulated masks were drawn
from one seed in one order.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from eval.benchmark.contract import Figure, Result
from eval.benchmark.outputs import JSON, condition_words, figure_text, headline_figure
from eval.plots.benchmark import Mark, plot_accuracies
from eval.report.render import render
from eval.text import percent
from runtime.errors import InputError
from runtime.files import write_file
from runtime.kinds import NUMBER, TABLE, TEXT, Fields, list_of, or_none, parse_json, require, whole
from runtime.spreadsheet import csv_for_people

_REMEDY = "make the benchmark again"
_FIGURE: Fields = {
    "name": TEXT,
    "value": or_none(NUMBER),
    "std": or_none(NUMBER),
    "interval": or_none(list_of(NUMBER, 2)),
}
_TEXTS = ("set", "condition", "protocol", "masks", "intervals_over", "alignment", "not_comparable")
_COUNTS = ("faces", "lost_faces", "pairs", "lost_pairs")
_RESULT: Fields = {**dict.fromkeys(_TEXTS, TEXT), **dict.fromkeys(_COUNTS, whole()), "details": TABLE}


class Row(NamedTuple):
    """What must be the same for two models' figures to be compared; ``seed`` and ``masks`` of simulated masks."""

    set: str
    condition: str
    protocol: str
    masks: str
    figure: str
    whose: str


def is_benchmark(place: Path) -> bool:
    """Whether a path is a benchmark's JSON, or a folder with one."""
    return place.suffix == ".json" or (place / JSON).is_file()


def compare_benchmarks(places: Sequence[Path], out: Path) -> list[str]:
    """Write benchmarks.html, benchmarks.csv and a plot; what to know of them, in sentences.

    Raises InputError: fewer than two, a file that is no benchmark, one named twice.
    """
    models = _open(places)
    frame = _frame(models)
    if frame.empty:
        raise InputError("these benchmarks share no set; compare benchmarks of the same test sets")
    sentences = _sentences(models, frame)
    write_file(out / "benchmarks.csv", csv_for_people(frame))
    pictures = _draw(out, models)
    page = render(
        "compare/benchmarks.html.jinja",
        models=list(models),
        sentences=sentences,
        tables={whose: _table(frame[frame["whose"] == whose], list(models)) for whose in frame["whose"].unique()},
        pictures=pictures,
    )
    write_file(out / "benchmarks.html", page)
    return sentences


# ==== read ====


def _open(places: Sequence[Path]) -> dict[str, list[Result]]:
    """The results of each model by its name: the benchmark's folder, or the run that it lies in."""
    files = [place if place.suffix == ".json" else place / JSON for place in places]
    if len({file.resolve() for file in files}) < 2 or len({file.resolve() for file in files}) < len(files):
        raise InputError("name two benchmarks or more, each once")
    names = [_name(file) for file in files]
    if len(set(names)) < len(names):
        names = [str(file.parent) for file in files]
    return {name: _read(file) for name, file in zip(names, files, strict=True)}


def _name(file: Path) -> str:
    if file.name != JSON:
        return file.stem
    folder = file.resolve().parent
    return folder.parent.name if folder.name == "benchmark" else folder.name


def _read(file: Path) -> list[Result]:
    try:
        values = parse_json(file.read_bytes(), file, _REMEDY)
    except OSError as error:
        raise InputError(f"{file} can't be read ({error.strerror}); {_REMEDY}") from None
    require(values, {"results": list_of(TABLE)}, str(file), _REMEDY)
    return [_result(each, file) for each in values["results"]]


def _result(values: dict, file: Path) -> Result:
    require(values, {**_RESULT, "official": list_of(TABLE), "own": list_of(TABLE)}, str(file), _REMEDY)
    require(values["details"], {"masks": TABLE}, f"{file}: details", _REMEDY, optional=True)
    figures = {whose: [_figure(figure, file) for figure in values[whose]] for whose in ("official", "own")}
    return Result(**{name: values[name] for name in _RESULT}, **figures)


def _figure(values: dict, file: Path) -> Figure:
    require(values, _FIGURE, str(file), _REMEDY)
    return Figure(**{name: values[name] for name in _FIGURE})


# ==== beside each other ====


def _frame(models: Mapping[str, list[Result]]) -> pd.DataFrame:
    """A row for each figure that two models or more have: what it is, and a text for each model."""
    cells: dict[Row, dict[str, str]] = {}
    for model, results in models.items():
        for result in results:
            star = " *" if result.not_comparable else ""
            for row, figure in _rows(result):
                cells.setdefault(row, {})[model] = figure_text(figure) + star
    rows = [{**row._asdict(), **texts} for row, texts in cells.items() if len(texts) > 1]
    return pd.DataFrame(rows, columns=[*Row._fields, *models]).fillna("–")


def _rows(result: Result) -> Iterator[tuple[Row, Figure]]:
    what = result.set, condition_words(result), result.protocol, _masks(result)
    for whose, figures in (("as published", result.official), ("own", result.own)):
        yield from ((Row(*what, figure.name, whose), figure) for figure in figures if figure.value is not None)


def _masks(result: Result) -> str:
    """Which masks: those of one seed and one list are the same, whoever draws them."""
    if "seed" not in result.details:
        return ""
    sums = result.details.get("masks", {})
    return f"seed {result.details['seed']}, {str(sums.get('parameters', ''))[:8]}".rstrip(", ")


def _sentences(models: Mapping[str, list[Result]], frame: pd.DataFrame) -> list[str]:
    """Of each set and condition that two models share, the figure to know of each."""
    lines = []
    for name, condition in dict.fromkeys(zip(frame["set"], frame["condition"], strict=True)):
        values = []
        for model, results in models.items():
            of_it = (result for result in results if (result.set, condition_words(result)) == (name, condition))
            if figure := next(map(headline_figure, of_it), None):
                values.append(f"{model} {percent(figure.value, 2)}")
        lines.append(f"{name}, {condition}: {', '.join(values)}.")
    return lines


def _table(frame: pd.DataFrame, models: Sequence[str]) -> dict[str, list]:
    """Head and rows for the page."""
    rows = [
        [row["set"], row["condition"], " ".join(filter(None, (row["protocol"], row["masks"]))), row["figure"]]
        + [row[model] for model in models]
        for row in frame.to_dict("records")
    ]
    return {"head": ["set", "condition", "protocol, masks", "figure", *models], "rows": rows}


def _draw(out: Path, models: Mapping[str, list[Result]]) -> dict[str, Path]:
    """Ten-fold accuracies of the models, a plot for each condition, by their captions."""
    marks: dict[str, dict[str, dict[str, Mark]]] = {}
    for model, results in models.items():
        for result in results:
            accuracy = next((f for f in (*result.official, *result.own) if f.std is not None), None)
            if accuracy is not None:
                of_condition = marks.setdefault(condition_words(result), {})
                of_condition.setdefault(result.set, {})[model] = accuracy.value, accuracy.std
    pictures = {}
    for number, (condition, of_sets) in enumerate(marks.items()):
        path = out / f"benchmarks_{number + 1}.png"
        plot_accuracies(path, of_sets, title="Accuracy by set and model", subtitle=condition)
        pictures[f"Ten-fold accuracy, {condition}"] = path
    return pictures
