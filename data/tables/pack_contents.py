"""What the arrays of a pack must be for one another: numbers that point somewhere point into what is there."""

import math
from collections.abc import Iterator, Mapping

import numpy as np

_NEEDED = {"images": "U8", "starts": "I64", "sizes": "U32", "crc32": "U32", "path.text": "U8", "path.ends": "I64"}
_CODES = np.dtype("<i4")


def fault_of_header(header: Mapping[str, object], dtypes: Mapping[str, str]) -> str | None:
    """What is wrong with the entries of a header (names, dtypes, offsets, checksums), None where all is well."""
    metadata = header["__metadata__"]
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    lacking = [name for name in _NEEDED if name not in entries]
    if lacking:
        return f"array {lacking[0]} is lacking"
    for name, entry in entries.items():
        if not _is_entry(entry, dtypes) or _NEEDED.get(name, entry["dtype"]) != entry["dtype"]:
            return f"array {name} has a wrong dtype, shape or place"
        if name != "images" and f"crc32.{name}" not in metadata:
            return f"array {name} has no checksum"
    return None


def fault_of_arrays(arrays: Mapping[str, np.ndarray]) -> str | None:
    """What is wrong with the numbers in the arrays, None where all is well."""
    return next(_faults(arrays), None)


def _is_entry(entry: object, dtypes: Mapping[str, str]) -> bool:
    try:
        (start, end), shape, size = entry["data_offsets"], entry["shape"], np.dtype(dtypes[entry["dtype"]]).itemsize
        whole = all(isinstance(number, int) for number in (start, end, *shape))
        return whole and len(shape) == 1 and 0 <= start <= end and end - start == math.prod(shape) * size
    except (KeyError, TypeError, ValueError):
        return False


def _faults(arrays: Mapping[str, np.ndarray]) -> Iterator[str]:
    texts = {name.removesuffix(".text") for name in arrays if name.endswith(".text")}
    for name in texts:
        if not _are_ends(arrays.get(f"{name}.ends"), len(arrays[f"{name}.text"])):
            yield f"the ends of {name} do not fit its text"
    starts, sizes, crc32 = (arrays[name] for name in ("starts", "sizes", "crc32"))
    images = len(arrays["path.ends"]) - 1
    if not len(starts) == len(sizes) == len(crc32) == images:
        yield "starts, sizes, crc32 and paths are not equally many"
    elif images and (starts.min() < 0 or (starts + sizes).max() > len(arrays["images"]) or (starts + sizes).min() < 0):
        yield "an image starts or ends outside of the images"
    columns = {name: values for name, values in arrays.items() if _is_column(name)}
    if "column.path" not in columns or len(set(map(len, columns.values()))) != 1:
        yield "the columns are not equally long, or path is lacking"
    for name, codes in columns.items():
        words = "path" if name in ("column.path", "column.pair_path") else name
        if words in texts and not _are_codes(codes, len(arrays[f"{words}.ends"]) - 1):
            yield f"{name} points to texts that are not there"


def _is_column(name: str) -> bool:
    return name.startswith("column.") and not name.endswith((".text", ".ends"))


def _are_ends(ends: np.ndarray | None, length: int) -> bool:
    if ends is None or ends.dtype != np.int64 or not len(ends):
        return False
    return ends[0] == 0 and ends[-1] == length and bool((np.diff(ends) >= 0).all())


def _are_codes(codes: np.ndarray, texts: int) -> bool:
    """−1 is the empty field."""
    return codes.dtype == _CODES and (not len(codes) or (codes.min() >= -1 and codes.max() < texts))
