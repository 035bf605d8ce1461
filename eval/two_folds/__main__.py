"""A run tested on all people of an evaluation set, none of whom had a say in what is reported of them.

    python -m eval.two_folds results/RUN
    python -m eval.two_folds results/UNTRAINED --root DIR --first eval_same.csv eval_diff.csv --second test.csv

The people come in two halves: the run's evaluation pairs and its test pairs. One half chooses checkpoint (lowest IOU)
and threshold, which are reported on the other half; then they change places, and both are reported together. A run
needs all its epochs for that: train it with --keep-checkpoints as large as --epochs. Writes two_folds.json, and
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
    print(f"{settings.run}: {found['pairs']:,} pairs of both halves; epochs {epochs} were chosen")
    print()
    print(figures_table(found))
    print(f"written to {settings.run / FIGURES_FILE}")


if __name__ == "__main__":
    with one_line_errors():
        main()
