"""Both objectives collapse on purpose, through the whole engine, on points around random centres."""

import dataclasses
import json

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import nn

import train
from data.datasets import Batch
from data.samplers import PKBatchSampler, ShuffledBatchSampler
from losses import ArcFaceLoss, TripletLoss
from runtime.checkpoints.store import Position
from runtime.precision import make_precision
from runtime.processes.watched_loader import WatchedLoader
from runtime.run_folder import RunFolder
from runtime.seeds import seed_everything
from runtime.training.collapse import embedding_health
from runtime.training.optim import optimiser_for, scheduler_for
from runtime.training.state import TrainingState, restore_best, resume, save_epoch
from tests.engine import Report, preprocessing_of, settings_of

PEOPLE, SIZE, EPOCHS = 24, 16, 15


def _points(each, seed):
    """uint8 images (N, 8, 8, 3) of PEOPLE centres, each hidden in noise of 2.5 times its size; their labels."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(PEOPLE, 8, 8, 3, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(PEOPLE).repeat(each)
    points = centres[labels] + 2.5 * torch.randn(len(labels), 8, 8, 3, generator=generator)
    return (128 + 14 * points).clamp(0, 255).to(torch.uint8), labels


TRAIN, TEST = _points(40, seed=2), _points(8, seed=3)


def _normalise(images):
    return (images.permute(0, 3, 1, 2).float() - 128) / 14


class _Points(torch.utils.data.Dataset):
    unnamed = 0

    def __len__(self):
        return len(TRAIN[0])

    def name(self, row):
        return f"{row}.jpg"

    def __getitems__(self, keys):
        indices = [key.index for key in keys]
        return Batch(TRAIN[0][indices], TRAIN[1][indices], [], torch.zeros(len(keys), dtype=torch.bool))


class _Network(nn.Module):
    """Without a BatchNorm at its end, which would make it hard to collapse."""

    def __init__(self):
        super().__init__()
        layers = [nn.Flatten(), nn.Linear(192, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, SIZE)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return F.normalize(self.layers(x), eps=1e-10)


def _evaluate(model, epoch):
    model.eval()
    with torch.no_grad():
        embeddings = model(_normalise(TEST[0]))
    model.train()
    rows, columns = torch.triu_indices(len(embeddings), len(embeddings), 1)
    distances = (embeddings[rows] - embeddings[columns]).norm(dim=1)
    auc = roc_auc_score(TEST[1][rows] == TEST[1][columns], -distances)
    return {"iou": 1 - auc, "auc": auc, "threshold": 1.0, **embedding_health(embeddings)}


def _start(tmp_path, objective):
    seed_everything(0, deterministic=True)
    model = _Network()
    labels = TRAIN[1].numpy()
    if objective == "batch-hard":
        criterion, lr = TripletLoss("batch_hard", 0.5), 0.2
        sampler = PKBatchSampler(labels, 12, 8, seed=0, epoch_mode="random")
    else:
        criterion, lr = ArcFaceLoss(SIZE, PEOPLE, scale=16, margin=0.4, focal_gamma=1), 1.0
        sampler = ShuffledBatchSampler(len(labels), 96, seed=0)
    settings = settings_of(
        epochs=EPOCHS, lr=lr, weight_decay=0.0, schedule="constant", warmup_epochs=0.0, collapse_check_steps=4
    )
    optimiser = optimiser_for(settings, [model, criterion])
    scheduler = scheduler_for(settings, optimiser, len(sampler))
    precision = make_precision("float32", torch.device("cpu"))
    state = TrainingState(model, criterion, optimiser, scheduler, precision, settings, preprocessing_of(_normalise), [])
    loader = WatchedLoader(_Points(), batch_sampler=sampler, collate_fn=lambda b: b, generator=torch.Generator())
    run = RunFolder(tmp_path / "run")
    run.path.mkdir(exist_ok=True)
    return state, loader, run


def _train(state, loader, run, evaluate=_evaluate, **changes):
    state.settings = dataclasses.replace(state.settings, **changes)
    return train.fit(state, loader, Report(evaluate), run)


@pytest.mark.parametrize(
    ("objective", "remedies"),
    [
        ("batch-hard", ["semi-hard mining in place of batch_hard"]),
        ("huge lr", ["the margin grows from zero again", "learning rate × 0.1"]),
    ],
)
def test_recover_ends_far_above_chance(tmp_path, capsys, objective, remedies):
    state, loader, run = _start(tmp_path, objective)
    assert _train(state, loader, run, on_collapse="recover") is None
    assert state.remedies[: len(remedies)] == remedies
    best = torch.load(run.best, weights_only=True)
    assert best["history"][-1]["auc"] > 0.85
    said = capsys.readouterr().out
    assert all(f"with one change: {remedy}" in said for remedy in remedies)
    lines = [json.loads(line) for line in (run.path / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, EPOCHS + 1))
    assert lines[-1]["remedies"] == state.remedies


@pytest.mark.parametrize("objective", ["batch-hard", "huge lr"])
def test_warn_goes_on_and_says_so_and_the_run_is_lost(tmp_path, capsys, objective):
    state, loader, run = _start(tmp_path, objective)
    assert _train(state, loader, run, on_collapse="warn") is None
    assert len(state.history) == EPOCHS
    assert state.history[-1]["auc"] < 0.7
    assert "the embeddings have collapsed" in capsys.readouterr().out


@pytest.mark.parametrize("objective", ["batch-hard", "huge lr"])
def test_stop_names_the_collapse_before_the_epoch_ends_and_keeps_the_best_checkpoint(tmp_path, objective):
    state, loader, run = _start(tmp_path, objective)
    rate, state.scheduler.base_lrs = state.scheduler.base_lrs, [1e-4] * 2
    for group in state.optimiser.param_groups:
        group["lr"] = 1e-4

    def evaluate(model, epoch):
        if epoch == 2:  # two epochs as good as at the start, then the rate that collapses
            state.scheduler.base_lrs = rate
        return _evaluate(model, epoch)

    stopped = _train(state, loader, run, evaluate, on_collapse="stop")
    assert "collapsed" in stopped
    assert "lower lr" in stopped
    assert state.sums.batches > 0, "seen between two steps, not at the end of an epoch"
    best = torch.load(run.best, weights_only=True)
    assert best["epoch"] == state.best["epoch"]
    assert embedding_health(_embeddings(best["model"]))["mean_distance"] > 0.1


def _embeddings(weights):
    network = _Network()
    network.load_state_dict(weights)
    with torch.no_grad():
        return network(_normalise(TEST[0]))


def test_a_run_that_dies_after_a_recovery_keeps_its_remedy(tmp_path, monkeypatch):
    state, loader, run = _start(tmp_path, "batch-hard")

    def dying(model, epoch):
        if state.remedies and epoch == 3:
            raise KeyboardInterrupt
        return _evaluate(model, epoch)

    with pytest.raises(KeyboardInterrupt):
        _train(state, loader, run, dying, on_collapse="recover")
    state, loader, run = _start(tmp_path, "batch-hard")
    resume(state, run)
    assert state.remedies == ["semi-hard mining in place of batch_hard"]
    assert state.criterion.mining == "semi_hard"
    assert _train(state, loader, run, on_collapse="recover") is None
    assert state.best["auc"] > 0.85


def test_where_nothing_helps_the_run_stops(tmp_path, monkeypatch):
    state, loader, run = _start(tmp_path, "batch-hard")
    monkeypatch.setattr("runtime.training.collapse.MIN_MEAN_DISTANCE", 3.0)  # nothing is far enough
    stopped = _train(state, loader, run, on_collapse="recover")
    assert "collapsed" in stopped
    assert state.remedies == ["semi-hard mining in place of batch_hard", *["learning rate × 0.1"] * 3]
    assert state.lr == pytest.approx(0.2 * 0.1**3)


def test_an_abandoned_best_checkpoint_goes_with_its_course(tmp_path):
    """The run returns to its start: what was best before is no epoch of this run any more."""
    state, loader, run = _start(tmp_path, "batch-hard")
    rate, state.scheduler.base_lrs = state.scheduler.base_lrs, [1e-4] * 2
    seen = []

    def evaluate(model, epoch):
        if not state.remedies:
            if epoch == 2:
                state.scheduler.base_lrs = rate
            return _evaluate(model, epoch) | {"iou": 0.01}
        seen.append(run.best.exists())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _train(state, loader, run, evaluate, on_collapse="recover", keep_checkpoints=1)
    assert seen == [False]


def test_a_return_to_a_healthy_epoch_brings_its_best_checkpoint_back(tmp_path):
    state, _, run = _start(tmp_path, "huge lr")
    ious = {1: 0.5, 2: 0.6, 3: 0.1, 4: 0.9}
    for epoch, iou in ious.items():
        if epoch == 3:
            state.healthy = Position(2, 0)
        state.epoch = epoch
        state.history.append({"epoch": epoch, "iou": iou, "auc": 0.5, "threshold": 1.0})
        state.settings = dataclasses.replace(state.settings, keep_checkpoints=2 if epoch < 3 else 1)
        save_epoch(state, run)
    assert torch.load(run.best, weights_only=True)["epoch"] == 3
    kept = {Position(epoch, 0) for epoch in run.store.epoch_ends()}
    assert kept == {(1, 0), (2, 0), (3, 0), (4, 0)} == state.needed_to_recover | {(4, 0)}
    state.load_state_dict(run.store.load(state.healthy), "run")
    state.healthy = Position(2, 0)
    restore_best(state, run)
    best = torch.load(run.best, weights_only=True)
    assert best["epoch"] == 1 and best["history"] == state.history[:1]
