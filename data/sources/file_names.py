"""Names of files as systems write them: macOS unpacks "José" with the accent as a letter of its own, others as one."""

import os
import unicodedata
from pathlib import Path


def as_on_disk(root: Path, path: str) -> str | None:
    """``path`` under ``root`` in the Unicode form in which it lies there, None if it doesn't."""
    if path.isascii():
        return path if (root / path).exists() else None
    for form in ("NFC", "NFD"):
        spelled = unicodedata.normalize(form, path)
        if (root / spelled).exists():
            return spelled
    found = ""
    for part in path.split("/"):
        try:
            inside = os.listdir(root / found)
        except OSError:
            return None
        wanted = unicodedata.normalize("NFC", part)
        name = next((name for name in inside if unicodedata.normalize("NFC", name) == wanted), None)
        if name is None:
            return None
        found = f"{found}/{name}" if found else name
    return found
