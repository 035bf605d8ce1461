"""Images per second of a whole training step through the engine, compared with a bare loop on tensors in memory.

    python -m benchmarks.engine [--quick] [--check] [--json FILE]

The engine reads, decodes and flips built-in faces from a pack, normalises, steps, watches and logs as in a run; the
bare loop has the same network, ArcFace head and optimiser and nothing else: forward, backward, step on one batch of
random numbers. A round runs a step or a few of each; the ratio is the median over the rounds. On a processor with bf16
instructions, bf16 is also compared with float32, on the demo's network. For the cost of a whole step, compared with
other projects' loops, see benchmarks.throughput.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from statistics import median

import torch
from torch.utils.data import DataLoader

from benchmarks.harness.table import Options, Report, run_command
from benchmarks.throughput.chip import device_name
from benchmarks.throughput.packed_faces import pack_faces, pack_loader
from benchmarks.throughput.training import Way, assemble, bare_step, one_gpu, random_batch
from runtime.devices import loader_workers, pick_device
from runtime.precision import cpu_has_bf16
from runtime.run_folder import RunFolder
from runtime.training.state import EpochSums, TrainingState
from runtime.training.watch import Watch
from train import train_one_epoch

DEMO = "inception_resnet_v1"
# The only size that a network accepts, or the demo's: with small faces, all that is not the network weighs most.
SIZES = {"mobilefacenet": 112, DEMO: 80, "iresnet18": 112, "efficientnet_b0": 80, "seresnext101": 80}
BATCHES = {"cpu": 32, "cuda": 128}  # the demo's, and the original's
# Per round, which is an epoch of the engine. A CPU's other guests come and go within seconds: in a short round they
# disturb both alike.
STEPS = {"cpu": 1, "cuda": 3}
ROUNDS, QUICK_ROUNDS = 45, 15
FEWEST_ROUNDS, SECONDS = 9, 120  # after so many seconds a network gets no new round
PEOPLE = 32
LEAST, LEAST_BF16 = 0.95, 1.25
WAY = Way("auto", channels_last=True, fused=True, deterministic=True)


@dataclass(frozen=True)
class Setup:
    """One network with all that trains it."""

    state: TrainingState
    loader: DataLoader
    watch: Watch
    batch: int
    steps: int  # per round


def set_up(backbone: str, scratch: Path, way: Way = WAY) -> Setup:
    """A network on built-in faces of its size."""
    device = pick_device("auto")
    size, batch, steps, on_gpu = SIZES[backbone], BATCHES[device.type], STEPS[device.type], device.type == "cuda"
    pack = pack_faces(scratch / f"faces{size}", size, PEOPLE)
    workers = loader_workers(-1, device, one_gpu(device))
    reading = {"batch": batch, "masked": False, "workers": workers, "pin_memory": on_gpu}
    loader = pack_loader(pack, size, rows=batch * steps, **reading)
    state = assemble(backbone, size, way, device)
    return Setup(state, loader, Watch(state, RunFolder(scratch / backbone)), batch, steps)


def engine_epoch(setup: Setup) -> Callable[[], None]:
    """A round of steps through the engine, data and all."""

    def run() -> None:
        setup.state.sums = EpochSums()
        with redirect_stderr(StringIO()):  # its progress bar
            train_one_epoch(setup.state, setup.loader, setup.watch)
        setup.state.epoch += 1

    return run


def bare_steps(setup: Setup) -> Callable[[], None]:
    """A round of steps with nothing around them, on images of the setup's size and number."""
    device = setup.state.precision.device
    images, labels = random_batch(setup.batch, setup.state.preprocessing.size, WAY, device)

    def run() -> None:
        setup.state.model.train()
        for _ in range(setup.steps):
            bare_step(setup.state, images, labels)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return run


def times(run: Callable[[], None]) -> tuple[float, float]:
    """Seconds of one run: by the wall clock, and of processor time, which others on the machine disturb less."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - processor


def add_row(
    report: Report, name: str, beside: str, setup: Setup, engine: Callable, other: Callable, most: int
) -> float:
    """Both in turns; returns how many times the other's images a second the engine does."""
    print(f"measuring {name} …", file=sys.stderr, flush=True)
    pairs = rounds_of(engine, other, most)
    ratios, processor_ratios = ([theirs[i] / ours[i] for ours, theirs in pairs] for i in range(2))
    images = setup.batch * setup.steps
    report.add(
        backbone=name,
        px=setup.state.preprocessing.size,
        beside=beside,
        engine_images_s=images / median(ours[0] for ours, _ in pairs),
        other_images_s=images / median(theirs[0] for _, theirs in pairs),
        ratio=median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        processor_time_ratio=median(processor_ratios),
        rounds=len(pairs),
    )
    return median(ratios)


def rounds_of(engine: Callable, other: Callable, most: int) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """The times of both in each round. They take turns in going first, so that a busier machine slows both alike."""
    times(other), times(engine)  # caches fill
    pairs, started = [], time.monotonic()
    while len(pairs) < most and (len(pairs) < FEWEST_ROUNDS or time.monotonic() - started < SECONDS):
        if len(pairs) % 2:
            theirs, ours = times(other), times(engine)
        else:
            ours, theirs = times(engine), times(other)
        pairs.append((ours, theirs))
    return pairs


def compare_bf16(report: Report, scratch: Path, most: int) -> None:
    """Compare the engine in bf16 with itself in float32, on a processor with bf16 instructions."""
    if not cpu_has_bf16():
        report.note("bf16 compared with float32: not measured, as this processor has no bf16 instructions")
        return
    bf16, float32 = (set_up(DEMO, scratch, replace(WAY, precision=name)) for name in ("bf16", "float32"))
    ratio = add_row(report, f"{DEMO}, bf16", "float32", bf16, engine_epoch(bf16), engine_epoch(float32), most)
    report.at_least(f"{DEMO}: images/s in bf16, relative to float32", ratio, LEAST_BF16)


def main(options: Options) -> int:
    """All networks, or the smallest, to which everything around it weighs most."""
    report, device = Report("engine"), pick_device("auto")
    most = QUICK_ROUNDS if options.quick else ROUNDS
    with tempfile.TemporaryDirectory() as scratch:
        for backbone in ["mobilefacenet"] if options.quick else SIZES:
            setup = set_up(backbone, Path(scratch))
            engine, bare = engine_epoch(setup), bare_steps(setup)
            ratio = add_row(report, backbone, "the same, bare", setup, engine, bare, most)
            report.at_least(f"{backbone}: images/s, relative to the bare loop", ratio, LEAST)
            report.write(options)
        if device.type == "cpu":
            compare_bf16(report, Path(scratch), most)
    report.note(
        f"{device_name(device)}; steps of {BATCHES[device.type]} images, {STEPS[device.type]} a round; the "
        "engine's include reading and decoding the files"
    )
    return report.finish(options)


if __name__ == "__main__":
    run_command(main, Options, __doc__)
