"""Images per second of a whole training step through the engine, compared with a bare loop on tensors in memory.

    python -m benchmarks.engine [--quick] [--check] [--json FILE]

The engine reads, decodes and flips built-in faces, normalises, steps, watches and logs as in a run; the bare loop has
the same network, ArcFace head and optimiser and nothing else: forward, backward, step on one batch of random numbers.
A round does a few steps of each, in turns; the ratio is the median of the rounds'. Where there is a GPU, the engine at
its best settings (bf16 or fp16, torch.compile, cuDNN's fastest kernels) is also measured beside the original's loop:
float32, eager, channels first, without TF32.
"""

import copy
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
import tyro
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.table import Options, Report
from data.datasets import train_loader_for
from data.faces import faces_for
from data.samplers import ShuffledBatchSampler
from data.synthetic import FaceSet, make_faces
from losses import ArcFaceLoss
from main_arcface import SETTINGS
from models import build_model
from runtime.devices import pick_device, to_device
from runtime.precision import make_precision
from runtime.run_folder import RunFolder
from runtime.seeds import seed_everything
from runtime.training.optim import optimiser_for, scheduler_for
from runtime.training.state import EpochSums, TrainingState
from runtime.training.watch import Watch
from train import train_one_epoch

BATCHES = {"cpu": 32, "cuda": 128}  # images a step; 128 is the original's
STEPS = 8  # of a round, which is an epoch of the engine
IMAGES = 2  # of a person, each with a masked copy
LEAST = 0.95
SIZES = {"mobilefacenet": 112, "inception_resnet_v1": 128}


@dataclass(frozen=True)
class Setup:
    """One network with all that trains it."""

    state: TrainingState
    loader: DataLoader
    watch: Watch
    batch: int


def set_up(backbone: str, scratch: Path, *, compiled: bool = False) -> Setup:
    """A network on built-in faces of its size, as the scripts assemble it."""
    size, device, gpus = SIZES[backbone], pick_device("auto"), one_gpu()
    batch = BATCHES[device.type]
    people = batch * STEPS // (2 * IMAGES)
    root = scratch / f"faces{size}"
    if not root.exists():
        numbers = {"eval_people": 2, "test_people": 2, "seed": 0, "size": size, "eval_pairs": 2, "test_pairs": 2}
        make_faces(root, FaceSet(train_people=people, images_per_person=IMAGES, **numbers))
    settings = dataclasses.replace(
        SETTINGS,
        data_root=str(root),
        image_size=size,
        batch_size=batch,
        gpus=gpus,
        epochs=10_000,
        lr=1e-4,
        schedule="constant",
        warmup_epochs=0.0,
        compile=compiled,
    )
    faces = faces_for(settings)
    loader = train_loader_for(settings, faces, ShuffledBatchSampler(len(faces.train.targets), batch, seed=0), device)
    criterion = ArcFaceLoss(128, people, scale=16, margin=0.2, focal_gamma=1).to(device)
    model = to_device(network(backbone), device, gpus, compiled=compiled)
    optimiser = optimiser_for(settings, [model, criterion])
    scheduler = scheduler_for(settings, optimiser, len(loader))
    precision = make_precision("auto", device)
    state = TrainingState(
        model, criterion, optimiser, scheduler, precision, settings, faces.preprocessing, faces.train.names
    )
    return Setup(state, loader, Watch(state, RunFolder(scratch / backbone)), batch)


def one_gpu() -> tuple[int, ...]:
    """The first of several; nothing on a CPU."""
    return (0,) if torch.cuda.is_available() else ()


def network(backbone: str) -> nn.Module:
    """From scratch, at its size."""
    return build_model(
        backbone, embedding_size=128, pooling="average", dropout=0.0, pretrained="none", image_size=SIZES[backbone]
    )


def engine_epoch(setup: Setup) -> Callable[[], None]:
    """STEPS steps through the engine, data and all."""

    def run() -> None:
        setup.state.sums = EpochSums()
        train_one_epoch(setup.state, setup.loader, setup.watch)
        setup.state.epoch += 1

    return run


def bare_steps(state: TrainingState, setup: Setup, memory_format: torch.memory_format) -> Callable[[], None]:
    """STEPS steps with nothing around them, on images of the setup's size and number."""
    size, device = state.preprocessing.size, state.precision.device
    images = torch.randn(setup.batch, 3, size, size, device=device).to(memory_format=memory_format)
    labels = torch.randint(state.criterion.classes, (setup.batch,), device=device)

    def run() -> None:
        state.model.train()
        for _ in range(STEPS):
            bare_step(state, images, labels)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return run


def bare_step(state: TrainingState, images: Tensor, labels: Tensor) -> None:
    """Forward, backward, step."""
    model: nn.Module = state.model
    with state.precision.autocast():
        embeddings = model(images)
    loss, _ = state.criterion(embeddings, labels)
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    state.optimiser.step()


def as_the_original(backbone: str, setup: Setup) -> Callable[[], None]:
    """STEPS steps as the original did them; reading the data is left out, to its advantage."""
    device = setup.state.precision.device
    model = network(backbone).to(device, memory_format=torch.contiguous_format)
    criterion = copy.deepcopy(setup.state.criterion)
    optimiser = torch.optim.AdamW([*model.parameters(), *criterion.parameters()], lr=1e-4)
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimiser)
    precision = make_precision("float32", device)
    state = dataclasses.replace(
        setup.state, model=model, criterion=criterion, optimiser=optimiser, scheduler=scheduler, precision=precision
    )
    steps = bare_steps(state, setup, torch.contiguous_format)

    def run() -> None:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            steps()

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
    engine, bare = engine_epoch(setup), bare_steps(setup.state, setup, torch.channels_last)
    ratio = add_row(report, backbone, "the same, bare", setup, engine, bare, rounds)
    report.at_least(f"{backbone}: images a second, in the bare loop's", ratio, LEAST)


def compare_with_original(report: Report, backbone: str, scratch: Path, rounds: int) -> None:
    """The engine's best against the original's loop: one row, no bar."""
    print(f"measuring {backbone} at best settings …", file=sys.stderr, flush=True)
    seed_everything(0, deterministic=False)
    setup = set_up(backbone, scratch, compiled=True)
    add_row(report, backbone, "the original's", setup, engine_epoch(setup), as_the_original(backbone, setup), rounds)


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


def device_name(device: torch.device) -> str:
    """A GPU's own name, or cpu."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def main(options: Options) -> int:
    """All networks, or the smallest, to which everything around it weighs most."""
    report = Report("engine")
    with tempfile.TemporaryDirectory() as scratch:
        for backbone in ["mobilefacenet"] if options.quick else SIZES:
            compare(report, backbone, Path(scratch), rounds=3 if options.quick else 5)
            if torch.cuda.is_available():
                compare_with_original(report, backbone, Path(scratch), rounds=3 if options.quick else 5)
    images = BATCHES[pick_device("auto").type]
    report.note(f"{STEPS} steps of {images} images a round; the engine's include reading and decoding the files")
    return report.finish(options)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
