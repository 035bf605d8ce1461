"""Results as text and as plain values."""

import dataclasses
from collections.abc import Sequence

from eval.benchmark.contract import Figure, Result
from eval.benchmark.published import published_beside
from eval.text import has_width, percent
from runtime.text_tables import aligned_table

# The own figures that the short table shows; the others are in the JSON and on the page.
_SHOWN = ("10-fold accuracy", "EER", "TAR at FAR 1e-3", "TAR at FAR 1e-4")
_FIRST = {"before alignment": "mask first", "after alignment": "alignment first"}

WHICH_IS_WHICH = (
    "As published: calculated as the field does (folds in the list's order, outputs of image and mirror summed before "
    "normalising, squared L2, thresholds 0, 0.01 … 3.99; mean ± standard deviation of the ten folds)",
    "Own: this project's, on the same distances, with 95 % intervals over people where these are known, otherwise over "
    "pairs",
)


def result_rows(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table: official figures first, then own ones."""
    official = list(dict.fromkeys(figure.name for result in results for figure in result.official))
    own = [name for name in _SHOWN if any(figure.name == name for result in results for figure in result.own)]
    own = [name for name in own if any(_value(result.own, name) != "–" for result in results)]
    head = [
        "set",
        "condition",
        "pairs",
        *(f"{name}, as published" for name in official),
        *(f"{name}, own" for name in own),
    ]
    rows = [
        [
            result.set,
            condition_words(result),
            f"{result.pairs:,}",
            *(_value(result.official, name) for name in official),
            *(_value(result.own, name) for name in own),
        ]
        for result in results
    ]
    return head, rows


def results_table(results: Sequence[Result]) -> str:
    """The table for a terminal, with a line that says which figures are whose."""
    return "\n".join([aligned_table(*result_rows(results), left=(0, 1)), "", *(f"{line}." for line in WHICH_IS_WHICH)])


def condition_words(result: Result) -> str:
    """ "masked–masked, mask first": a photograph is masked and then aligned, as at a door, or the other way round."""
    words = result.condition.replace("-", "–")
    return f"{words}, {_FIRST[result.masks]}" if result.masks else words


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


def _value(figures: Sequence[Figure], name: str) -> str:
    return next((figure_text(figure) for figure in figures if figure.name == name), "–")
