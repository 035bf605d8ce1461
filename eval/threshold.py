"""Choose a model's threshold on evaluation pairs and store it: for imported runs, and for faces of another kind.

    python -m eval.threshold results/RUN eval_same.csv eval_diff.csv --root DIR

The threshold is the distance with the best balanced accuracy on these pairs. It goes into the run's best.pt, from
where every command takes it, with those for the false accept rates that the pairs can show. Report on other pairs than
these.
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from eval.evaluators import score_pairs
from eval.metrics.accuracy import balanced_accuracy
from eval.metrics.choose_threshold import best_threshold, choose_thresholds
from eval.metrics.conditions import UNKNOWN
from eval.metrics.evaluation import THRESHOLD_METRIC
from models.trained_model import open_model
from runtime.checkpoints.file import find_checkpoint, load_checkpoint, save_checkpoint
from runtime.errors import InputError, one_line_errors


@dataclasses.dataclass(frozen=True)
class ThresholdSettings:
    """Which run, and which pairs."""

    model: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """A run folder (its best.pt) or a checkpoint."""
    pairs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="PAIRS.csv")]
    """Evaluation pairs, of the same and of different people, in one or more CSVs."""
    root: Path
    """Folder that the CSVs' paths start from."""
    path_prefix: str = ""
    """OLD=NEW maps absolute paths of the CSVs under root."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs."""


def store_threshold(settings: ThresholdSettings) -> tuple[float, float, int]:
    """Choose and store; returns the threshold, its balanced accuracy on these pairs, and their number.

    Raises InputError as ``score_pairs`` and ``open_model`` do, and where all pairs are of one kind.
    """
    opened = open_model(str(settings.model))
    distances, same = score_pairs(
        opened, settings.pairs, settings.root, path_prefix=settings.path_prefix, device=settings.device
    )
    threshold = best_threshold(distances, same)
    if threshold is None:
        raise InputError(f"all {len(same)} pairs are of one kind; a threshold needs same and different pairs")
    path = find_checkpoint(settings.model)
    content = {key: value for key, value in load_checkpoint(path).items() if key != "format"}
    thresholds = choose_thresholds(distances, same, np.full(len(same), UNKNOWN))
    chosen = {"threshold": threshold, "threshold_metric": THRESHOLD_METRIC, "thresholds": thresholds}
    save_checkpoint(path, {**content, **chosen})
    return threshold, balanced_accuracy(distances, same, threshold), len(same)


def main() -> None:
    """The command."""
    settings = tyro.cli(ThresholdSettings, description=__doc__)
    threshold, accuracy, pairs = store_threshold(settings)
    print(
        f"threshold {threshold:.4f}, balanced accuracy {accuracy:.2%} on {pairs:,} evaluation pairs; "
        f"stored in {find_checkpoint(settings.model)}"
    )


if __name__ == "__main__":
    with one_line_errors():
        main()
