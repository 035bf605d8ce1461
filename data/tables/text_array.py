"""The paths of a table's rows as arrays, so that worker processes share millions of them as they are.

A Python string per row would cost every worker a copy of its own: to touch an object writes its reference count, and
a page that is written is no longer shared with the parent.
"""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd


class TextArray(Sequence[str]):
    """F strings in two arrays: ``text`` uint8, UTF-8 end to end; ``ends`` int64 (F+1,), 0 and where each ends."""

    def __init__(self, text: np.ndarray, ends: np.ndarray):
        self.text, self.ends = text, ends

    @classmethod
    def of(cls, strings: Iterable[str]) -> "TextArray":
        """From Python strings."""
        encoded = [string.encode() for string in strings]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        return cls(np.frombuffer(b"".join(encoded), np.uint8), np.concatenate([[0], np.cumsum(lengths)]))

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, index: int) -> str:
        return self.encoded(index).decode()

    def encoded(self, index: int) -> bytes:
        """One string in UTF-8."""
        return self.text[self.ends[index] : self.ends[index + 1]].tobytes()

    def tolist(self) -> list[str]:
        """All as Python strings."""
        text, ends = self.text.tobytes(), self.ends.tolist()
        return [text[start:end].decode() for start, end in itertools.pairwise(ends)]

    def subset(self, indices: np.ndarray) -> "TextArray":
        """Some strings, each once, in the order in which they stand here."""
        keep, lengths = np.zeros(len(self), bool), np.diff(self.ends)
        keep[indices] = True
        return TextArray(self.text[np.repeat(keep, lengths)], np.concatenate([[0], np.cumsum(lengths[keep])]))

    def places_of(self, others: "TextArray") -> np.ndarray:
        """Index here of each of ``others``, -1 where it is not here: int64 (len(others),)."""
        if np.array_equal(self.ends, others.ends) and np.array_equal(self.text, others.text):
            # Looking up millions of strings takes seconds.
            return np.arange(len(self))
        return pd.Index(self.tolist()).get_indexer(others.tolist())


class ImagePaths(Sequence[str]):
    """The path of each of N rows: ``distinct`` holds the F different ones, ``rows`` int64 (N,) says which is whose."""

    def __init__(self, distinct: TextArray, rows: np.ndarray):
        self.distinct, self.rows = distinct, rows

    @classmethod
    def of(cls, paths: Sequence[str] | np.ndarray) -> "ImagePaths":
        """From strings, one a row."""
        rows, distinct = pd.factorize(np.asarray(paths, dtype=object))
        return cls(TextArray.of(distinct), rows.astype(np.int64))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int | slice) -> "str | ImagePaths":
        return self.take(row) if isinstance(row, slice) else self.distinct[self.rows[row]]

    def take(self, rows: np.ndarray | slice) -> "ImagePaths":
        """Some rows, in their order."""
        used, places = np.unique(self.rows[rows], return_inverse=True)
        return ImagePaths(self.distinct.subset(used), places)
