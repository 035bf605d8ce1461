"""report.html: everything about a run in one file that opens offline.

    python -m eval.report results/RUN [results/RUN2 …]

A run writes its report itself at the end; this makes it again from the files of the run folder (after an update, or for
a run of an older version, whose report has what its folder has).
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from eval.report.write import write_report
from runtime.errors import one_line_errors


@dataclasses.dataclass(frozen=True)
class ReportSettings:
    """Which runs."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folders, tested."""


def main() -> None:
    """The command."""
    for run in tyro.cli(ReportSettings, description=__doc__).runs:
        print(write_report(run))


if __name__ == "__main__":
    with one_line_errors():
        main()
