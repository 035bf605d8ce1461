"""The page of a benchmark, with its plots beside it."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from eval.benchmark.contract import Figure, Result
from eval.benchmark.outputs import (
    WHICH_IS_WHICH,
    condition_words,
    figure_tables,
    headline_figure,
    row_words,
)
from eval.benchmark.published import PublishedFigure, published_beside
from eval.plots.benchmark import Mark, plot_accuracies, plot_set
from eval.report.render import render
from eval.text import counted, percent
from runtime.files import write_file

PAGE = "benchmark.html"

# Of good networks they say little; the JSON has them.
_NOT_SHOWN = ("AUC", "TAR at FAR 1e-1")


def write_page(out: Path, model: str, results: Sequence[Result], passed_over: Mapping[str, str]) -> Path:
    """Write benchmark.html and its plots into ``out``; the page's path."""
    pictures = dict(_draw(out, model, results))
    page = render(
        "benchmark/benchmark.html.jinja",
        model=model,
        sentences=_sentences(results),
        official=figure_tables(results, [result.official for result in results]),
        own=figure_tables(results, [_shown(result) for result in results]),
        over=sorted({result.intervals_over for result in results} - {""}),
        which=WHICH_IS_WHICH,
        papers=[_paper(result, each) for result in results for each in published_beside(result)],
        faces=[_faces(result, words) for result, words in _one_of_each_condition(results)],
        masks=_masks(results),
        notes=list(_notes(results)),
        passed_over=list(passed_over.items()),
        pictures=pictures,
    )
    write_file(out / PAGE, page)
    return out / PAGE


def _sentences(results: Sequence[Result]) -> list[str]:
    """The first figure of every set, condition by condition, and what is to be doubted."""
    values: dict[str, list[str]] = {}
    for result, words in _one_of_each_condition(results):
        if figure := headline_figure(result):
            whose = "" if result.official else ", own figure"
            title = f"{figure.name[0].upper()}{figure.name[1:]}{whose}, {words}"
            values.setdefault(title, []).append(f"{result.set} {percent(figure.value, 2)}")
    lines = [f"{title}: {', '.join(of_sets)}." for title, of_sets in values.items()]
    doubtful = sum(bool(result.not_comparable) for result in results)
    if doubtful:
        lines.append(f"Not comparable because pairs are missing: {doubtful} of {counted(len(results), 'result')}.")
    return [line.replace(" %", "\u00a0%") for line in lines]


def _one_of_each_condition(results: Sequence[Result]) -> Iterator[tuple[Result, str]]:
    """The first result of each set and condition, and the condition in words: others differ in the protocol alone."""
    seen = set()
    for result in results:
        words = condition_words(result)
        if (result.set, words) not in seen:
            seen.add((result.set, words))
            yield result, words


def _shown(result: Result) -> list[Figure]:
    return [figure for figure in result.own if figure.name not in _NOT_SHOWN]


def _paper(result: Result, paper: PublishedFigure) -> list[str]:
    mine = next(figure for figure in result.official if figure.name == paper.figure)
    return [result.set, paper.figure, percent(mine.value, 2), paper.network, percent(paper.value, 2), paper.source]


def _faces(result: Result, words: str) -> list[str]:
    lost = f"{result.lost_faces:,} of {result.faces:,}"
    pairs = f"{result.lost_pairs:,} of {result.pairs + result.lost_pairs:,}"
    return [result.set, words, lost, pairs, result.alignment]


def _masks(results: Sequence[Result]) -> list[list[str]]:
    """The seed and, where they were taken, checksums of the simulated masks of each set."""
    rows = {}
    for result in results:
        if "seed" in result.details:
            sums = result.details.get("masks", {})
            short = (sums.get(name, "–")[:16] for name in ("parameters", "landmarks"))
            rows[result.set] = [result.set, str(result.details["seed"]), *short]
    return list(rows.values())


def _notes(results: Sequence[Result]) -> Iterator[list[str]]:
    for result, words in zip(results, row_words(results), strict=True):
        doubts = [f"* not comparable: {result.not_comparable}"] if result.not_comparable else []
        if doubts or result.notes:
            yield [result.set, words, "; ".join((*doubts, *result.notes))]


# ==== plots ====


def _draw(out: Path, model: str, results: Sequence[Result]) -> Iterator[tuple[str, Path]]:
    """The plots by their captions."""
    marks: dict[str, dict[str, Mark]] = {}
    for result in results:
        accuracy = next((f for f in (*result.official, *result.own) if f.std is not None), None)
        if accuracy is not None:
            marks.setdefault(result.set, {})[condition_words(result)] = accuracy.value, accuracy.std
    if marks:
        path = out / "accuracies.png"
        words = {"title": "Accuracy by set and condition"}
        words["subtitle"] = f"ten folds, the list's own if it has them   ·   {model}"
        plot_accuracies(path, marks, **words)
        yield "Ten-fold accuracy of every set and condition", path
    chosen = (each for each in _one_of_each_condition(results) if each[0].curve is not None)
    for name, of_set in groupby(chosen, lambda each: each[0].set):
        path = out / f"det_{name}.png"
        plot_set(path, [r.curve._replace(name=words) for r, words in of_set], title=f"DET, {name}", subtitle=model)
        yield f"DET of {name}", path
