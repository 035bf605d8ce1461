"""The checkpoints that a run resumes from: a few at a time, each with its checksum; the newest intact one is used."""

import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from runtime.checkpoints.file import load_checkpoint, save_checkpoint
from runtime.errors import InputError, in_one_line
from runtime.files import flush_folder, sha256, writing

DIGITS = 16  # of SHA-256 in hexadecimal, as torch.hub names its files
_NAME = re.compile(rf"epoch(\d+)_batch(\d+)-([0-9a-f]{{{DIGITS}}})\.pt")


class Position(NamedTuple):
    """Where in a run: epochs finished, and batches of the one under way."""

    epoch: int
    batch: int


class CheckpointStore:
    """``checkpoints/epoch0002_batch000040-<start of its SHA-256>.pt`` of one run."""

    def __init__(self, folder: Path, owner: Path | None = None):
        """``owner``: a file of the run without which, if it is there now, nothing more is saved: the run is deleted."""
        self.folder = folder
        self._owner = owner if owner is not None and owner.is_file() else None

    def save(self, content: dict, position: Position, *, keep: int, also_keep: Collection[Position] = ()) -> Path:
        """Write a checkpoint; delete all but the ``keep`` newest, the ``keep`` newest epoch ends, and ``also_keep``.

        Epoch ends count apart, so that they stay however many checkpoints are saved between them.

        Raises InputError if it can't be written (no room on the disk), or if the run was deleted; nothing is deleted
        then.
        """
        if self._owner is not None and not self._owner.is_file():
            raise InputError(f"{self._owner} was deleted while the run trained; start it anew")
        draft = self.folder / "draft.pt"
        then = self._what_to_do()
        with writing(draft, then=then):
            save_checkpoint(draft, content, then=then)
            path = self.folder / f"epoch{position.epoch:04d}_batch{position.batch:06d}-{sha256(draft)[:DIGITS]}.pt"
            os.replace(draft, path)
            flush_folder(self.folder)  # before older ones are gone
        # After a return to an older position the checkpoints beyond it belong to a course that is given up.
        for old in self._paths():
            if old != path and _position(old) >= position:
                old.unlink()
        paths = self._paths()
        ends = [old for old in paths if _position(old).batch == 0]
        for old in set(paths[keep:]) - set(ends[:keep]):
            if _position(old) not in also_keep:
                old.unlink()
        return path

    def newest(self) -> Path | None:
        """The newest whole checkpoint; None if there is none at all.

        Damaged ones are skipped with a warning and renamed: of several processes only one may ask. Raises
        InputError where all are damaged.
        """
        paths = self._paths()
        for path in paths:
            if _is_whole(path):
                return path
            tqdm.write(in_one_line(f"{path} is damaged (its checksum differs) and is skipped"))
            with writing(path):
                path.rename(path.with_suffix(".damaged"))
        if paths:
            raise InputError(f"no checkpoint in {self.folder} is intact; start a new run with --resume never")
        return None

    def load(self, position: Position) -> dict | None:
        """The whole checkpoint of one position, or None."""
        path = self.path(position)
        return path and load_checkpoint(path)

    def path(self, position: Position) -> Path | None:
        """The file of the whole checkpoint of one position, or None."""
        paths = (path for path in self._paths() if _position(path) == position and _is_whole(path))
        return next(paths, None)

    def epoch_ends(self) -> dict[int, Path]:
        """The checkpoints of finished epochs that are kept: epoch → path, in the order of the epochs."""
        ends = {_position(path): path for path in reversed(self._paths())}
        return {position.epoch: path for position, path in ends.items() if position.batch == 0 and position.epoch}

    def _paths(self) -> list[Path]:
        """All checkpoints, the newest position first."""
        found = self.folder.glob("*.pt") if self.folder.is_dir() else []
        return sorted((path for path in found if _NAME.fullmatch(path.name)), key=_position, reverse=True)

    def _what_to_do(self) -> str:
        """Where the next checkpoint can't be written."""
        last = next((f"{path.name} before it is kept; " for path in self._paths()), "")
        return f"{last}make room, then give the same command again"


def _position(path: Path) -> Position:
    epoch, batch, _ = _NAME.fullmatch(path.name).groups()
    return Position(int(epoch), int(batch))


def _is_whole(path: Path) -> bool:
    try:
        return sha256(path)[:DIGITS] == _NAME.fullmatch(path.name)[3]
    except OSError:  # a disk that has lost it
        return False
