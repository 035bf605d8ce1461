"""What is known of a search's trials: states, the best one, the table."""

import dataclasses
import shlex
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from configs.cli import option_words
from eval.text import counted, number
from runtime.files import write_file
from runtime.spreadsheet import csv_for_people
from runtime.text_tables import aligned_table, markdown_table

if TYPE_CHECKING:
    import optuna

# Optuna's states. The trial's own notes tell more about some of them.
_STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}
COLUMNS = ("trial", "IOU", "state", "epochs", "images seen")


@dataclasses.dataclass(frozen=True)
class Record:
    """A trial; if it was retried, its last attempt."""

    number: int
    run: str  # name of the run folder
    settings: dict  # setting → value
    state: str  # complete, pruned, collapsed, failed, running or waiting
    iou: float | None  # lowest so far
    epochs: int
    images_seen: int
    seconds: float  # of the last attempt
    reason: str  # why it collapsed or failed

    @property
    def done(self) -> bool:
        """Whether the trial has ended."""
        return self.state not in ("running", "waiting")


def records(study: "optuna.Study") -> list[Record]:
    """All trials that have begun, in their order."""
    newest = {t.user_attrs["run"]: t for t in study.get_trials(deepcopy=False) if "run" in t.user_attrs}
    return [_record(run, trial) for run, trial in newest.items()]


def best_of(found: Sequence[Record]) -> Record | None:
    """The complete trial with the lowest IOU; the first, if several are equal."""
    return min((r for r in found if r.state == "complete"), key=lambda r: r.iou, default=None)


def command_of(script: str, options: Sequence[str], settings: dict) -> str:
    """The command that trains with a trial's settings, in a run folder of its own."""
    return shlex.join(["python", script, *options, *option_words(settings)])


def progress(found: Sequence[Record], wanted: int) -> str:
    """ "8 of 30 trials done, best IOU 0.264 (trial 3), about 12 minutes left"."""
    done, best = [r for r in found if r.done], best_of(found)
    text = f"{len(done)} of {counted(wanted, 'trial')} done"
    if best:
        text += f", best IOU {number(best.iou)} (trial {best.number})"
    left = wanted - len(done)
    if done and left > 0:
        at_once = 1 + sum(r.state == "running" for r in found)  # this process is between two
        minutes = sum(r.seconds for r in done) / len(done) * left / at_once / 60
        text += f", about {minutes:.0f} minutes left" if minutes >= 1 else ", less than a minute left"
    return text


def print_table(found: Sequence[Record]) -> None:
    """Print the table, and how many images were seen."""
    names = _names(found)
    print(aligned_table([*COLUMNS, *names], [_cells(r, names) for r in _in_order(found)], left=(2,)))
    states = {state: sum(r.state == state for r in found) for state in dict.fromkeys(r.state for r in found)}
    print(
        f"{counted(len(found), 'trial')} ({', '.join(f'{count} {state}' for state, count in states.items())}) saw "
        f"{sum(r.images_seen for r in found):,} images; the longest saw {max(r.images_seen for r in found):,}"
    )


def write_tables(folder: Path, found: Sequence[Record]) -> None:
    """trials.csv and trials.md in the search's folder. Raises InputError if they can't be written."""
    names = _names(found)
    rows = [
        {"trial": r.number, "run": r.run, "iou": r.iou, "state": r.state, "epochs": r.epochs,
         "images_seen": r.images_seen, **r.settings, "reason": r.reason}
        for r in _in_order(found)
    ]  # fmt: skip
    write_file(folder / "trials.csv", csv_for_people(pd.DataFrame(rows)))
    write_file(folder / "trials.md", markdown_table([*COLUMNS, *names], [_cells(r, names) for r in _in_order(found)]))


def _names(found: Sequence[Record]) -> list[str]:
    """The settings of the space; a trial that failed at once may have none."""
    return max((list(r.settings) for r in found), key=len)


def _in_order(found: Sequence[Record]) -> list[Record]:
    """By IOU, the lowest first; those without one at the end."""
    return sorted(found, key=lambda r: (r.iou is None, r.iou))


def _record(run: str, trial: "optuna.trial.FrozenTrial") -> Record:
    notes = trial.user_attrs
    collapsed = notes.get("collapsed", "")
    seconds = 0.0
    if trial.datetime_start:
        seconds = ((trial.datetime_complete or datetime.now()) - trial.datetime_start).total_seconds()
    reason = collapsed or notes.get("failed", "its process died repeatedly" if trial.state.name == "FAIL" else "")
    return Record(
        number=int(run.rpartition("_")[2]),
        run=run,
        settings=notes.get("settings", {}),
        state="collapsed" if collapsed else _STATES[trial.state.name],
        iou=None if collapsed else _lowest_iou(trial),
        epochs=len(trial.intermediate_values),
        images_seen=notes.get("images_seen", 0),
        seconds=seconds,
        reason=reason,
    )


def _lowest_iou(trial: "optuna.trial.FrozenTrial") -> float | None:
    """Of a complete trial its value, as Optuna keeps what was reported of epochs that were taken back, too."""
    if trial.state.name == "COMPLETE":
        return trial.value
    return min(trial.intermediate_values.values(), default=None)


def _cells(record: Record, names: Sequence[str]) -> list[str]:
    values = [_shown(record.settings.get(name, "")) for name in names]
    counts = [str(record.epochs), f"{record.images_seen:,}"]
    return [str(record.number), number(record.iou, 4), record.state, *counts, *values]


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
