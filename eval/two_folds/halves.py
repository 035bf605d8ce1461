"""Two halves of the people: checkpoint and threshold are selected on one and tested on the other, then vice versa."""

import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import tyro

from configs.settings import BUILT_IN
from data.faces import built_in_faces
from data.tables.pair_csv import PairTable
from data.tables.people import people_of
from eval.evaluators import PairEvaluator, open_pair_evaluator
from eval.finished_run import write_pair_file
from eval.metrics.distances import MAX_DISTANCE
from eval.metrics.evaluation import Evaluation, Pairs, choose_threshold_and_evaluate
from eval.metrics.figures import figures
from models.trained_model import TrainedModel, open_model
from runtime.devices import pick_device
from runtime.errors import InputError
from runtime.files import require_writable, write_json
from runtime.run_folder import RunFolder, read_config

FIGURES_FILE, PAIRS_FILE = "two_folds.json", "two_folds.csv"


@dataclasses.dataclass(frozen=True)
class TwoFoldSettings:
    """Which run; where its halves are, unless it says so itself."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder with the checkpoints of all its epochs, or with best.pt alone."""
    root: Path | None = None
    """Folder of the faces and the pair CSVs; otherwise that of the run's evaluation faces."""
    first: tuple[str, ...] = ()
    """Pair CSVs of the first half; otherwise the run's evaluation pairs."""
    second: tuple[str, ...] = ()
    """Pair CSVs of the second half; otherwise the run's test pairs."""
    path_prefix: str = ""
    """OLD=NEW maps absolute paths of the pair CSVs under root; otherwise as the run does."""
    mirror: bool = False
    """Embed each face and its mirror, and sum the two, also where the run did not."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs."""
    out: Path | None = None
    """Folder of the two files; otherwise RUN."""

    @property
    def folder(self) -> Path:
        """Where the two files go."""
        return self.out or self.run


@dataclasses.dataclass(frozen=True)
class Fold:
    """One half, tested at the ``epoch`` and the threshold that were selected on the other half."""

    epoch: int
    evaluation: Evaluation


def two_folds(settings: TwoFoldSettings) -> dict:
    """Test the run on both halves, write the two files, and return what two_folds.json holds.

    Raises InputError: no such run, epochs whose checkpoints are gone, CSVs as ``faces_for``, one person in both
    halves; or a folder that can't be written to.
    """
    checkpoints = _checkpoints(settings.run)
    require_writable(settings.folder / FIGURES_FILE)
    halves = _open_halves(settings, open_model(str(checkpoints[min(checkpoints)])))

    @cache
    def evaluated(epoch: int, half: int) -> Evaluation:
        model = open_model(str(checkpoints[epoch])).model.to(halves[half].device)
        title = f"epoch {epoch}, half {half + 1}"
        return choose_threshold_and_evaluate(halves[half].embed(model, title), halves[half].readable_pairs())

    folds = [_report(half, list(checkpoints), evaluated) for half in (0, 1)]
    together = pooled(folds)
    found = {
        **together.figures,
        "folds": [{"epoch": fold.epoch, **fold.evaluation.figures} for fold in folds],
        "mirror": halves[0].mirror,
    }
    write_json(settings.folder / FIGURES_FILE, found)
    paths = np.concatenate([half.pairs.paths for half in halves])
    write_pair_file(settings.folder, together, paths, PAIRS_FILE)
    return found


def pooled(folds: list[Fold]) -> Evaluation:
    """Both folds as one list of pairs, at one threshold.

    Each fold has a threshold of its own; distances are scaled by it to the mean of the two, which changes no decision
    and puts them on one scale. Images and people of the second half are numbered behind those of the first.
    """
    thresholds = [fold.evaluation.threshold for fold in folds]
    common = float(np.mean(thresholds))
    distances = np.concatenate(
        [
            np.minimum(f.evaluation.distances * (common / t), MAX_DISTANCE)
            for f, t in zip(folds, thresholds, strict=True)
        ]
    )
    pairs = _both([fold.evaluation.pairs for fold in folds])
    found = figures(distances, pairs.same, pairs.condition, common, people=pairs.people, masks=pairs.masks)
    return Evaluation(pairs, distances, found)


def _checkpoints(run: Path) -> dict[int, Path]:
    """Epoch → checkpoint, of all epochs; of an untrained run its only one. Raises InputError if some are gone."""
    folder = RunFolder(run)
    epochs = read_config(run).get("epochs")
    if epochs is None:
        return {0: folder.best}
    found = folder.store.epoch_ends()
    log = run / "log.jsonl"
    trained = len(log.read_text().splitlines()) if log.is_file() else 0
    lost = [epoch for epoch in range(1, trained + 1) if epoch not in found]
    if lost or not trained:
        raise InputError(
            f"{run} has no checkpoint of {len(lost) or 'all'} epochs, so that the second half can't choose among "
            f"them; train with --keep-checkpoints {epochs}"
        )
    return found


def _open_halves(settings: TwoFoldSettings, opened: TrainedModel) -> list[PairEvaluator]:
    config = read_config(settings.run)
    root = settings.root or _root(config)
    names = settings.first or tuple(config.get("eval_csvs", ())), settings.second or (config.get("test_csv", ""),)
    if not all(all(half) and half for half in names):
        raise InputError(f"{settings.run} does not say on which pairs it is tested: set --root, --first and --second")
    options = {"path_prefix": settings.path_prefix or config.get("path_prefix", ""), "mirror": settings.mirror}
    device = pick_device(settings.device)
    halves = [open_pair_evaluator(opened, root, half, device=device, **options) for half in names]
    _refuse_shared(root, *(half.pairs for half in halves))
    return halves


def _refuse_shared(root: Path, first: PairTable, second: PairTable) -> None:
    """Raise InputError if both halves have an image, or a person by the names that the CSVs give."""
    if shared := set(first.paths) & set(second.paths):
        raise InputError(f"{root}: both halves have the image {min(shared)}; they must share no person")
    if shared := _people(first) & _people(second):
        more = f" and {len(shared) - 1:,} more" if len(shared) > 1 else ""
        raise InputError(
            f"{root}: both halves have {min(shared)}{more}; make the pairs again, so that the halves share no person"
        )


def _people(pairs: PairTable) -> set[str]:
    """The people whom the targets name; nobody if there are none."""
    if pairs.names is None:
        return set()
    paths = pairs.paths[np.concatenate([pairs.left, pairs.right])]
    listed = pd.DataFrame({"path": paths, "target": pairs.names[pairs.people.T.ravel()]})
    return people_of(listed.drop_duplicates())


def _root(config: dict) -> Path:
    """The folder of the pairs that a run was tested on."""
    root = config.get("eval_root") or config.get("data_root", "")
    if root == BUILT_IN:
        return built_in_faces(config["builtin_people"], config["builtin_images"], config["image_size"])
    return Path(root)


def _report(half: int, epochs: list[int], evaluated: Callable[[int, int], Evaluation]) -> Fold:
    """``half`` at what the other one chooses: the epoch with the lowest IOU, ties to the higher AUC."""
    chosen = {epoch: evaluated(epoch, 1 - half) for epoch in epochs}
    best = min(epochs, key=lambda epoch: (chosen[epoch].iou, -chosen[epoch].auc))
    own = evaluated(best, half)
    threshold, pairs = chosen[best].threshold, own.pairs
    options = {"people": pairs.people, "masks": pairs.masks}
    return Fold(
        best,
        Evaluation(pairs, own.distances, figures(own.distances, pairs.same, pairs.condition, threshold, **options)),
    )


def _both(halves: list[Pairs]) -> PairTable:
    first, second = halves
    images, people = len(first.paths), first.people.max() + 1
    masks = None if first.masks is None or second.masks is None else np.concatenate([first.masks, second.masks])
    return PairTable(
        paths=np.concatenate([first.paths, second.paths]),
        left=np.concatenate([first.left, second.left + images]),
        right=np.concatenate([first.right, second.right + images]),
        same=np.concatenate([first.same, second.same]),
        condition=np.concatenate([first.condition, second.condition]),
        people=np.concatenate([first.people, second.people + people]),
        masks=masks,
    )
