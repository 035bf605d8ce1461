"""Results as text and as plain values."""

import dataclasses
from collections import Counter
from collections.abc import Sequence

from eval.benchmark.contract import Figure, Result
from eval.benchmark.published import published_beside
from eval.text import has_width, percent
from runtime.text_tables import aligned_table

JSON = "benchmark.json"

# The own figures that the terminal shows; the page has more, the JSON all of them.
_SHOWN = ("10-fold accuracy", "EER", "TAR at FAR 1e-3", "TAR at FAR 1e-4")
_FIRST = {"before alignment": "mask first", "after alignment": "alignment first"}
# Of a result's figures the one that the field speaks of.
_HEADLINES = ("accuracy", "TAR at FAR 1e-4")

WHICH_IS_WHICH = (
    "As published: calculated as the field does. Lists with ten folds: in the list's order, outputs of image and "
    "mirror summed before normalising, squared L2, thresholds 0, 0.01 … 3.99; mean ± standard deviation of the folds. "
    "IJB: templates by media, pictures weighted by the length of their embedding (N1) and the detector's score (D1) "
    "or not (N0, D0), TAR at the ROC point with the nearest FAR. Masked and plain pictures: every masked one against "
    "every plain one",
    "Own: this project's metrics on the same embeddings, with 95 % intervals over people if they are known, otherwise "
    "over pairs",
)

_HEAD = ["set", "condition", "pairs"]
# Head and rows of a table of text.
Table = tuple[list[str], list[list[str]]]


def results_table(results: Sequence[Result]) -> str:
    """The tables for a terminal, with a line that says which figures are whose."""
    tables = [aligned_table(*table, left=(0, 1)) for table in _whole_tables(results)]
    return "\n\n".join([*tables, "\n".join(f"{line}." for line in WHICH_IS_WHICH)])


def _whole_tables(results: Sequence[Result]) -> list[Table]:
    """Official figures first, then own ones; a table for all results that have the same official ones."""
    tables = []
    for kind in dict.fromkeys(_names(result.official) for result in results):
        of_kind = [result for result in results if _names(result.official) == kind]
        own = [[figure for figure in result.own if figure.name in _SHOWN] for result in of_kind]
        names, own_names = _given([result.official for result in of_kind]), _given(own)
        head = [*_HEAD, *(f"{name}, as published" for name in names), *(f"{name}, own" for name in own_names)]
        rows = [
            [*start, *(_cell(result.official, name) for name in names), *(_cell(figures, name) for name in own_names)]
            for start, result, figures in zip(_starts(of_kind), of_kind, own, strict=True)
        ]
        tables.append((head, rows))
    return tables


def figure_tables(results: Sequence[Result], figures: Sequence[Sequence[Figure]]) -> list[Table]:
    """The figures of each result, a table for all that have figures of the same names; none for those without."""
    tables = []
    for kind in dict.fromkeys(_names(of_it) for of_it in figures if of_it):
        chosen = [(r, f) for r, f in zip(results, figures, strict=True) if _names(f) == kind]
        names = _given([of_it for _, of_it in chosen])
        starts = _starts([result for result, _ in chosen])
        rows = [[*start, *(_cell(f, n) for n in names)] for start, (_, f) in zip(starts, chosen, strict=True)]
        tables.append(([*_HEAD, *names], rows))
    return tables


def _starts(results: Sequence[Result]) -> list[list[str]]:
    """The first cells of each row: set, condition (starred if not comparable), pairs."""
    words = row_words(results)
    stars = (" *" if result.not_comparable else "" for result in results)
    return [[r.set, w + s, f"{r.pairs:,}"] for r, w, s in zip(results, words, stars, strict=True)]


def row_words(results: Sequence[Result]) -> list[str]:
    """Each result's condition, with its protocol's short name where a set has several in that condition."""
    times = Counter((result.set, condition_words(result)) for result in results)
    several = (times[result.set, condition_words(result)] > 1 for result in results)
    return [
        f"{condition_words(result)}, {result.protocol.split()[-1]}" if more else condition_words(result)
        for result, more in zip(results, several, strict=True)
    ]


def condition_words(result: Result) -> str:
    """ "masked–masked, mask first": a photograph is masked and then aligned, as at a door, or the other way round."""
    words = result.condition.replace("-", "–")
    return f"{words}, {_FIRST[result.masks]}" if result.masks else words


def headline_figure(result: Result) -> Figure | None:
    """The figure to know of a result if no other is read; None if it has none."""
    given = [figure for figure in (*result.official, *result.own) if figure.value is not None]
    named = (figure for name in _HEADLINES for figure in given if figure.name == name)
    return next(named, given[0] if given else None)


def figure_text(figure: Figure) -> str:
    """ "99.44 % ± 0.33 (99.1–99.7)"."""
    text = percent(figure.value, 2)
    if figure.value is None:
        return text
    text += "" if figure.std is None else f" ± {figure.std * 100:.2f}"
    if not has_width(figure.interval):
        return text
    low, high = figure.interval
    return f"{text} ({low * 100:.1f}–{high * 100:.1f})"


def to_plain(result: Result) -> dict:
    """Plain values for the JSON, the papers' figures beside them."""
    values = {field.name: getattr(result, field.name) for field in dataclasses.fields(result) if field.name != "curve"}
    for name in ("official", "own"):
        values[name] = [dataclasses.asdict(figure) for figure in values[name]]
    values["notes"] = list(result.notes)
    return values | {"published": [dataclasses.asdict(figure) for figure in published_beside(result)]}


def _names(figures: Sequence[Figure]) -> tuple[str, ...]:
    return tuple(figure.name for figure in figures)


def _given(figures: Sequence[Sequence[Figure]]) -> list[str]:
    """The names of those that have a value for one result at least."""
    return list(dict.fromkeys(figure.name for of_it in figures for figure in of_it if figure.value is not None))


def _cell(figures: Sequence[Figure], name: str) -> str:
    return next((figure_text(figure) for figure in figures if figure.name == name), "–")
