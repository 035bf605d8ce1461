"""Kinds of plain values: what is read from a file is checked once, where it is read, and used without fear after."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from runtime.errors import InputError, in_one_line

_SHOWN = 60  # characters of a value in a message


class Kind(NamedTuple):
    """Whether a value is of the kind, and the kind in words."""

    holds: Callable[[object], bool]
    words: str


Fields = Mapping[str, Kind]


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


TEXT = Kind(lambda value: isinstance(value, str), "a text")
FLAG = Kind(lambda value: isinstance(value, bool), "true or false")
NUMBER = Kind(_number, "a number")
POSITIVE = Kind(lambda value: _number(value) and value > 0, "a number above 0")
TABLE = Kind(lambda value: isinstance(value, dict) and all(isinstance(key, str) for key in value), "names and values")


def whole(least: int = 0, most: int = 2**62) -> Kind:
    """A whole number in a range, the ends included."""
    upto = f" to {most:,}" if most < 2**62 else " or more"
    return Kind(
        lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most,
        f"a whole number, {least}{upto}",
    )


def or_none(kind: Kind) -> Kind:
    """The kind, or None."""
    return Kind(lambda value: value is None or kind.holds(value), f"{kind.words}, or none")


def list_of(kind: Kind, length: int | None = None) -> Kind:
    """A list (or tuple), of a fixed ``length`` or any."""

    def holds(value: object) -> bool:
        right_length = isinstance(value, list | tuple) and length in (None, len(value))
        return right_length and all(map(kind.holds, value))

    return Kind(holds, f"a list{'' if length is None else f' of {length}'}, each {kind.words}")


def table_of(kind: Kind) -> Kind:
    """Names with a value of one kind each."""
    return Kind(lambda value: TABLE.holds(value) and all(map(kind.holds, value.values())), f"names, each {kind.words}")


def with_fields(fields: Fields) -> Kind:
    """Names, among them all of ``fields``."""
    words = ", ".join(f"{name} ({kind.words})" for name, kind in fields.items())
    return Kind(
        lambda value: TABLE.holds(value) and all(n in value and k.holds(value[n]) for n, k in fields.items()), words
    )


def require(values: object, fields: Fields, place: str, remedy: str, *, optional: bool = False) -> None:
    """Raise InputError with the first of ``fields`` that ``values`` lack (unless ``optional``) or have as another kind.

    ``place`` is where the values stand, such as a file's name.
    """
    if not TABLE.holds(values):
        raise InputError(f"{place} holds {_shown(values)}, not {TABLE.words}; {remedy}")
    lacking = [] if optional else [name for name in fields if name not in values]
    if lacking:
        raise InputError(f"{place} lacks {', '.join(lacking)}; {remedy}")
    for name, kind in fields.items():
        if name in values and not kind.holds(values[name]):
            raise InputError(f"{place}: {name} is {_shown(values[name])}, not {kind.words}; {remedy}")


class Found(dict):
    """What a file says under names; to ask for a name that it lacks raises InputError."""

    def __init__(self, values: dict, place: Path | str, remedy: str):
        super().__init__(values)
        self._place, self._remedy = place, remedy

    def __missing__(self, name: str) -> object:
        raise InputError(f"{self._place} lacks {in_one_line(name, _SHOWN)}; {self._remedy}")


def parse_json(text: str | bytes, place: Path | str, remedy: str) -> object:
    """The value of a JSON text, its objects as Found. Raises InputError where it is none, or nested too deep."""
    try:
        return json.loads(text, object_hook=lambda values: Found(values, place, remedy))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place} is no valid JSON ({in_one_line(error, 100)}); {remedy}") from None


def _shown(value: object) -> str:
    plain = isinstance(value, str | int | float | bool | None)
    return in_one_line(repr(value) if plain and len(str(value)[:_SHOWN]) < _SHOWN else _of_kind(value), _SHOWN)


def _of_kind(value: object) -> str:
    return "a dict" if isinstance(value, dict) else f"a {type(value).__name__}"
