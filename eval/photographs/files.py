"""The photographs that a user names: files, and folders with all that lies under them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from data.sources.folders import walk_pictures
from data.sources.read_image import is_picture
from eval.text import counted
from runtime.errors import InputError, in_one_line


def list_photographs(given: Sequence[Path], apart_from: Path | None = None) -> dict[str, Path]:
    """The photographs by a short name, in order: that of the file, or its path under the folder that was given.

    Folders are searched with all that is in them, but for ``apart_from``, which earlier results may lie in; files are
    taken as they are, whatever their ending. Of two equal names the later gets its folder's before it.
    Raises InputError: a file or folder that is not there, or no picture in any of them.
    """
    found: dict[str, Path] = {}
    for place in given:
        if place.is_dir():
            paths = _under(place, apart_from)
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
        raise InputError(f"no picture in {', '.join(map(str, given))}; give photographs, or a folder with some")
    return found


def refuse_to_overwrite(photographs: Iterable[Path], outputs: Iterable[Path]) -> None:
    """Raise InputError if one of the files to be written is one of the given photographs."""
    originals = {path.resolve() for path in photographs}
    for output in outputs:
        if output.resolve() in originals:
            raise InputError(f"{output} is one of the photographs and would be overwritten; set another output folder")


def _under(folder: Path, apart_from: Path | None) -> list[Path]:
    """The pictures under a folder, by folder and name; hidden folders are passed over."""
    # Only below it: whoever names a folder means it.
    left_out = None
    if apart_from is not None and folder.resolve() in apart_from.resolve().parents:
        left_out = apart_from.resolve()
    folders, other = walk_pictures(folder)
    unreadable = [(path, reason) for path, reason in other if is_picture(path)]
    if unreadable:
        path, reason = unreadable[0]
        print(in_one_line(f"{counted(len(unreadable), 'picture')} passed over, such as {path}: {reason}"))
    return [
        folder / inside / name
        for inside, pictures in sorted(folders.items())
        if not _is_left_out(folder, inside, left_out)
        for name, _ in pictures
    ]


def _is_left_out(folder: Path, inside: str, left_out: Path | None) -> bool:
    hidden = any(part.startswith(".") for part in Path(inside).parts)
    return hidden or (left_out is not None and (folder / inside).resolve().is_relative_to(left_out))
