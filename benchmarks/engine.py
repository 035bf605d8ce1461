"""Images per second of a whole training step through the engine, compared with a bare loop on tensors in memory.

    python -m benchmarks.engine [--quick] [--check] [--json FILE]

The engine reads, decodes and flips built-in faces from a pack, normalises, steps, watches and logs as in a run; the
bare loop has the same network, ArcFace head and optimiser and nothing else: forward, backward, step on one batch of
random numbers. A round does a few steps of each, in turns; the ratio is the median of the rounds'. What a whole step
costs, and against whom, is the question of benchmarks.throughput.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
import tyro
from torch.utils.data import DataLoader

from benchmarks.table import Options, Report
from benchmarks.throughput.chip import device_name
from benchmarks.throughput.packed_faces import pack_faces, pack_loader
from benchmarks.throughput.training import Way, assemble, bare_step, one_gpu, random_batch
from runtime.devices import loader_workers, pick_device
from runtime.run_folder import RunFolder
from runtime.training.state import EpochSums, TrainingState
from runtime.training.watch import Watch
from train import train_one_epoch

BATCHES = {"cpu": 32, "cuda": 128}  # images a step; 128 is the original's
STEPS = 8  # of a round, which is an epoch of the engine
PEOPLE = 64
LEAST = 0.95
SIZES = {
    "mobilefacenet": 112,
    "inception_resnet_v1": 128,
    "iresnet18": 112,
    "seresnext101": 128,
    "efficientnet_b0": 128,
}
WAY = Way("auto", channels_last=True, fused=True, deterministic=True)


@dataclass(frozen=True)
class Setup:
    """One network with all that trains it."""

    state: TrainingState
    loader: DataLoader
    watch: Watch
    batch: int


def set_up(backbone: str, scratch: Path) -> Setup:
    """A network on built-in faces of its size."""
    size, device = SIZES[backbone], pick_device("auto")
    batch, on_gpu = BATCHES[device.type], device.type == "cuda"
    pack = pack_faces(scratch / f"faces{size}", size, PEOPLE)
    workers = loader_workers(-1, device, one_gpu(device))
    reading = {"batch": batch, "masked": False, "workers": workers, "pin_memory": on_gpu}
    loader = pack_loader(pack, size, rows=batch * STEPS, **reading)
    state = assemble(backbone, size, WAY, device)
    return Setup(state, loader, Watch(state, RunFolder(scratch / backbone)), batch)


def engine_epoch(setup: Setup) -> Callable[[], None]:
    """STEPS steps through the engine, data and all."""

    def run() -> None:
        setup.state.sums = EpochSums()
        train_one_epoch(setup.state, setup.loader, setup.watch)
        setup.state.epoch += 1

    return run


def bare_steps(setup: Setup) -> Callable[[], None]:
    """STEPS steps with nothing around them, on images of the setup's size and number."""
    device = setup.state.precision.device
    images, labels = random_batch(setup.batch, setup.state.preprocessing.size, WAY, device)

    def run() -> None:
        setup.state.model.train()
        for _ in range(STEPS):
            bare_step(setup.state, images, labels)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return run


def times(run: Callable[[], None]) -> tuple[float, float]:
    """Seconds of one run: by the wall clock, and of processor time, which others on the machine disturb less."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - processor


def compare(report: Report, backbone: str, scratch: Path, rounds: int) -> None:
    """One row and one bar."""
    print(f"measuring {backbone} …", file=sys.stderr, flush=True)
    setup = set_up(backbone, scratch)
    engine, bare = engine_epoch(setup), bare_steps(setup)
    ratio = add_row(report, backbone, "the same, bare", setup, engine, bare, rounds)
    report.at_least(f"{backbone}: images a second, in the bare loop's", ratio, LEAST)


def add_row(
    report: Report, backbone: str, beside: str, setup: Setup, engine: Callable, other: Callable, rounds: int
) -> float:
    """Both in turns; returns how many times the other's images a second the engine does."""
    times(other), times(engine)  # caches fill
    pairs = [(times(engine), times(other)) for _ in range(rounds)]
    ratio, processor_ratio = (median(theirs[i] / ours[i] for ours, theirs in pairs) for i in range(2))
    images = setup.batch * STEPS
    report.add(
        backbone=backbone,
        device=device_name(setup.state.precision.device),
        beside=beside,
        engine_images_s=images / median(ours[0] for ours, _ in pairs),
        other_images_s=images / median(theirs[0] for _, theirs in pairs),
        ratio=ratio,
        processor_time_ratio=processor_ratio,
    )
    return ratio


def main(options: Options) -> int:
    """All networks, or the smallest, to which everything around it weighs most."""
    report = Report("engine")
    with tempfile.TemporaryDirectory() as scratch:
        for backbone in ["mobilefacenet"] if options.quick else SIZES:
            compare(report, backbone, Path(scratch), rounds=3 if options.quick else 5)
    images = BATCHES[pick_device("auto").type]
    report.note(f"{STEPS} steps of {images} images a round; the engine's include reading and decoding the files")
    return report.finish(options)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
