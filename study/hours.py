"""How long runs will take, from a few timed steps of each network."""

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from configs.settings import Settings
from data.tables.pair_csv import read_pair_csvs
from data.tables.train_csv import choose_faces, read_train_csv
from models import build_model
from runtime.devices import pick_device, to_device
from runtime.precision import make_precision
from study.commands import settings_of

# A step's time settles after the first; three more are enough for an estimate in hours.
_WARM, _TIMED = 1, 3
_BATCH = 64
# An evaluation's forward pass costs about a third of a training step.
_EVALUATION_SHARE = 1 / 3


def hours_left(commands: Sequence[list[str]]) -> str:
    """ ", about 3.4 hours one after another" for commands ``python SCRIPT OPTION …``; nothing for none.

    Raises InputError if their CSVs can't be read.
    """
    if not commands:
        return ""
    seconds = sum(_seconds(settings_of(command)) for command in commands)
    return f", about {seconds / 3600:.1f} hours one after another"


def _seconds(settings: Settings) -> float:
    rate = _images_per_second(settings)
    trained = settings.epochs * _faces(settings)
    return (trained + settings.epochs * _EVALUATION_SHARE * _evaluated(settings)) / rate


def _faces(settings: Settings) -> int:
    table = read_train_csv(Path(settings.data_root) / settings.train_csv, settings.path_prefix)
    chosen = choose_faces(table, settings.train_faces, settings.most_images, settings.least_images)
    return len(chosen.named_targets)


def _evaluated(settings: Settings) -> int:
    """Distinct images of both halves, once for the run's own evaluation and once for the second fold."""
    names = (*settings.eval_csvs, settings.test_csv)
    return 2 * len(read_pair_csvs([Path(settings.eval_root) / name for name in names], settings.path_prefix).paths)


_RATES: dict[tuple, float] = {}


def _images_per_second(settings: Settings) -> float:
    shape = ("backbone", "embedding_size", "pooling", "image_size", "device", "precision")
    key = tuple(getattr(settings, name) for name in shape)
    if key not in _RATES:
        # In a process of its own: its memory, on a GPU too, is free again when the trainings start.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            _RATES[key] = pool.submit(_timed, settings).result()
    return _RATES[key]


def _timed(settings: Settings) -> float:
    device = pick_device(settings.device, settings.gpus)
    precision = make_precision(settings.precision, device, settings.backbone)
    model = build_model(
        settings.backbone,
        embedding_size=settings.embedding_size,
        pooling=settings.pooling,
        dropout=0.0,
        pretrained="none",
        image_size=settings.image_size,
    )
    model = to_device(model, device, settings.gpus)
    images = torch.randn(_BATCH, 3, settings.image_size, settings.image_size, device=device)
    for step in range(_WARM + _TIMED):
        if step == _WARM:
            started = time.perf_counter()
        with precision.autocast():
            embeddings = model(images)
        embeddings[:, 0].sum().item()
        embeddings.square().mean().backward()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return _BATCH * _TIMED / (time.perf_counter() - started)
