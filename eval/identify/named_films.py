"""Films: each person who is seen, from when to when, with their best face and a name; and the film with names."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from data.alignment.every_face import OpenedPhoto
from eval.embed import AT_ONCE, Embedder
from eval.films.film import Film, Frame, new_film
from eval.films.tracks import Track, Tracker
from eval.identify.enrolment import Enrolment
from eval.identify.naming import UNKNOWN, Namer
from eval.photographs.cut_outs import cut_out, write_jpeg
from eval.plots.photograph import NamedBox, draw_names
from runtime.errors import InputError, in_one_line
from runtime.files import replace_folder, write_file
from runtime.spreadsheet import csv_for_people

TABLE, NAMED = "tracks.csv", "film.mp4"
# Times in seconds; the box is that of the ``best`` face, in pixels of the film; ``frames``: in how many they were seen.
COLUMNS = [
    *("film", "track", "first", "last", "best", "left", "top", "right", "bottom", "name", "distance", "nearest"),
    *("face_pixels", "frames", "remark", "picture"),
]


def name_films(
    embedder: Embedder,
    enrolment: Enrolment,
    files: Mapping[str, Path],
    threshold: float,
    looks_per_second: float,
    out: Path,
) -> pd.DataFrame:
    """Look for the enrolled people in ``files`` (by name), and write to ``out``: for each film a folder with the film
    with names and the best face of each track, and tracks.csv. ``looks_per_second``: frames that are looked at; 0: all.

    Returns the table: a row of COLUMNS for each track, and one for each film without any, whose ``remark`` says why.
    Raises InputError if ``out`` can't be written, or would replace what it does not know.
    """
    namer = Namer(enrolment.people, enrolment.templates(), threshold, embedder.least_face)
    rows = []
    for name, path in files.items():
        try:
            film = Film(path)
            tracks = _tracks(embedder, film, name, threshold, 1 / looks_per_second if looks_per_second else 0.0)
        except InputError as error:
            rows.append(_without(name, str(error).removeprefix(f"{path} ")))
            continue
        if film.cut_short:
            print(in_one_line(_cut_short(name, film)))
        if not tracks:
            rows.append(_without(name, "no face found" if film.read else "no picture could be decoded"))
            continue
        found = _rows(name, tracks, namer)
        _write(out, name, film, tracks, found)
        rows += found
    table = pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(("track", "face_pixels", "frames"), "Int64"))
    write_file(out / TABLE, csv_for_people(table))
    return table


def film_folder(out: Path, name: str) -> Path:
    """Where the results of a film go."""
    return out / f"{name}_named"


def _without(name: str, problem: str) -> dict[str, object]:
    return {"film": name, "name": "", "remark": problem}


def _cut_short(name: str, film: Film) -> str:
    return f"{name} ends in the middle, at {film.seconds:.1f} s: {film.read:,} of {film.expected:,} frames are there"


def _tracks(embedder: Embedder, film: Film, name: str, threshold: float, every: float) -> list[Track]:
    tracker = Tracker(threshold)
    waiting: list[Frame] = []

    def look() -> None:
        for frame, (faces, rows) in zip(
            waiting, embedder.every_face([OpenedPhoto(each.image) for each in waiting], upright=True), strict=True
        ):
            tracker.add(frame.number, frame.seconds, faces, rows)
        waiting.clear()

    for frame in _with_bar(film, every, f"{name}: faces"):
        if frame is not None:
            waiting.append(frame)
        if len(waiting) == AT_ONCE:
            look()
    look()
    return tracker.tracks


def _with_bar(film: Film, every: float, title: str) -> Iterator[Frame | None]:
    return tqdm(film.frames(every), desc=in_one_line(title, 40), total=film.expected or None, unit="frame", leave=False)


def _rows(name: str, tracks: Sequence[Track], namer: Namer) -> list[dict[str, object]]:
    """A row of COLUMNS for each track."""
    best = [track.best for track in tracks]
    named = namer.name(
        np.stack([face.embedding for face in best]),
        [face.pixels for face in best],
        [face.remark for face in best],
        another="another face seen at the same time",
        together=lambda one, other: tracks[one].meets(tracks[other]),
    )
    rows = []
    for number, (track, face, who) in enumerate(zip(tracks, best, named, strict=True), 1):
        row = {"film": name, "track": number, "first": track.first, "last": track.last, "best": face.seconds}
        row = {key: round(value, 2) if isinstance(value, float) else value for key, value in row.items()}
        row |= dict(zip(("left", "top", "right", "bottom"), np.round(face.box.astype(float), 1).tolist(), strict=True))
        row |= {"name": who.name, "distance": round(who.distance, 4), "nearest": who.nearest}
        row |= {"face_pixels": round(face.pixels), "frames": len(track.frames)}
        rows.append(row | {"remark": who.remark, "picture": f"face_{number:03d}.jpg"})
    return rows


def _write(out: Path, name: str, film: Film, tracks: Sequence[Track], rows: Sequence[Mapping]) -> None:
    """The film with names, and the best face of each track; the film is decoded a second time for it."""
    folder = film_folder(out, name)
    if folder.exists() and not (folder / NAMED).is_file():
        raise InputError(f"{folder} holds other files and would be replaced; set --photos-out to another folder")
    coming, here = deque(zip(tracks, rows, strict=True)), []
    with replace_folder(folder) as draft, new_film(draft / NAMED, film.rate) as copy:
        for frame in _with_bar(film, 0.0, f"{name}: writing"):
            if frame is None:
                continue
            while coming and coming[0][0].frames[0] <= frame.number:
                here.append(coming.popleft())
            here = [(track, row) for track, row in here if frame.number <= track.frames[-1]]
            for track, row in here:
                if track.best.frame == frame.number:
                    write_jpeg(draft / row["picture"], cut_out(frame.image, track.best.box))
            copy.add(draw_names(frame.image, [_box(track, row, frame.number) for track, row in here]))


def _box(track: Track, row: Mapping, frame: int) -> NamedBox:
    known = row["name"] != UNKNOWN
    return NamedBox(track.box_at(frame), row["name"], f"{row['distance']:.2f}", known)
