"""One person under two names: folders that differ only in spelling."""

import itertools
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

_PARTS = re.compile(r"[^\W_]+")


def spelling_key(name: str) -> str:
    """The key that two spellings of a name share: no accents, no case, doubled letters once, words in any order.

    Only the last part of a path counts. Names with digits keep their order and digits: 007 and 7 are two people.
    """
    plain = unicodedata.normalize("NFKD", name.rpartition("/")[2]).casefold()
    words = _PARTS.findall("".join(letter for letter in plain if not unicodedata.combining(letter)))
    if any(letter.isdigit() for letter in plain):
        return " ".join(words)
    return " ".join(sorted("".join(letter for letter, _ in itertools.groupby(word)) for word in words)) or name


def spelled_twice(names: Iterable[str]) -> list[list[str]]:
    """Groups of two or more names that may be one person, each sorted."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(names)):
        groups[spelling_key(name)].append(name)
    return [group for group in groups.values() if len(group) > 1]
