"""What lies in a source folder: which file is whose picture, and what it will be called."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from data.read_image import IMAGE_SUFFIXES
from runtime.errors import InputError


@dataclass(frozen=True)
class SourceFile:
    """One input file: ``path`` relative to the source, '/' between its parts; the ``person``; ``name`` under
    plain/ and masked/, such as ``Ann/Ann_0001.jpg``; ``stamp`` changes when the file does."""

    path: str
    person: str
    name: str
    stamp: str


@dataclass(frozen=True)
class Source:
    """The pictures of a folder, and its ``other`` files with the reason why they are none: (path, reason)."""

    pictures: list[SourceFile]
    other: list[tuple[str, str]]


def list_source(root: Path) -> Source:
    """Every file under ``root``; a picture's person is the folder that holds it.

    People are named by their folder; where two folders in different places share a name, by the path from ``root``.
    Linked folders are followed, each folder once. Raises InputError: no such folder, empty, or no sub-folders.
    """
    if not root.is_dir():
        raise InputError(f"the source {root} is not there or no folder; name a folder with one sub-folder a person")
    folders, other = _walk(root)
    if not folders and not other:
        raise InputError(f"the source {root} is empty; it needs one sub-folder a person with pictures in it")
    loose = folders.pop("", [])
    if not folders:
        raise InputError(
            f"the source {root} has no sub-folders with pictures ({len(loose)} lie loose, {len(other)} other files); "
            "put each person's pictures into a sub-folder of their own"
        )
    other += [(name, "not in a person's folder") for name, _ in loose]
    times = Counter(folder.rpartition("/")[2] for folder in folders)
    pictures = []
    for folder, files in folders.items():
        last = folder.rpartition("/")[2]
        person = last if times[last] == 1 else folder
        names = _output_names([name for name, _ in files])
        for (file, stamp), name in zip(files, names, strict=True):
            pictures.append(SourceFile(f"{folder}/{file}", person, f"{person}/{name}", stamp))
    return Source(pictures, sorted(other))


def _walk(root: Path) -> tuple[dict[str, list[tuple[str, str]]], list[tuple[str, str]]]:
    """Pictures (name, stamp) by folder, in sorted order, and (path, reason) of the other files."""
    folders: dict[str, list[tuple[str, str]]] = {}
    other: list[tuple[str, str]] = []
    seen: set[tuple[int, int]] = set()
    stack = [""]
    while stack:
        folder = stack.pop()
        status = os.stat(root / folder)
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        inside = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
        stack += reversed([f"{folder}/{e.name}".lstrip("/") for e in inside if e.is_dir()])
        for entry in (e for e in inside if not e.is_dir()):
            path = f"{folder}/{entry.name}".lstrip("/")
            reason = _no_picture(entry)
            if reason:
                other.append((_printable(path), reason))
            else:
                status = entry.stat()
                folders.setdefault(folder, []).append((entry.name, f"{status.st_size}-{status.st_mtime_ns}"))
    return folders, other


def _no_picture(entry: os.DirEntry) -> str:
    if _printable(entry.path) != entry.path:
        return "its name is not valid UTF-8"
    if not entry.is_file():
        return "a broken link or no regular file"
    if Path(entry.name).suffix.lower() not in IMAGE_SUFFIXES:
        return "not a picture by its ending"
    return ""


def _printable(path: str) -> str:
    """The path with bytes that are no UTF-8 escaped, so that it can go into a CSV."""
    return path.encode("utf-8", "backslashreplace").decode()


def _output_names(names: list[str]) -> list[str]:
    """The source's own names with .jpg; of two that would be equal (a.jpg, a.png) the later keeps its ending too."""
    taken: set[str] = set()
    result = []
    for name in names:
        wanted = Path(name).stem + ".jpg"
        while wanted.lower() in taken:
            wanted = name + ".jpg" if wanted != name + ".jpg" else "_" + wanted
        taken.add(wanted.lower())
        result.append(wanted)
    return result
