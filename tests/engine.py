"""A tiny run of the engine for its tests: network, faces, criterion, evaluation."""

import dataclasses
import json
import math
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

import main_arcface
import train
from data.datasets import Batch
from data.samplers import ShuffledBatchSampler
from runtime.precision import make_precision
from runtime.processes.watched_loader import WatchedLoader
from runtime.run_folder import RunFolder
from runtime.seeds import seed_everything
from runtime.training.optim import optimiser_for, scheduler_for
from runtime.training.state import TrainingState

IDENTITIES = ["a", "b", "c"]
IMAGES = torch.randint(0, 256, (24, 4, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
NAMES = [f"{i}.jpg" for i in range(len(IMAGES))]


class Faces(torch.utils.data.Dataset):
    unnamed = 0

    def __len__(self):
        return len(IMAGES)

    def name(self, row):
        return NAMES[row]

    def __getitems__(self, keys):
        indices = [key.index for key in keys]
        labels = torch.tensor([i % 3 for i in indices])
        return Batch(IMAGES[indices], labels, [], torch.zeros(len(keys), dtype=torch.bool))


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.BatchNorm1d(8), nn.Dropout(0.3))

    def forward(self, x):
        return F.normalize(self.layers(x))


class Float32(Network):
    """Float32 embeddings under autocast too, as every network of the project gives."""

    def forward(self, x):
        return super().forward(x).float()


class Softmax(nn.Module):
    """A criterion whose loss can be spoiled at chosen steps."""

    reads = frozenset()

    def __init__(self, spoiled=()):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 8))
        self.spoiled, self.progress = spoiled, []

    def set_progress(self, share):
        self.progress.append(share)

    def forward(self, embeddings, labels):
        loss = F.cross_entropy(embeddings @ self.weight.T, labels)
        return (loss * math.nan if len(self.progress) in self.spoiled else loss), {"half": loss.item() / 2}


def normalise(images):
    return images.permute(0, 3, 1, 2).float() / 255


def settings_of(**changes):
    """A script's settings with those of a small run in their place."""
    small = {
        "epochs": 4, "batch_size": 6, "optimiser": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3,
        "warmup_epochs": 1.0, "ema_decay": 0.0, "max_unreadable": 0.0,
    }  # fmt: skip
    return dataclasses.replace(main_arcface.SETTINGS, **small | changes)


def preprocessing_of(normalise):
    return SimpleNamespace(normalise=normalise, to_dict=dict)


class Report:
    """``evaluate`` without plots."""

    def __init__(self, evaluate):
        self.evaluate = evaluate

    def __call__(self, model, epoch):
        return self.evaluate(model, epoch)

    def draw(self, history, best_epoch):
        pass


def setup(tmp_path, name="run", epochs=4, criterion=None, lr=0.1, ema=0.0, network=Network, faces=Faces):
    seed_everything(7, deterministic=True)
    model = network()
    criterion = (criterion or Softmax)()
    sampler = ShuffledBatchSampler(len(IMAGES), 6, seed=1)
    settings = settings_of(epochs=epochs, lr=lr, ema_decay=ema)
    optimiser = optimiser_for(settings, [model, criterion])
    scheduler = scheduler_for(settings, optimiser, len(sampler))
    precision = make_precision("float32", torch.device("cpu"))
    state = TrainingState(
        model, criterion, optimiser, scheduler, precision, settings, preprocessing_of(normalise), IDENTITIES
    )
    loader = WatchedLoader(faces(), batch_sampler=sampler, collate_fn=lambda batch: batch, generator=torch.Generator())
    run = RunFolder(tmp_path / name)
    (tmp_path / name).mkdir(exist_ok=True)
    return state, loader, run


def evaluation(ious, mean_distance=1.4, rank=20.0):
    def evaluate(model, epoch):
        iou, auc = ious[epoch - 1]
        return {
            "iou": iou,
            "auc": auc,
            "threshold": 1.0 + epoch / 10,
            "mean_distance": mean_distance,
            "effective_rank": rank,
        }

    return evaluate


def fit(state, loader, run, evaluate, epochs=4, **changes):
    state.settings = dataclasses.replace(state.settings, epochs=epochs, **changes)
    return train.fit(state, loader, Report(evaluate), run)


def lines(run):
    """The log without what depends on the clock."""
    timed = {"images_per_second", "data_wait_share", "step_seconds", "seconds", "evaluation_seconds"}
    return [
        {k: v for k, v in json.loads(line).items() if k not in timed}
        for line in (run.path / "log.jsonl").read_text().splitlines()
    ]


FOUR = [(0.5, 0.8), (0.2, 0.9), (0.2, 0.95), (0.3, 0.99)]
