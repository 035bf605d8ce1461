"""The card of a folder of faces, ``dataset.json``: how they were made."""

import sys
from dataclasses import fields
from pathlib import Path

from data.alignment.alignment import Alignment
from runtime.errors import InputError
from runtime.files import write_json
from runtime.kinds import TEXT, Fields, Kind, parse_json, require, table_of, whole

CARD = "dataset.json"
_ALIGNMENT = [field.name for field in fields(Alignment)]
CARD_KINDS: Fields = {
    "crop": TEXT,
    "size": whole(1),
    "source": TEXT,
    "alignment": Kind(
        lambda value: table_of(TEXT).holds(value) and value.keys() <= set(_ALIGNMENT),
        f"a text for each of {', '.join(_ALIGNMENT)}",
    ),
}
_REMEDY = "make the folder again, or delete the file"


def write_dataset_card(folder: Path, crop: str, size: int, **more: object) -> None:
    """Write ``dataset.json``: the crop and size of the faces in ``folder``, and how they were made."""
    write_json(folder / CARD, {"crop": crop, "size": size, **more})


def read_dataset_card(folder: Path) -> dict | None:
    """The card of a folder of faces, or None if it has none (faces made by another tool)."""
    path = folder / CARD
    if not path.is_file():
        return None
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror}); {_REMEDY}") from None
    card = parse_json(text, path, _REMEDY)
    require(card, CARD_KINDS, str(path), _REMEDY, optional=True)
    return card


def card_above(photo: Path) -> tuple[dict, Path] | None:
    """The card of the folder of faces in which a file lies, and that folder.

    At most eight folders up: a person's pictures may lie in plain/Ann/train/frontal.
    """
    for folder in list(photo.absolute().parents)[:8]:
        try:
            card = read_dataset_card(folder)
        except InputError:
            # Somebody else's file of that name.
            continue
        if isinstance(card, dict) and {"crop", "size"} <= card.keys():
            return card, folder
    return None


def prepared_as(face: Path) -> tuple[Path, str, str] | None:
    """Of a face made by data.prepare: the folder with the card, "plain" or "masked" (or "" if it lies in neither), and
    its path below that; None if there is no card above it."""
    found = card_above(face)
    if found is None:
        return None
    kind, _, rest = face.absolute().relative_to(found[1]).as_posix().partition("/")
    return found[1], kind if kind in ("plain", "masked") else "", rest


def is_masked(face: Path) -> bool | None:
    """Whether a face made by data.prepare wears a mask: it lies in masked/ or in plain/ then. None: nobody says."""
    found = prepared_as(face)
    return None if found is None else {"masked": True, "plain": False}.get(found[1])


def check_card(card: dict | None, place: Path, crop: str, alignment: Alignment | None = None) -> int | None:
    """The size in pixels that the card of the faces at ``place`` states, None if they have none.

    Warns if it states another way to find faces than ``alignment``, that of the network's training faces. Raises
    InputError if it states another crop than ``crop``.
    """
    if card is None:
        return None
    if card["crop"] != crop:
        raise InputError(
            f"the faces in {place} were cropped as {card['crop']}, but {crop} crops are needed; "
            "prepare the faces again, or train with crop set to theirs"
        )
    if alignment is not None and not alignment.finds_as(Alignment.of(card)):
        warn_of_alignment(f"the faces in {place}", Alignment.of(card), alignment)
    return card["size"]


def warn_of_alignment(faces: str, found: Alignment, trained: Alignment) -> None:
    """One line, when a network meets ``faces`` that were found in another way than its training faces."""
    print(
        f"warning: {faces}: aligned by {found.detector}, {found.landmarks} landmarks; the network was trained "
        f"with {trained.detector}, {trained.landmarks} landmarks: its accuracy may be lower",
        file=sys.stderr,
        flush=True,
    )
