"""The one door for all that is written: whole or not at all, on the disk, and in one line where it fails.

Libraries report a full disk in many ways (OSError with and without a name, torch's RuntimeError, a class of their
own), some of which a defect of ours would raise too. So the door does not read their words: it asks the disk.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runtime.errors import InputError

MAKE_ROOM = "make room, or write elsewhere, and give the command again"
# What the system says where a disk takes no more: full, over quota, at a limit of file sizes, read-only, broken.
_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
# Asked of the disk after a failure that may have had another reason: more than file systems keep at hand.
_PROBE = bytes(2**19)
# Longest name in bytes that has room for what a temporary file's name adds: file systems take 255.
_LONGEST = 200


@contextmanager
def replace_file(path: Path, *, flush: bool = True, then: str = MAKE_ROOM) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it is flushed to disk and takes the place of ``path``.

    A crash at any moment leaves either the old file or the new one. On an error the temporary file is removed. Without
    ``flush`` a power cut may take back what was written: for many small files. Raises InputError as ``writing`` does.
    """
    temporary = path.with_name(f".{_shortened(path.name)}.{os.getpid()}.tmp")
    with writing(path, temporary, then=then):
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if flush:
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)


@contextmanager
def writing(path: Path, temporary: Path | None = None, *, then: str = MAKE_ROOM) -> Iterator[None]:
    """Around what writes ``path`` by way of ``temporary``, which is removed on an error; or ``path`` itself, in place.

    Raises InputError if the disk can't take it (full, read-only, gone, not allowed): the path, the reason, how much
    was needed and is free, and what to do ``then``. Every other error passes.
    """
    target = temporary or path
    try:
        yield
    except Exception as error:
        reason = _of_the_disk(error, path, target)
        if reason is None:
            raise
        raise InputError(_not_written(path, target, reason, removed=temporary is not None, then=then)) from None
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _shortened(name: str) -> str:
    """The name, or of one that is nearly as long as a name can be its digest: no two share a temporary file."""
    data = os.fsencode(name)
    return name if len(data) <= _LONGEST else hashlib.sha1(data).hexdigest()


def write_file(path: Path, content: str | bytes | memoryview, *, flush: bool = True, then: str = MAKE_ROOM) -> None:
    """Write text (as UTF-8) or bytes as a whole or not at all. Raises InputError as ``writing`` does."""
    with replace_file(path, flush=flush, then=then) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path: Path, value: object, indent: int | None = 2) -> None:
    """Write plain values as JSON, as a whole or not at all. Raises InputError as ``writing`` does."""
    write_file(path, json.dumps(value, indent=indent) + "\n")


def require_writable(file: Path) -> None:
    """Before long work whose result goes to ``file``, which may be there or not, as may its folders: nothing is made.

    Raises InputError if the disk would refuse it, as ``writing`` does, or if ``file`` is a folder.
    """
    folder = next(place for place in file.absolute().parents if os.path.lexists(place))
    probe = folder / f".{_shortened(file.name)}.{os.getpid()}.probe"
    try:
        if os.path.isdir(file):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with suppress(FileNotFoundError):
            os.lstat(file)  # which a name that is too long is refused by
        _probe(probe)
    except OSError as refused:
        raise InputError(_not_written(file, probe, refused, removed=True, then=MAKE_ROOM)) from None


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's content, as a whole or not at all. Raises InputError as ``writing`` does."""
    with replace_file(target) as temporary:
        shutil.copyfile(source, temporary)


@contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Yield a hidden sibling to fill, which takes the place of ``folder`` at the end; it is removed on an error.

    Raises InputError as ``writing`` does.
    """
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.making")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        with writing(folder):
            draft.mkdir(parents=True)
            yield draft
            if folder.exists():
                folder.rename(old)
            draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def sha256(path: Path) -> str:
    """Digest of a file's content, 64 hexadecimal digits. Raises OSError if it can't be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, so that a power cut takes back none of its renames."""
    if os.name == "nt":
        return  # folders can't be opened there
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _of_the_disk(error: Exception, path: Path, target: Path) -> OSError | None:
    """The disk's own reason why nothing can be written there; None if the error has another."""
    if isinstance(error, InputError):
        return None
    if isinstance(error, OSError) and (error.errno in _OF_DISKS if error.filename is None else _is_there(error, path)):
        return error
    try:
        _probe(target)
    except OSError as refused:
        return refused
    return None


def _is_there(error: OSError, path: Path) -> bool:
    """Whether an error speaks of ``path``, of what lies beside or under it, or of a folder on the way to it."""
    there, place = Path(os.fsdecode(error.filename)).absolute(), path.absolute()
    return there.is_relative_to(place.parent) or place.is_relative_to(there)


def _probe(target: Path) -> None:
    """Make what is there a little longer, and short again. Raises OSError if the disk refuses."""
    place = target / ".probe" if os.path.isdir(target) else target
    there = os.path.exists(place)
    with place.open("ab", buffering=0) as file:
        end = file.tell()
        try:
            # The first may be cut short in silence where the disk gets full, the next one is refused.
            file.write(_PROBE)
            file.write(_PROBE)
        finally:
            file.truncate(end)
    if not there:
        place.unlink()


def _not_written(path: Path, target: Path, reason: OSError, *, removed: bool, then: str) -> str:
    """The line for the user."""
    begun = os.path.getsize(target) if os.path.isfile(target) else 0  # which take names that no file can have
    existing = next(folder for folder in (path, *path.absolute().parents) if os.path.isdir(folder))
    free = shutil.disk_usage(existing).free + (begun if removed else 0)
    needed = f"more than {begun / 1e6:,.1f} MB needed, " if begun else ""
    return f"can't write {path} ({reason.strerror or reason}; {needed}{free / 1e6:,.1f} MB free); {then}"
