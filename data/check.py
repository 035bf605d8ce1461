"""Do training and test share people or images? ``python -m data.check CSV…``

Any train CSVs (path,target) and pair CSVs (path,pair_path, and targets or same), or packs of them. The train CSVs
together are one part, unless there are train CSVs alone; ``X_same.csv`` and ``X_diff.csv`` together are one part; every
other CSV is its own. Training and any other part, and an evaluation (a name with eval) and a test, may share no person,
by name in any spelling, and no image, by content; two test lists may. Exits with code 1 if parts overlap that must not.
"""

import hashlib
import itertools
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import tyro

from data.sources.spelling import spelling_key
from data.tables.images import Images
from data.tables.pack_file import SUFFIX, Pack
from data.tables.people import listed_images, part_of, people_of
from data.tables.rows import read_rows
from runtime.errors import InputError, in_one_line, one_line_errors

TRAINING = "training"
_SHOWN = 10


@dataclass(frozen=True)
class CheckSettings:
    """Check that no person and no identical image is in two parts of the data, such as training and test."""

    csvs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="CSV…")]
    """Train CSVs and pair CSVs."""
    root: Path | None = None
    """Folder that the CSVs' paths start from; otherwise each CSV's own folder."""
    path_prefix: str = ""
    """OLD=NEW maps absolute paths of the CSVs under the root."""


@dataclass(frozen=True)
class Part:
    """One part of the data: the distinct images of each of its tables, and the names of its ``people``."""

    images: list[Images]
    people: set[str]


@dataclass(frozen=True)
class Overlap:
    """The overlap of two parts: people as "name" or "name = other spelling", and images as "path = other path"."""

    parts: tuple[str, str]
    people: list[str]
    images: list[str]


def check(settings: CheckSettings) -> tuple[list[Overlap], list[str]]:
    """The overlap of each two parts, and the images that are missing or unreadable.

    Raises InputError: an unreadable CSV, or fewer than two parts.
    """
    parts = _read_parts(settings)
    if len(parts) < 2:
        raise InputError(f"there is only one part, {next(iter(parts), 'nothing')}; give CSVs of training and of tests")
    people = {name: _by_spelling(part.people) for name, part in parts.items()}
    contents, lost = _by_content({name: part.images for name, part in parts.items()})
    overlaps = []
    for one, other in _to_compare(list(parts)):
        shared = sorted(people[one].keys() & people[other].keys())
        copies = contents[one].keys() & contents[other].keys()
        overlaps.append(
            Overlap(
                (one, other),
                [_both(people[one][key], people[other][key]) for key in shared],
                sorted(_both(contents[one][key], contents[other][key]) for key in copies),
            )
        )
    return overlaps, lost


def _to_compare(names: list[str]) -> list[tuple[str, str]]:
    """Two by two, but for tests among themselves where there is something else to compare them with."""
    pairs = list(itertools.combinations(names, 2))
    apart = [pair for pair in pairs if TRAINING in pair or sum("eval" in name for name in pair) == 1]
    return apart or pairs


def _both(one: str, other: str) -> str:
    return one if one == other else f"{one} = {other}"


# ==== CSVs ====


def _read_parts(settings: CheckSettings) -> dict[str, Part]:
    frames = {path: read_rows(path, ["path"]) for path in settings.csvs}
    pairs = [path for path, frame in frames.items() if "pair_path" in frame]
    namesakes = Counter(path.stem for path in frames)
    parts: dict[str, Part] = defaultdict(lambda: Part([], set()))
    for path, frame in frames.items():
        alone = path.stem if namesakes[path.stem] == 1 else str(path)
        name = part_of(path) if path in pairs else TRAINING if pairs else alone
        listed = listed_images(frame, path, settings.path_prefix)
        packs = [Pack(path)] if path.suffix == SUFFIX else []
        part = parts[name]
        part.images.append(Images(settings.root or path.parent, listed["path"].unique(), packs))
        part.people.update(people_of(listed))
    return dict(parts)


def _by_spelling(people: Iterable[str]) -> dict[str, str]:
    return {spelling_key(name): name for name in sorted(people)}


# ==== content ====


class _Image(NamedTuple):
    """A row of ``images``; ``name`` says where it lies."""

    name: str
    images: Images
    row: int


def _by_content(parts: dict[str, list[Images]]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Per part: hash of an image's file → its name; and the names of those that can't be read.

    Only files are read whose size comes up in another part, too: seldom more than a part of them.
    """
    lost: set[str] = set()
    sizes = {name: _sizes(images, lost) for name, images in parts.items()}
    hashes: dict[str, dict[str, str]] = {}
    for name, of_part in sizes.items():
        elsewhere = set().union(*(set(other.values()) for part, other in sizes.items() if part != name))
        hashes[name] = {}
        for image, size in of_part.items():
            if size in elsewhere:
                try:
                    hashes[name].setdefault(_hash(image), image.name)
                except (OSError, ValueError):
                    lost.add(image.name)
    return hashes, sorted(lost)


def _sizes(tables: Iterable[Images], lost: set[str]) -> dict[_Image, int]:
    """Each image of a part, in the order of their names, and its bytes; what isn't there is added to ``lost``."""
    sizes: dict[str, tuple[_Image, int]] = {}
    for images in tables:
        for row in range(len(images)):
            image = _Image(f"{images.root}/{images.name(row)}", images, row)
            try:
                sizes[image.name] = image, images.size(row)
            except OSError:
                lost.add(image.name)
    return dict(sizes[name] for name in sorted(sizes))


def _hash(image: _Image) -> str:
    return hashlib.blake2b(image.images.read(image.row), digest_size=16).hexdigest()


# ==== the command ====


def _listed(what: str, items: list[str]) -> str:
    more = ", …" if len(items) > _SHOWN else ""
    return f"  {len(items)} {what}: {', '.join(map(in_one_line, items[:_SHOWN]))}{more}"


def main() -> int:
    """The command; returns the exit code."""
    settings = tyro.cli(CheckSettings, prog="python -m data.check", description=__doc__)
    overlaps, lost = check(settings)
    for overlap in overlaps:
        print(f"{' and '.join(overlap.parts)}: {'separate' if not overlap.people + overlap.images else 'NOT SEPARATE'}")
        for what, items in (("people in both", overlap.people), ("identical images in both", overlap.images)):
            if items:
                print(_listed(what, items))
    if lost:
        print(_listed("images are missing or unreadable and were not compared", lost))
    return int(bool(lost or any(overlap.people or overlap.images for overlap in overlaps)))


if __name__ == "__main__":
    with one_line_errors():
        sys.exit(main())
