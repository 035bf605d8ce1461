"""The pictures of a folder of people: listed, and each that shows a face embedded, with what was measured in it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from data.alignment.photos import FacePhoto
from data.datasets import image_loader
from data.sources.folders import list_folder
from data.tables.card import CARD, check_card, is_masked, read_dataset_card
from eval.embed import Embedder
from runtime.errors import InputError, in_one_line

_SHOWN = 5  # pictures in a line
_MEASURES = ("face_side", "sharpness", "yaw")
_COLUMNS = ["person", "picture", "nearest", "distance", "accepted", *_MEASURES, "masked", "remark", "left_out"]


@dataclass(frozen=True)
class Picture:
    """A ``path`` under the folder, whose it is, and whether its folder says that a mask is worn (None: it says
    nothing)."""

    person: str
    path: str
    masked: bool | None = None


@dataclass
class Embedded:
    """The pictures that show a face, their ``rows`` float32 (N, D), what was measured in each (None for faces that
    were aligned before), and why each of the others was ``left_out``."""

    pictures: list[Picture] = field(default_factory=list)
    rows: list[np.ndarray] = field(default_factory=list)
    faces: list[FacePhoto | None] = field(default_factory=list)
    left_out: dict[Picture, str] = field(default_factory=dict)

    def add(self, picture: Picture, row: np.ndarray, face: FacePhoto | None = None) -> None:
        """One more picture with a face."""
        self.pictures.append(picture)
        self.rows.append(row)
        self.faces.append(face)

    def leave_out(self, picture: Picture, reason: object) -> None:
        """One that counts for nothing, which is said."""
        self.left_out[picture] = in_one_line(reason)
        tqdm.write(f"left out: {in_one_line(reason)}")


def list_pictures(folder: Path, most: int = 0) -> list[Picture]:
    """The pictures of a folder with one sub-folder per person, at most ``most`` of each person unless 0."""
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; it needs one sub-folder per person")
    listed, times = [], Counter()
    # Nobody measures it: a folder within says so, or the folder of data.prepare that this is.
    worn = is_masked(folder.resolve() / "any")
    for file in list_folder(folder).pictures:
        times[file.person] += 1
        if not most or times[file.person] <= most:
            listed.append(Picture(file.person, file.path, True if file.masked else worn))
    return listed


def embed_pictures(embedder: Embedder, folder: Path, listed: list[Picture]) -> Embedded:
    """Embed all that show a face; the others, and the doubtful ones, are named. Raises InputError if none does."""
    card_folder = next((place for place in (folder, folder.resolve().parent) if (place / CARD).is_file()), None)
    found = Embedded()
    if card_folder is not None:
        check_card(read_dataset_card(card_folder), card_folder, embedder.crop, embedder.alignment)
        _embed_aligned(embedder, folder, listed, found)
    else:
        _embed_photographs(embedder, folder, listed, found)
    if not found.pictures:
        first = next(iter(found.left_out.values()), "there is none")
        raise InputError(
            f"no picture of {folder} shows a face that can be used (the first: {first}); give other pictures, or faces "
            "made by data.prepare"
        )
    for line in _doubts(found):
        print(line)
    return found


def _embed_photographs(embedder: Embedder, folder: Path, listed: list[Picture], found: Embedded) -> None:
    for picture in tqdm(listed, desc="embedding", leave=False):
        try:
            face = embedder.face(folder / picture.path)
        except InputError as error:
            found.leave_out(picture, error)
        else:
            found.add(picture, embedder.embed_aligned(face.image[None])[0], face)


def _embed_aligned(embedder: Embedder, folder: Path, listed: list[Picture], found: Embedded) -> None:
    loader = image_loader(folder, np.array([p.path for p in listed]), embedder.size, batch_size=64, workers=0)
    rows = [row for batch in tqdm(loader, desc="embedding", leave=False) for row in embedder.embed_aligned(batch)]
    for number, picture in enumerate(listed):
        if number in loader.unreadable:
            found.leave_out(picture, f"{picture.path} can't be read")
        else:
            found.add(picture, rows[number])


def _doubts(found: Embedded) -> Iterator[str]:
    """A line for each reason to doubt what was found, with the first pictures of which it holds."""
    measured = [(p, face) for p, face in zip(found.pictures, found.faces, strict=True) if face is not None]
    needed = max((face.needed for _, face in measured), default=0)
    for doubt, words in (
        ("is_small", f"are under {needed} px wide: false matches are likely; --least-face {needed} leaves them out"),
        ("is_blurred", "are blurred or enlarged"),
        ("is_turned_away", "have a large yaw angle"),
    ):
        doubtful = [(p, face) for p, face in measured if getattr(face, doubt)]
        if doubtful:
            shown = ", ".join(in_one_line(p.path) for p, _ in doubtful[:_SHOWN])
            more = ", …" if len(doubtful) > _SHOWN else ""
            yield f"{len(doubtful)} of {len(measured)} faces {words} ({shown}{more})"


def picture_table(found: Embedded, distances: np.ndarray, people: list[str], threshold: float | None) -> pd.DataFrame:
    """A row for each picture: person, picture, the nearest of ``people`` and the distance to them, whether that is
    within the ``threshold``, what was measured, and for one that did not count the reason (left_out).

    ``distances`` (N, people). A cell is empty where nothing was measured or said.
    """
    rows = []
    for picture, face, near in zip(found.pictures, found.faces, distances, strict=True):
        best = int(near.argmin())
        accepted = None if threshold is None else int(near[best] <= threshold)
        row = {"person": picture.person, "picture": picture.path, "nearest": people[best]}
        rows.append(row | {"distance": round(float(near[best]), 4), "accepted": accepted} | _measures(picture, face))
    rows += [
        {"person": picture.person, "picture": picture.path, "masked": _flag(picture.masked), "left_out": reason}
        for picture, reason in found.left_out.items()
    ]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _measures(picture: Picture, face: FacePhoto | None) -> dict[str, object]:
    if face is None:
        return {"masked": _flag(picture.masked)}
    masked = picture.masked if face.masked is None else face.masked
    measured = (face.side, face.sharpness, face.yaw)
    numbers = (None if value is None else round(value, 3) for value in measured)
    return {**dict(zip(_MEASURES, numbers, strict=True)), "masked": _flag(masked), "remark": face.remark}


def _flag(said: bool | None) -> int | None:
    return None if said is None else int(said)
