"""Test a run on all its held-out people, without selecting anything on the people it is tested on.

    python -m eval.two_folds results/RUN
    python -m eval.two_folds results/UNTRAINED --root DIR --first eval_same.csv eval_diff.csv --second test.csv

The people are split into two halves: the run's evaluation pairs and its test pairs. Checkpoint (lowest IOU) and
threshold are selected on one half and tested on the other; then the halves are swapped, and both are reported together.
This needs the checkpoints of all epochs: train with --keep-checkpoints as large as --epochs. Writes two_folds.json, and
two_folds.csv with the pairs of both.
"""

import tyro

from eval.report.figure_tables import figures_table
from eval.two_folds.halves import FIGURES_FILE, TwoFoldSettings, two_folds
from runtime.errors import one_line_errors


def main() -> None:
    """The command."""
    settings = tyro.cli(TwoFoldSettings, description=__doc__)
    found = two_folds(settings)
    epochs = " and ".join(str(fold["epoch"]) for fold in found["folds"])
    print(f"{settings.run}: {found['pairs']:,} pairs of both halves; epochs {epochs} were selected")
    print()
    print(figures_table(found))
    print(f"written to {settings.folder / FIGURES_FILE}")


if __name__ == "__main__":
    with one_line_errors():
        main()
