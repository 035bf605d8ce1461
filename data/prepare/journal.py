"""The outcome of each input file, written to disk at once, so that a stopped run can be resumed."""

import json
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from data.alignment.alignment import Alignment
from data.sources.outcome import Outcome
from runtime.errors import InputError
from runtime.files import write_file, writing

JOURNAL = "journal.jsonl"
# What folders were made with that were begun before there was a choice.
_AS_BEFORE = {"alignment": Alignment().to_dict(), "detections": "one"}


def sides_of(folder: Path) -> dict[str, float]:
    """Path of each face of a prepared folder → its side in its photograph in pixels, where that was kept."""
    path = folder / JOURNAL
    if not path.is_file():
        return {}
    outcomes = _outcomes(_lines(path)[1:])
    return {
        face: one.side for outcome in outcomes for one in (outcome, *outcome.more) if one.side for face in one.faces
    }


class Journal:
    """The outcomes so far, in ``OUT/journal.jsonl``: the run's settings on the first line, then one outcome a line."""

    def __init__(self, folder: Path, settings: dict) -> None:
        """Open or begin the journal. Raises InputError if ``folder`` holds something else, or faces that were
        made with other settings."""
        self._path = folder / JOURNAL
        self.outcomes: dict[str, Outcome] = {}
        if self._path.is_file():
            self._read(folder, settings)
        elif folder.is_dir() and any(folder.iterdir()):
            raise InputError(f"{folder} holds files that are not from data.prepare; name a new or an empty folder")
        self._settings = settings
        # Written anew, so that a line cut off by a crash is gone before others follow it.
        self._write()

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Keep some more outcomes."""
        outcomes = list(outcomes)
        with writing(self._path), self._path.open("a") as file:
            file.write("".join(_line(o) + "\n" for o in outcomes))
        self.outcomes.update((o.path, o) for o in outcomes)

    def keep(self, paths: Collection[str]) -> None:
        """Forget the outcomes of all other inputs, on disk too: their faces may get the names of others'."""
        if len(paths) < len(self.outcomes):
            self.outcomes = {path: outcome for path, outcome in self.outcomes.items() if path in paths}
            self._write()

    def _write(self) -> None:
        lines = [json.dumps(self._settings), *map(_line, self.outcomes.values())]
        write_file(self._path, "\n".join(lines) + "\n")

    def _read(self, folder: Path, settings: dict) -> None:
        first, *lines = _lines(self._path) or [""]
        made_with = _AS_BEFORE | (_object(first) or {})
        different = [key for key in settings if made_with.get(key) != settings[key]]
        if different:
            was = ", ".join(f"{key} {made_with.get(key)}" for key in different)
            raise InputError(f"{folder} was begun with {was}; use the same settings to resume, or give another folder")
        self.outcomes.update((outcome.path, outcome) for outcome in _outcomes(lines))


def _line(outcome: Outcome) -> str:
    values = asdict(outcome)
    if not outcome.more:
        del values["more"]
    return json.dumps(values)


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines()


def _object(line: str) -> dict | None:
    """The JSON object of a line; None if it holds anything else."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def _outcomes(lines: Iterable[str]) -> Iterator[Outcome]:
    """The outcomes of a journal's lines, without those that were cut off or hold anything else."""
    for values in map(_object, lines):
        if values is not None:
            with suppress(TypeError, KeyError, AttributeError):  # lacks a name, or has a value of another kind
                yield _outcome(values)


def _outcome(values: dict) -> Outcome:
    for key in ("landmarks", "masked_landmarks"):
        values[key] = tuple(values.get(key, ()))
    # Millions of outcomes: equal strings are kept once.
    values |= {key: sys.intern(values[key]) for key in ("stamp", "status", "reason", "person", "mask")}
    if values["name"] == values["path"]:
        values["name"] = values["path"]
    return Outcome(**{**values, "more": tuple(map(_outcome, values.get("more", ())))})
