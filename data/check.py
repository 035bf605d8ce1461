"""Are the people and images of training apart from those of the tests? ``python -m data.check CSV…``

Any train CSVs (path,target) and pair CSVs (path,pair_path, and targets or same). The train CSVs together are one part,
unless there are train CSVs alone; ``X_same.csv`` and ``X_diff.csv`` together are one part; every other CSV is its own.
Training and any other part, and an evaluation (a name with eval) and a test, may share no person, by name in any
spelling, and no image, by content; two test lists may. Exits with code 1 where parts share what they must not.
"""

import hashlib
import itertools
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

import pandas as pd
import tyro

from data.sources.spelling import spelling_key
from data.tables.paths import relative_paths
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
    """What one part of the data holds: distinct ``files`` on disk, and the names of its ``people``."""

    files: set[str]
    people: set[str]


@dataclass(frozen=True)
class Overlap:
    """What two parts share: people as "name" or "name = other spelling", and images as "path = other path"."""

    parts: tuple[str, str]
    people: list[str]
    images: list[str]


def check(settings: CheckSettings) -> tuple[list[Overlap], list[str]]:
    """What each two parts share, and the images that are not there or can't be read.

    Raises InputError: an unreadable CSV, or fewer than two parts.
    """
    parts = _read_parts(settings)
    if len(parts) < 2:
        raise InputError(f"all of it is one part, {next(iter(parts), 'nothing')}; name CSVs of training and of tests")
    people = {name: _by_spelling(part.people) for name, part in parts.items()}
    contents, lost = _by_content({name: sorted(part.files) for name, part in parts.items()})
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
    parts: dict[str, Part] = defaultdict(lambda: Part(set(), set()))
    for path, frame in frames.items():
        name = path.stem
        if path in pairs:
            name = name.removesuffix("_same").removesuffix("_diff")
        elif pairs:
            name = TRAINING
        images = _images(frame, path, settings.path_prefix)
        root = settings.root or path.parent
        parts[name].files.update(f"{root}/{image}" for image in images["path"])
        parts[name].people.update(_people(images))
    return dict(parts)


def _images(frame: pd.DataFrame, csv: Path, path_prefix: str) -> pd.DataFrame:
    """Path and target of each image of a CSV, those of both sides of the pairs; the target "" where it has none."""
    sides = []
    for side in [s for s in ("", "pair_") if f"{s}path" in frame]:
        rows = frame.dropna(subset=[f"{side}path"])
        paths = relative_paths(rows[f"{side}path"], csv, path_prefix)
        targets = rows[f"{side}target"].fillna("").astype(str).to_numpy() if f"{side}target" in rows else ""
        sides.append(pd.DataFrame({"path": paths, "target": targets}))
    return pd.concat(sides).drop_duplicates()


def _people(images: pd.DataFrame) -> set[str]:
    """The names of the people. A folder that holds one person alone has the name; the target may be a mere number,
    which in another CSV is somebody else."""
    folders = images["path"].map(lambda path: PurePosixPath(path).parent.name)
    targets = set(images["target"]) - {""}
    one_each = bool((folders != "").all()) and images.groupby(folders)["target"].nunique().max() == 1
    if not one_each:
        return targets
    return set(folders) | {target for target in targets if not target.isdigit()}


def _by_spelling(people: Iterable[str]) -> dict[str, str]:
    return {spelling_key(name): name for name in sorted(people)}


# ==== content ====


def _by_content(files: dict[str, list[str]]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Per part: hash of a file → its path; and the files that can't be read.

    Only files are read whose size comes up in another part, too: seldom more than a part of them.
    """
    lost: list[str] = []
    sizes = {name: _sizes(paths, lost) for name, paths in files.items()}
    hashes: dict[str, dict[str, str]] = {}
    for name, of_part in sizes.items():
        elsewhere = set().union(*(set(other.values()) for part, other in sizes.items() if part != name))
        hashes[name] = {}
        for path, size in of_part.items():
            if size in elsewhere:
                try:
                    hashes[name].setdefault(_hash(path), path)
                except OSError:
                    lost.append(path)
    return hashes, sorted(set(lost))


def _sizes(paths: Iterable[str], lost: list[str]) -> dict[str, int]:
    sizes = {}
    for path in paths:
        try:
            sizes[path] = Path(path).stat().st_size
        except OSError:
            lost.append(path)
    return sizes


def _hash(path: str) -> str:
    return hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()


# ==== the command ====


def _listed(what: str, items: list[str]) -> str:
    more = ", …" if len(items) > _SHOWN else ""
    return f"  {len(items)} {what}: {', '.join(map(in_one_line, items[:_SHOWN]))}{more}"


def main() -> int:
    """The command; returns the exit code."""
    settings = tyro.cli(CheckSettings, prog="python -m data.check", description=__doc__)
    overlaps, lost = check(settings)
    for overlap in overlaps:
        print(f"{' and '.join(overlap.parts)}: {'apart' if not overlap.people + overlap.images else 'NOT APART'}")
        for what, items in (("people in both", overlap.people), ("identical images in both", overlap.images)):
            if items:
                print(_listed(what, items))
    if lost:
        print(_listed("images are not there or can't be read, and were not compared", lost))
    return int(bool(lost or any(overlap.people or overlap.images for overlap in overlaps)))


if __name__ == "__main__":
    with one_line_errors():
        sys.exit(main())
