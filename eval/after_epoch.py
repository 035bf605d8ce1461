"""After each epoch: the metrics of the evaluation pairs, which select the checkpoint, and the plots."""

import numpy as np
import torch
from torch import nn

from eval.evaluators import PairEvaluator
from eval.metrics.choose_threshold import choose_thresholds
from eval.metrics.conditions import plain_and_masked
from eval.metrics.evaluation import choose_threshold_and_evaluate
from eval.plots.training import plot_distribution, plot_iou, plot_lengths, plot_train_loss
from runtime.processes.distributed import from_first, is_first
from runtime.run_folder import RunFolder
from runtime.tensorboard import Board
from runtime.training.collapse import embedding_health


class EpochReport:
    """Looks at the network after each epoch: evaluates the pairs that select the checkpoint, and draws the plots.

    ``tensorboard`` shows the histograms there, too.
    """

    def __init__(self, run: RunFolder, evaluator: PairEvaluator, *, tensorboard: bool = False):
        self.run, self.evaluator = run.path, evaluator
        self.board = Board(self.run) if tensorboard and is_first() else None

    def __call__(self, model: nn.Module, epoch: int) -> dict:
        """The figures of the epoch's line in the log; all thresholds are chosen on these pairs."""
        embeddings, lengths = self.evaluator.embed(model, f"evaluating epoch {epoch}", lengths=True)
        return from_first(self._report(embeddings, lengths, epoch) if is_first() else None)

    def draw(self, history: list[dict], best_epoch: int) -> None:
        """iou.png, train_loss.png and, if masks are known, lengths.png over all epochs so far."""
        if not is_first():
            return
        epochs = [line["epoch"] for line in history]
        iou, losses, rates = ([line[key] for line in history] for key in ("iou", "loss", "lr"))
        plot_iou(self.run / "iou.png", epochs, iou, rates, run=self.run.name, best_epoch=best_epoch)
        plot_train_loss(self.run / "train_loss.png", epochs, losses, rates, run=self.run.name)
        measured = [line for line in history if {"length_plain", "length_masked"} <= line.keys()]
        if measured:
            plot_lengths(self.run / "lengths.png", measured, run=self.run.name)

    def _report(self, embeddings: np.ndarray, lengths: np.ndarray, epoch: int) -> dict:
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
        images = plain_and_masked(evaluation.condition, evaluation.pairs.left, evaluation.pairs.right)
        return {
            "iou": evaluation.iou,
            "auc": evaluation.auc,
            "threshold": evaluation.threshold,
            "accuracy": evaluation.accuracy,
            **{f"accuracy_{name}": figures["accuracy"] for name, figures in conditions},
            **{f"length_{name}": float(lengths[rows].mean()) for name, rows in images.items() if len(rows)},
            "thresholds": choose_thresholds(evaluation.distances, evaluation.same, evaluation.condition),
            **_health(embeddings),
        }


def _health(embeddings: np.ndarray) -> dict[str, float]:
    """Mean distance of random pairs and effective rank of up to 512 embeddings spread over the list."""
    rows = np.linspace(0, len(embeddings) - 1, min(len(embeddings), 512)).astype(int)
    return embedding_health(torch.from_numpy(embeddings[np.unique(rows)]))
