"""Search for the settings of a script that give the lowest IOU on its evaluation pairs.

    python -m study.search main_triplet.py --space lr=1e-4..1e-2:log mining=semi_hard,batch_hard --trials 30 \\
        -- --data-root faces --epochs 5

Each trial is a run of the script, with the options after -- and with values from the space: LOW..HIGH, LOW..HIGH:STEP,
LOW..HIGH:log (on a logarithmic scale), or a list of values (mirror=true,false). All trials train on the same faces for
the same number of epochs. Optuna chooses the values (TPE). Once five trials are complete, a trial is stopped early if
its lowest IOU so far is above the median IOU of the complete trials at the same epoch (median pruning).

The same command resumes a search that was stopped or killed. If you start it several times, on one machine or on
several that share the folder, the processes share the trials. At the end, the search prints a table, which it
also writes to trials.csv and trials.md in its folder, and the command of the best trial.

The search selects on the evaluation pairs, so the IOU of the best trial is optimistic; it never looks at the test
pairs. Train with the best settings, and test on other people.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import tyro

from eval.text import number
from runtime.errors import InputError, one_line_errors
from runtime.files import writing
from runtime.processes.signals import StopSignals
from study.commands import settings_of, split_at_dashes
from study.search.records import Record, best_of, command_of, print_table, records, write_tables
from study.search.space import parse_space
from study.search.storage import Plan, open_study
from study.search.trials import Trials


@dataclasses.dataclass(frozen=True)
class SearchSettings:
    """Which script, which settings, how long."""

    script: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SCRIPT")]
    """main_triplet.py or main_arcface.py."""
    space: tuple[str, ...]
    """Settings to vary: SETTING=LOW..HIGH, SETTING=LOW..HIGH:log, SETTING=LOW..HIGH:STEP or SETTING=VALUE,VALUE."""
    trials: int = 30
    """Number of trials, including those of earlier starts and of other processes."""
    out: Path | None = None
    """Folder of the search; None: results/search_ and the script's name, such as results/search_main_triplet."""
    seed: int = 0
    """Seed for drawing the values; the runs have their own (--seed after --)."""


def search(settings: SearchSettings, options: list[str]) -> None:
    """Run the trials that are left, and show the result.

    Raises InputError: no such script, a space that does not fit its settings, the folder of another search, several
    failures in a row.
    """
    if settings.trials < 1:
        raise InputError(f"--trials is {settings.trials}; choose at least 1")
    command = [sys.executable, settings.script, *options]
    trained = settings_of(command)
    space = parse_space(settings.space, trained)
    name = Path(settings.script)
    folder = settings.out or Path("results") / f"search_{name.stem}"
    study = open_study(folder, Plan(name.name, space, trained), settings.seed)
    with writing(folder), StopSignals() as signals:
        Trials(study, command, space, trained.epochs, folder, settings.trials, signals).run()
    found = records(study)
    print_table(found)
    write_tables(folder, found)
    print(f"written to {folder / 'trials.csv'} and {folder / 'trials.md'}")
    print(_result(best_of(found), settings.script, options))


def _result(best: Record | None, script: str, options: list[str]) -> str:
    if best is None:
        return "no trial was completed, so there are no best settings"
    command = command_of(script, options, best.settings)
    return (
        f"best: trial {best.number}, IOU {number(best.iou, 4)} on the evaluation pairs. It was selected on these "
        f"pairs, so its IOU is optimistic: test on other people. The command:\n{command}"
    )


def main() -> None:
    """The command."""
    arguments, options = split_at_dashes(sys.argv[1:])
    search(tyro.cli(SearchSettings, prog="python -m study.search", description=__doc__, args=arguments), options)


if __name__ == "__main__":
    with one_line_errors():
        main()
