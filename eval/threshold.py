"""Choose a model's threshold on evaluation pairs and store it: for imported runs, and for faces of another kind.

    python -m eval.threshold results/RUN eval_same.csv eval_diff.csv --root DIR
    python -m eval.threshold FILE.onnx eval_same.csv eval_diff.csv --root DIR

The threshold is the distance with the best balanced accuracy on these pairs. It goes into the run's best.pt, or the
ONNX file's metadata, from where every command takes it, with those for the false accept rates that the pairs can show
and the smallest face that the network can use at it. Report on other pairs than these.
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
import tyro

from data.tables.pair_faults import reasons
from eval.evaluators import named_here, open_pair_evaluator
from eval.least_face import LeastFace, measure_least_face
from eval.metrics.accuracy import balanced_accuracy
from eval.metrics.choose_threshold import best_threshold, choose_thresholds
from eval.metrics.evaluation import THRESHOLD_METRIC
from eval.text import counted
from models.trained_model import backbone_of_weights, open_model, write_threshold
from runtime.devices import pick_device, to_device
from runtime.errors import InputError, one_line_errors


@dataclasses.dataclass(frozen=True)
class ThresholdSettings:
    """Which run, and which pairs."""

    model: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """A run folder (its best.pt), a checkpoint or an ONNX file."""
    pairs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="PAIRS.csv")]
    """Evaluation pairs, of the same and of different people, in one or more CSVs."""
    root: Path
    """Folder that the CSVs' paths start from."""
    path_prefix: str = ""
    """OLD=NEW maps absolute paths of the CSVs under root."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs."""


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The stored threshold, its balanced accuracy on the ``pairs`` (how many counted), the rows left out, the smallest
    face at this threshold (None where all faces are of one person), and the file that keeps it."""

    threshold: float
    balanced_accuracy: float
    pairs: int
    left_out: pd.DataFrame
    least_face: LeastFace | None
    file: Path


def store_threshold(settings: ThresholdSettings) -> Chosen:
    """Choose the threshold and store it with the network.

    Raises InputError as ``open_pair_evaluator`` and ``open_model`` do, if all pairs are of one kind, and for a file of
    weights, which has no place for a threshold.
    """
    if backbone_of_weights(str(settings.model)):
        raise InputError(
            f"{settings.model} holds weights alone, with no place for a threshold; make a run folder of it first: "
            "python -m models.import_weights"
        )
    opened = open_model(str(settings.model))
    device = pick_device(settings.device)
    evaluator = open_pair_evaluator(
        opened, settings.root, named_here(settings.pairs), path_prefix=settings.path_prefix, device=device
    )
    model = to_device(opened.model, device)
    distances, pairs = evaluator.score(model, "embedding")
    threshold = best_threshold(distances, pairs.same)
    if threshold is None:
        raise InputError(f"all {len(pairs.same)} pairs are of one kind; a threshold needs same and different pairs")
    thresholds = choose_thresholds(distances, pairs.same, pairs.condition)
    chosen = {"threshold": threshold, "threshold_metric": THRESHOLD_METRIC, "thresholds": thresholds}
    least = measure_least_face(model, evaluator, threshold, opened.preprocessing["crop"])
    path = write_threshold(opened, {**chosen, **(least.content() if least else {})})
    accuracy = balanced_accuracy(distances, pairs.same, threshold)
    return Chosen(threshold, accuracy, len(pairs.same), evaluator.left_out, least, path)


def main() -> None:
    """The command."""
    settings = tyro.cli(ThresholdSettings, description=__doc__)
    chosen = store_threshold(settings)
    print(
        f"threshold {chosen.threshold:.4f}, balanced accuracy {chosen.balanced_accuracy:.2%} on {chosen.pairs:,} "
        f"evaluation pairs; stored in {chosen.file}"
    )
    if chosen.least_face:
        print(chosen.least_face)
    if len(chosen.left_out):
        print(f"{counted(len(chosen.left_out), 'pair')} left out: {reasons(chosen.left_out)}")


if __name__ == "__main__":
    with one_line_errors():
        main()
