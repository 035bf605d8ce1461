"""Whether the values of a settings object are of the types that its class declares."""

import math
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from runtime.errors import InputError


def check_types(settings: object) -> None:
    """Raise InputError for the first field of a dataclass whose value is not of its type: files can hold anything."""
    hints = get_type_hints(type(settings))
    for field in fields(settings):
        value, hint = getattr(settings, field.name), hints[field.name]
        if not _fits(value, hint):
            raise InputError(f"{field.name} is {value!r}; it must be {_in_words(hint)}")


def _fits(value: object, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return value in get_args(hint) and isinstance(value, str)
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_fits(item, get_args(hint)[0]) for item in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _in_words(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return f"one of {', '.join(get_args(hint))}"
    if get_origin(hint) is tuple:
        return f"a list, each {_in_words(get_args(hint)[0])}"
    return {float: "a finite number", int: "a whole number", str: "text", bool: "true or false"}[hint]
