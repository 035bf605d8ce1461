"""Rows of a pair CSV that can't count: found, left out, and named, so that nothing is averaged in silence."""

import numpy as np
import pandas as pd

EMPTY = "empty field"
ITSELF = "an image with itself"
TWICE = "a pair listed before"
CONTRADICTION = "a pair listed as same and as different"
MISSING = "missing image"

COLUMNS = ["csv", "line", "reason", "path", "pair_path"]

# What a value that was lost on the way becomes as text; as a name it would be one person in every such pair.
_LOST = ("", "nan", "NaN")


def none_left_out() -> pd.DataFrame:
    """An empty list of left-out pairs."""
    return pd.DataFrame({"csv": [], "line": [], "reason": [], "path": [], "pair_path": []}).astype({"line": int})


def left_out(rows: pd.DataFrame, reason: str) -> pd.DataFrame:
    """The rows as lines of a list of left-out pairs."""
    return rows.assign(reason=reason)[COLUMNS]


def reasons(left_out: pd.DataFrame) -> str:
    """How many for each reason, and the first of each by name: one line."""
    parts = []
    for reason, rows in left_out.groupby("reason", sort=False):
        first = rows.iloc[0]
        place = f"{first['csv']} line {first['line']}" if first["csv"] else f"{first['path']} and {first['pair_path']}"
        parts.append(f"{len(rows):,} × {reason} (the first: {place})")
    return "; ".join(parts)


def split_empty(frame: pd.DataFrame, columns: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows with a value in each of the columns, and the others (empty, or nan) as left-out pairs."""
    empty = np.zeros(len(frame), dtype=bool)
    for column in columns:
        empty |= (frame[column].isna() | frame[column].astype(str).str.strip().isin(_LOST)).to_numpy()
    return frame[~empty], left_out(frame[empty].fillna({"path": "", "pair_path": ""}), EMPTY)


def split_repeats(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows (path, pair_path, same) that are a pair of two images for the first time, and the others as left-out pairs.

    A pair turned round is the same pair. One that is listed both as same and as different is left out altogether.
    """
    codes, images = pd.factorize(np.concatenate([frame["path"].to_numpy(), frame["pair_path"].to_numpy()]))
    one, other = np.split(codes.astype(np.int64), 2)
    pair = pd.Series(np.minimum(one, other) * len(images) + np.maximum(one, other))
    same = frame["same"].reset_index(drop=True)
    _, of_pair = np.unique(pair, return_inverse=True)
    listed_same, listed_different = np.bincount(of_pair, same), np.bincount(of_pair, ~same)
    contradiction = ((listed_same > 0) & (listed_different > 0))[of_pair]
    itself = one == other
    twice = pair.duplicated().to_numpy() & ~contradiction & ~itself
    contradiction &= ~itself
    faults = ((itself, ITSELF), (contradiction, CONTRADICTION), (twice, TWICE))
    lost = pd.concat([left_out(frame[rows], reason) for rows, reason in faults])
    return frame[~(itself | contradiction | twice)], lost
