"""Which folder of a tree is a person, and which only a kind of their pictures: a mask, a view, a recording, a part.

A person is the last folder, as in ``Ann/1.jpg`` and ``europe/Ann/1.jpg``, unless the names say something else:

- ``Ann/original`` and ``Ann/fakemask``, ``Ann/0`` and ``Ann/1``: the same few names under most folders are kinds;
- ``train/Ann`` and ``val/Ann``, ``AFDB_face/Ann`` and ``AFDB_masked/Ann``: one person, in parts of a set.

Everything else that could be read in two ways is refused, and the user says at which level the people are: two
people under one name would be trained as one, and one person under two names tested as a stranger.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from data.sources.mask_words import says_masked
from runtime.errors import InputError

# CFP keeps a person's pictures in two folders, 001/frontal and 001/profile.
_VIEWS = frozenset(("frontal", "profile"))
# Beside a folder of masked pictures these are the plain ones, also where there is one such person alone.
_PLAIN = frozenset(("original", "originals", "plain", "bare", "normal", "clean", "raw", "real", "face", "faces"))
_SPLITS = frozenset(("train", "training", "val", "valid", "validation", "test", "testing", "dev", "eval", "evaluation"))
_SPLITS |= {"gallery", "probe", "query", "enrol", "enroll"}
# Share of the folders whose name must stand under another parent, too, and of the parents that must have the
# commonest name, before these names are kinds of pictures.
_REPEATED, _MOST = 0.8, 0.5

# The parts of a folder's path from the source down to the person.
Place = tuple[str, ...]


@dataclass(frozen=True)
class Holder:
    """Whose pictures a folder holds: the ``person``; ``kind``, the part of its path that is no name ("" or such as
    "frontal/"); and whether that part says that they wear masks."""

    person: str
    kind: str
    masked: bool


def understand(folders: Iterable[str], source: str, level: int = 0) -> tuple[dict[str, Holder], str]:
    """Each folder's Holder, and in one line how the folders under ``source`` (its name) were understood.

    ``level``: how deep under the source the people's folders lie, 1 for its own sub-folders; 0: as the names say.
    Folders that are less deep are left out. Raises InputError: the names can be read in two ways.
    """
    paths = {folder: tuple(unicodedata.normalize("NFC", folder).split("/")) for folder in folders}
    if level:
        places = {folder: parts[:level] for folder, parts in paths.items() if len(parts) >= level}
        if not places:
            raise InputError(f"no folder with pictures lies {level} deep in {source}; set a smaller --person-level")
    else:
        places = _peeled(paths, source)
        _refuse_kinds_as_people(places.values(), source)
        _refuse_namesakes(places.values(), source)
    shared = _shared_start(places.values())
    times = Counter(place[-1] for place in set(places.values()))
    holders = {}
    for folder, place in places.items():
        below = paths[folder][len(place) :]
        above = place[len(shared) : -1]
        kinds = (*above, *below) if times[place[-1]] > 1 else below
        holders[folder] = Holder(place[-1], "".join(f"{part}/" for part in kinds), _masked((*above, *below)))
    return holders, _in_words(paths, places, shared, source)


def _masked(parts: Place) -> bool:
    """What the innermost name says that says anything."""
    return next((said for part in reversed(parts) if (said := says_masked(part)) is not None), False)


# ==== kinds below a person ====


def _peeled(paths: dict[str, Place], source: str) -> dict[str, Place]:
    """Each folder's place without the kinds at its end."""
    places = dict(paths)
    while kinds := _kinds(set(places.values()), source):
        places = {folder: place[:-1] if place in kinds else place for folder, place in places.items()}
    return places


def _kinds(places: set[Place], source: str) -> set[Place]:
    """The places whose last folder is a kind of its parent's pictures."""
    nested = {place for place in places if len(place) > 1}
    by_words = _kinds_by_words(nested)
    if by_words or not nested:
        return by_words
    holding = sorted(place for place in nested if place[:-1] in places)
    if holding:
        place = holding[0]
        raise _unclear(source, f"{'/'.join(place[:-1])} holds pictures and folders of pictures", place)
    parents = Counter(place[:-1] for place in nested)
    if _are_parts(parents):
        return set()
    names = Counter(place[-1] for place in nested)
    repeated = sum(times for times in names.values() if times > 1) / len(nested)
    if repeated >= _REPEATED and len(parents) >= 2 * len(names) and max(names.values()) >= _MOST * len(parents):
        return nested
    if repeated == 0 and len(parents) > 2 and len(parents) ** 2 > len(nested):
        place = min(nested)
        raise _unclear(source, f"{len(parents)} folders hold only {len(nested)} folders of pictures", place)
    return set()


def _kinds_by_words(nested: set[Place]) -> set[Place]:
    """Places whose last name is a view or speaks of masks, and those beside the latter that stand there as a rule."""
    kinds = {place for place in nested if place[-1].lower() in _VIEWS}
    speaking = {place for place in nested if says_masked(place[-1]) is not None}
    parents = {place[:-1] for place in speaking}
    times = Counter(place[-1] for place in nested - speaking if place[:-1] in parents)
    usual = {name for name, count in times.items() if len(parents) > 1 and count >= _MOST * len(parents)}
    usual |= {name for name in times if name.lower() in _PLAIN}
    return kinds | speaking | {place for place in nested if place[-1] in usual}


def _are_parts(parents: Collection[Place]) -> bool:
    """Whether the folders above people are parts of a set: training and test, plain and masked."""
    last = {parent[-1] for parent in parents}
    return all(_SPLITS & set(re.split(r"[\W_\d]+", name.lower())) for name in last) or any(
        says_masked(name) is not None for name in last
    )


# ==== what can be read in two ways ====


def _refuse_kinds_as_people(places: Collection[Place], source: str) -> None:
    only_parts = all(place[-1].lower() in _SPLITS for place in places)
    for place in sorted(set(places)):
        if only_parts or says_masked(place[-1]) is not None:
            raise InputError(
                f"{source}/{'/'.join(place)} holds pictures, but no folder in or above it is named after a person; "
                f"give each person a folder, or set --person-level {len(place)} if {place[-1]} is one"
            )


def _refuse_namesakes(places: Collection[Place], source: str) -> None:
    """The same name in two places is one person in parts of a set; anywhere else it may be one or two."""
    by_name: dict[str, set[Place]] = defaultdict(set)
    for place in places:
        by_name[place[-1]].add(place)
    namesakes = {name: found for name, found in by_name.items() if len(found) > 1}
    for name, found in sorted(namesakes.items()):
        if not _are_parts([place[:-1] for place in found if len(place) > 1]) or min(map(len, found)) < 2:
            one, other = sorted("/".join(place) for place in found)[:2]
            more = f" ({len(namesakes)} such names)" if len(namesakes) > 1 else ""
            raise _unclear(source, f"{one} and {other} share the name {name}{more}", min(sorted(found), key=len))


def _unclear(source: str, what: str, place: Place) -> InputError:
    deep = len(place)
    if deep == 1:
        ways = f"--person-level 1 (a person is such as {place[0]})"
    else:
        ways = f"--person-level {deep - 1} (a person is such as {place[-2]}) or {deep} (such as {place[-1]})"
    return InputError(
        f"{source}: {what}, so who is a person is unclear; set {ways}, where one name is one person, or rename folders"
    )


# ==== the line ====


def _shared_start(places: Collection[Place]) -> Place:
    """The folders above all people."""
    start = next(iter(places))[:-1]
    for place in places:
        length = 0
        while length < min(len(start), len(place) - 1) and start[length] == place[length]:
            length += 1
        start = start[:length]
    return start


def _in_words(paths: dict[str, Place], places: dict[str, Place], shared: Place, source: str) -> str:
    people = {place[-1] for place in places.values()}
    forms = Counter(
        "/".join(
            (
                source,
                *shared,
                *["*"] * (len(place) - 1 - len(shared)),
                "<person>",
                *["<kind>"] * (len(paths[folder]) - len(place)),
            )
        )
        for folder, place in places.items()
    )
    no_names = {part for folder, place in places.items() for part in (*place[:-1], *paths[folder][len(place) :])}
    masked = sorted(part for part in no_names if says_masked(part))
    line = f"{len(people)} {'person' if len(people) == 1 else 'people'} in {' and '.join(sorted(forms))}"
    if len(people) < len(set(places.values())):
        line += "; one name is one person in all of them"
    if masked:
        more = f" and {len(masked) - 5} more" if len(masked) > 5 else ""
        line += f"; {', '.join(masked[:5])}{more} {'counts' if len(masked) == 1 else 'count'} as masked"
    return line
