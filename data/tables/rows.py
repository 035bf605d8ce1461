"""The rows of a CSV or a pack as a frame: quick enough for millions of rows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from data.tables.lines import line_of
from data.tables.pack_file import SUFFIX, Pack
from data.tables.targets import refuse_numbers_in_two_forms, tidy_targets, warn_of_names_in_two_cases
from runtime.errors import InputError
from runtime.files import replace_file

# Targets and paths stay text: "007" is a name of its own, and a column of names is no number.
_TEXT = ("path", "target", "pair_path", "pair_target", "mask_kind", "pair_mask_kind")


def read_rows(path: Path, columns: list[str], categories: Sequence[str] = ()) -> pd.DataFrame:
    """All columns of a CSV or a pack, text as Python strings, empty fields as missing.

    Columns of few different values, named in ``categories``, become a pandas category, which spares millions of rows a
    string each. Targets come without the space around them. Raises InputError: no such file, not readable, one of
    ``columns`` is lacking, no rows, or one number as a target in two forms.
    """
    frame = Pack(path).frame(categories) if path.suffix == SUFFIX else _read_csv(path, categories)
    lacking = [c for c in columns if c not in frame.columns]
    if lacking:
        have = ", ".join(map(str, frame.columns))
        raise InputError(f"{path} lacks the column {', '.join(lacking)} (it has: {have})")
    if frame.empty:
        raise InputError(f"{path} has a header and no rows; make it again, or point the setting to another CSV")
    targets = [name for name in ("target", "pair_target") if name in frame]
    for name in targets:
        frame[name] = tidy_targets(frame[name])
    people = {target for name in targets for target in frame[name].unique()}
    refuse_numbers_in_two_forms(people, str(path))
    warn_of_names_in_two_cases(people, str(path))
    return frame


def _read_csv(path: Path, categories: Sequence[str]) -> pd.DataFrame:
    try:
        # Only the empty field is missing: somebody may be called "NA" or "None".
        missing = {key: [""] for key in _TEXT}
        kinds = dict.fromkeys(_TEXT, object)
        _refuse_twins(pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0], path)
        frame = pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values=missing, low_memory=False)
        frame = _with_line_numbers(frame, path)
        # Not by the reader, which takes categories that look like numbers for numbers: "007" would be 7.
        return frame.astype({name: "category" for name in categories if name in frame})
    except FileNotFoundError:
        raise InputError(f"{path} is not there; set the CSV's setting, or make the data with data.prepare") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}, line {_undecodable_line(path)}: this is no UTF-8; save the CSV as UTF-8") from None
    except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{path} can't be read as a CSV: {' '.join(str(error).split())}") from None


def _undecodable_line(path: Path) -> int:
    """Number of the first line that is no UTF-8."""
    with path.open("rb") as file:
        return next((number for number, line in enumerate(file, 1) if "\ufffd" in line.decode(errors="replace")), 1)


def _with_line_numbers(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Where rows have a field more than the header, pandas takes the first for their labels, as R writes them. It does
    so, too, if each row just ends in a comma, which would move every value to another column."""
    if isinstance(frame.index, pd.RangeIndex):
        return frame
    last = frame.iloc[:, -1]
    if (last.isna() | (last == "")).all():
        raise InputError(f"{path}: its rows end in a comma, but its header does not; remove these commas")
    return frame.reset_index(drop=True)


def _refuse_twins(names: pd.Series, path: Path) -> None:
    """A column that stands twice: pandas would take the first, and the user may mean the other."""
    twice = names[names.duplicated() & (names != "")]
    if len(twice):
        raise InputError(f"{path} has the column {twice.iloc[0]} twice; leave one of them out")


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a CSV as a whole or not at all."""
    with replace_file(path) as temporary:
        frame.to_csv(temporary, index=False)


def read_flags(frame: pd.DataFrame, column: str, csv: Path) -> np.ndarray:
    values = pd.to_numeric(frame[column], errors="coerce")
    if not values.isin([0, 1]).all():
        row = frame.index[~values.isin([0, 1])][0]
        line = line_of(csv, row)
        raise InputError(f"{csv}, line {line}: {column} must be 0 or 1, not {str(frame[column][row])!r}")
    return values.to_numpy(bool)
