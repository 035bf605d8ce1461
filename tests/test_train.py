import copy
import json
import math
import os
import signal

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

import train
from data.datasets import Batch
from data.samplers import ShuffledBatchSampler
from losses import ArcFaceLoss, TripletLoss
from runtime import checkpoint_store, training_state
from runtime.devices import make_precision
from runtime.errors import InputError
from runtime.optim import make_optimiser, make_scheduler
from runtime.options import EngineOptions
from runtime.run_folder import RunFolder
from runtime.seeds import seed_everything
from runtime.training_state import TrainingState, resume

IMAGES = torch.randint(0, 256, (24, 4, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _one_thread():
    """A second one would have nothing to do but wait."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class _Faces(torch.utils.data.Dataset):
    def __len__(self):
        return len(IMAGES)

    def __getitems__(self, keys):
        indices = [key.index for key in keys]
        return Batch(IMAGES[indices], torch.tensor([i % 3 for i in indices]), [])


class _Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.BatchNorm1d(8), nn.Dropout(0.3))

    def forward(self, x):
        return F.normalize(self.layers(x))


class _Softmax(nn.Module):
    """A criterion whose loss can be spoiled at chosen steps."""

    def __init__(self, spoiled=()):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 8))
        self.spoiled, self.progress = spoiled, []

    def set_progress(self, share):
        self.progress.append(share)

    def forward(self, embeddings, labels):
        loss = F.cross_entropy(embeddings @ self.weight.T, labels)
        return (loss * math.nan if len(self.progress) in self.spoiled else loss), {"half": loss.item() / 2}


def _normalise(images):
    return images.permute(0, 3, 1, 2).float() / 255


def _setup(tmp_path, name="run", epochs=4, criterion=None, lr=0.1, ema=0.0, network=_Network):
    seed_everything(7, deterministic=True)
    model = network()
    criterion = (criterion or _Softmax)()
    sampler = ShuffledBatchSampler(len(IMAGES), 6, seed=1)
    optimiser = make_optimiser("sgd", [model, criterion], lr=lr, momentum=0.9, weight_decay=1e-3, decay_norms=False)
    scheduler = make_scheduler(
        optimiser, "cosine", len(sampler), epochs=epochs, warmup_epochs=1.0, milestones=(), decay=0.1
    )
    precision = make_precision("float32", torch.device("cpu"))
    state = TrainingState(model, criterion, optimiser, scheduler, precision, ema)
    loader = DataLoader(_Faces(), batch_sampler=sampler, collate_fn=lambda batch: batch, generator=torch.Generator())
    run = RunFolder(tmp_path / name)
    (tmp_path / name).mkdir(exist_ok=True)
    return state, loader, run


def _evaluation(ious, mean_distance=1.4, rank=20.0):
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


CARRY = {"identities": ["a", "b", "c"]}
NAMES = [f"{i}.jpg" for i in range(len(IMAGES))]


def _fit(state, loader, run, evaluate, epochs=4, **options):
    return train.fit(
        state,
        loader,
        evaluate,
        options=EngineOptions(epochs=epochs, **options),
        normalise=_normalise,
        run=run,
        carry=CARRY,
        names=NAMES,
        after_epoch=lambda history: None,
    )


def _lines(run):
    """The log without what depends on the clock."""
    timed = {"images_per_second", "data_wait_share", "step_seconds", "seconds", "evaluation_seconds"}
    return [
        {k: v for k, v in json.loads(line).items() if k not in timed}
        for line in (run.path / "log.jsonl").read_text().splitlines()
    ]


FOUR = [(0.5, 0.8), (0.2, 0.9), (0.2, 0.95), (0.3, 0.99)]


class _Killed(Exception):
    """What takes a process away in the middle of something."""


def _kill_at(monkeypatch, moment):
    """Let the moment-th call of what happens between start and end of a run be the last: steps, saves, evaluations."""
    calls = iter(range(1000))

    def counted(function):
        def call(*arguments, **options):
            if next(calls) == moment:
                raise _Killed
            return function(*arguments, **options)

        return call

    for owner, name in (
        (_Softmax, "forward"),
        (torch.optim.SGD, "step"),
        (training_state, "save"),
        (training_state, "copy_checkpoint"),
        (checkpoint_store.os, "replace"),
        (RunFolder, "write_log"),
    ):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))


def _assert_same_end(run, other):
    assert _lines(run) == _lines(other)
    for name in ("last.pt", "best.pt"):
        ends = [torch.load(r.path / name, weights_only=True) for r in (run, other)]
        for part in ("model", "criterion"):
            assert all(torch.equal(ends[0][part][k], ends[1][part][k]) for k in ends[0][part])
        for part in ("optimiser", "scheduler", "history", "images_seen", "rng"):
            assert _plain(ends[0][part]) == _plain(ends[1][part])


def _plain(value):
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        timed = {"images_per_second", "data_wait_share", "step_seconds", "seconds", "evaluation_seconds"}
        return {k: _plain(v) for k, v in value.items() if k not in timed}
    return [_plain(v) for v in value] if isinstance(value, list) else value


OPTIONS = {"plain": {}, "averaged": {"ema": 0.9}, "in parts": {"accumulate_steps": 2}}


@pytest.mark.parametrize("kind", OPTIONS)
def test_a_run_that_dies_again_and_again_at_any_moment_equals_an_uninterrupted_one(tmp_path, monkeypatch, kind):
    options = {"checkpoint_minutes": 0.0, **OPTIONS[kind]}
    ema = options.pop("ema", 0.0)
    state, loader, whole = _setup(tmp_path, "whole", epochs=2, ema=ema)
    assert _fit(state, loader, whole, _evaluation(FOUR), epochs=2, **options) is None
    deaths = 0
    for moment in (0, 1, 2, 3, 4, 5, 6, 7, 9, 12, 18, 23, 31, 200):
        with monkeypatch.context() as patch:
            state, loader, cut = _setup(tmp_path, "cut", epochs=2, ema=ema)
            if cut.store.newest():
                torch.rand(5)  # a resumed process has drawn other numbers than the first one
            _kill_at(patch, moment)
            try:
                resume(state, cut, CARRY)
                assert _fit(state, loader, cut, _evaluation(FOUR), epochs=2, **options) is None
                break
            except _Killed:
                deaths += 1
    assert deaths > 8
    _assert_same_end(cut, whole)


def test_without_time_for_a_checkpoint_a_run_goes_on_from_the_end_of_the_last_epoch(tmp_path):
    state, loader, whole = _setup(tmp_path, "whole")
    _fit(state, loader, whole, _evaluation(FOUR))

    def interrupted(model, epoch):
        if epoch == 3:
            raise _Killed
        return _evaluation(FOUR)(model, epoch)

    state, loader, cut = _setup(tmp_path, "cut")
    with pytest.raises(_Killed):
        _fit(state, loader, cut, interrupted)
    state, loader, cut = _setup(tmp_path, "cut")
    resume(state, cut, CARRY)
    assert state.position == (2, 0)
    _fit(state, loader, cut, _evaluation(FOUR))
    _assert_same_end(cut, whole)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("where", ["step", "evaluation"])
def test_a_signal_ends_the_step_saves_and_exits_and_the_same_again_goes_on(tmp_path, number, code, where):
    state, loader, whole = _setup(tmp_path, "whole")
    _fit(state, loader, whole, _evaluation(FOUR))

    class Signalled(_Softmax):
        def forward(self, embeddings, labels):
            if where == "step" and len(self.progress) == 6:
                os.kill(os.getpid(), number)
            return super().forward(embeddings, labels)

    def evaluate(model, epoch):
        if where == "evaluation" and epoch == 2:
            os.kill(os.getpid(), number)
            raise AssertionError("an evaluation is left at once")
        return _evaluation(FOUR)(model, epoch)

    state, loader, cut = _setup(tmp_path, "cut", criterion=Signalled)
    with pytest.raises(SystemExit) as stop:
        _fit(state, loader, cut, evaluate)
    assert stop.value.code == code
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    state, loader, cut = _setup(tmp_path, "cut")
    resume(state, cut, CARRY)
    assert state.position == ((1, 2) if where == "step" else (1, 4))
    _fit(state, loader, cut, _evaluation(FOUR))
    _assert_same_end(cut, whole)


def test_lowest_iou_is_best_and_a_tie_goes_to_the_higher_auc(tmp_path):
    state, loader, run = _setup(tmp_path)
    _fit(state, loader, run, _evaluation(FOUR))
    best = torch.load(run.best, weights_only=True)
    assert best["epoch"] == 3
    assert best["threshold"] == pytest.approx(1.3)
    assert best["threshold_metric"] == "balanced_accuracy"
    assert torch.load(run.last, weights_only=True)["epoch"] == 4
    assert [line["images_seen"] for line in _lines(run)] == [24, 48, 72, 96]


def test_a_resume_with_other_identities_is_refused(tmp_path):
    state, loader, run = _setup(tmp_path, epochs=1)
    _fit(state, loader, run, _evaluation(FOUR), epochs=1)
    with pytest.raises(InputError, match="other identities"):
        resume(state, run, {"identities": ["a", "b", "d"]})


def test_the_steps_equal_plain_torch(tmp_path):
    """The engine's epoch against ten lines that anybody can believe."""
    state, loader, run = _setup(tmp_path, epochs=2)
    model, criterion = copy.deepcopy(state.model), copy.deepcopy(state.criterion)
    norms = [p for m in (model, criterion) for p in m.parameters() if p.ndim <= 1]
    others = [p for m in (model, criterion) for p in m.parameters() if p.ndim > 1]
    groups = [{"params": others, "weight_decay": 1e-3}, {"params": norms, "weight_decay": 0.0}]
    optimiser = torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True)
    rng = torch.get_rng_state()
    _fit(state, loader, run, _evaluation(FOUR), epochs=2)
    torch.set_rng_state(rng)
    step, seen = 0, []
    for epoch in (1, 2):
        loader.batch_sampler.set_epoch(epoch)
        for images, labels, _ in loader:
            rate = 0.1 * ((step + 1) / 4 if step < 4 else 0.5 * (1 + math.cos(math.pi * (step / 4 - 1))))
            for group in optimiser.param_groups:
                group["lr"] = rate
            loss, _ = criterion(model(_normalise(images)), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            step += 1
            seen.append(loss.item())
    for ours, theirs in zip(state.model.parameters(), model.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)
    lines = _lines(run)
    assert lines[0]["loss"] == pytest.approx(sum(seen[:4]) / 4, rel=1e-5)
    assert lines[1]["half"] == pytest.approx(sum(seen[4:]) / 8, rel=1e-5)
    assert state.criterion.progress == pytest.approx([i / 8 for i in range(8)])


def test_a_non_finite_loss_never_reaches_weights_or_running_statistics(tmp_path, capsys):
    state, loader, run = _setup(tmp_path, criterion=lambda: _Softmax(spoiled={1, 2}), epochs=1)
    first = {k: v.clone() for k, v in state.model.state_dict().items()}
    steps = []
    real = train._step

    def watched(*args):
        result = real(*args)
        steps.append((result is None, all(torch.equal(v, first[k]) for k, v in state.model.state_dict().items())))
        return result

    train._step, restore = watched, train._step
    try:
        _fit(state, loader, run, _evaluation(FOUR), epochs=1)
    finally:
        train._step = restore
    assert steps == [(True, True), (True, True), (False, False), (False, False)]
    line = _lines(run)[0]
    assert line["skipped_steps"] == 2
    assert math.isfinite(line["loss"])
    said = capsys.readouterr().out
    assert "epoch 1, step 1, lr 0.025" in said
    assert "not finite" in said


def test_three_skipped_steps_in_a_row_stop_the_run_and_keep_the_last_checkpoint(tmp_path):
    state, loader, run = _setup(tmp_path, criterion=lambda: _Softmax(spoiled={6, 7, 8}))
    stopped = _fit(state, loader, run, _evaluation(FOUR))
    assert "epoch 2, step 4, lr 0.0983: 3 steps in a row" in stopped
    assert torch.load(run.last, weights_only=True)["epoch"] == 1


def test_a_collapse_is_named_with_advice_and_ends_the_run_in_order(tmp_path, monkeypatch):
    # Two epochs of four steps are too early to trust BatchNorm's running statistics, three are enough here.
    monkeypatch.setattr(train, "STEPS_UNTIL_EVALUATION_COUNTS", 9)
    state, loader, run = _setup(tmp_path)
    stopped = _fit(state, loader, run, _evaluation(FOUR, mean_distance=0.01))
    assert "collapsed" in stopped
    assert "lower lr" in stopped
    assert torch.load(run.last, weights_only=True)["epoch"] == 3
    assert run.best.is_file()


def test_a_collapsed_training_batch_ends_the_run_at_once(tmp_path):
    state, loader, run = _setup(tmp_path)
    nn.init.zeros_(state.model.layers[2].weight)
    nn.init.ones_(state.model.layers[2].bias)
    state.model.layers[3].p = 0.0
    state.optimiser.param_groups[0]["lr"] = 0.0
    state.scheduler.base_lrs = [0.0 for _ in state.scheduler.base_lrs]
    assert "collapsed" in _fit(state, loader, run, _evaluation(FOUR))
    assert torch.load(run.last, weights_only=True)["epoch"] == 1


class _Damaged(_Faces):
    def __getitems__(self, keys):
        batch = super().__getitems__(keys)
        lost = [key.index for key in keys if key.index == 5]
        kept = torch.tensor([key.index != 5 for key in keys])
        return Batch(batch.images[kept], batch.labels[kept], [f"{i}.jpg" for i in lost])


@pytest.mark.parametrize(("allowed", "stops"), [(0.0, True), (0.05, False)])
def test_unreadable_images_are_counted_and_named_up_to_the_share_allowed(tmp_path, capsys, allowed, stops):
    state, loader, run = _setup(tmp_path, epochs=1)
    loader = DataLoader(_Damaged(), batch_sampler=loader.batch_sampler, collate_fn=lambda batch: batch)
    if stops:
        with pytest.raises(InputError, match="5.jpg.*max_unreadable"):
            _fit(state, loader, run, _evaluation(FOUR), epochs=1, max_unreadable=allowed)
        return
    _fit(state, loader, run, _evaluation(FOUR), epochs=1, max_unreadable=allowed)
    assert _lines(run)[0]["unreadable"] == 1
    assert _lines(run)[0]["images_seen"] == 23
    assert "5.jpg" in capsys.readouterr().out


def test_gradients_are_clipped_to_the_norm(tmp_path):
    state, loader, run = _setup(tmp_path, epochs=1)
    before = [p.detach().clone() for p in state.model.parameters()]
    state.optimiser.param_groups[0]["weight_decay"] = 0.0
    _fit(state, loader, run, _evaluation(FOUR), epochs=1, clip_grad_norm=1e-6)
    moved = math.sqrt(sum((p - b).square().sum().item() for p, b in zip(state.model.parameters(), before, strict=True)))
    # Four steps of at most lr × (1 + Nesterov's look-ahead) × norm each.
    assert 0 < moved < 4 * 0.1 * 10 * 1e-6


class _Plain(nn.Module):
    """No BatchNorm and no dropout: what parts of a batch may not change."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.Tanh(), nn.Linear(16, 8))

    def forward(self, x):
        return F.normalize(self.layers(x))


def _weighted_arcface():
    counts = [20, 3, 1]
    return ArcFaceLoss(
        8, 3, scale=16, margin=0.3, focal_gamma=2, class_counts=counts, frequency_weights="effective_number"
    )


@pytest.mark.parametrize("criterion", [_weighted_arcface, lambda: TripletLoss("batch_hard", 0.5)])
def test_a_batch_in_parts_has_the_gradients_of_the_whole(criterion, tmp_path):
    state, _, _ = _setup(tmp_path, criterion=criterion, network=_Plain)
    labels = torch.tensor([0] * 8 + [1] * 4 + [2] * 2)  # cut in three, a part may lack a class
    gradients = []
    for parts in (1, 3):
        loss, _, _ = train._forward(state, IMAGES[:14], labels, _normalise, parts)
        loss.backward()
        gradients.append([p.grad.clone() for m in (state.model, state.criterion) for p in m.parameters()])
        for module in (state.model, state.criterion):
            module.zero_grad(set_to_none=True)
    assert any(gradient.abs().max() > 1e-3 for gradient in gradients[0])
    for whole, in_parts in zip(*gradients, strict=True):
        assert torch.allclose(whole, in_parts, rtol=1e-5, atol=1e-7)


def test_parts_move_running_statistics_as_so_many_batches_do_and_draw_dropout_once(tmp_path):
    state, _, _ = _setup(tmp_path)
    other = copy.deepcopy(state.model)
    rng = torch.get_rng_state()
    loss, _, embeddings = train._forward(state, IMAGES[:8], torch.arange(8) % 3, _normalise, 2)
    loss.backward()
    torch.set_rng_state(rng)
    expected = torch.cat([other(_normalise(part)) for part in IMAGES[:8].split(4)])
    assert torch.equal(embeddings, expected)
    for ours, theirs in zip(state.model.buffers(), other.buffers(), strict=True):
        assert torch.equal(ours, theirs)


def test_averaged_weights_are_evaluated_and_saved_and_the_own_ones_train(tmp_path):
    state, loader, run = _setup(tmp_path, epochs=1, ema=0.5)
    seen = []

    def evaluate(model, epoch):
        seen.append({k: v.clone() for k, v in model.state_dict().items()})
        return _evaluation(FOUR)(model, epoch)

    _fit(state, loader, run, evaluate, epochs=1)
    saved = torch.load(run.best, weights_only=True)
    assert all(torch.equal(saved["model"][k], v) for k, v in seen[0].items())
    assert all(torch.equal(saved["raw_model"][k], v) for k, v in state.model.state_dict().items())
    assert not torch.equal(saved["model"]["layers.1.weight"], saved["raw_model"]["layers.1.weight"])


def test_the_search_of_the_fp16_scale_is_no_divergence(tmp_path):
    """Gradients of a loss a thousand times as large overflow at this scale, until it is found that does not."""

    class Large(_Softmax):
        def forward(self, embeddings, labels):
            loss, stats = super().forward(embeddings, labels)
            return 1024 * loss, stats

    state, loader, run = _setup(tmp_path, epochs=2, lr=1e-5, criterion=Large)
    state.precision.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**118, growth_interval=1000)
    assert _fit(state, loader, run, _evaluation(FOUR), epochs=2) is None
    assert _lines(run)[0]["skipped_steps"] > 0
    assert 1 < state.precision.scaler.get_scale() < 2.0**118
    assert not run.skipped.exists(), "nothing of it is the images' fault"


def test_skipped_steps_are_filed_with_their_images(tmp_path):
    state, loader, run = _setup(tmp_path, criterion=lambda: _Softmax(spoiled={6}), epochs=2)
    _fit(state, loader, run, _evaluation(FOUR), epochs=2)
    (line,) = map(json.loads, run.skipped.read_text().splitlines())
    loader.batch_sampler.set_epoch(2)
    second = list(loader.batch_sampler)[1]
    assert line["paths"] == [NAMES[key.index] for key in second]
    assert (line["epoch"], line["step"], line["lr"]) == (2, 2, pytest.approx(0.0854, abs=1e-4))


def test_the_estimate_leaves_no_trace(tmp_path, capsys):
    state, loader, run = _setup(tmp_path)
    before, rng = {k: v.clone() for k, v in state.model.state_dict().items()}, torch.get_rng_state()
    line = train._start_line(state, loader, run, EngineOptions(epochs=4), _normalise)
    assert "16 steps" in line
    assert "GiB" in line
    assert all(torch.equal(v, before[k]) for k, v in state.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), rng)
    assert all(p.grad is None for p in state.model.parameters())
    assert not state.optimiser.state


def test_a_batch_too_small_for_its_parts_is_refused_before_it_is_read(tmp_path):
    state, loader, run = _setup(tmp_path)
    with pytest.raises(InputError, match="accumulate_steps"):
        _fit(state, loader, run, _evaluation(FOUR), accumulate_steps=4)


def test_tensorboard_gets_the_epochs_figures(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    state, loader, run = _setup(tmp_path, epochs=2)
    _fit(state, loader, run, _evaluation(FOUR), epochs=2, tensorboard=True)
    curves = events.EventAccumulator(str(run.path / "tensorboard"))
    curves.Reload()
    assert [(p.step, p.value) for p in curves.Scalars("epoch/iou")] == [(4, 0.5), (8, pytest.approx(0.2))]
