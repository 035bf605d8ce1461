"""Zip archives of tensors, as torch.save and NumPy write them: what a file says it holds must be in it."""

import os
import zipfile
from pathlib import Path

# How the one function is named that torch.load(weights_only=True) lets a pickle call for as many bytes as it likes.
_BYTEARRAY = b"\nbytearray\n"


def refuse_bomb(path: Path) -> None:
    """Raise ValueError if a zip archive unpacks to more bytes than it has, BadZipFile where it is none.

    torch and NumPy store without compression. What is larger unpacked was compressed, or its parts lie over one
    another: a megabyte that fills the memory.
    """
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        unpacked = sum(part.file_size for part in parts)
        if unpacked > os.path.getsize(path):
            raise ValueError(f"its parts have a wrong length: together {unpacked:,} bytes in {os.path.getsize(path):,}")
        if any(_BYTEARRAY in archive.read(part) for part in parts if part.filename.endswith("/data.pkl")):
            raise ValueError("it asks for a bytearray, which may be of any size")
