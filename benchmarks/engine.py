"""Images a second of a whole training step through the engine, beside a bare loop on random tensors in memory.

    python -m benchmarks.engine [--quick] [--check] [--json FILE]

The engine reads, decodes and flips built-in faces, normalises, steps, watches and logs as in a run; the bare loop has
the same network, ArcFace head and optimiser and nothing else: forward, backward, step on one batch of random numbers.
A round does a few steps of each, in turns; the ratio is the median of the rounds'.
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
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.table import Options, Report
from data.datasets import TrainFaces, train_loader
from data.faces import open_faces
from data.samplers import ShuffledBatchSampler
from data.synthetic import FaceSet, make_faces
from data.transforms import Preprocessing, make_preprocessing
from losses import ArcFaceLoss
from models import build_model
from runtime.devices import loader_workers, make_precision, pick_device, to_device
from runtime.optim import make_optimiser, make_scheduler
from runtime.options import EngineOptions
from runtime.run_folder import RunFolder
from runtime.training_state import EpochSums, TrainingState
from runtime.watch import Watch
from train import train_one_epoch

BATCH, STEPS = 32, 8
PEOPLE, IMAGES = 64, 2  # each with a masked copy: BATCH × STEPS faces, an epoch of the engine
LEAST = 0.95
SIZES = {"mobilefacenet": 112, "inception_resnet_v1": 128}
OPTIONS = EngineOptions(epochs=10_000)


@dataclass(frozen=True)
class Setup:
    """One network with all that trains it."""

    state: TrainingState
    loader: DataLoader
    preprocessing: Preprocessing
    watch: Watch


def set_up(backbone: str, scratch: Path) -> Setup:
    """A network on built-in faces of its size, as the scripts assemble it."""
    size = SIZES[backbone]
    root = scratch / f"faces{size}"
    if not root.exists():
        numbers = {"eval_people": 2, "test_people": 2, "seed": 0, "size": size, "eval_pairs": 2, "test_pairs": 2}
        make_faces(root, FaceSet(train_people=PEOPLE, images_per_person=IMAGES, **numbers))
    preprocessing = make_preprocessing(size=size, crop="arcface5", normalisation="imagenet", weights=None)
    csvs = {"train_csv": "train.csv", "eval_csvs": ("eval_same.csv", "eval_diff.csv"), "test_csv": "test.csv"}
    faces = open_faces(root, eval_root=root, train_faces="all", path_prefix="", preprocessing=preprocessing, **csvs)
    device = pick_device("auto")
    images = TrainFaces(faces.train_images, faces.train, size, disk_size=faces.disk_size, mask_probability=0.0, seed=0)
    sampler = ShuffledBatchSampler(len(faces.train.targets), BATCH, seed=0)
    workers = loader_workers(-1, device)
    loader = train_loader(images, sampler, workers=workers, pin_memory=device.type == "cuda")
    model = build_model(
        backbone, embedding_size=128, pooling="average", dropout=0.0, pretrained="none", image_size=size
    )
    criterion = ArcFaceLoss(128, PEOPLE, scale=16, margin=0.2, focal_gamma=1)
    model, criterion = to_device(model, device), criterion.to(device)
    optimiser = make_optimiser("adamw", [model, criterion], lr=1e-4, momentum=0.9, weight_decay=0.01, decay_norms=False)
    shape = {"epochs": OPTIONS.epochs, "warmup_epochs": 0.0, "milestones": (), "decay": 1.0}
    scheduler = make_scheduler(optimiser, "constant", len(sampler), **shape)
    state = TrainingState(model, criterion, optimiser, scheduler, make_precision("auto", device))
    run = RunFolder(scratch / backbone)
    return Setup(state, loader, preprocessing, Watch(state, run, OPTIONS, {}, faces.train.paths))


def engine_epoch(setup: Setup) -> Callable[[], None]:
    """STEPS steps through the engine, data and all."""

    def run() -> None:
        setup.state.sums = EpochSums()
        options = {"options": OPTIONS, "normalise": setup.preprocessing.normalise, "watch": setup.watch}
        train_one_epoch(setup.state, setup.loader, **options)
        setup.state.epoch += 1

    return run


def bare_steps(setup: Setup) -> Callable[[], None]:
    """STEPS steps of the same network with nothing around them."""
    state, size = setup.state, setup.preprocessing.size
    device = state.precision.device
    images = torch.randn(BATCH, 3, size, size, device=device).to(memory_format=torch.channels_last)
    labels = torch.randint(PEOPLE, (BATCH,), device=device)

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
    times(bare), times(engine)  # caches fill
    pairs = [(times(engine), times(bare)) for _ in range(rounds)]
    ratio, processor_ratio = (median(plain[i] / whole[i] for whole, plain in pairs) for i in range(2))
    images = BATCH * STEPS
    report.add(
        backbone=backbone,
        device=setup.state.precision.device.type,
        engine_images_s=images / median(whole[0] for whole, _ in pairs),
        bare_images_s=images / median(plain[0] for _, plain in pairs),
        ratio=ratio,
        processor_time_ratio=processor_ratio,
    )
    report.at_least(f"{backbone}: images a second, in the bare loop's", ratio, LEAST)


def main(options: Options) -> int:
    """All networks, or the smallest, to which everything around it weighs most."""
    report = Report("engine")
    with tempfile.TemporaryDirectory() as scratch:
        for backbone in ["mobilefacenet"] if options.quick else SIZES:
            compare(report, backbone, Path(scratch), rounds=3 if options.quick else 5)
    report.note(f"{STEPS} steps of {BATCH} images a round; the engine's include reading and decoding the files")
    return report.finish(options)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
