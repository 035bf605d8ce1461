"""Prepare raw faces for the training scripts: ``python -m data.prepare SOURCE --out DIR``.

Every face is detected, aligned, and written plain and with a simulated mask. Then the CSVs, the card, a summary that
accounts for every input file, and a contact sheet are written. If it was stopped, the same command resumes.
"""

import signal
import sys

import tyro

from data.prepare.pipeline import prepare, print_report
from data.prepare.settings import PrepareSettings
from runtime.errors import one_line_errors


def main() -> None:
    """The command."""
    settings = tyro.cli(PrepareSettings, prog="python -m data.prepare")
    # SIGTERM acts like Ctrl-C, so that the worker processes end, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with one_line_errors():
        try:
            print_report(settings, prepare(settings))
        except KeyboardInterrupt:
            print("\nstopped; the same command resumes from here", file=sys.stderr)
            sys.exit(130)


if __name__ == "__main__":
    main()
