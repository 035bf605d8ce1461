"""What a run shows of itself: figures and plots after each epoch, the test and the report at the end."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from eval.classification import confusion, report
from eval.embedding import embed
from eval.error_curves import plot_det, plot_roc
from eval.evaluation import Evaluation, Pairs, choose_threshold_and_evaluate, evaluate_pairs
from eval.operating_points import choose_thresholds, operating_points
from eval.pair_file import write_pair_file
from eval.panels import counted, has_width, number
from eval.plots import plot_conditions, plot_distribution, plot_iou, plot_test_result, plot_train_loss
from eval.report import LEFT_OUT_FILE, write_report
from eval.worst_pairs import plot_worst_pairs
from runtime.checkpoint import load_checkpoint, load_state
from runtime.collapse import embedding_health
from runtime.distributed import from_all, from_first, gather_rows, is_first
from runtime.files import replace_file
from runtime.run_folder import RunFolder
from runtime.tensorboard import Board


class PairEvaluator:
    """One list of pairs, evaluated with any model: every distinct image is embedded once.

    ``loader`` gives the N distinct images in order as uint8 batches (B, H, W, 3), and afterwards the indices of
    those it could not read in ``unreadable``; ``loader.faces(indices)`` gives single ones. ``pairs`` is a
    ``data.tables.PairTable`` or what has its fields; those with an unreadable image are left out, counted in
    ``lost_pairs`` and, with what was left out before, named in ``left_out``. ``mirror`` sums the embeddings of each
    image and its mirror.
    """

    def __init__(
        self, loader, pairs, *, device: torch.device, normalise: Callable[[Tensor], Tensor], mirror: bool = False
    ):
        self.loader, self.pairs = loader, pairs
        self.device, self.normalise, self.mirror = device, normalise, mirror
        self.lost_pairs = 0
        self.left_out = pairs.left_out

    def embed(self, model: nn.Module, title: str) -> np.ndarray:
        """Embeddings of the distinct images: float32 (N, D). Of several processes each embeds a part."""
        progress = title if is_first() else None
        own = embed(
            model, self.loader, device=self.device, normalise=self.normalise, mirror=self.mirror, progress=progress
        )
        self.loader.unreadable = set().union(*from_all(self.loader.unreadable))
        return gather_rows(torch.from_numpy(own))[0].numpy()

    def readable_pairs(self) -> Pairs:
        """The pairs without those of unreadable images, which are counted and named."""
        pairs = self.pairs
        unreadable = np.array(sorted(self.loader.unreadable), dtype=np.int64)
        lost = np.isin(pairs.left, unreadable) | np.isin(pairs.right, unreadable)
        self.lost_pairs = int(lost.sum())
        if self.lost_pairs:
            first = ", ".join(pairs.paths[unreadable[:10]]) + (", …" if len(unreadable) > 10 else "")
            lost_images = counted(len(unreadable), "image")
            tqdm.write(f"{lost_images} can't be read ({first}): {counted(self.lost_pairs, 'pair')} left out")
        readable = pairs.without(lost, "unreadable image")
        self.left_out = readable.left_out
        return readable


class EpochReport:
    """Called after each epoch: evaluates the pairs that select the checkpoint, and draws the distance histograms.

    ``tensorboard`` shows the histograms there, too.
    """

    def __init__(self, run: Path, evaluator: PairEvaluator, *, tensorboard: bool = False):
        self.run, self.evaluator = run, evaluator
        self.board = Board(run) if tensorboard and is_first() else None

    def __call__(self, model: nn.Module, epoch: int) -> dict:
        """The figures of the epoch's line in the log; all thresholds are chosen on these pairs."""
        embeddings = self.evaluator.embed(model, f"evaluating epoch {epoch}")
        return from_first(self._report(embeddings, epoch) if is_first() else None)

    def _report(self, embeddings: np.ndarray, epoch: int) -> dict:
        evaluation = choose_threshold_and_evaluate(embeddings, self.evaluator.readable_pairs())
        if self.board:
            distances, same = evaluation.distances, evaluation.same
            self.board.histograms(epoch, {"distances/same": distances[same], "distances/different": distances[~same]})
        plot_distribution(
            self.run / f"distribution_epoch{epoch}.png",
            evaluation.distances,
            evaluation.same,
            run=self.run.name,
            epoch=epoch,
            threshold=evaluation.threshold,
            iou=evaluation.iou,
            auc=evaluation.auc,
        )
        conditions = evaluation.figures["by_condition"].items()
        return {
            "iou": evaluation.iou,
            "auc": evaluation.auc,
            "threshold": evaluation.threshold,
            "accuracy": evaluation.accuracy,
            **{f"accuracy_{name}": figures["accuracy"] for name, figures in conditions},
            "thresholds": choose_thresholds(evaluation.distances, evaluation.same, evaluation.condition),
            **_health(embeddings),
        }


def draw_curves(run: Path, history: list[dict], best_epoch: int) -> None:
    """iou.png and train_loss.png over all epochs so far."""
    if not is_first():
        return
    epochs = [line["epoch"] for line in history]
    iou, losses, rates = ([line[key] for line in history] for key in ("iou", "loss", "lr"))
    plot_iou(run / "iou.png", epochs, iou, rates, run=run.name, best_epoch=best_epoch)
    plot_train_loss(run / "train_loss.png", epochs, losses, rates, run=run.name)


def test_best(
    run: RunFolder, model: nn.Module, evaluators: Mapping[str, PairEvaluator], stopped: str | None = None
) -> None:
    """Test the run's best checkpoint at its stored thresholds, write all that belongs to it, and the report.

    ``evaluators`` has those of the "evaluation" and the "test" pairs; ``model`` takes the checkpoint's weights;
    ``stopped`` says why training ended early. Without a checkpoint (stopped in the first epoch) there is no test.
    """
    if not from_first(run.best.is_file()):
        print("no epoch was finished: there is no checkpoint to test")
        return
    evaluator = evaluators["test"]
    checkpoint = load_checkpoint(run.best)
    load_state(model, checkpoint["model"], str(run.best))
    embeddings = evaluator.embed(model, "testing")
    if not is_first():
        return
    evaluation = evaluate_pairs(embeddings, evaluator.readable_pairs(), checkpoint["threshold"])
    _draw_test(run.path, evaluation, checkpoint, evaluator)
    write_pair_file(run.path, evaluation, evaluator.pairs.paths)
    left_out = _write_left_out(run.path, evaluators)
    text, by_kind = report(evaluation.distances, evaluation.same, evaluation.threshold)
    counts = confusion(evaluation.distances, evaluation.same, evaluation.threshold)
    thresholds = checkpoint["history"][-1].get("thresholds", {})
    points = operating_points(thresholds, evaluation.distances, evaluation.same, evaluation.condition)
    run.write_metrics(
        {
            **evaluation.figures,
            "threshold_metric": checkpoint["threshold_metric"],
            "epoch": checkpoint["epoch"],
            "images_seen": checkpoint["images_seen"],
            "mirror": evaluator.mirror,
            "stopped": stopped,
            "lost_pairs": evaluator.lost_pairs,
            "left_out": left_out,
            "operating_points": [point._asdict() for point in points],
            "classification_report": by_kind,
            "confusion_matrix": counts.tolist(),
        }
    )
    print(_test_text(evaluation, text, counts))
    print(f"everything is in {run.path}; read {write_report(run.path)}")


def _draw_test(run: Path, evaluation: Evaluation, checkpoint: dict, evaluator: PairEvaluator) -> None:
    """The plots of the test."""
    distances, same, condition = evaluation.distances, evaluation.same, evaluation.condition
    source = f"the evaluation pairs, epoch {checkpoint['epoch']}"
    plot_test_result(
        run / "test_result.png", distances, same, evaluation.figures, run=run.name, threshold_source=source
    )
    for plot, name in ((plot_roc, "roc"), (plot_det, "det"), (plot_conditions, "distances_by_condition")):
        plot(run / f"{name}.png", distances, same, condition, run=run.name, threshold=evaluation.threshold)
    plot_worst_pairs(run / "worst_pairs.png", evaluation, evaluator.loader.faces, run=run.name)


def _write_left_out(run: Path, evaluators: Mapping[str, PairEvaluator]) -> dict[str, dict[str, int]]:
    """Name the pairs that did not count in the run's CSV of them, and give their numbers by list and reason."""
    lists = {name: evaluator.left_out for name, evaluator in evaluators.items()}
    frame = pd.concat([rows.assign(list=name) for name, rows in lists.items()], ignore_index=True)
    (run / LEFT_OUT_FILE).unlink(missing_ok=True)
    if len(frame):
        with replace_file(run / LEFT_OUT_FILE) as temporary:
            frame[["list", *frame.columns.drop("list")]].to_csv(temporary, index=False)
    return {name: {str(k): int(n) for k, n in rows["reason"].value_counts().items()} for name, rows in lists.items()}


def _health(embeddings: np.ndarray) -> dict[str, float]:
    """Mean distance of random pairs and effective rank of up to 512 embeddings spread over the list."""
    rows = np.linspace(0, len(embeddings) - 1, min(len(embeddings), 512)).astype(int)
    return embedding_health(torch.from_numpy(embeddings[np.unique(rows)]))


def _test_text(evaluation: Evaluation, report_text: str, counts: np.ndarray) -> str:
    lines = [
        f"test accuracy {evaluation.accuracy:.2%}{_spread(evaluation.figures)} on {len(evaluation.same):,} pairs, "
        f"AUC {_digits(evaluation.auc)}, threshold {number(evaluation.threshold)} (chosen on the evaluation pairs)"
    ]
    for name, figures in evaluation.figures["by_condition"].items():
        accuracy = f"{figures['accuracy']:.2%}{_spread(figures)}"
        lines.append(f"  {name:14s} accuracy {accuracy}  AUC {_digits(figures['auc'])}  ({figures['pairs']:,} pairs)")
    lines += ["", report_text, "confusion matrix (rows truth, columns judged; same, different)", str(counts)]
    return "\n".join(lines)


def _spread(figures: dict) -> str:
    interval = (figures["intervals"] or {}).get("accuracy")
    return f" ({interval[0]:.1%} to {interval[1]:.1%})" if has_width(interval) else ""


def _digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
