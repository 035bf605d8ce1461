"""One picture of a source, wherever it lies: a file of its own, or a stretch of a container file."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data.sources.outcome import Outcome
from data.sources.read_image import UnreadableImage, decode_image

# Between the stretches of one RecordIO record stood this word, which the writer took out (see recordio.py).
RECORD_MAGIC = b"\x0a\x23\xd7\xce"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One input picture.

    ``path`` names it, relative to the source, '/' between its parts; ``person`` whose it is ("" where nobody knows);
    ``name`` under plain/ and masked/, such as ``Ann/Ann_0001.jpg``; ``stamp`` changes when the input does. ``masked``
    is True for a photo of somebody who wears a mask, ``bare`` for one that gets no masked copy. The picture lies in
    ``root / path``, or, where there are ``stretches`` (offset, length) in bytes, in the file ``root``.
    """

    path: str
    person: str
    name: str
    stamp: str
    root: Path
    masked: bool = False
    stretches: tuple[tuple[int, int], ...] = ()
    bare: bool = False

    def read(self) -> np.ndarray:
        """The picture as uint8 (H, W, 3) RGB, see ``read_image``. Raises UnreadableImage."""
        return decode_image(self.encoded())

    def encoded(self) -> bytes:
        """The picture as it lies there, a JPEG or such. Raises UnreadableImage."""
        try:
            if not self.stretches:
                return (self.root / self.path).read_bytes()
            with self.root.open("rb") as file:
                return RECORD_MAGIC.join(_stretch(file, *stretch) for stretch in self.stretches)
        except OSError as error:
            raise UnreadableImage(error.strerror or str(error)) from None


def _stretch(file, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)


@dataclass(frozen=True)
class SourcePair:
    """A pair of a verification list: the names of two pictures, and whether they show the same person."""

    name: str
    pair_name: str
    same: bool


@dataclass(frozen=True)
class Source:
    """The ``pictures`` of a source; what in it is none, with status and reason (``other``); the ``pairs`` of a
    verification set, which has no people; and in one line how its folders were understood (``layout``)."""

    pictures: list[SourceFile]
    other: list[Outcome]
    pairs: list[SourcePair] = field(default_factory=list)
    layout: str = ""


def file_stamp(size: int, modified_ns: int) -> str:
    """A stamp that changes when the file does."""
    return f"{size}-{modified_ns}"
