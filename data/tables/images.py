"""The bytes of a table's images, from files under a root or from packs."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from data.sources.file_names import as_on_disk
from data.tables.pack_file import Pack
from data.tables.text_array import ImagePaths
from runtime.errors import in_one_line


class Images:
    """The images of N rows: from the first of ``packs`` that holds the path, else the file under ``root``.

    An image of a pack is held against its checksum whenever it is read.
    """

    def __init__(self, root: Path, paths: Sequence[str] | np.ndarray, packs: Sequence[Pack] = ()):
        self.root, self.packs = root, packs
        self.paths = paths if isinstance(paths, ImagePaths) else ImagePaths.of(paths)
        self._in_pack, self._place = _locate(self.paths, packs)
        self._folder = os.fsencode(root) + b"/"

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def count(self) -> int:
        """Distinct images."""
        return len(self.paths.distinct)

    @property
    def loose(self) -> list[str]:
        """Paths that no pack holds: they must be files."""
        distinct = self.paths.distinct
        return [distinct[i] for i in np.flatnonzero(self._in_pack < 0)] if self.packs else distinct.tolist()

    def image_of(self, row: int) -> int:
        """Number of the row's image among the distinct ones."""
        return int(self.paths.rows[row])

    def name(self, row: int) -> str:
        """The row's path, and where it lies in a pack, for messages."""
        image, path = self.paths.rows[row], in_one_line(self.paths[row])
        if not self.packs or self._in_pack[image] < 0:
            return path
        pack, place = self.packs[self._in_pack[image]], self._place[image]
        return f"{path} ({pack.place(place)})"

    def read(self, row: int) -> bytes | memoryview:
        """The encoded image. Raises OSError, or ValueError where the bytes in a pack are not what was packed."""
        image = self.paths.rows[row]
        if self.packs and self._in_pack[image] >= 0:
            return self.packs[self._in_pack[image]].read(self._place[image])
        # A third of the time of Path.read_bytes, which counts beside a decoder of 90 µs.
        path, flags = self._folder + self.paths.distinct.encoded(image), os.O_RDONLY | getattr(os, "O_BINARY", 0)
        try:
            file = os.open(path, flags)
        except FileNotFoundError:
            file = os.open(self._on_disk(image), flags)
        try:
            return os.read(file, os.fstat(file).st_size)
        finally:
            os.close(file)

    def size(self, row: int) -> int:
        """Bytes of the encoded image. Raises OSError if there is no such file."""
        image = self.paths.rows[row]
        if self.packs and self._in_pack[image] >= 0:
            return self.packs[self._in_pack[image]].size(self._place[image])
        try:
            return os.stat(self._folder + self.paths.distinct.encoded(image)).st_size
        except FileNotFoundError:
            return os.stat(self._on_disk(image)).st_size

    def _on_disk(self, image: int) -> Path:
        """The file of an image whose name has another Unicode form there than in the table."""
        path = self.paths.distinct[image]
        return Path(self.root) / (as_on_disk(Path(self.root), path) or path)

    def prefetch(self, rows: Iterable[int]) -> None:
        """Say what is read next, so that a pack on a slow disk is asked for many images at once."""
        if not self.packs:
            return
        for image in self.paths.rows[rows]:
            if self._in_pack[image] >= 0:
                self.packs[self._in_pack[image]].prefetch(self._place[image])


def _locate(paths: ImagePaths, packs: Sequence[Pack]) -> tuple[np.ndarray, np.ndarray]:
    """Per distinct image: number of the pack that holds it (−1: none) and of the image in it."""
    if not packs:
        return np.empty(0, np.int16), np.empty(0, np.int64)
    count = len(paths.distinct)
    in_pack, place = np.full(count, -1, np.int16), np.zeros(count, np.int64)
    for number, pack in reversed(list(enumerate(packs))):
        found = pack.paths.places_of(paths.distinct)
        in_pack[found >= 0] = number
        place[found >= 0] = found[found >= 0]
    return in_pack, place
