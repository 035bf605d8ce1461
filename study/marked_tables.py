"""Results of the study as Markdown, and pages that hold such tables between hand-written text."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from runtime.errors import InputError
from runtime.files import write_file

_TABLE = re.compile(r"(<!-- table ([\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def percent(values: list[float], digits: int = 2) -> str:
    """The mean of the seeds' shares, and their standard deviation if there are several."""
    if not values:
        return "–"
    spread = f" ± {100 * np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):.{digits}f}{spread} %"


def fill_tables(text: str, table: Callable[[str], str]) -> str:
    """The page with what ``table`` gives for each name between the marks."""
    return _TABLE.sub(lambda found: found[1] + table(found[2]) + found[3], text)


def rewrite(page: Path, change: Callable[[str], str]) -> None:
    """Replace the page with what ``change`` makes of it. Raises InputError if there is no page."""
    if not page.is_file():
        raise InputError(
            f"{page} is missing: write its text first, with <!-- table NAME --> and <!-- end --> lines for each table"
        )
    text = change(page.read_text(encoding="utf-8"))
    write_file(page, text)
