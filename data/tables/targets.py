"""Names of people as tables have them: tidied, and refused if one person may stand there under two."""

import re
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd

from runtime.errors import InputError

_NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?")
# Beside what str.strip takes: marks without width, which nobody sees.
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"


def is_number(target: str) -> bool:
    """Whether a name is a mere number, which may be somebody else in another table."""
    return _NUMBER.fullmatch(target) is not None


def tidy_targets(column: pd.Series) -> pd.Series:
    """The names without space around them, in one Unicode form; what is space alone is missing.

    Each different name is looked at once: millions of rows have few.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes, names = column.cat.codes.to_numpy(), column.cat.categories.tolist()
    else:
        codes, names = pd.factorize(column)
    tidied = [_tidied(name) for name in names]
    if tidied == list(names):
        return column
    values = pd.Series(np.array([*tidied, None], dtype=object)[codes], index=column.index)
    return values.astype("category") if isinstance(column.dtype, pd.CategoricalDtype) else values


def _tidied(name: object) -> object:
    if not isinstance(name, str):
        return name
    return unicodedata.normalize("NFC", name).strip().strip(_INVISIBLE).strip() or None


def refuse_numbers_in_two_forms(targets: Iterable[str], table: str) -> None:
    """Raise InputError if one number is written in two ways, such as 0 and 0.0, or 0007 and 7."""
    forms: dict[Decimal, set[str]] = defaultdict(set)
    for target in set(targets):
        if isinstance(target, str) and is_number(target):
            forms[Decimal(target)].add(target)
    twice = sorted(sorted(found) for found in forms.values() if len(found) > 1)
    if twice:
        more = f" (and {len(twice) - 1} more numbers)" if len(twice) > 1 else ""
        raise InputError(
            f"{table}: {' and '.join(twice[0])} are one number in two forms{more}, and may be one person; write each "
            "person's target in one way, or put a letter before it"
        )


def warn_of_names_in_two_cases(targets: Iterable[str], table: str) -> None:
    """Say so on stderr if names differ in capitals alone: they count as two people, and may be one."""
    forms: dict[str, set[str]] = defaultdict(set)
    for target in set(targets):
        if isinstance(target, str):
            forms[target.casefold()].add(target)
    twice = sorted(sorted(found) for found in forms.values() if len(found) > 1)
    if twice:
        more = f" (and {len(twice) - 1} more such names)" if len(twice) > 1 else ""
        print(
            f"warning: {table}: {' and '.join(twice[0])} count as different people{more}; if they are one person, "
            "spell the name the same way everywhere",
            file=sys.stderr,
        )


def refuse_paths_of_two_people(images: np.ndarray, people: np.ndarray, paths, names, table: Path) -> None:
    """Raise InputError if an image has two people.

    ``images`` and ``people`` int64 (N,) number the ``paths`` and ``names`` of N rows.
    """
    person = np.full(len(paths), -1)
    person[images] = people
    row = np.flatnonzero(person[images] != people)
    if len(row):
        image, one, other = images[row[0]], people[row[0]], person[images[row[0]]]
        raise InputError(
            f"{table}: {paths[image]} stands there as {names[one]} and as {names[other]} "
            f"({len(np.unique(images[row]))} such images); give each image one target"
        )
