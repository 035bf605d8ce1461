"""InsightFace's verification sets, such as ``lfw.bin``: pictures and a list of "same" flags in a pickle.

Unpickling a file from elsewhere can run any program. Here nothing is unpickled: the pickle's instructions are read
with ``pickletools`` (which only lists them), and a small machine follows those that build plain values. Calls stay
what they are on paper, a name and arguments; those of NumPy are recognised as arrays, any other is refused.
"""

import mmap
import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.sources.source_file import Source, SourceFile, SourcePair, file_stamp
from runtime.errors import InputError


@dataclass(frozen=True)
class _Bytes:
    """Bytes of the file, not read yet."""

    offset: int
    length: int


@dataclass
class _Call:
    """Stands for what a pickle would call: never called here."""

    function: str
    arguments: Any = ()
    state: Any = ()


def list_verification_bin(path: Path) -> Source:
    """The pictures of a ``.bin``, named by their number, without people; and its pairs.

    Raises InputError: unreadable, cut short, no pickle, one that asks to run something, or another content.
    """
    stamp = file_stamp(path.stat().st_size, path.stat().st_mtime_ns)
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise InputError(f"{path} is empty; copy it again")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                content = _follow(data)
            except (ValueError, LookupError, TypeError, AttributeError, MemoryError) as error:
                reason = " ".join(str(error).split())[:120] or type(error).__name__
                raise InputError(f"{path} is cut short or no verification set: {reason}; copy it again") from None
            images, same = _images_and_flags(content, data, path)
    digits = max(6, len(str(len(images))))
    names = [f"{path.stem}/{number:0{digits}d}.jpg" for number in range(len(images))]
    pictures = [
        SourceFile(f"{path.name}/{number}", "", name, stamp, path, stretches=((image.offset, image.length),))
        for number, (image, name) in enumerate(zip(images, names, strict=True))
    ]
    pairs = [SourcePair(names[2 * i], names[2 * i + 1], flag) for i, flag in enumerate(same)]
    return Source(pictures, [], pairs)


# ==== what the pickle says ====


def _images_and_flags(content: Any, data: mmap.mmap, path: Path) -> tuple[list[_Bytes], list[bool]]:
    """The two halves of the content, checked."""
    if not isinstance(content, tuple | list) or len(content) != 2:
        raise InputError(f"{path} is no verification set: it needs a list of pictures and a list of same flags")
    images = [_array(image, path) for image in _items(content[0], path)]
    flags = content[1]
    if isinstance(flags, _Call):
        block = _array(flags, path)
        same = [value != 0 for value in data[block.offset : block.offset + block.length]]
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


def _array(value: Any, path: Path) -> _Bytes:
    """The bytes of a picture: plain, or the one block of a NumPy array."""
    if isinstance(value, _Bytes):
        return value
    if isinstance(value, _Call) and value.function.startswith(("numpy.core.", "numpy._core.")):
        blocks = [v for v in (*_parts(value.arguments), *_parts(value.state)) if isinstance(v, _Bytes) and v.length > 1]
        if len(blocks) == 1:
            return blocks[0]
    raise InputError(f"{path} is no verification set, nothing of it was run: {_named(value)} stands for a picture")


def _flag(value: Any, data: mmap.mmap, path: Path) -> bool:
    if isinstance(value, _Call) and value.function in ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"):
        value = next((data[v.offset] for v in _parts(value.arguments) if isinstance(v, _Bytes)), None)
    if value in (0, 1):
        return bool(value)
    raise InputError(f"{path} is no verification set, nothing of it was run: {_named(value)} stands for a same flag")


def _parts(value: Any) -> tuple:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _named(value: Any) -> str:
    return f"a call of {value.function[:60]}" if isinstance(value, _Call) else type(value).__name__.strip("_").lower()


# ==== the machine ====

_MARK = object()
# Bytes of an instruction before the content that it carries.
_HEAD = {
    "BINBYTES": 5,
    "SHORT_BINBYTES": 2,
    "BINBYTES8": 9,
    "BYTEARRAY8": 9,
    # Python 2's strings are bytes.
    "BINSTRING": 5,
    "SHORT_BINSTRING": 2,
}
_CONSTANTS = {"NEWTRUE": True, "NEWFALSE": False, "NONE": None}
_VALUES = frozenset(
    ("BININT", "BININT1", "BININT2", "INT", "LONG1", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BINFLOAT")
)
_PUTS, _GETS = frozenset(("PUT", "BINPUT", "LONG_BINPUT")), frozenset(("GET", "BINGET", "LONG_BINGET"))
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NOTHING = frozenset(("PROTO", "FRAME", "READONLY_BUFFER"))


def _follow(data: mmap.mmap) -> Any:
    """The value that the pickle builds, of lists, tuples, plain values, _Bytes and _Call."""
    stack: list = []
    memo: dict[int, Any] = {}
    for name, argument, offset in _instructions(data):
        if name in _HEAD:
            start = offset + _HEAD[name]
            stack.append(_Bytes(start, data.tell() - start))
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _VALUES:
            stack.append(argument)
        elif name in _PUTS:
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in _GETS:
            stack.append(memo[argument])
        elif name == "STOP":
            return stack.pop()
        elif name not in _NOTHING:
            _build(name, argument, stack)
    raise ValueError("it ends before its end")


def _instructions(data: mmap.mmap) -> Iterator[tuple[str, Any, int]]:
    for opcode, argument, offset in pickletools.genops(data):
        yield opcode.name, argument, offset


def _build(name: str, argument: Any, stack: list) -> None:
    """The instructions that put values together."""
    if name == "MARK":
        stack.append(_MARK)
    elif name == "EMPTY_LIST":
        stack.append([])
    elif name == "LIST":
        stack.append(_to_mark(stack))
    elif name == "TUPLE":
        stack.append(tuple(_to_mark(stack)))
    elif name in _TUPLES:
        count = _TUPLES[name]
        stack[len(stack) - count :] = [tuple(stack[len(stack) - count :])]
    elif name == "APPEND":
        value = stack.pop()
        stack[-1].append(value)
    elif name == "APPENDS":
        values = _to_mark(stack)
        stack[-1].extend(values)
    elif name == "GLOBAL":
        stack.append(_Call(str(argument).replace(" ", ".")))
    elif name == "STACK_GLOBAL":
        last, module = stack.pop(), stack.pop()
        stack.append(_Call(f"{module}.{last}"))
    elif name == "REDUCE":
        arguments, function = stack.pop(), stack.pop()
        stack.append(_Call(function.function, arguments))
    elif name == "BUILD":
        state = stack.pop()
        stack[-1].state = state
    else:
        raise ValueError(f"it holds the instruction {name}, which a list of pictures does not need")


def _to_mark(stack: list) -> list:
    """Take everything above the last mark off the stack, and the mark."""
    values = []
    while (value := stack.pop()) is not _MARK:
        values.append(value)
    return values[::-1]
