"""The card of a folder of faces, ``dataset.json``: how they were made."""

import json
from pathlib import Path

from runtime.errors import InputError
from runtime.files import write_json

CARD = "dataset.json"


def write_dataset_card(folder: Path, crop: str, size: int, **more: object) -> None:
    """Write ``dataset.json``: the crop and size of the faces in ``folder``, and how they were made."""
    write_json(folder / CARD, {"crop": crop, "size": size, **more})


def read_dataset_card(folder: Path) -> dict | None:
    """The card of a folder of faces, or None if it has none (faces made by another tool)."""
    path = folder / CARD
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}); make the folder again or delete the file") from None
