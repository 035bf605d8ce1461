"""The figures of a door on disk: a page in the reports' style and a plot, beside the JSON file."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from eval.metrics.error_curves import Errors, thinned
from eval.metrics.identification import Probes
from eval.metrics.open_set import door_figures, rates_of
from eval.plots.door import plot_door
from eval.report.render import render
from eval.text import counted, has_width, number, percent
from runtime.files import write_file

ALL = "all pictures"


def figures_by_condition(probes: Probes, condition: np.ndarray, thresholds: Mapping[str, float]) -> dict[str, dict]:
    """``door_figures`` of all probes, and of each ``condition``, str (P,), where there is more than one; strangers
    count in their own condition."""
    parts = {ALL: np.ones(len(condition), bool)}
    names = np.unique(condition).tolist()
    if len(names) > 1:
        parts |= {name: condition == name for name in names}
    return {name: door_figures(probes.part(rows), thresholds) for name, rows in parts.items()}


def write_door(
    folder: Path, stem: str, probes: Probes, condition: np.ndarray, found: Mapping[str, dict], run: str
) -> Path:
    """Write ``stem``.html and, where there are strangers, ``stem``_det.png into ``folder``; the page's path."""
    plot = None
    if found[ALL]["strangers"] and found[ALL]["probes"]:
        plot = folder / f"{stem}_det.png"
        _plot(plot, probes, condition, found, run)
    page = folder / f"{stem}.html"
    tables = {name: _rows(figures) for name, figures in found.items()}
    write_file(
        page,
        render("identify/door.html.jinja", run=run, sentences=sentences(found[ALL]), tables=tables, plot=plot),
    )
    return page


def sentences(figures: Mapping) -> list[str]:
    """What to know of all pictures, in words."""
    who = f"{counted(figures['probes'], 'picture')} of {counted(figures['people'], 'enrolled person')}"
    others = f"{counted(figures['strangers'], 'picture')} of {counted(figures['stranger_people'], 'stranger')}"
    lines = [f"{who} and {others}.".replace("persons", "people")]
    for name, point in figures["points"].items():
        tpir = percent(point["tpir"]["share"], 1)
        if "fpir" in point:
            fpir = percent(point["fpir"]["share"], 2)
            lines.append(f"At {name} ({number(point['threshold'])}): TPIR {tpir}, FPIR {fpir}.")
        else:
            lines.append(f"At {name}: TPIR {tpir} (threshold {number(point['threshold'])}).")
    return lines


def _rows(figures: Mapping) -> list[list[str]]:
    """A table: at which threshold, TPIR and FPIR."""
    rows = [[f"rank {rank}, any distance", "–", with_interval(figures[f"rank_{rank}"]), "–"] for rank in (1, 5)]
    for name, point in figures["points"].items():
        let_in = with_interval(point["fpir"]) if "fpir" in point else name.removeprefix("FPIR ")
        rows.append([name, number(point["threshold"], 4), with_interval(point["tpir"]), let_in])
    return rows


def with_interval(figure: Mapping) -> str:
    """ "92.2 % (88.7–95.1)"."""
    text = percent(figure["share"], 2)
    if not has_width(figure["interval"]):
        return text
    low, high = figure["interval"]
    return f"{text} ({low * 100:.1f}–{high * 100:.1f})"


def _plot(path: Path, probes: Probes, condition: np.ndarray, found: Mapping[str, dict], run: str) -> None:
    curves, marked = {}, next((name for name in found[ALL]["points"] if not name.startswith("FPIR")), None)
    for name, figures in found.items():
        if not (figures["probes"] and figures["strangers"]):
            continue
        rows = np.ones(len(condition), bool) if name == ALL else condition == name
        point = figures["points"].get(marked)
        here = None if point is None else (point["fpir"]["share"], point["tpir"]["share"])
        rates = rates_of(probes.part(rows))
        curves[name] = thinned(Errors(name, *rates, figures["probes"], figures["strangers"], here))
    plot_door(path, curves, subtitle=run if marked is None else f"● at {marked}   ·   {run}")
