"""Training images a second from JPEG to weights, the share of the chip's peak, and where a step's time goes.

    python -m benchmarks.throughput [--device cuda|cpu] [--json FILE] [--minutes N] [--only TEXT]
        [--traces FOLDER] [--quick] [--check]

Rows of one network have the same batch:

- engine: this project's loop at its best settings but compile (bf16, channels_last, cuDNN's autotuning, fused SGD),
  from a pack of JPEGs through the real loader; also with a fresh mask on every face, compiled,
  and compiled with CUDA graphs (reduce-overhead);
- float32: as the 2021 original trained, eager, channels first, its batch ready in memory, without TF32 and with it;
- plain fp16: a loop in the manner of InsightFace's arcface_torch, its batch ready in memory;
- bare: forward, backward, step on a batch ready in memory; each row one lever more.

mfu is the share of the card's dense bf16 peak, waiting that of the time in which the loop waits for its loader. The
parts of a step are read from events in the GPU's stream: "data" until a batch is there, "forward" up to the loss,
"backward" up to the optimiser, "between" from the optimiser to the end of the step. Each arm is written to the JSON
file as soon as it is measured; one that fails becomes a row with its error.
"""

import math
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.harness.table import Options, Report, run_command
from benchmarks.throughput.arms import COMPILED, ENGINE, FLOAT32, GRAPHS, HEAD, PLAIN, all_arms, quick_arms
from benchmarks.throughput.chip import device_name
from benchmarks.throughput.packed_faces import pack_faces
from benchmarks.throughput.process import results
from runtime.devices import pick_device

SECONDS_EACH = 120
PEOPLE = {"cuda": 128, "cpu": 4}
# On one H100; elsewhere the ratios count.
H100_RATES = {("iresnet50", 112): 4_500, ("inception_resnet_v1", 112): 10_000, ("inception_resnet_v1", 160): 5_000}
OF_FLOAT32, OF_PLAIN, MOST_WAITING, MOST_HEAD_GIB = 3.0, 1.2, 0.05, 60


@dataclass(frozen=True)
class ThroughputOptions(Options):
    """Options of this benchmark."""

    device: str = "auto"
    """auto, cuda or cpu; a CPU gets tiny batches, to rehearse."""
    minutes: float = 0.0
    """Stop after so many minutes, the last arms unmeasured; 0: measure all."""
    only: str = ""
    """Measure the arms alone whose network and name contain this."""
    traces: Path | None = None
    """Also run five steps of the engine under torch's profiler: a trace of each in this folder, and a summary."""


def main(options: ThroughputOptions) -> int:
    """Measure, write, judge."""
    started = time.monotonic()
    device = pick_device(options.device)
    arms = quick_arms(options.traces) if options.quick else all_arms(options.traces)
    arms = [arm for arm in arms if options.only in str(arm)]
    deadline = started + options.minutes * 60 if options.minutes else math.inf
    report = Report("throughput")
    report.note(f"{device_name(device)}, {time.strftime('%Y-%m-%d')}; times in ms a step")
    if options.traces:
        options.traces.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        packs = Path(scratch)
        for size in {arm.size for arm in arms if arm.kind in ("engine", "profile")}:
            pack_faces(packs / str(size), size, PEOPLE[device.type])
        for row in results(arms, device.type, packs, SECONDS_EACH, deadline):
            row.pop("fatal", None)
            for words in row.pop("words", None) or []:
                report.note(f"{row['network']} {row['px']}: {words}")
            report.add(**row)
            print(_line(row, time.monotonic() - started), file=sys.stderr, flush=True)
            report.write(options)
    if len(report.rows) < len(arms):
        report.note(f"{len(arms) - len(report.rows)} of {len(arms)} arms left out: the minutes were over")
    _judge(report, device)
    return report.finish(options)


def _line(row: dict, seconds: float) -> str:
    cells = [f"{name} {value:.4g}" if isinstance(value, float) else str(value) for name, value in row.items()]
    return f"{seconds:6.1f} s  " + "  ".join(cells)


def _judge(report: Report, device: torch.device) -> None:
    """The bars, of what was measured."""
    rows = {(row["network"], row["px"], row["arm"]): row for row in report.rows if "error" not in row}

    def rate(network: str, size: int, *arms: str) -> float:
        return max(
            (rows[network, size, arm]["images_s"] for arm in arms if (network, size, arm) in rows), default=math.nan
        )

    for (network, size), wanted in H100_RATES.items():
        best = rate(network, size, ENGINE, COMPILED, GRAPHS)
        if math.isnan(best):
            continue
        title = f"{network} at {size} px"
        if "H100" in device_name(device):
            report.at_least(f"{title}: images/s", best, wanted)
        report.at_least(f"{title}: of float32", best / rate(network, size, FLOAT32), OF_FLOAT32)
        report.at_least(f"{title}: of the plain fp16 loop", best / rate(network, size, PLAIN), OF_PLAIN)
        waiting = rows.get((network, size, ENGINE), {}).get("waiting", math.nan)
        report.at_most(f"{title}: waiting for data", waiting, MOST_WAITING)
    sampled = rows.get(("–", None, HEAD))
    if sampled and sampled["memory_gib"]:
        report.at_most("sampled head: GiB", sampled["memory_gib"], MOST_HEAD_GIB)


if __name__ == "__main__":
    run_command(main, ThroughputOptions, __doc__)
