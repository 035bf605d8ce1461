"""A folder of built-in people: portraits to enrol, visits with a mask, group pictures, and who is where in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import simplejpeg
import tyro
from tqdm import tqdm

from data.company.picture import GroupPicture, draw_group
from data.tables.rows import write_table
from data.tables.train_csv import LANDMARK_COLUMNS
from runtime.errors import InputError
from runtime.files import replace_folder, write_file

# Nobody's in particular; who has a higher number gets a number behind the name.
NAMES = (
    *("Ada", "Ben", "Cleo", "Dov", "Eve", "Finn", "Gia", "Hugo", "Ines", "Jun", "Kofi", "Lena", "Milo"),
    *("Nora", "Omar", "Pia", "Quinn", "Rosa", "Sven", "Tara", "Uma", "Viktor", "Wren", "Xenia", "Yara", "Zoe"),
)
PEOPLE, VISITS, PHOTOS, TRUTH = "people", "visits", "photos", "faces.csv"
COLUMNS = ["photo", "name", "left", "top", "right", "bottom", "mask", *LANDMARK_COLUMNS]
# Width and height of group pictures; portraits are upright.
_SIZES, _PORTRAIT = ((960, 640), (800, 600), (1200, 675)), (420, 480)
_JPEG_QUALITY = 92
# Each picture of a seed has a number of its own, so that no two are alike: group pictures from 0, then the portraits of
# each person, bare ones first.
_PORTRAITS, _PERSON, _VISIT = 10_000, 1_000, 100


@dataclass(frozen=True)
class Album:
    """What is drawn, and where. Raises InputError if a number is too small."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Folder to make."""
    people: int = 12
    """People with portraits in people/."""
    strangers: int = 4
    """People who are in visits/ and photos/ alone."""
    portraits: int = 2
    """Bare portraits of each of the people."""
    visits: int = 2
    """Masked portraits of everybody."""
    pictures: int = 30
    """Group pictures of two to six of everybody."""
    seed: int = 0
    """Seed of the people and their pictures."""

    def __post_init__(self) -> None:
        for name, low in {"people": 2, "strangers": 0, "portraits": 1, "visits": 0, "pictures": 0, "seed": 0}.items():
            if getattr(self, name) < low:
                raise InputError(f"{name} is {getattr(self, name)}, but must be at least {low}")
        for name, high in {"portraits": _VISIT, "visits": _PERSON - _VISIT, "pictures": _PORTRAITS}.items():
            if getattr(self, name) > high:
                raise InputError(f"{name} is {getattr(self, name)}, but must be at most {high}")


def name_of(person: int) -> str:
    """The name of person number ``person``."""
    again = person // len(NAMES)
    return NAMES[person % len(NAMES)] + (f" {again + 1}" if again else "")


def make_album(wanted: Album) -> None:
    """Draw the folder: ``people/<name>/``, ``visits/<name>/``, ``photos/`` and ``faces.csv``, a row of COLUMNS for each
    face of ``photos/``. It appears whole or not at all. Raises InputError if something else is there."""
    folder = wanted.folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is not empty; name another folder, or move it away")
    rows = []
    with replace_folder(folder) as draft:
        for path, picture in tqdm(_pictures(wanted), desc="drawing", unit="picture", total=_count(wanted), leave=False):
            data = simplejpeg.encode_jpeg(np.ascontiguousarray(picture.image), _JPEG_QUALITY, "RGB", "444")
            write_file(draft / path, data, flush=False)
            if path.startswith(PHOTOS):
                rows += [_row(path.removeprefix(f"{PHOTOS}/"), guest) for guest in picture.guests]
        write_table(pd.DataFrame(rows, columns=COLUMNS), draft / TRUTH)


def _count(wanted: Album) -> int:
    known = wanted.people * (wanted.portraits + wanted.visits)
    return known + wanted.strangers * wanted.visits + wanted.pictures


def _pictures(wanted: Album):
    """(path, picture) of everything that is drawn."""
    everybody = range(wanted.people + wanted.strangers)
    for person in everybody:
        for number in range(wanted.portraits if person < wanted.people else 0):
            yield f"{PEOPLE}/{name_of(person)}/{number + 1}.jpg", _portrait(person, number, wanted.seed, 0.0)
        for number in range(wanted.visits):
            yield f"{VISITS}/{name_of(person)}/{number + 1}.jpg", _portrait(person, _VISIT + number, wanted.seed, 1.0)
    for number in range(wanted.pictures):
        rng = np.random.default_rng((wanted.seed, 8, number))
        width, height = _SIZES[number % len(_SIZES)]
        guests = rng.choice(everybody, min(2 + number % 5, len(everybody)), replace=False).tolist()
        yield f"{PHOTOS}/{number + 1:03d}.jpg", draw_group(guests, number, wanted.seed, width=width, height=height)


def _portrait(person: int, number: int, seed: int, masked: float) -> GroupPicture:
    width, height = _PORTRAIT
    picture = _PORTRAITS + _PERSON * person + number
    return draw_group([person], picture, seed, width=width, height=height, masked_share=masked)


def _row(photo: str, guest) -> Sequence:
    box, points = np.round(guest.box.astype(float), 1), np.round(guest.landmarks.ravel().astype(float), 2)
    return photo, name_of(guest.person), *box.tolist(), guest.mask, *points.tolist()
