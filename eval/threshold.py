"""Choose a model's threshold on evaluation pairs and store it: for imported runs, and for faces of another kind.

    python -m eval.threshold results/RUN eval_same.csv eval_diff.csv --root DIR

The threshold is the distance with the best balanced accuracy on these pairs. It goes into the run's best.pt, from
where every command takes it, with those for the false accept rates that the pairs can show. Report on other pairs than
these.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from data.datasets import image_loader
from data.faces import check_card
from data.tables import read_dataset_card, read_pair_csvs, require_files
from eval.conditions import UNKNOWN
from eval.embedding import embed
from eval.evaluation import THRESHOLD_METRIC
from eval.operating_points import choose_thresholds
from eval.trained_model import TrainedModel, open_model
from eval.verification import balanced_accuracy, best_threshold, pair_distances
from runtime.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint
from runtime.devices import loader_workers, pick_device, to_device
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


def score_pairs(
    opened: TrainedModel, csvs: Sequence[Path], root: Path, *, path_prefix: str = "", device: str = "auto"
) -> tuple[np.ndarray, np.ndarray]:
    """Distances float64 (P,) and same bool (P,) of the readable pairs of pair CSVs.

    Raises InputError: a CSV that is not as it should be, missing images, another crop than the model's, and where
    not one pair can be read.
    """
    check_card(read_dataset_card(root), root, opened.preprocessing.crop)
    pairs = read_pair_csvs(csvs, path_prefix)
    require_files(root, pairs.paths, ", ".join(map(str, csvs)))
    where = pick_device(device)
    loader = image_loader(
        root, pairs.paths, opened.preprocessing.size, batch_size=64, workers=loader_workers(-1, where)
    )
    embeddings = embed(
        to_device(opened.model, where),
        loader,
        device=where,
        normalise=opened.preprocessing.normalise,
        mirror=opened.mirror,
        progress="embedding",
    )
    unreadable = list(loader.unreadable)
    kept = ~(np.isin(pairs.left, unreadable) | np.isin(pairs.right, unreadable))
    if not kept.any():
        raise InputError(f"{', '.join(map(str, csvs))}: not one pair has two readable images")
    if not kept.all():
        print(f"{(~kept).sum()} pairs are left out: an image of theirs can't be read")
    return pair_distances(embeddings, pairs.left[kept], pairs.right[kept]), pairs.same[kept]


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
