"""What a run shows of itself: figures and plots after each epoch, and the test at the end."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from eval.classification import confusion, report
from eval.embed import embed
from eval.evaluation import Evaluation, choose_threshold_and_evaluate, evaluate_pairs
from eval.plots import plot_distribution, plot_iou, plot_test_result, plot_train_loss
from runtime.checkpoint import load_checkpoint, load_state
from runtime.collapse import embedding_health
from runtime.run_folder import RunFolder


class PairEvaluator:
    """One list of pairs, evaluated with any model: every distinct image is embedded once.

    ``loader`` gives the N distinct images in order as uint8 batches (B, H, W, 3), and afterwards the indices of
    those it could not read in ``unreadable``; pairs with one of them are left out and counted in ``lost_pairs``.
    ``pairs`` has ``left`` and ``right`` int64 (P,), ``same`` bool (P,), ``condition`` str (P,). ``mirror`` sums the
    embeddings of each image and its mirror.
    """

    def __init__(
        self, loader, pairs, *, device: torch.device, normalise: Callable[[Tensor], Tensor], mirror: bool = False
    ):
        self.loader, self.pairs = loader, pairs
        self.device, self.normalise, self.mirror = device, normalise, mirror
        self.lost_pairs = 0

    def embed(self, model: nn.Module, title: str) -> np.ndarray:
        """Embeddings of the distinct images: float32 (N, D)."""
        return embed(
            model, self.loader, device=self.device, normalise=self.normalise, mirror=self.mirror, progress=title
        )

    def readable_pairs(self) -> tuple[np.ndarray, ...]:
        """The four arrays without the pairs of unreadable images, which are counted and said."""
        pairs = self.pairs
        unreadable = np.array(sorted(self.loader.unreadable), dtype=np.int64)
        keep = ~(np.isin(pairs.left, unreadable) | np.isin(pairs.right, unreadable))
        self.lost_pairs = int((~keep).sum())
        if self.lost_pairs:
            tqdm.write(f"{len(unreadable)} images can't be read; {self.lost_pairs} pairs with them are left out")
        return pairs.left[keep], pairs.right[keep], pairs.same[keep], pairs.condition[keep]


class EpochReport:
    """Called after each epoch: evaluates the pairs that select the checkpoint, and draws the distance histograms."""

    def __init__(self, run: Path, evaluator: PairEvaluator):
        self.run, self.evaluator = run, evaluator

    def __call__(self, model: nn.Module, epoch: int) -> dict[str, float]:
        """The figures of the epoch's line in the log; the threshold is chosen on these pairs."""
        embeddings = self.evaluator.embed(model, f"evaluating epoch {epoch}")
        evaluation = choose_threshold_and_evaluate(embeddings, *self.evaluator.readable_pairs())
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
            **_health(embeddings),
        }


def draw_curves(run: Path, history: list[dict], best_epoch: int) -> None:
    """iou.png and train_loss.png over all epochs so far."""
    epochs = [line["epoch"] for line in history]
    plot_iou(run / "iou.png", epochs, [line["iou"] for line in history], run=run.name, best_epoch=best_epoch)
    losses, rates = ([line[key] for line in history] for key in ("loss", "lr"))
    plot_train_loss(run / "train_loss.png", epochs, losses, rates, run=run.name)


def test_best(run: RunFolder, model: nn.Module, evaluator: PairEvaluator) -> None:
    """Test the run's best checkpoint at its stored threshold; writes metrics.json and test_result.png, prints both.

    ``model`` takes the checkpoint's weights. Without a checkpoint (stopped in the first epoch) there is no test.
    """
    if not run.best.is_file():
        print("no epoch was finished: there is no checkpoint to test")
        return
    checkpoint = load_checkpoint(run.best)
    load_state(model, checkpoint["model"], str(run.best))
    embeddings = evaluator.embed(model, "testing")
    evaluation = evaluate_pairs(embeddings, *evaluator.readable_pairs(), checkpoint["threshold"])
    text, by_kind = report(evaluation.distances, evaluation.same, evaluation.threshold)
    counts = confusion(evaluation.distances, evaluation.same, evaluation.threshold)
    plot_test_result(
        run.path / "test_result.png",
        evaluation.distances,
        evaluation.same,
        evaluation.figures,
        run=run.path.name,
        threshold_source=f"the evaluation pairs, epoch {checkpoint['epoch']}",
    )
    run.write_metrics(
        {
            **evaluation.figures,
            "threshold_metric": checkpoint["threshold_metric"],
            "epoch": checkpoint["epoch"],
            "images_seen": checkpoint["images_seen"],
            "lost_pairs": evaluator.lost_pairs,
            "classification_report": by_kind,
            "confusion_matrix": counts.tolist(),
        }
    )
    print(_test_text(evaluation, text, counts))
    print(f"everything is in {run.path}")


def _health(embeddings: np.ndarray) -> dict[str, float]:
    """Mean distance of random pairs and effective rank of up to 512 embeddings spread over the list."""
    rows = np.linspace(0, len(embeddings) - 1, min(len(embeddings), 512)).astype(int)
    return embedding_health(torch.from_numpy(embeddings[np.unique(rows)]))


def _test_text(evaluation: Evaluation, report_text: str, counts: np.ndarray) -> str:
    lines = [
        f"test accuracy {evaluation.accuracy:.2%} on {len(evaluation.same):,} pairs, AUC {evaluation.auc:.4f}, "
        f"threshold {evaluation.threshold:.3f} (chosen on the evaluation pairs)"
    ]
    for name, figures in evaluation.figures["by_condition"].items():
        lines.append(
            f"  {name:14s} accuracy {figures['accuracy']:.2%}  AUC {figures['auc']:.4f}  ({figures['pairs']:,} pairs)"
        )
    lines += ["", report_text, "confusion matrix (rows truth, columns judged; same, different)", str(counts)]
    return "\n".join(lines)
