"""CSVs for people, who open them in a spreadsheet. (Those that a command reads back are written as they are.)"""

import pandas as pd

# A cell that begins so is run as a formula (OWASP, CSV injection); an apostrophe before it makes it text again.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_for_people(frame: pd.DataFrame) -> str:
    """The table as CSV in which no text, such as the name of a file, is a formula. Numbers stay numbers."""
    safe = frame.rename(columns=_as_text)
    for name in safe.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in safe.dtypes]]:
        safe[name] = safe[name].map(_as_text)
    return safe.to_csv(index=False)


def _as_text(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
