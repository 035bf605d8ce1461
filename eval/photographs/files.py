"""The photographs and films that a user names: files, and folders with all that lies under them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from data.sources.folders import walk_pictures
from data.sources.read_image import is_picture
from eval.text import counted
from runtime.errors import InputError, in_one_line

_FILMS = frozenset((".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv"))


def is_film(path: str | Path) -> bool:
    """Whether a file is a film, by its ending; ._1.mp4 is what macOS notes of 1.mp4."""
    path = Path(path)
    return path.suffix.lower() in _FILMS and not path.name.startswith("._")


def list_photographs(given: Sequence[Path], apart_from: Path | None = None, films: bool = False) -> dict[str, Path]:
    """The photographs by a short name, in order: that of the file, or its path under the folder that was given.

    Folders are searched with all that is in them, but for ``apart_from``, which earlier results may lie in; files are
    taken as they are, whatever their ending. ``films``: those in folders count, too. Of two equal names the later gets
    its folder's before it. Raises InputError: a file or folder that is not there, or no picture in any of them.
    """
    found: dict[str, Path] = {}
    for place in given:
        if place.is_dir():
            paths = _under(place, apart_from, films)
            names = [path.relative_to(place).as_posix() for path in paths]
        elif place.is_file():
            paths, names = [place], [place.name]
        else:
            raise InputError(f"there is no photograph or folder {place}; check its spelling")
        for name, path in zip(names, paths, strict=True):
            free, start = name, path.parent.name
            while free in found and found[free].resolve() != path.resolve():
                free = f"{start}/{free}"
            found[free] = path
    if not found:
        wanted = ("picture or film", "photographs or films") if films else ("picture", "photographs")
        raise InputError(f"no {wanted[0]} in {', '.join(map(str, given))}; give {wanted[1]}, or a folder with some")
    return found


def refuse_to_overwrite(photographs: Iterable[Path], outputs: Iterable[Path]) -> None:
    """Raise InputError if one of the files to be written is one of the given photographs."""
    originals = {path.resolve() for path in photographs}
    for output in outputs:
        if output.resolve() in originals:
            raise InputError(f"{output} is one of the photographs and would be overwritten; set another output folder")


def _under(folder: Path, apart_from: Path | None, films: bool) -> list[Path]:
    """The pictures under a folder, by folder and name, then the films; hidden folders are passed over."""
    # Only below it: whoever names a folder means it.
    left_out = None
    if apart_from is not None and folder.resolve() in apart_from.resolve().parents:
        left_out = apart_from.resolve()
    folders, other = walk_pictures(folder)
    unreadable = [(path, reason) for path, reason in other if is_picture(path)]
    if unreadable:
        path, reason = unreadable[0]
        print(in_one_line(f"{counted(len(unreadable), 'picture')} passed over, such as {path}: {reason}"))
    found = [Path(inside, name) for inside, pictures in sorted(folders.items()) for name, _ in pictures]
    if films:
        found += sorted(Path(path) for path, _ in other if is_film(path) and (folder / path).is_file())
    return [folder / path for path in found if not _is_left_out(folder, path.parent, left_out)]


def _is_left_out(folder: Path, inside: Path, left_out: Path | None) -> bool:
    hidden = any(part.startswith(".") for part in inside.parts)
    return hidden or (left_out is not None and (folder / inside).resolve().is_relative_to(left_out))
