"""A trained network for other programs, checked against PyTorch: ONNX, safetensors, torch.export's pt2, or the files
of the projects that IResNet and IR come from.

    python -m models.export results/RUN --format onnx
    python -m models.export results/RUN --format onnx --int8 --pairs test.csv --root DIR
    python -m models.export WEIGHTS.safetensors --backbone mobilefacenet --format onnx
    python -m models.export results/RUN --format insightface

The file takes float32 (batch, 3, size, size) and gives float32 (batch, D), rows of length 1, for any batch. Metadata
in it say how a face becomes the input and what the output means. Built-in faces go through PyTorch and through the
file; where the two differ by more than 1e-4 nothing is written. (Of --int8, which differs on purpose, the cost is
shown.) insightface, adaface and curricularface are state dicts under those projects' own names, for their loaders.
"""

import copy
import dataclasses
import json
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro

from data.masks.render import MASK_KINDS, render_mask
from data.synthetic.draw import draw_face
from data.transforms import Preprocessing, template
from eval.evaluators import PairEvaluator, named_here, open_pair_evaluator
from eval.finished_run import read_run_file
from eval.metrics.accuracy import accuracy
from eval.metrics.choose_threshold import best_threshold
from eval.metrics.conditions import ALL_PAIRS
from eval.metrics.roc import auc, curve
from eval.report.figure_tables import figure_rows
from models.export import formats
from models.export.hub import Card, write_hub_folder
from models.export.upstream import UPSTREAM, as_upstream, open_upstream
from models.trained_model import TrainedModel, backbone_of_weights, is_onnx, open_model
from models.weights.known import NONE
from models.weights.pretrained import open_pretrained, start_of
from runtime.checkpoints.file import find_checkpoint, load_network
from runtime.errors import InputError, one_line_errors
from runtime.files import require_writable, write_file

LARGEST_DIFFERENCE = 1e-4
# Batches of these sizes are compared: one alone, and one that no exporter was shown.
_BATCHES = (1, 7)
_CALIBRATION_FACES = 64


@dataclasses.dataclass(frozen=True)
class ExportSettings:
    """What to export, and how."""

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
    """A run folder (its best.pt), a checkpoint, or published face weights together with --backbone."""
    format: Literal["onnx", "safetensors", "pt2", "insightface", "adaface", "curricularface", "hub"]
    """onnx: runs in onnxruntime and most others. safetensors: the weights alone. pt2: for torch.export.load.
    insightface: an IResNet's backbone.pth. adaface (a .ckpt, for BGR) and curricularface: an IR network's.
    hub: a folder for the Hugging Face Hub, with a model card."""
    backbone: str = ""
    """For published weights whose file does not say it: the network they belong to (inception_resnet_v1)."""
    out: Path | None = None
    """File to write; otherwise model.FORMAT (model_int8.onnx, model_adaface.ckpt) in the run folder, or in the working
    folder."""
    int8: bool = False
    """8-bit integers in place of floats (onnx alone)."""
    pairs: Path | None = None
    """Pair CSV on which float and int8 are compared; omit it to skip the comparison."""
    root: Path | None = None
    """Folder that the paths of pairs start from."""
    path_prefix: str = ""
    """OLD=NEW maps absolute paths of pairs under root."""


def export(settings: ExportSettings) -> tuple[Path, float]:
    """Write the file; returns its path and the largest difference of an embedding's value from PyTorch's.

    Raises InputError: no such model, a format's package that is missing, a difference above LARGEST_DIFFERENCE.
    """
    if settings.int8 and settings.format != "onnx":
        raise InputError(f"int8 is for onnx alone, not for {settings.format}")
    if (settings.pairs is None) != (settings.root is None) or (settings.pairs and not settings.int8):
        raise InputError("pairs and root go together, and with int8 alone: eval.verify tests the float network")
    if is_onnx(settings.model):
        raise InputError(f"{settings.model} is an ONNX file already; export a run, a checkpoint or weights")
    out = _output_file(settings)
    settings = dataclasses.replace(settings, backbone=settings.backbone or backbone_of_weights(settings.model))
    opened = open_model(settings.model, settings.backbone)
    opened.model.cpu().eval()
    content, difference = _checked(opened, settings)
    if settings.format == "hub":
        write_hub_folder(out, content, _card(opened, settings))
    else:
        write_file(out, content)
    return out, difference


def _checked(opened: TrainedModel, settings: ExportSettings) -> tuple[bytes, float]:
    """The file's content, and the largest difference of an embedding's value from PyTorch's."""
    metadata = describe(opened, settings)
    size = opened.preprocessing["size"]
    if settings.format in ("safetensors", "hub"):
        content = formats.as_safetensors(opened.model, metadata)
        run = formats.open_safetensors(content, copy.deepcopy(opened.model))
    elif settings.format == "pt2":
        content = formats.as_pt2(opened.model, size, metadata)
        run = formats.open_pt2(content)
    elif settings.format in UPSTREAM:
        content = as_upstream(opened.model, _network(settings), opened.preprocessing, settings.format)
        run = formats.torch_runner(open_upstream(content, copy.deepcopy(opened.model)))
    else:
        content = formats.as_onnx(opened.model, size, metadata)
        run = formats.open_onnx(content)
    difference = check_parity(opened, run, settings.format)
    return _quantised(opened, metadata, settings, content) if settings.int8 else (content, difference)


def check_parity(opened: TrainedModel, run: formats.Runner, name: str) -> float:
    """The largest difference between the file's and PyTorch's embeddings of built-in faces.

    Raises InputError if it is above LARGEST_DIFFERENCE or no number.
    """
    faces = built_in_faces(opened, max(_BATCHES))
    reference = formats.torch_runner(opened.model)
    differences = [float(np.abs(run(faces[:n]) - reference(faces[:n])).max()) for n in _BATCHES]
    largest = float(np.max(differences))
    if not largest <= LARGEST_DIFFERENCE:
        raise InputError(
            f"{opened.name} as {name} gives other embeddings than PyTorch: they differ by {largest:.2g}, more than "
            f"{LARGEST_DIFFERENCE:g}; nothing was written"
        )
    return largest


def built_in_faces(opened: TrainedModel, count: int) -> np.ndarray:
    """Drawn faces, every second one masked, as the network's input: float32 (count, 3, H, W)."""
    needed = Preprocessing.from_dict(opened.preprocessing)
    images = []
    for person in range(count):
        face = draw_face(person, image=0, size=needed.size)
        image = face.image
        if person % 2:
            kind = MASK_KINDS[person // 2 % len(MASK_KINDS)]
            image = render_mask(image, face.landmarks, kind, np.random.default_rng(person))
        images.append(image)
    return needed.normalise(torch.from_numpy(np.stack(images))).contiguous().numpy()


def describe(opened: TrainedModel, settings: ExportSettings) -> dict[str, str]:
    """The metadata of a file: pre- and post-processing in words and numbers, as texts."""
    shown = Preprocessing.from_dict(opened.preprocessing)
    before = "add the embedding of the mirrored image, divide the sum by its length" if opened.mirror else "none"
    threshold = formats.NO_THRESHOLD if opened.threshold is None else repr(opened.threshold)
    if shown.crop == "arcface5":
        points = json.dumps(template(shown.size).astype(float).round(3).tolist())
        crop = f"similarity transform of eyes, nose and corners of the mouth (left before right) to {points}"
    else:
        crop = "the box of the MTCNN detector, resized to a square"
    return {
        "size": str(shown.size),
        "channel_order": "RGB",
        "layout": "batch, channel, row, column; float32",
        "mean": json.dumps(list(shown.mean)),
        "std": json.dumps(list(shown.std)),
        "preprocessing": f"(value / 255 - mean) / std by channel, of a face of {shown.size}×{shown.size} pixels",
        "crop": shown.crop,
        "crop_meaning": crop,
        "postprocessing": f"{before}: rows have length 1; compare two by their L2 distance, from 0 to 2",
        "threshold": threshold,
        "threshold_meaning": "same person where the distance is at most this",
        "threshold_source": opened.threshold_source or formats.NO_THRESHOLD,
        "thresholds": json.dumps(opened.thresholds),
        "least_face": json.dumps(opened.least_face),
        "alignment": json.dumps(shown.alignment.to_dict()),
        "mirror": json.dumps(opened.mirror),
        "network": json.dumps(_network(settings)),
        "run": Path(settings.model).name,
        "precision": "int8" if settings.int8 else "float32",
    }


def _network(settings: ExportSettings) -> dict:
    """The settings that the network was built from."""
    if settings.backbone:
        made_with = open_pretrained(settings.backbone, settings.model).network.settings
    else:
        made_with = load_network(find_checkpoint(Path(settings.model)))["settings"]
    return {name: made_with[name] for name in ("backbone", "embedding_size", "pooling", "image_size")}


def _output_file(settings: ExportSettings) -> Path:
    folder = Path(settings.model) if Path(settings.model).is_dir() else Path()
    upstream = UPSTREAM.get(settings.format)
    kind = f"_{settings.format}" if upstream else "_int8" if settings.int8 else ""
    name = f"model{kind}.{upstream.suffix if upstream else settings.format}"
    out = settings.out or folder / ("hub" if settings.format == "hub" else name)
    if settings.format == "hub" and out.exists():
        raise InputError(f"{out} exists; set --out to another folder")
    if not out.parent.is_dir():
        raise InputError(f"can't write {out}: there is no folder {out.parent}; set --out")
    require_writable(out)
    return out


# ==== hub ====


def _card(opened: TrainedModel, settings: ExportSettings) -> Card:
    """What is known about a network: its settings, its start and its test."""
    run = Path(settings.model)
    config = read_run_file(run, "config.json") if (run / "config.json").is_file() else {"settings": {}}
    made_with = config["settings"]
    if settings.backbone:
        start = start_of(settings.backbone, settings.model)
    else:
        start = config.get("started_from") or made_with.get("imported_from")
    from_scratch = start is None and made_with.get("pretrained") == NONE
    trained = f"On {Path(made_with['data_root']).name}, {made_with['train_csv']}." if "data_root" in made_with else ""
    table: list[list[str]] = []
    if (run / "metrics.json").is_file():
        metrics = read_run_file(run, "metrics.json")
        columns = {ALL_PAIRS: metrics, **metrics["by_condition"]}
        table = [["", *columns], *([label, *cells] for label, cells in figure_rows(columns))]
    alignment = str(Preprocessing.from_dict(opened.preprocessing).alignment)
    return Card(run.name, describe(opened, settings), alignment, trained, start, from_scratch, table)


# ==== int8 ====


def _quantised(
    opened: TrainedModel, metadata: dict[str, str], settings: ExportSettings, floats: bytes
) -> tuple[bytes, float]:
    """The int8 version of an ONNX file and what ``_checked`` returns beside it; prints what it costs."""
    from models.export.int8 import as_int8

    content = as_int8(floats, built_in_faces(opened, _CALIBRATION_FACES), metadata)
    reference, run = formats.open_onnx(floats), formats.open_onnx(content)
    faces = built_in_faces(opened, max(_BATCHES))
    a, b = reference(faces), run(faces)
    print(f"size: {len(floats) / 1e6:.1f} MB as floats, {len(content) / 1e6:.1f} MB as int8")
    print(f"cosine of float and int8 embeddings of a built-in face: {(a * b).sum(1).mean():.4f} (mean)")
    if settings.pairs is not None:
        device = torch.device("cpu")
        evaluator = open_pair_evaluator(
            opened, settings.root, named_here([settings.pairs]), path_prefix=settings.path_prefix, device=device
        )
        for name, runner in (("float32", reference), ("int8", run)):
            _print_accuracy(evaluator, name, runner, opened.threshold)
    return content, float(np.abs(a - b).max())


def _print_accuracy(evaluator: PairEvaluator, name: str, runner: formats.Runner, stored: float | None) -> None:
    """One line of figures on the pairs; without a stored threshold at the one that is best on them."""
    distances, pairs = evaluator.score(formats.RunnerModule(runner), name)
    threshold = best_threshold(distances, pairs.same) if stored is None else stored
    if threshold is None:
        raise InputError("all pairs are of one kind; accuracy needs same and different pairs")
    chosen = "on these very pairs" if stored is None else "before"
    print(
        f"{name:8s} accuracy {accuracy(distances, pairs.same, threshold):.2%}, AUC "
        f"{auc(curve(distances, pairs.same)):.4f} on {len(pairs.same):,} pairs at threshold {threshold:.4f}, "
        f"chosen {chosen}"
    )


def main() -> None:
    """The command."""
    settings = tyro.cli(ExportSettings, description=__doc__)
    out, difference = export(settings)
    print(f"largest difference from PyTorch on built-in faces: {difference:.2g}")
    if settings.format == "hub":
        print(f"written to {out}; read README.md in it before you publish it: hf upload OWNER/NAME {out}")
        return
    described = "" if settings.format in UPSTREAM else "; its metadata describe input and output"
    print(f"written to {out} ({out.stat().st_size / 1e6:.1f} MB){described}")


if __name__ == "__main__":
    with one_line_errors():
        main()
