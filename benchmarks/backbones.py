"""What each backbone costs: parameters, multiply-adds, training and inference on the CPU, size of its ONNX file.

    python -m benchmarks.backbones [--quick] [--only iresnet18 iresnet50] [--page FILE.md] [--json FILE]

Every network takes 112×112 faces, has fresh weights and its own pooling. Its steps take turns with MobileFaceNet's, so
that a busy machine slows both: the relative columns hold where images/s don't. ``--page docs/backbones.md`` writes the
page of the documentation; ``--seconds`` sets how long each network is measured.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.fresh_network import fresh_network
from benchmarks.table import Options, Report, machine, run_command
from benchmarks.turns import median_seconds
from models import BACKBONES
from models.export import formats
from models.weights.known import known_weights
from runtime.files import require_writable, write_file

REFERENCE = "mobilefacenet"
QUICK = (REFERENCE, "iresnet18", "efficientnet_b0")
SIZE, BATCH = 112, 8
_ROUNDS = 15
# Weights that no name downloads: for which backbones, and where they are published. The first pattern that fits counts.
HOMES = {
    "mobilefacenet": "InsightFace, model zoo (MXNet)",
    "iresnet*": "InsightFace, arcface_torch",
    "ir_*_curricular": "CurricularFace",
    "ir_*": "AdaFace, CVLface",
}


@dataclass(frozen=True)
class BackboneOptions(Options):
    """What to measure, and where it goes."""

    only: tuple[str, ...] = ()
    """Backbones to measure, timm:NAME too; empty: all."""
    seconds: float = 8.0
    """Longest time of a measurement, of which a network has two."""
    onnx: bool = True
    """Export each network, for the size of its file: up to minutes each."""
    page: Path | None = None
    """Write the table as a page of Markdown."""


def multiply_adds(model: nn.Module) -> int:
    """Those of convolutions and matrix products for one face."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, 3, SIZE, SIZE))
    return counter.get_total_flops() // 2


def training_step(model: nn.Module) -> Callable[[], None]:
    """Forward, backward and SGD on one batch."""
    images = torch.randn(BATCH, 3, SIZE, SIZE).to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-4, momentum=0.9)

    def step() -> None:
        optimiser.zero_grad()
        embeddings = model.train()(images)
        (embeddings[: BATCH // 2] * embeddings[BATCH // 2 :]).sum().backward()
        optimiser.step()

    return step


def inference_step(model: nn.Module) -> Callable[[], None]:
    """Forward without gradients on one batch."""
    images = torch.randn(BATCH, 3, SIZE, SIZE).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def step() -> None:
        model.eval()(images)

    return step


def costs(backbone: str, reference: nn.Module, options: BackboneOptions) -> dict[str, str | int | float | None]:
    """The row of a backbone."""
    model = fresh_network(backbone, SIZE)
    row = {
        "backbone": backbone,
        "parameters (M)": sum(p.numel() for p in model.parameters()) / 1e6,
        "multiply-adds (G)": multiply_adds(model) / 1e9,
    }
    for name, step_of in (("training", training_step), ("inference", inference_step)):
        steps = {"reference": step_of(reference), "own": step_of(model)}
        seconds = median_seconds(steps, rounds=_ROUNDS, seconds=options.seconds)
        row[f"{name} (images/s)"] = BATCH / seconds["own"]
        row[f"{name} time (relative)"] = seconds["own"] / seconds["reference"]
    row["ONNX (MB)"] = len(formats.as_onnx(model, SIZE, {})) / 1e6 if options.onnx else None
    return row


def published_weights(backbone: str) -> str:
    """Names that ``--pretrained`` downloads, and where others publish files for it."""
    homes = [home for pattern, home in HOMES.items() if fnmatch(backbone, pattern)][:1]
    return ", ".join([*(f"`{name}`" for name in known_weights(backbone)), *homes]) or "–"


def page(rows: list[dict]) -> str:
    """The page of the documentation."""
    names = [*rows[0], "weights"]
    cells = [[*map(_shown, row.values()), published_weights(row["backbone"])] for row in rows]
    lines = [f"| {' | '.join(line)} |" for line in (names, ["---"] + ["---:"] * (len(names) - 2) + ["---"], *cells)]
    return _PAGE.format(table="\n".join(lines), machine=machine(), reference=REFERENCE, batch=BATCH, size=SIZE)


def _shown(cell: str | float | None) -> str:
    if cell is None:
        return "–"
    return f"`{cell}`" if isinstance(cell, str) else f"{cell:.3g}" if cell < 100 else f"{cell:.0f}"


_PAGE = """\
# Backbones

Which one? With pretrained weights for a network that is fast enough for you, start from those: [the
study](../results/STUDY.md) found nothing that helps more. From scratch, InceptionResNetV1 did best there.

The cost of each backbone, generated by `python -m benchmarks.backbones --page docs/backbones.md`. All networks take
{size}×{size} faces in batches of {batch}, in float32. The relative columns compare each network with `{reference}`,
measured in alternation with it. Images per second depend on the machine and on what else it was doing.

{table}

Machine: {machine}.

Weights in `code` are downloaded by `--pretrained NAME`; files from elsewhere are given as `--pretrained FILE`, or
imported. See [using a trained model](using.md).
"""


def main(options: BackboneOptions) -> int:
    """The benchmark."""
    if options.page:
        require_writable(options.page)
    report, reference = Report("backbones"), fresh_network(REFERENCE, SIZE)
    for backbone in options.only or (QUICK if options.quick else BACKBONES):
        report.add(**costs(backbone, reference, options))
        report.write(options)
    report.note(f"relative: seconds of a batch over those of {REFERENCE}, which took turns with it")
    if options.page:
        write_file(options.page, page(report.rows))
    return report.finish(options)


if __name__ == "__main__":
    run_command(main, BackboneOptions, __doc__)
