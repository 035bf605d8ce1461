"""The card of a folder of faces, ``dataset.json``: how they were made."""

from pathlib import Path

from runtime.errors import InputError
from runtime.files import write_json
from runtime.kinds import TEXT, Fields, parse_json, require, whole

CARD = "dataset.json"
CARD_KINDS: Fields = {"crop": TEXT, "size": whole(1), "source": TEXT}
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
