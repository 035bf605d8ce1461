"""The page of a benchmark, with its plots beside it."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from eval.benchmark.contract import Figure, Result
from eval.benchmark.outputs import WHICH_IS_WHICH, condition_words, figure_text
from eval.benchmark.published import published_beside
from eval.plots.benchmark import Mark, plot_accuracies, plot_set
from eval.report.render import render
from eval.text import counted, percent
from runtime.files import write_file

PAGE = "benchmark.html"

_NOT_SHOWN = ("AUC", "TAR at FAR 1e-1")


def write_page(out: Path, model: str, results: Sequence[Result], passed_over: Mapping[str, str]) -> Path:
    """Write benchmark.html and its plots into ``out``; the page's path."""
    pictures = dict(_draw(out, model, results))
    page = render(
        "benchmark/benchmark.html.jinja",
        model=model,
        sentences=_sentences(results),
        official=_table(results, [result.official for result in results]),
        own=_table(results, [_shown(result) for result in results]),
        over=sorted({result.intervals_over for result in results} - {""}),
        which=WHICH_IS_WHICH,
        papers=[_paper(result, each) for result in results for each in published_beside(result)],
        faces=[_faces(result) for result in results],
        masks=_masks(results),
        notes=list(_notes(results)),
        passed_over=list(passed_over.items()),
        pictures=pictures,
    )
    write_file(out / PAGE, page)
    return out / PAGE


def _sentences(results: Sequence[Result]) -> list[str]:
    """The first figure of every set, condition by condition, and what is to be doubted."""
    lines = []
    for words, of_condition in _by_condition(results).items():
        values = ", ".join(f"{result.set} {percent(_first(result).value, 2)}" for result in of_condition)
        lines.append(f"{words[0].upper()}{words[1:]}: {values}.")
    doubtful = sum(bool(result.not_comparable) for result in results)
    if doubtful:
        lines.append(f"Not comparable, as pairs are missing: {doubtful} of {counted(len(results), 'result')}.")
    return [line.replace(" %", "\u00a0%") for line in lines]


def _by_condition(results: Sequence[Result]) -> dict[str, list[Result]]:
    """The results that have a figure, by their condition and what kind of figure it is."""
    found: dict[str, list[Result]] = {}
    for result in results:
        if _first(result) is not None:
            whose = "" if result.official else ", own figure"
            found.setdefault(f"{_first(result).name}{whose}, {condition_words(result)}", []).append(result)
    return found


def _first(result: Result) -> Figure | None:
    return next((figure for figure in (*result.official, *result.own) if figure.value is not None), None)


def _table(results: Sequence[Result], figures: Sequence[Sequence[Figure]]) -> dict[str, list]:
    """Head and rows of the figures of each result, of those alone that have some."""
    given = [(result, of_it) for result, of_it in zip(results, figures, strict=True) if of_it]
    names = dict.fromkeys(f.name for _, of_it in given for f in of_it if f.value is not None)
    rows = []
    for result, of_it in given:
        cells = {figure.name: figure_text(figure) for figure in of_it}
        mark = " *" if result.not_comparable else ""
        values = (cells.get(name, "–") for name in names)
        rows.append([result.set, condition_words(result) + mark, f"{result.pairs:,}", *values])
    return {"head": ["set", "condition", "pairs", *names], "rows": rows}


def _shown(result: Result) -> list[Figure]:
    """Its own figures but for those that say little of good networks; the JSON has them all."""
    return [figure for figure in result.own if figure.name not in _NOT_SHOWN]


def _paper(result: Result, paper) -> list[str]:
    mine = next(figure for figure in result.official if figure.name == paper.figure)
    return [result.set, paper.figure, percent(mine.value, 2), paper.network, percent(paper.value, 2), paper.source]


def _faces(result: Result) -> list[str]:
    lost = f"{result.lost_faces:,} of {result.faces:,}"
    pairs = f"{result.lost_pairs:,} of {result.pairs + result.lost_pairs:,}"
    return [result.set, condition_words(result), lost, pairs, result.alignment]


def _masks(results: Sequence[Result]) -> list[list[str]]:
    """The seed and checksums of the simulated masks of each set."""
    rows = {}
    for result in results:
        if "masks" in result.details:
            sums = result.details["masks"]
            rows[result.set] = [
                result.set,
                str(result.details["seed"]),
                sums["parameters"][:16],
                sums["landmarks"][:16],
            ]
    return list(rows.values())


def _notes(results: Sequence[Result]) -> Iterator[list[str]]:
    for result in results:
        doubts = [f"* not comparable: {result.not_comparable}"] if result.not_comparable else []
        if doubts or result.notes:
            yield [result.set, condition_words(result), "; ".join((*doubts, *result.notes))]


# ==== plots ====


def _draw(out: Path, model: str, results: Sequence[Result]) -> Iterator[tuple[str, Path]]:
    """The plots by their captions."""
    marks: dict[str, dict[str, Mark]] = {}
    for result in results:
        accuracy = next((f for f in (*result.official, *result.own) if f.std is not None), None)
        if accuracy is not None and "accuracy" in accuracy.name:
            marks.setdefault(result.set, {})[condition_words(result)] = accuracy.value, accuracy.std
    if marks:
        path = out / "accuracies.png"
        plot_accuracies(path, marks, subtitle=f"ten folds, the list's own where it has them   ·   {model}")
        yield "Ten-fold accuracy of every set and condition", path
    for name, of_set in groupby(results, lambda result: result.set):
        curves = [result.curve._replace(name=condition_words(result)) for result in of_set if result.curve is not None]
        if curves:
            path = out / f"det_{name}.png"
            plot_set(path, curves, title=f"DET, {name}", subtitle=model)
            yield f"DET of {name}", path
