"""The pack: one file with the table of a CSV and the images it names, read through a memory map.

A pack is a safetensors file (https://github.com/huggingface/safetensors): eight bytes with the header's length, a JSON
header, then arrays end to end. Any reader of that format opens one. Its arrays:

- ``images`` uint8: the image files as they were, end to end, each path once;
- ``starts`` int64, ``sizes`` uint32, ``crc32`` uint32 (F,): where each image lies in ``images``, and its checksum;
- ``path.text`` and ``path.ends``: the F paths (see TextArray);
- ``column.NAME`` (N,): a column of the CSV. Of text it holds the number of the value (−1: an empty field), in the paths
  for path and pair_path, else in ``column.NAME.text`` and ``.ends``.

Metadata: ``pack_version``, ``card`` (the dataset.json of the folder), ``source`` (a digest of paths and columns), the
CRC-32 of every array but ``images``, and ``header_crc32``, that of the header with eight zeros in its own place.

Why this format. Fetching a random one of 200,000 images of 7.7 kB and its checksum took 3.2 µs here, 2.8 from Arrow
IPC, 4.7 from LMDB (whose file was 21 % larger), beside 90 µs of decoding: warm, they are alike. From a cold disk what
counts is to ask for a whole batch at once (madvise): 26 µs an image against 440–510 for a plain memory map, which is
how Arrow and LMDB read, and 77 for one read after the other. A tar as of WebDataset is read in order only, and P×K
draws at random. So the container is a known one that the project needs anyway, and the access its own.
"""

import json
import mmap
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from data.tables.card import CARD_KINDS
from data.tables.pack_contents import fault_of_arrays, fault_of_header
from data.tables.text_array import TextArray
from runtime.errors import InputError
from runtime.kinds import parse_json, require

SUFFIX = ".pack"
VERSION = "1"
# Room for the header: it is written last, when the checksums are known, and padded with blanks, as the format allows.
HEADER_BYTES = 65_536
# What a name of the format means, of those that a pack needs.
DTYPES = {"U8": "<u1", "U32": "<u4", "I32": "<i4", "I64": "<i8", "F32": "<f4", "F64": "<f8", "BOOL": "?"}
_REMEDY = "pack the CSV again, or copy the file again"


class Pack:
    """A pack, open for reading; workers share its memory map. A pickled one opens the file again."""

    def __init__(self, path: Path):
        """Raises InputError, with the place, where the file is cut, damaged, of another version, or no pack."""
        self.path = path
        try:
            with path.open("rb") as file:
                self._size = os.fstat(file.fileno()).st_size
                # An empty file can't be mapped.
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if self._size else b""
        except OSError as error:
            raise InputError(f"can't open {path} ({error.strerror}); make it with python -m data.pack") from None
        self._bytes = memoryview(self._map)
        header = self._header()
        self.metadata = header.pop("__metadata__")
        self.arrays = {name: self._array(name, entry) for name, entry in header.items()}
        self._refuse(fault_of_arrays(self.arrays))
        self._images_at = 8 + self._header_size + header["images"]["data_offsets"][0]
        self.paths = TextArray(self.arrays["path.text"], self.arrays["path.ends"])
        self._starts, self._sizes = self.arrays["starts"], self.arrays["sizes"]
        self._crc32 = self.arrays["crc32"]

    def __len__(self) -> int:
        """F: distinct images."""
        return len(self._starts)

    def __reduce__(self):
        return Pack, (self.path,)

    @property
    def card(self) -> dict | None:
        """The dataset.json of the folder that was packed, None if it had none."""
        return parse_json(self.metadata["card"], self._card_place, _REMEDY)

    def read(self, image: int) -> memoryview:
        """The encoded image. Raises ValueError if its bytes are not those that were packed."""
        start = self._images_at + int(self._starts[image])
        data = self._bytes[start : start + int(self._sizes[image])]
        if zlib.crc32(data) != self._crc32[image]:
            raise ValueError(f"{self.place(image)} does not match its checksum")
        return data

    def size(self, image: int) -> int:
        """Bytes of the encoded image."""
        return int(self._sizes[image])

    def prefetch(self, image: int) -> None:
        """Ask the system for the image's pages, without waiting for them."""
        if hasattr(mmap, "MADV_WILLNEED"):
            start = self._images_at + int(self._starts[image])
            page = start - start % mmap.PAGESIZE
            self._map.madvise(mmap.MADV_WILLNEED, page, start + int(self._sizes[image]) - page)

    def place(self, image: int) -> str:
        """File and bytes of an image, for messages."""
        start = self._images_at + int(self._starts[image])
        return f"{self.path}, bytes {start:,} to {start + int(self._sizes[image]):,}"

    def is_whole(self, image: int) -> bool:
        """Whether an image's bytes are those that were packed."""
        try:
            self.read(image)
        except ValueError:
            return False
        return True

    def frame(self, categories: Sequence[str] = ()) -> pd.DataFrame:
        """The CSV's columns, text as Python strings; of those in ``categories`` as a pandas category."""
        columns = {}
        for key, values in self.arrays.items():
            kind, _, name = key.partition(".")
            if kind != "column" or name.endswith((".text", ".ends")):
                continue
            texts = self._texts(name)
            if texts is not None and name in categories:
                values = pd.Categorical.from_codes(values, self._strings(name, texts))
            elif texts is not None:
                # Taken at −1, the last one is the empty field.
                values = np.array([*self._strings(name, texts), None], dtype=object)[values]
            columns[name] = values
        return pd.DataFrame(columns)

    def _strings(self, column: str, texts: TextArray) -> list[str]:
        try:
            return texts.tolist()
        except UnicodeDecodeError:
            raise InputError(f"{self.path}: column {column} holds bytes that are no text; {_REMEDY}") from None

    def _texts(self, column: str) -> TextArray | None:
        if column in ("path", "pair_path"):
            return self.paths
        text = self.arrays.get(f"column.{column}.text")
        return None if text is None else TextArray(text, self.arrays[f"column.{column}.ends"])

    def _header(self) -> dict:
        self._header_size = int.from_bytes(self._bytes[:8], "little")
        raw = bytes(self._bytes[8 : 8 + self._header_size]) if 2 <= self._header_size <= 100_000_000 else b""
        if not raw.startswith(b"{"):
            raise InputError(f"{self.path} is no pack: bytes 0 to 8 give no header; {_REMEDY}")
        try:
            header = json.loads(raw)
            metadata = header["__metadata__"]
            version, checksum = metadata["pack_version"], str(metadata["header_crc32"])
            card = json.loads(metadata["card"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise InputError(f"{self.path}: {self._header_place()} are damaged; {_REMEDY}") from None
        if version != VERSION:
            raise InputError(
                f"{self.path}: {self._header_place()} say version {version}, this program reads version {VERSION}; "
                "pack the CSV again"
            )
        if checksum != header_crc32(raw, checksum):
            raise InputError(f"{self.path}: {self._header_place()} are damaged; {_REMEDY}")
        if card is not None:
            require(card, CARD_KINDS, self._card_place, _REMEDY, optional=True)
        self._refuse(fault_of_header(header, DTYPES))
        wanted = 8 + self._header_size + max(e["data_offsets"][1] for n, e in header.items() if n != "__metadata__")
        if wanted != self._size:
            raise InputError(
                f"{self.path} is cut or grown: it has {self._size:,} bytes, {wanted:,} were written; {_REMEDY}"
            )
        return header

    @property
    def _card_place(self) -> str:
        return f"{self.path} (its dataset.json)"

    def _refuse(self, fault: str | None) -> None:
        if fault is not None:
            raise InputError(f"{self.path} contradicts itself: {fault}; {_REMEDY}")

    def _header_place(self) -> str:
        return f"bytes 0 to {8 + self._header_size:,} (header)"

    def _array(self, name: str, entry: dict) -> np.ndarray:
        start, end = (8 + self._header_size + offset for offset in entry["data_offsets"])
        if name != "images" and f"{zlib.crc32(self._bytes[start:end]):08x}" != self.metadata[f"crc32.{name}"]:
            raise InputError(f"{self.path}: bytes {start:,} to {end:,} (array {name}) are damaged; {_REMEDY}")
        return np.frombuffer(self._bytes[start:end], DTYPES[entry["dtype"]])


def header_crc32(raw: bytes, written: str) -> str:
    """Checksum of a header in which the checksum itself counts as eight zeros."""
    mark = b'"header_crc32":"'
    return f"{zlib.crc32(raw.replace(mark + written.encode(), mark + b'0' * 8)):08x}"
