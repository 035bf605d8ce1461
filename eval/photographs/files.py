"""The photographs that a user names: files, and folders with all that lies under them."""

import os
from collections.abc import Sequence
from pathlib import Path

from data.sources.read_image import is_picture
from runtime.errors import InputError


def list_photographs(given: Sequence[Path], apart_from: Path | None = None) -> dict[str, Path]:
    """The photographs by a short name, in order: that of the file, or its path under the folder that was given.

    Folders are searched with all that is in them, but for ``apart_from``, which earlier results may lie in; files are
    taken as they are, whatever their ending. Of two equal names the later gets its folder's before it.
    Raises InputError: a file or folder that is not there, or no picture in any of them.
    """
    found: dict[str, Path] = {}
    for place in given:
        if place.is_dir():
            paths = _under(place, apart_from)
            names = [path.relative_to(place).as_posix() for path in paths]
        elif place.is_file():
            paths, names = [place], [place.name]
        else:
            raise InputError(f"there is no photograph or folder {place}; check its spelling")
        for name, path in zip(names, paths, strict=True):
            free, start = name, path.parent.name
            while free in found and found[free].resolve() != path.resolve():
                free = f"{start}/{free}"
            found[free] = path
    if not found:
        raise InputError(f"no picture in {', '.join(map(str, given))}; give photographs, or a folder with some")
    return found


def _under(folder: Path, apart_from: Path | None) -> list[Path]:
    """The pictures under a folder, sorted; hidden folders are passed over."""
    left_out = None if apart_from is None else apart_from.resolve()
    pictures = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and Path(place, f).resolve() != left_out)
        pictures += [Path(place, file) for file in sorted(files) if is_picture(file) and not file.startswith(".")]
    return pictures
