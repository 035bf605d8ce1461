"""Zip archives of tensors, as torch.save and NumPy write them: what a file says it holds must be in it."""

import os
import zipfile
from pathlib import Path


def refuse_bomb(path: Path) -> None:
    """Raise ValueError where a zip archive unpacks to more bytes than it has, BadZipFile where it is none.

    torch and NumPy store without compression. What is larger unpacked was compressed, or its parts lie over one
    another: a megabyte that fills the memory.
    """
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(part.file_size for part in archive.infolist())
    if unpacked > os.path.getsize(path):
        raise ValueError(f"its parts have a wrong length: together {unpacked:,} bytes in {os.path.getsize(path):,}")
