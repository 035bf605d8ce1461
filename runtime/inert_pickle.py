"""Pickles of others, read without running anything of them.

A pickle is a program: it may name any function and call it. Here a name gives what the reader of a kind of file has
for it: a function of ours, or a stand-in, which has the name, keeps what it was made from and does nothing. Any other
name ends the reading. Nothing is ever imported by a name in a file, so that neither the file's own classes nor the
versions of the libraries that wrote it need to be here.
"""

import os
import pickle
from _compat_pickle import IMPORT_MAPPING
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, ClassVar

NUMPY = frozenset(
    [
        "numpy.dtype",
        "numpy.ndarray",
        *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
        *(f"numpy.{core}.numeric._frombuffer" for core in ("core", "_core")),
    ]
)


class Refused(Exception):
    """A name that the kind of file does not need. Its text is the name."""


class StandIn:
    """An object of a class, or the result of a function, that is not here: what it was made from (``args``), its
    ``state`` (a dict) or ``parts`` (a tuple), and no behaviour. ``named`` is its full name."""

    named = ""

    def __new__(cls, *args: object, **kwargs: object) -> "StandIn":
        made = super().__new__(cls)
        made.args, made.state, made.parts = args, {}, ()
        return made

    def __init__(self, *args: object, **kwargs: object) -> None: ...

    def __setstate__(self, state: object) -> None:
        self.state = state if isinstance(state, dict) else {}
        self.parts = state if isinstance(state, tuple) else ()

    def __setitem__(self, key: object, value: object) -> None: ...

    def append(self, value: object) -> None:
        """Takes what a class derived from list would keep."""

    def extend(self, values: object) -> None:
        """The same for many values."""


class PlainOrderedDict(OrderedDict):
    """Takes no attributes: they could stand in the place of its methods."""

    def __setstate__(self, state: object) -> None: ...


class Function:
    """A function that a pickle may call and nothing else: it can't be changed through it."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable) -> None:
        self._call = call

    def __call__(self, *args: object) -> object:
        return self._call(*args)


@dataclass(frozen=True)
class Stretch:
    """Bytes of a file that were not read."""

    offset: int
    length: int


def encoded(text: str = "", *_: object) -> bytes:
    """Bytes as protocols 0 to 2 of Python 3 hold them: a call of ``_codecs.encode``, or of ``bytes`` for none."""
    return text.encode("latin1")


class InertUnpickler(pickle._Unpickler):
    """Follows protocols 0 to 5, as Python's own interpreter of pickles in Python does (joblib derives from it, too).

    A subclass says in ``meaning`` what a name gives. ``load`` raises Refused, or anything at all where the pickle is
    damaged.
    """

    dispatch: ClassVar[dict[int, Callable]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="utf-8")
        self.file = file

    def load(self) -> object:
        """The value that the pickle builds."""
        try:
            return super().load()
        except KeyError as error:
            if isinstance(error.args[0], int):  # Python's interpreter looks its instructions and the memo up by number
                raise pickle.UnpicklingError("no such instruction, or no such value") from None
            raise

    def meaning(self, name: str) -> object | None:
        """What ``name`` (module and name, with a dot between) stands for; None where it is not needed."""
        raise NotImplementedError

    def find_class(self, module: str, name: str) -> object:
        """Instead of an import."""
        full = f"{IMPORT_MAPPING.get(module, module)}.{name}"  # Python 2's names, which protocol 2 still writes
        found = self.meaning(full)
        if found is None:
            raise Refused(full)
        return found

    def load_build(self) -> None:
        """Only objects of ours take a state: a tensor's would change its memory."""
        state = self.stack.pop()
        if not isinstance(self.stack[-1], StandIn | PlainOrderedDict):
            raise pickle.UnpicklingError("it tries to change what has no state")
        self.stack[-1].__setstate__(state)

    def load_frame(self) -> None:
        """Frames only help to read ahead; without them every byte is read at its own place."""
        self.read(8)

    def load_bytearray8(self) -> None:
        """Without taking memory for more bytes than the file has."""
        self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))

    dispatch |= {pickle.BUILD[0]: load_build, pickle.FRAME[0]: load_frame, pickle.BYTEARRAY8[0]: load_bytearray8}


def stand_in(name: str) -> type[StandIn]:
    """A class for the objects of one name."""
    return type(name.rpartition(".")[2], (StandIn,), {"named": name})


def _left_where_they_are(bytes_of_length: int) -> Callable[["LazyUnpickler"], None]:
    def load(unpickler: "LazyUnpickler") -> None:
        length = int.from_bytes(unpickler.read(bytes_of_length), "little")
        start = unpickler.file.tell()
        if start + length > unpickler.size:
            raise pickle.UnpicklingError("it ends before its end")
        unpickler.file.seek(length, os.SEEK_CUR)
        unpickler.append(Stretch(start, length))

    return load


class LazyUnpickler(InertUnpickler):
    """Leaves bytes in the file, which must be seekable, and gives a Stretch for them. Python 2's texts are bytes."""

    _LENGTHS: ClassVar[dict[bytes, int]] = {
        pickle.BINBYTES: 4,
        pickle.SHORT_BINBYTES: 1,
        pickle.BINBYTES8: 8,
        pickle.BYTEARRAY8: 8,
        pickle.BINSTRING: 4,
        pickle.SHORT_BINSTRING: 1,
    }
    dispatch: ClassVar[dict[int, Callable]] = {
        **InertUnpickler.dispatch,
        **{code[0]: _left_where_they_are(length) for code, length in _LENGTHS.items()},
    }

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__(file)
        self.size = size
