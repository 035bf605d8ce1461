"""InsightFace's training sets, ``train.rec`` with ``train.idx``, read without mxnet.

The format (dmlc-core's recordio.h, MXNet's recordio.py), all little endian: a record is the word 0xced7230a, a word
with a 3-bit flag and the 29-bit length, and the content, padded to 4 bytes. Content that holds the magic word itself
is split there into several parts (flags 1, 2 … 2, 3). The content starts with a header: a count of labels, a label,
two 64-bit ids; where the count is not 0, that many float labels follow. Then comes the picture. Records without a
picture are InsightFace's own index.
"""

import mmap
import struct
from pathlib import Path

from data.sources.outcome import NO_PICTURE, UNREADABLE, Outcome
from data.sources.source_file import RECORD_MAGIC, Source, SourceFile, file_stamp
from runtime.errors import InputError

_HEADER = struct.Struct("<IfQQ")
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)


def list_records(rec: Path) -> Source:
    """Every picture of ``rec``; the label is the person. Records that are cut short are in ``other``, unreadable.

    Raises InputError: no such file, no ``.idx`` beside it, or an index that is none.
    """
    offsets = _read_index(rec.with_suffix(".idx"))
    stamp = file_stamp(rec.stat().st_size, rec.stat().st_mtime_ns)
    pictures, other = [], []
    with rec.open("rb") as file:
        if not rec.stat().st_size:
            raise InputError(f"{rec} is empty; copy it again")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for key, offset in offsets:
                path = f"{rec.name}/{key}"
                try:
                    label, stretches = _read_record(data, offset)
                except ValueError as error:
                    other.append(Outcome(path, stamp, UNREADABLE, str(error)))
                    continue
                if label < 0:
                    other.append(Outcome(path, stamp, NO_PICTURE, f"its label {label:g} is no person"))
                elif stretches:
                    person = f"{label:g}" if label != int(label) else str(int(label))
                    name = f"{person}/{key:08d}.jpg"
                    pictures.append(SourceFile(path, person, name, stamp, rec, stretches=stretches))
    return Source(pictures, other)


def _read_index(idx: Path) -> list[tuple[int, int]]:
    """(key, offset) of each record, in the order of the offsets, so that the file is read from front to back."""
    try:
        lines = idx.read_text().splitlines()
    except FileNotFoundError:
        raise InputError(f"{idx} is not there; a .rec is read with its .idx beside it, of the same name") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{idx} can't be read as an index ({error}); copy it again") from None
    entries = []
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if len(fields) != 2 or not all(field.isascii() and field.isdigit() for field in fields):
            raise InputError(f"{idx}, line {number}: {line[:40]!r} is not a key and an offset; copy the file again")
        entries.append((int(fields[0]), int(fields[1])))
    if not entries:
        raise InputError(f"{idx} is empty; copy it again")
    if len({key for key, _ in entries}) < len(entries):
        raise InputError(f"{idx} has a key twice; copy it again")
    return sorted(entries, key=lambda entry: entry[1])


def _read_record(data: mmap.mmap, offset: int) -> tuple[float, tuple[tuple[int, int], ...]]:
    """The label, and where the picture lies: (offset, length) of each part; none where there is no picture.

    Raises ValueError if the record is damaged or cut short.
    """
    parts = _parts(data, offset)
    start, length = parts[0]
    if length < _HEADER.size:
        raise ValueError("its header is cut short")
    count, label, _, _ = _HEADER.unpack_from(data, start)
    header = _HEADER.size + 4 * count
    if length < header:
        raise ValueError("its labels are cut short")
    if count:
        (label,) = struct.unpack_from("<f", data, start + _HEADER.size)
    if label != label or abs(label) == float("inf"):
        raise ValueError("its label is no number")
    if len(parts) == 1 and length == header:
        return label, ()
    return label, ((start + header, length - header), *parts[1:])


def _parts(data: mmap.mmap, offset: int) -> list[tuple[int, int]]:
    """(offset, length) of the content's parts: nearly always one."""
    parts = []
    while True:
        if offset + 8 > len(data):
            raise ValueError("the file is cut short before it")
        if data[offset : offset + 4] != RECORD_MAGIC:
            raise ValueError(f"no record starts at byte {offset}")
        (word,) = struct.unpack_from("<I", data, offset + 4)
        flag, length = word >> 29, word & ((1 << 29) - 1)
        if offset + 8 + length > len(data):
            raise ValueError("the file is cut short within it")
        if flag not in ((_MIDDLE, _LAST) if parts else (_WHOLE, _FIRST)):
            raise ValueError(f"its part at byte {offset} is out of order")
        parts.append((offset + 8, length))
        if flag in (_WHOLE, _LAST):
            return parts
        offset += 8 + -(-length // 4) * 4
