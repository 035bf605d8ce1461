"""Write a pack, or check one; writing resumes where it was stopped."""

import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from data.tables.card import read_dataset_card
from data.tables.images import Images
from data.tables.pack_file import DTYPES, HEADER_BYTES, SUFFIX, VERSION, Pack, header_crc32
from data.tables.pair_csv import read_pair_csvs
from data.tables.paths import relative_paths, require_files
from data.tables.rows import read_rows
from data.tables.text_array import TextArray
from data.tables.train_csv import read_train_csv
from runtime.errors import InputError
from runtime.files import writing

# Between two points from which an interrupted run can go on.
_FLUSH_BYTES = 64 * 2**20

# Files read at once: a network disk or an SSD answers many questions in the time of one.
_READERS, _READ_AT_ONCE = 8, 512

# Files read to tell whether the images are still those that were packed; of all, a network disk would take hours.
_COMPARED = 1000

# What the journal holds of each image that lies safely in the unfinished file.
_ENTRY = np.dtype([("size", "<u4"), ("crc32", "<u4")])


def pack_csv(csv: Path, out: Path, *, root: Path, path_prefix: str = "") -> None:
    """Make the pack ``out`` of ``csv``, whose paths start from ``root``; nothing is done where it is made already.

    Raises InputError: a CSV that can't be read, images that are not there, an ``out`` that is something else or was
    made, or begun, with other images, or a disk that can't be written or gives back other bytes than it was given.
    """
    if out.suffix != SUFFIX:
        raise InputError(f"--out is {out}; a pack's name must end in {SUFFIX}, by which the scripts know it from a CSV")
    frame = _checked_rows(csv, path_prefix)
    paths = pd.unique(np.concatenate([frame[c].dropna().to_numpy() for c in ("path", "pair_path") if c in frame]))
    require_files(root, paths, str(csv))
    arrays = table_arrays(frame, paths)
    metadata = {"card": json.dumps(read_dataset_card(root)), "source": _digest(arrays)}
    images = Images(root, paths)
    if out.exists():
        _already_made(out, metadata, images)
        return
    part, journal = out.with_name(out.name + ".part"), out.with_name(out.name + ".journal")
    with writing(out, then="make room; the same command resumes from here"):
        out.parent.mkdir(parents=True, exist_ok=True)
        entries = _write_images(part, journal, images, metadata["source"])
        _write_rest(part, entries, arrays, metadata)
        check_pack(part)
        os.replace(part, out)
        journal.unlink()
    print(f"{out}: {len(frame):,} rows, {len(paths):,} images, {out.stat().st_size / 1e6:,.1f} MB")


def check_pack(path: Path) -> Pack:
    """Read every byte of a pack. Raises InputError with the count of damaged images and the places of the first ten."""
    pack = Pack(path)
    lost = [i for i in tqdm(range(len(pack)), "checking", unit="img", leave=False) if not pack.is_whole(i)]
    if lost:
        places = ", ".join(f"{pack.paths[i]} ({pack.place(i)})" for i in lost[:10])
        raise InputError(f"{path}: {len(lost)} of {len(pack):,} images are damaged: {places}; pack the CSV again")
    return pack


def _checked_rows(csv: Path, path_prefix: str) -> pd.DataFrame:
    """The CSV's rows, their paths relative to the root; what training would refuse is refused now."""
    frame = read_rows(csv, ["path"])
    if "pair_path" in frame:
        read_pair_csvs([csv], path_prefix)
    else:
        read_train_csv(csv, path_prefix)
    for name in {"path", "pair_path"} & set(frame.columns):
        given = frame[name].dropna()
        frame.loc[given.index, name] = relative_paths(given, csv, path_prefix)
    return frame


def table_arrays(frame: pd.DataFrame, paths: np.ndarray) -> dict[str, np.ndarray]:
    """The index and the columns of a pack, by the names of ``data.tables.pack_file``; without columns whose names end
    as those of a text's arrays do."""
    arrays = _text_arrays("path", paths)
    images = pd.Index(paths)
    for name in (name for name in map(str, frame.columns) if not name.endswith((".text", ".ends"))):
        values = frame[name]
        if name in ("path", "pair_path"):
            arrays[f"column.{name}"] = images.get_indexer(values).astype(np.int32)
        elif pd.api.types.is_bool_dtype(values):
            arrays[f"column.{name}"] = values.to_numpy(bool)
        elif pd.api.types.is_numeric_dtype(values):
            integers = pd.api.types.is_integer_dtype(values)
            arrays[f"column.{name}"] = values.to_numpy(np.int64 if integers else np.float64)
        else:
            codes, texts = pd.factorize(values.astype(object))
            arrays[f"column.{name}"] = codes.astype(np.int32)
            arrays |= _text_arrays(f"column.{name}", [str(text) for text in texts])
    return arrays


def _text_arrays(name: str, strings: np.ndarray | list[str]) -> dict[str, np.ndarray]:
    texts = TextArray.of(strings)
    return {f"{name}.text": texts.text, f"{name}.ends": texts.ends}


def _digest(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(VERSION.encode())
    for name in sorted(arrays):
        digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()[:32]


def _already_made(out: Path, metadata: dict[str, str], images: Images) -> None:
    pack = Pack(out)
    if pack.metadata["source"] != metadata["source"]:
        raise InputError(f"{out} is the pack of another CSV; delete it, or name another --out")
    if pack.card != json.loads(metadata["card"]):
        raise InputError(
            f"{out} was packed when {images.root} had another dataset.json; delete it, or name another --out"
        )
    _refuse_changed(out, images, pack.arrays["crc32"])
    print(f"{out} is made already")


def _refuse_changed(packed: Path, images: Images, crc32: np.ndarray) -> None:
    """Raise InputError if ``crc32``, of the first images in ``packed``, is not that of their files now: of a sample.

    Faces that are made anew, with other masks or another crop, all change, though some keep their size.
    """
    rows = np.linspace(0, len(crc32) - 1, min(len(crc32), _COMPARED)).astype(int)
    for row, image in zip(rows, _read_all(images, rows), strict=True):
        if zlib.crc32(image) != crc32[row]:
            raise InputError(
                f"{packed} was made of other images: {images.name(row)} has changed since; delete it, or name "
                "another --out"
            )


def _write_images(part: Path, journal: Path, images: Images, source: str) -> np.ndarray:
    """Append what the unfinished file still lacks; returns an entry per image."""
    entries = _resume(part, journal, source)
    if len(entries):
        _refuse_changed(part, images, entries["crc32"])
        print(f"{part}: resuming after {len(entries):,} of {len(images):,} images")
    with part.open("r+b") as data, journal.open("ab") as log:
        data.truncate(HEADER_BYTES + int(entries["size"].sum()))
        data.seek(0, os.SEEK_END)
        new, unflushed = [], 0
        bar = tqdm(total=len(images), desc="packing", initial=len(entries), unit="img", leave=False)
        for image in _read_all(images, range(len(entries), len(images))):
            bar.update()
            data.write(image)
            new.append((len(image), zlib.crc32(image)))
            unflushed += len(image)
            if unflushed >= _FLUSH_BYTES:
                entries, new, unflushed = _flush(data, log, entries, new), [], 0
        bar.close()
        return _flush(data, log, entries, new)


def _read_all(images: Images, rows: Sequence[int] | np.ndarray) -> Iterator[bytes]:
    with ThreadPoolExecutor(_READERS) as pool:
        for start in range(0, len(rows), _READ_AT_ONCE):
            try:
                yield from pool.map(images.read, rows[start : start + _READ_AT_ONCE])
            except OSError as error:
                raise InputError(
                    f"can't read {error.filename or 'an image'} ({error.strerror}); the same command resumes from here"
                ) from None


def _flush(data, log, entries: np.ndarray, new: list[tuple[int, int]]) -> np.ndarray:
    """The images first, then the journal: it never speaks of what is not on the disk."""
    data.flush()
    os.fsync(data.fileno())
    added = np.array(new, dtype=_ENTRY)
    log.write(added.tobytes())
    log.flush()
    return np.concatenate([entries, added])


def _resume(part: Path, journal: Path, source: str) -> np.ndarray:
    """Entries of the images that an unfinished run wrote and that still match; both files are made ready for more."""
    head = source.encode()
    entries = np.empty(0, _ENTRY)
    if part.exists() and journal.exists():
        content = journal.read_bytes()
        if content[: len(head)] != head:
            raise InputError(f"{part} was begun with another CSV; delete it, or name another --out")
        whole = (len(content) - len(head)) // _ENTRY.itemsize
        entries = _still_whole(part, np.frombuffer(content, _ENTRY, whole, len(head)))
    else:
        part.touch()
    journal.write_bytes(head + entries.tobytes())
    return entries


def _still_whole(part: Path, entries: np.ndarray) -> np.ndarray:
    with part.open("rb") as data:
        data.seek(HEADER_BYTES)
        for image, (size, crc32) in enumerate(entries.tolist()):
            if zlib.crc32(data.read(size)) != crc32:
                return entries[:image]
    return entries


def _write_rest(part: Path, entries: np.ndarray, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """The arrays behind the images, then the header in the room that was left for it."""
    ends = np.cumsum(entries["size"], dtype=np.int64)
    sizes, crc32 = (np.ascontiguousarray(entries[name]) for name in ("size", "crc32"))
    arrays = {"starts": ends - sizes, "sizes": sizes, "crc32": crc32, **arrays}
    # The widest values first, so that all lie where the processor reads them without a detour.
    names = sorted(arrays, key=lambda name: -arrays[name].itemsize)
    length = int(sizes.sum(dtype=np.int64))
    header = {"images": {"dtype": "U8", "shape": [length + -length % 8], "data_offsets": [0, length + -length % 8]}}
    metadata = {"pack_version": VERSION, **metadata, "header_crc32": "0" * 8}
    with part.open("r+b") as file:
        file.truncate(HEADER_BYTES + length)
        file.seek(HEADER_BYTES + length)
        file.write(bytes(-length % 8))
        at = length + -length % 8
        for name in names:
            content = arrays[name].tobytes()
            header[name] = {
                "dtype": _dtype_name(arrays[name].dtype),
                "shape": list(arrays[name].shape),
                "data_offsets": [at, at + len(content)],
            }
            metadata[f"crc32.{name}"] = f"{zlib.crc32(content):08x}"
            file.write(content)
            at += len(content)
        file.seek(0)
        file.write(_header_bytes({"__metadata__": metadata, **header}))
        file.flush()
        os.fsync(file.fileno())


def _header_bytes(header: dict) -> bytes:
    room = HEADER_BYTES - 8
    raw = json.dumps(header, separators=(",", ":")).encode().ljust(room)
    if len(raw) > room:
        raise InputError(f"the CSV's columns and dataset.json take {len(raw):,} bytes of header, {room:,} are there")
    checksum = header_crc32(raw, "0" * 8)
    raw = raw.replace(b'"header_crc32":"00000000"', f'"header_crc32":"{checksum}"'.encode())
    return room.to_bytes(8, "little") + raw


def _dtype_name(dtype: np.dtype) -> str:
    return next(name for name, numpy_name in DTYPES.items() if np.dtype(numpy_name) == dtype)
