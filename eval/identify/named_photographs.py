"""Photographs that nobody has labelled: every face with its name, as a table and as pictures."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from eval.embed import Embedder
from eval.identify.enrolment import Enrolment
from eval.identify.naming import UNKNOWN, Namer
from eval.photographs.cut_outs import write_jpeg
from eval.photographs.stream import Photograph, embedded_photographs, in_words
from eval.plots.photograph import NamedBox, draw_names
from eval.text import counted
from runtime.files import write_file
from runtime.spreadsheet import csv_for_people

TABLE = "faces.csv"
# Pixels of the upright picture; ``nearest``: the enrolled person that ``distance`` is measured to, accepted or not.
COLUMNS = ["photo", "left", "top", "right", "bottom", "name", "distance", "nearest", "face_pixels", "remark"]


def name_photographs(
    embedder: Embedder, enrolment: Enrolment, files: Mapping[str, Path], threshold: float, least_face: int, out: Path
) -> pd.DataFrame:
    """Look for the enrolled people in ``files`` (by name), and write to ``out``: each photograph with boxes and names,
    and faces.csv. Faces of fewer than ``least_face`` pixels stay unknown.

    Returns the table: a row of COLUMNS for each face, and one for each photograph without a face, whose ``remark`` says
    why. Raises InputError if ``out`` can't be written.
    """
    namer = Namer(enrolment.people, enrolment.templates(), threshold, least_face)
    rows = []
    for photograph in embedded_photographs(embedder, files):
        found = _rows(photograph, namer)
        rows += found
        if photograph.faces:
            _draw(out, photograph, found)
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"face_pixels": "Int64"})
    write_file(out / TABLE, csv_for_people(table))
    return table


def _rows(photograph: Photograph, namer: Namer) -> list[list]:
    if not photograph.faces:
        return [[photograph.name, *[None] * 4, "", None, "", None, photograph.problem]]
    sides, remarks = zip(*((face.side, face.photo.remark) for face in photograph.faces), strict=True)
    rows = []
    for face, named in zip(photograph.faces, namer.name(photograph.embeddings, sides, remarks), strict=True):
        box = [round(float(v), 1) for v in face.box]
        who = named.name, round(named.distance, 4), named.nearest
        rows.append([photograph.name, *box, *who, round(face.side), named.remark])
    return rows


def _draw(out: Path, photograph: Photograph, rows: list[list]) -> None:
    faces = []
    for face, row in zip(photograph.faces, rows, strict=True):
        cells = dict(zip(COLUMNS, row, strict=True))
        known = cells["name"] != UNKNOWN
        faces.append(NamedBox(face.box, cells["name"], f"{cells['distance']:.2f}", known))
    write_jpeg(named_picture(out, photograph.name), draw_names(photograph.image, faces))


def named_picture(out: Path, name: str) -> Path:
    """Where the photograph of that name goes with its names; the ending stays: a.png and a.jpg are two pictures."""
    return out / (name if name.lower().endswith(".jpg") else f"{name}.jpg")


def summary(table: pd.DataFrame, threshold: float, thing: str, found: str) -> list[str]:
    """A table in words: its first column names photographs (the ``thing``), its rows are faces (what is ``found``)."""
    named, column = table[table["name"] != ""], table.columns[0]
    known = named[named["name"] != UNKNOWN]
    lines = [
        f"{counted(table[column].nunique(), thing)}, {counted(len(named), found)}: {len(known)} recognised as "
        f"{counted(known['name'].nunique(), 'person').replace('persons', 'people')}, {len(named) - len(known)} unknown "
        f"(threshold {threshold:.4f})"
    ]
    without = table[table["name"] == ""]
    return lines + in_words(dict(zip(without[column], without["remark"], strict=True)), thing)
