"""What a folder of test sets holds: in order, without hidden names; nothing if it can't be read, as lost+found."""

import os
from collections.abc import Callable
from pathlib import Path


def files_in(folder: Path) -> list[Path]:
    """Its files."""
    return _inside(folder, os.DirEntry.is_file)


def folders_in(folder: Path) -> list[Path]:
    """Its folders."""
    return _inside(folder, os.DirEntry.is_dir)


def _inside(folder: Path, wanted: Callable[[os.DirEntry], bool]) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(folder / entry.name for entry in entries if entry.name[0] != "." and wanted(entry))
    except OSError:
        return []
