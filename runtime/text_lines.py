"""Text files that hold lists, line by line."""

import unicodedata
from pathlib import Path

from runtime.errors import InputError


def text_lines(path: Path) -> list[tuple[int, str]]:
    """Number (from 1) and text of each line that is not empty, in Unicode's NFC form, of a file with or without a byte
    order mark. Raises InputError if it can't be read as text."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read as text ({error})") from None
    lines = unicodedata.normalize("NFC", text).splitlines()
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
