"""At the end of a run: the best checkpoint on the test pairs, its plots and the report."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from eval.evaluators import PairEvaluator
from eval.finished_run import write_pair_file
from eval.metrics.accuracy import confusion, report
from eval.metrics.choose_threshold import operating_points
from eval.metrics.evaluation import Evaluation, evaluate_pairs
from eval.plots.roc_det import plot_det, plot_roc
from eval.plots.test_result import plot_conditions, plot_test_result
from eval.plots.worst_pairs import plot_worst_pairs
from eval.report.write import LEFT_OUT_FILE, write_report
from eval.text import TOO_FEW_ERRORS, has_width, number
from runtime.checkpoints.file import load_checkpoint, load_state
from runtime.devices import unwrap
from runtime.files import write_file
from runtime.processes.distributed import from_first, is_first
from runtime.run_folder import RunFolder
from runtime.spreadsheet import csv_for_people


def test_best(
    run: RunFolder, model: nn.Module, evaluators: Mapping[str, PairEvaluator], stopped: str | None = None
) -> None:
    """Test the run's best checkpoint at its stored thresholds, write all that belongs to it, and the report.

    ``evaluators`` has those of the "evaluation" and the "test" pairs; ``model`` takes the checkpoint's weights;
    ``stopped`` says why training ended early. Without a checkpoint (stopped in the first epoch) there is no test.
    """
    if not from_first(run.best.is_file()):
        print("no epoch was finished, so there is no checkpoint to test")
        return
    evaluator = evaluators["test"]
    checkpoint = load_checkpoint(run.best)
    model = unwrap(model)
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
            "alignment": evaluator.alignment and evaluator.alignment.to_dict(),
            "stopped": stopped,
            "lost_pairs": evaluator.lost_pairs,
            "least_face": checkpoint.get("least_face"),
            "left_out": left_out,
            "operating_points": [point._asdict() for point in points],
            "classification_report": by_kind,
            "confusion_matrix": counts.tolist(),
        }
    )
    print(_test_text(evaluation, text, counts))
    print(f"everything is in {run.path}; start with {write_report(run.path)}")


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
        write_file(run / LEFT_OUT_FILE, csv_for_people(frame[["list", *frame.columns.drop("list")]]))
    return {name: {str(k): int(n) for k, n in rows["reason"].value_counts().items()} for name, rows in lists.items()}


def _test_text(evaluation: Evaluation, report_text: str, counts: np.ndarray) -> str:
    lines = [
        f"test accuracy {evaluation.accuracy:.2%}{_spread(evaluation.figures)} on {len(evaluation.same):,} pairs, "
        f"AUC {_digits(evaluation.auc)}, threshold {number(evaluation.threshold)} (chosen on the evaluation pairs)"
    ]
    for name, figures in evaluation.figures["by_condition"].items():
        accuracy = f"{figures['accuracy']:.2%}{_spread(figures)}"
        lines.append(f"  {name:14s} accuracy {accuracy}  AUC {_digits(figures['auc'])}  ({figures['pairs']:,} pairs)")
    lines += ["", report_text, "confusion matrix (rows actual, columns predicted; same, different)", str(counts)]
    return "\n".join(lines)


def _spread(figures: dict) -> str:
    intervals = figures["intervals"] or {}
    interval = intervals.get("accuracy")
    if intervals and interval is None:
        return f" ({TOO_FEW_ERRORS})"
    return f" ({interval[0]:.1%} to {interval[1]:.1%})" if has_width(interval) else ""


def _digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
