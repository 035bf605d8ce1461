"""Groups of faces on disk: a table, a folder of cut-outs per person that data.prepare reads, and a contact sheet."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from data.sources.read_image import read_image
from eval.metrics.distances import unit_means
from eval.photographs.cut_outs import cut_out, write_jpeg
from eval.photographs.stream import FoundFace
from eval.plots.groups import SheetRow, plot_groups
from eval.text import counted
from runtime.errors import InputError
from runtime.files import replace_folder, write_file
from runtime.spreadsheet import csv_for_people

TABLE, PEOPLE, SHEET = "groups.csv", "people", "sheet.png"
COLUMNS = ["group", "photo", "left", "top", "right", "bottom", "distance", "face_pixels", "remark", "cut_out"]
_ROWS, _FACES_A_ROW, _THUMBNAIL = 14, 10, 112


def refuse_to_replace(out: Path, photographs: Iterable[Path]) -> None:
    """Raise InputError if the folder people/ in ``out``, which write_groups replaces, is not of an earlier grouping, or
    holds photographs to group."""
    people = (out / PEOPLE).resolve()
    foreign = people.exists() and not (out / TABLE).is_file()
    if foreign or any(photograph.resolve().is_relative_to(people) for photograph in photographs):
        raise InputError(f"{out / PEOPLE} holds other pictures and would be replaced; set --out to another folder")


def write_groups(
    out: Path, faces: Sequence[FoundFace], embeddings: np.ndarray, groups: np.ndarray, files: Mapping[str, Path]
) -> None:
    """Write groups.csv, people/ (anew) and sheet.png into ``out``.

    ``embeddings`` float32 (N, D) and ``groups`` int (N,), the largest 0, of the N ``faces``, which lie in ``files`` (by
    name). ``distance`` in the table is that of a face to the mean of its group. Raises InputError if the disk refuses.
    """
    distances = _from_the_middle(embeddings, groups)
    digits = len(str(int(groups.max()) + 1))
    names = [f"person_{group + 1:0{max(digits, 3)}d}" for group in groups.tolist()]
    shown = _shown(groups, distances)
    thumbnails, paths = {}, []
    with replace_folder(out / PEOPLE) as draft:
        for number, cut in enumerate(tqdm(_cut_outs(faces, files), "writing", len(faces), unit="face", leave=False)):
            paths.append(f"{names[number]}/{number + 1:06d}.jpg")
            write_jpeg(draft / paths[-1], cut)
            if number in shown:
                thumbnails[number] = _thumbnail(cut)
    _write_table(out / TABLE, faces, names, distances, paths)
    plot_groups(out / SHEET, _sheet_rows(groups, names, shown, thumbnails), int(groups.max()) + 1, len(faces))


def _from_the_middle(embeddings: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The distance of each face to the unit mean of its group: (N,)."""
    return np.linalg.norm(embeddings - unit_means(embeddings, groups, int(groups.max()) + 1)[groups], axis=1)


def _shown(groups: np.ndarray, distances: np.ndarray) -> dict[int, None]:
    """The faces of the sheet, in its order: those nearest to the middle of each of the largest groups, and the farthest
    last, where a mistake would be."""
    shown: dict[int, None] = {}
    for group in range(min(_ROWS, int(groups.max()) + 1)):
        members = np.flatnonzero(groups == group)
        members = members[np.argsort(distances[members], kind="stable")]
        if len(members) > _FACES_A_ROW:
            members = members[np.linspace(0, len(members) - 1, _FACES_A_ROW).astype(int)]
        shown |= dict.fromkeys(members.tolist())
    return shown


def _cut_outs(faces: Sequence[FoundFace], files: Mapping[str, Path]):
    """Each face with the room around it, uint8 (h, w, 3) RGB, in the order of ``faces``; each photograph is read once,
    as its faces come one after the other."""
    name, image = None, None
    for face in faces:
        if face.photo != name:
            name, image = face.photo, read_image(files[face.photo])
        yield cut_out(image, face.box)


def _thumbnail(cut: np.ndarray) -> np.ndarray:
    """The middle of a cut-out, uint8 (_THUMBNAIL, _THUMBNAIL, 3)."""
    side = min(cut.shape[:2])
    top, left = (cut.shape[0] - side) // 2, (cut.shape[1] - side) // 2
    middle = cut[top : top + side, left : left + side]
    return cv2.resize(middle, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA)


def _write_table(
    path: Path, faces: Sequence[FoundFace], names: list[str], distances: np.ndarray, cut_outs: list[str]
) -> None:
    rows = []
    for name, face, distance, cut in zip(names, faces, distances, cut_outs, strict=True):
        box = np.round(face.box.astype(float), 1)
        place = face.photo, *box, round(float(distance), 4), round(face.pixels)
        rows.append([name, *place, face.remark, f"{PEOPLE}/{cut}"])
    table = pd.DataFrame(rows, columns=COLUMNS).sort_values(["group", "distance"], kind="stable")
    write_file(path, csv_for_people(table))


def _sheet_rows(
    groups: np.ndarray, names: list[str], shown: dict[int, None], thumbnails: dict[int, np.ndarray]
) -> list[SheetRow]:
    sizes, rows = np.bincount(groups), {}
    for number in shown:
        rows.setdefault(groups[number], SheetRow(f"{names[number]}   {counted(sizes[groups[number]], 'face')}", []))
        rows[groups[number]].faces.append(thumbnails[number])
    return list(rows.values())
