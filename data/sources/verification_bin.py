"""InsightFace's verification sets, such as ``lfw.bin``: pictures and a list of "same" flags in a pickle.

Nothing of it is run (see ``runtime/inert_pickle.py``). Pictures stay in the file until they are needed.
"""

import mmap
from pathlib import Path
from typing import Any

from data.sources.source_file import Source, SourceFile, SourcePair, file_stamp
from runtime.errors import InputError
from runtime.inert_pickle import NUMPY, Function, LazyUnpickler, Refused, StandIn, Stretch, encoded, stand_in


def list_verification_bin(path: Path) -> Source:
    """The pictures of a ``.bin``, named by their number, without people; and its pairs.

    Raises InputError: unreadable, cut short, no pickle, one that asks to run something, or another content.
    """
    stamp = file_stamp(path.stat().st_size, path.stat().st_mtime_ns)
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise InputError(f"{path} is empty; copy it again")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            images, same = _images_and_flags(_content(data, path), data, path)
    digits = max(6, len(str(len(images))))
    names = [f"{path.stem}/{number:0{digits}d}.jpg" for number in range(len(images))]
    pictures = [
        SourceFile(f"{path.name}/{number}", "", name, stamp, path, stretches=((image.offset, image.length),))
        for number, (image, name) in enumerate(zip(images, names, strict=True))
    ]
    pairs = [SourcePair(names[2 * i], names[2 * i + 1], flag) for i, flag in enumerate(same)]
    return Source(pictures, [], pairs)


class _Unpickler(LazyUnpickler):
    def meaning(self, name: str) -> object | None:
        if name in ("_codecs.encode", "builtins.bytes"):
            return Function(encoded)
        return stand_in(name) if name in NUMPY else None


def _content(data: mmap.mmap, path: Path) -> Any:
    try:
        return _Unpickler(data, len(data)).load()
    except Refused as refused:
        raise InputError(
            f"{path} names {str(refused)[:60]}, which no verification set needs: refused, and nothing of it was run"
        ) from None
    except Exception as error:  # a damaged pickle can fail with anything
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{path} is cut short or no verification set: {reason}; copy it again") from None


# ==== what the pickle says ====


def _images_and_flags(content: Any, data: mmap.mmap, path: Path) -> tuple[list[Stretch], list[bool]]:
    """The two halves of the content, checked."""
    if not isinstance(content, tuple | list) or len(content) != 2:
        raise InputError(f"{path} is no verification set: it needs a list of pictures and a list of same flags")
    images = [_picture(image, path) for image in _items(content[0], path)]
    flags = content[1]
    if isinstance(flags, StandIn):
        same = _array_flags(flags, data, path)
    else:
        same = [_flag(value, data, path) for value in _items(flags, path)]
    if not same or len(images) != 2 * len(same):
        raise InputError(
            f"{path} has {len(images)} pictures for {len(same)} pairs; it needs two a pair, copy the file again"
        )
    return images, same


def _items(value: Any, path: Path) -> list:
    if not isinstance(value, list | tuple):
        raise InputError(f"{path} is no verification set: a list was expected, not {_named(value)}")
    return list(value)


def _picture(value: Any, path: Path) -> Stretch:
    """Where the bytes of a picture lie: plain ones, or those of a NumPy array."""
    block = _block(value) if isinstance(value, StandIn) else value
    if isinstance(block, Stretch):
        return block
    if isinstance(block, bytes):
        raise InputError(f"{path} holds its pictures as text; write it again with pickle protocol 4")
    raise InputError(f"{path} is no verification set: {_named(value)} stands for a picture")


def _array_flags(array: StandIn, data: mmap.mmap, path: Path) -> list[bool]:
    """The flags of a NumPy array of bools or integers, of any width."""
    dtype = next((held for held in (*array.parts, *array.args) if isinstance(held, StandIn) and held.args), None)
    code = str(dtype.args[0]) if dtype else ""
    if code[:1] not in ("b", "i", "u") or not code[1:].isdecimal() or not int(code[1:]):
        raise InputError(f"{path} is no verification set: its same flags are an array of neither bools nor integers")
    content, width = _bytes(_block(array), data), int(code[1:])
    return [any(content[start : start + width]) for start in range(0, len(content), width)]


def _flag(value: Any, data: mmap.mmap, path: Path) -> bool:
    """A Python bool or int, or a NumPy scalar."""
    plain = value
    if isinstance(value, StandIn) and value.named.endswith(".scalar"):
        plain = next((byte for part in value.args[1:2] for byte in _bytes(part, data)), None)
    if plain in (0, 1):
        return bool(plain)
    raise InputError(f"{path} is no verification set: {_named(value)} stands for a same flag")


def _block(array: StandIn) -> Stretch | bytes | None:
    """The bytes of a NumPy array, which its pickle holds in one piece: the state's, or ``_frombuffer``'s argument."""
    held = (*array.parts[::-1], *array.args[:1])
    return next((part for part in held if isinstance(part, Stretch | bytes)), None)


def _bytes(block: Any, data: mmap.mmap) -> bytes:
    if isinstance(block, Stretch):
        return data[block.offset : block.offset + block.length]
    return block if isinstance(block, bytes) else b""


def _named(value: Any) -> str:
    return f"a {value.named[:60]}" if isinstance(value, StandIn) else type(value).__name__.lower()
