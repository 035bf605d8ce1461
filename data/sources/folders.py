"""The pictures in a folder of people: whose each is, and what it will be called."""

import os
import unicodedata
from collections import defaultdict
from pathlib import Path

from data.sources.layout import understand
from data.sources.outcome import NO_PICTURE, Outcome
from data.sources.read_image import is_picture
from data.sources.source_file import Source, SourceFile, file_stamp
from runtime.errors import InputError

# Copies and thumbnails that macOS, Synology and Jupyter keep beside the pictures.
_SYSTEM_FOLDERS = frozenset(("__MACOSX", "@eaDir", ".ipynb_checkpoints", ".thumbnails", ".AppleDouble"))


def list_folder(root: Path, masked: bool = False, person_level: int = 0) -> Source:
    """Every file under ``root``; a picture's person is a folder above it, see ``data.sources.layout``.

    Linked folders are followed, each folder once. ``masked``: the people wear masks; paths then start with the
    folder's own name. ``person_level``: how deep the people's folders lie; 0: as their names say. Raises InputError:
    no such folder, empty, no sub-folders, or nobody can tell which of them are people.
    """
    _require_readable(root, "one with a sub-folder per person")
    folders, other = walk_pictures(root)
    if not folders and not other:
        raise InputError(f"the source {root} is empty; it needs one sub-folder of pictures per person")
    loose = folders.pop("", [])
    if not folders:
        raise InputError(
            f"the source {root} has no sub-folders with pictures ({len(loose)} are loose, {len(other)} other files); "
            "put each person's pictures into a sub-folder of their own"
        )
    name = root.resolve().name
    base, prefix = (root.resolve().parent, f"{name}/") if masked else (root, "")
    holders, layout = understand(folders, name, person_level)
    pictures, outside = [], [file for file, _ in loose]
    # By the folder that they are written to: two folders whose names differ in their Unicode form alone share it.
    taken: dict[str, set[str]] = defaultdict(set)
    for folder, files in folders.items():
        holder = holders.get(folder)
        if holder is None:
            outside += [f"{folder}/{file}" for file, _ in files]
            continue
        target, worn = _without_backslashes(f"{holder.person}/{holder.kind}"), masked or holder.masked
        for (file, stamp), output in zip(files, output_names([file for file, _ in files], taken[target]), strict=True):
            pictures.append(SourceFile(f"{prefix}{folder}/{file}", holder.person, target + output, stamp, base, worn))
    other += [(path, "not in a person's folder") for path in outside]
    return Source(
        pictures, [Outcome(prefix + path, "", NO_PICTURE, reason) for path, reason in sorted(other)], layout=layout
    )


def list_unnamed(root: Path) -> Source:
    """Every picture under ``root`` as one of nobody knows whom, without a masked copy; its folders mean nothing.

    Paths start with the folder's own name. Raises InputError: no such folder, or no picture in it.
    """
    _require_readable(root, "a folder of photographs")
    folders, other = walk_pictures(root)
    if not folders:
        raise InputError(f"{root} has no pictures ({len(other)} other files); give a folder of photographs")
    base, prefix = root.resolve().parent, f"{root.resolve().name}/"
    taken: dict[str, set[str]] = defaultdict(set)
    pictures = []
    for folder, files in folders.items():
        target = f"unnamed/{_without_backslashes(folder)}/".replace("//", "/")
        for (file, stamp), output in zip(files, output_names([file for file, _ in files], taken[target]), strict=True):
            path = f"{prefix}{folder}/{file}".replace("//", "/")
            pictures.append(SourceFile(path, "", target + output, stamp, base, bare=True))
    return Source(pictures, [Outcome(prefix + path, "", NO_PICTURE, reason) for path, reason in sorted(other)])


def _require_readable(root: Path, wanted: str) -> None:
    if not root.is_dir():
        raise InputError(f"the source {root} is not there or not a folder; give {wanted}")
    if not os.access(root, os.R_OK | os.X_OK):
        raise InputError(f"the source {root} may not be read; change its permissions, or give another folder")


def walk_pictures(root: Path) -> tuple[dict[str, list[tuple[str, str]]], list[tuple[str, str]]]:
    """Pictures (name, stamp) by folder, in sorted order, and (path, reason) of the other files; ``root`` exists."""
    folders: dict[str, list[tuple[str, str]]] = {}
    other: list[tuple[str, str]] = []
    seen: set[tuple[int, int]] = set()
    stack = [""]
    while stack:
        folder = stack.pop()
        try:
            status = os.stat(root / folder)
            inside = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
        except OSError as error:
            other.append((f"{_printable(folder)}/", f"the folder can't be read: {error.strerror or error}"))
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        inner = [entry.name for entry in inside if _is_folder(entry)]
        stack += reversed([f"{folder}/{name}".lstrip("/") for name in inner if name not in _SYSTEM_FOLDERS])
        passed = [f"{folder}/{name}/".lstrip("/") for name in inner if name in _SYSTEM_FOLDERS]
        other += [(_printable(path), "a folder of the system") for path in passed]
        for entry in (e for e in inside if not _is_folder(e)):
            path = f"{folder}/{entry.name}".lstrip("/")
            reason = _no_picture(path, entry)
            if reason:
                other.append((_printable(path), reason))
            else:
                status = entry.stat()
                folders.setdefault(folder, []).append((entry.name, file_stamp(status.st_size, status.st_mtime_ns)))
    return folders, other


def _is_folder(entry: os.DirEntry) -> bool:
    """False for a link to itself, too, of which the system says that it has too many links."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _no_picture(path: str, entry: os.DirEntry) -> str:
    if _printable(path) != path:
        return "its name is not valid UTF-8"
    try:
        if not entry.is_file():
            return "a broken link or no regular file"
    except OSError as error:
        return error.strerror or str(error)
    if not is_picture(entry.name):
        return "macOS's notes on another file" if entry.name.startswith("._") else "not a picture by its ending"
    return ""


def _without_backslashes(path: str) -> str:
    """In tables, which may come from Windows, they stand between folders."""
    return path.replace("\\", "_")


def _printable(path: str) -> str:
    """The path with bytes that are no UTF-8 escaped, so that it can go into a CSV."""
    return path.encode("utf-8", "backslashreplace").decode()


def output_names(names: list[str], taken: set[str]) -> list[str]:
    """The source's own names with .jpg; of two that would be equal (a.jpg, a.png) the later keeps its ending too.

    ``taken``: names of the same folder in lower case, to which these are added.
    """
    result = []
    for name in map(_without_backslashes, names):
        wanted = unicodedata.normalize("NFC", Path(name).stem) + ".jpg"
        if wanted.lower() in taken:
            wanted = name + ".jpg"
        while wanted.lower() in taken:
            wanted = "_" + wanted
        taken.add(wanted.lower())
        result.append(wanted)
    return result
