"""Test a trained model on any list of pairs.

    python -m eval.verify results/RUN PAIRS.csv --root DIR
    python -m eval.verify results/RUN/last.pt PAIRS.csv --root DIR --mirror
    python -m eval.verify WEIGHTS.safetensors PAIRS.csv --root DIR
    python -m eval.verify FILE.onnx PAIRS.csv --root DIR

The pair CSV has the columns path and pair_path, and either target and pair_target or same (0 or 1). The faces
under DIR are aligned crops, as data.prepare makes them. Prints a table and writes the figures as JSON.
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
import tyro

from data.alignment.alignment import Alignment
from data.tables.card import read_dataset_card
from data.tables.pack_file import SUFFIX, Pack
from data.tables.pair_faults import reasons
from eval.evaluators import named_here, open_pair_evaluator
from eval.metrics.accuracy import confusion, report
from eval.metrics.choose_threshold import BALANCED, checked_threshold
from eval.metrics.conditions import ALL_PAIRS
from eval.metrics.evaluation import Evaluation, evaluate_pairs
from eval.report.figure_tables import figures_table
from eval.text import counted
from models.trained_model import TrainedModel, open_model
from runtime.devices import pick_device, to_device
from runtime.errors import InputError, in_one_line, one_line_errors
from runtime.files import require_writable, write_file, write_json
from runtime.spreadsheet import csv_for_people


@dataclasses.dataclass(frozen=True)
class VerifySettings:
    """The model and the pairs to test."""

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
    """A run folder (its best.pt), a checkpoint, an ONNX or weight file, hf:OWNER/NAME, or vggface2 (--backbone)."""
    pairs: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="PAIRS.csv")]
    """Pair CSV: path,pair_path and target,pair_target, or same in their place."""
    root: Path
    """Folder that the CSV's paths start from."""
    backbone: str = ""
    """For weights by name (vggface2, casia-webface): their network, inception_resnet_v1."""
    threshold: float | None = None
    """Distance up to which a pair is "same"; otherwise the one stored in the checkpoint."""
    far: Literal["", "1e-1", "1e-2", "1e-3", "1e-4"] = ""
    """Take the stored threshold for this false accept rate, in place of the balanced one."""
    mirror: bool = False
    """Embed each face and its mirror, and sum the two, also where the run did not when it chose its threshold."""
    path_prefix: str = ""
    """OLD=NEW maps absolute paths of the CSV under root."""
    out: Path | None = None
    """JSON file to write; otherwise verify_PAIRS.json in the run folder, or in the working folder."""
    batch_size: int = 64
    """Faces a batch."""
    workers: int = -1
    """Processes that read faces; -1: by the cores."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs."""


def verify(settings: VerifySettings) -> dict:
    """Embed every distinct image once, and return all figures as plain values.

    Raises InputError on anything that the user can mend, before the first image is embedded where possible.
    """
    return _verified(settings)[0]


def _verified(settings: VerifySettings) -> tuple[dict, pd.DataFrame]:
    """The figures, and the pairs that were left out."""
    opened = open_model(settings.model, settings.backbone)
    threshold, source = _threshold(opened, settings)
    device = pick_device(settings.device)
    evaluator = open_pair_evaluator(
        opened,
        settings.root,
        named_here([settings.pairs]),
        path_prefix=settings.path_prefix,
        mirror=settings.mirror,
        device=device,
        workers=settings.workers,
        batch_size=settings.batch_size,
    )
    embeddings = evaluator.embed(to_device(opened.model, device), "embedding")
    evaluation = evaluate_pairs(embeddings, evaluator.readable_pairs(), threshold)
    figures = {
        "model": settings.model,
        "pairs_csv": str(settings.pairs),
        "images": len(evaluator.pairs.paths),
        "lost_pairs": evaluator.lost_pairs,
        "left_out": {str(k): int(n) for k, n in evaluator.left_out["reason"].value_counts().items()},
        "mirror": evaluator.mirror,
        "mirror_of_threshold": opened.mirror,
        "preprocessing": opened.preprocessing,
        "alignment": evaluator.alignment and evaluator.alignment.to_dict(),
        "crop_stated_by_data": _crop_is_stated(settings),
        "threshold_source": source,
        **evaluation.figures,
        **_predictions(evaluation),
    }
    return figures, evaluator.left_out


def main() -> None:
    """The command."""
    settings = tyro.cli(VerifySettings, description=__doc__)
    out = _output_file(settings)
    figures, left_out = _verified(settings)
    print(f"{settings.model} on {settings.pairs}: {figures['pairs']:,} pairs of {figures['images']:,} images")
    print()
    print(figures_table(figures))
    print()
    for parts in ("by_mask", "by_size"):
        if figures[parts]:
            for line in figures_table(figures, parts).splitlines():  # names of masks are the CSV's
                print(in_one_line(line))
            print()
    for line in _remarks(figures, settings.root):
        print(line)
    write_json(out, figures)
    print(f"written to {out}")
    _name_left_out(left_out, out.with_name(f"{out.stem}_left_out.csv"))


def _name_left_out(left_out: pd.DataFrame, csv: Path) -> None:
    """Print how many pairs were left out, and write all of them to a CSV of their own, as they name faces."""
    csv.unlink(missing_ok=True)
    if len(left_out):
        write_file(csv, csv_for_people(left_out))
        print(f"{counted(len(left_out), 'pair')} left out: {reasons(left_out)}; all are in {csv}")


def _crop_is_stated(settings: VerifySettings) -> bool:
    """Whether the faces say how they were cropped: by the card of the pack, or of the folder."""
    csv = settings.pairs
    return (Pack(csv).card if csv.suffix == SUFFIX and csv.is_file() else read_dataset_card(settings.root)) is not None


def _threshold(opened: TrainedModel, settings: VerifySettings) -> tuple[float | None, str | None]:
    """The threshold to apply, and where it comes from."""
    if settings.threshold is not None:
        return checked_threshold(settings.threshold), "given"
    if not settings.far:
        return opened.threshold, opened.threshold_source
    stored = opened.thresholds.get(ALL_PAIRS, {})
    if settings.far not in stored:
        have = ", ".join(rate for rate in stored if rate != BALANCED) or "none"
        raise InputError(
            f"{opened.name} has no threshold for FAR {settings.far} (it has: {have}); that needs at least 10/FAR "
            "different pairs among the evaluation pairs, or set --threshold"
        )
    return stored[settings.far], f"FAR {settings.far} on the evaluation pairs"


def _predictions(evaluation: Evaluation) -> dict:
    """Classification report and confusion matrix (rows actual, columns predicted), if there is a threshold."""
    if evaluation.threshold is None:
        return {"classification_report": None, "confusion_matrix": None}
    arguments = evaluation.distances, evaluation.same, evaluation.threshold
    return {
        "classification_report": report(*arguments)[1],
        "confusion_matrix": confusion(*arguments).tolist(),
    }


def _output_file(settings: VerifySettings) -> Path:
    """The path of the JSON file, checked before the work."""
    folder = Path(settings.model) if Path(settings.model).is_dir() else Path()
    out = settings.out or folder / f"verify_{settings.pairs.stem}.json"
    if not out.parent.is_dir():
        raise InputError(f"can't write {out}: there is no folder {out.parent}; set --out")
    require_writable(out)
    return out


def _remarks(figures: dict, root: Path) -> list[str]:
    """Remarks for the reader of the table."""
    lines = []
    if figures["threshold"] is None:
        lines.append("no threshold was applied: none is stored; eval.threshold chooses one, --threshold gives one")
    else:
        lines.append(f"threshold {figures['threshold']:.4f} ({figures['threshold_source']})")
    if figures["threshold"] is not None and figures["mirror"] != figures["mirror_of_threshold"]:
        lines.append("the threshold was chosen without the mirror: it does not quite fit")
    if figures["alignment"]:
        lines.append(f"faces found by {Alignment.of(figures)}")
    if not figures["crop_stated_by_data"]:
        crop = figures["preprocessing"]["crop"]
        lines.append(f"{root} has no dataset.json: its faces are taken to be {crop} crops, as the model needs")
    return lines


if __name__ == "__main__":
    with one_line_errors():
        main()
