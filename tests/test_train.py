"""What a step and an epoch of the engine do."""

import copy
import json
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import train
from data.datasets import Batch
from losses import ArcFaceLoss, TripletLoss
from runtime.errors import InputError
from tests.engine import FOUR, IMAGES, NAMES, Faces, Softmax, evaluation, fit, lines, normalise, settings_of, setup


def test_the_steps_equal_plain_torch(tmp_path):
    """The engine's epoch against ten lines that anybody can believe."""
    state, loader, run = setup(tmp_path, epochs=2)
    model, criterion = copy.deepcopy(state.model), copy.deepcopy(state.criterion)
    norms = [p for m in (model, criterion) for p in m.parameters() if p.ndim <= 1]
    others = [p for m in (model, criterion) for p in m.parameters() if p.ndim > 1]
    groups = [{"params": others, "weight_decay": 1e-3}, {"params": norms, "weight_decay": 0.0}]
    optimiser = torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True)
    rng = torch.get_rng_state()
    fit(state, loader, run, evaluation(FOUR), epochs=2)
    torch.set_rng_state(rng)
    step, seen = 0, []
    for epoch in (1, 2):
        loader.batch_sampler.set_epoch(epoch)
        for images, labels, *_ in loader:
            rate = 0.1 * ((step + 1) / 4 if step < 4 else 0.5 * (1 + math.cos(math.pi * (step / 4 - 1))))
            for group in optimiser.param_groups:
                group["lr"] = rate
            loss, _ = criterion(model(normalise(images)), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            step += 1
            seen.append(loss.item())
    for ours, theirs in zip(state.model.parameters(), model.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)
    log = lines(run)
    assert log[0]["loss"] == pytest.approx(sum(seen[:4]) / 4, rel=1e-5)
    assert log[1]["half"] == pytest.approx(sum(seen[4:]) / 8, rel=1e-5)
    assert state.criterion.progress == pytest.approx([i / 8 for i in range(8)])


def test_a_non_finite_loss_never_reaches_weights_or_running_statistics(tmp_path, capsys):
    state, loader, run = setup(tmp_path, criterion=lambda: Softmax(spoiled={1, 2}), epochs=1)
    first = {k: v.clone() for k, v in state.model.state_dict().items()}
    steps = []
    real = train._step

    def watched(*args):
        result = real(*args)
        steps.append((result is None, all(torch.equal(v, first[k]) for k, v in state.model.state_dict().items())))
        return result

    train._step, restore = watched, train._step
    try:
        fit(state, loader, run, evaluation(FOUR), epochs=1)
    finally:
        train._step = restore
    assert steps == [(True, True), (True, True), (False, False), (False, False)]
    line = lines(run)[0]
    assert line["skipped_steps"] == 2
    assert math.isfinite(line["loss"])
    said = capsys.readouterr().out
    assert "epoch 1, step 1, lr 0.025" in said
    assert "not finite" in said


def test_three_skipped_steps_in_a_row_stop_the_run_and_keep_the_last_checkpoint(tmp_path):
    state, loader, run = setup(tmp_path, criterion=lambda: Softmax(spoiled={6, 7, 8}))
    stopped = fit(state, loader, run, evaluation(FOUR))
    assert "epoch 2, step 4, lr 0.0983: 3 steps in a row" in stopped
    assert torch.load(run.last, weights_only=True)["epoch"] == 1


def test_a_collapse_is_named_with_advice_and_ends_the_run_in_order(tmp_path, monkeypatch):
    # Two epochs of four steps are too early to trust BatchNorm's running statistics, three are enough here.
    monkeypatch.setattr(train, "STEPS_UNTIL_EVALUATION_COUNTS", 9)
    state, loader, run = setup(tmp_path)
    stopped = fit(state, loader, run, evaluation(FOUR, mean_distance=0.01))
    assert "collapsed" in stopped
    assert "lower lr" in stopped
    assert torch.load(run.last, weights_only=True)["epoch"] == 3
    assert run.best.is_file()


def test_a_collapsed_training_batch_ends_the_run_at_once(tmp_path):
    state, loader, run = setup(tmp_path)
    nn.init.zeros_(state.model.layers[2].weight)
    nn.init.ones_(state.model.layers[2].bias)
    state.model.layers[3].p = 0.0
    state.optimiser.param_groups[0]["lr"] = 0.0
    state.scheduler.base_lrs = [0.0 for _ in state.scheduler.base_lrs]
    assert "collapsed" in fit(state, loader, run, evaluation(FOUR))
    assert torch.load(run.last, weights_only=True)["epoch"] == 1


class _Damaged(Faces):
    def __getitems__(self, keys):
        batch = super().__getitems__(keys)
        lost = [key.index for key in keys if key.index == 5]
        kept = torch.tensor([key.index != 5 for key in keys])
        return Batch(batch.images[kept], batch.labels[kept], [f"{i}.jpg" for i in lost], batch.masked[kept])


def test_a_batch_with_one_readable_image_is_too_few_whatever_is_allowed(tmp_path):
    class Lost(Faces):
        def __getitems__(self, keys):
            batch = super().__getitems__(keys)
            return Batch(batch.images[:1], batch.labels[:1], [f"{key.index}.jpg" for key in keys[1:]], batch.masked[:1])

    state, loader, run = setup(tmp_path, epochs=1, faces=Lost)
    with pytest.raises(InputError, match="can't be read"):
        fit(state, loader, run, evaluation(FOUR), epochs=1, max_unreadable=1.0)


@pytest.mark.parametrize(("allowed", "stops"), [(0.0, True), (0.05, False)])
def test_unreadable_images_are_counted_and_named_up_to_the_share_allowed(tmp_path, capsys, allowed, stops):
    state, loader, run = setup(tmp_path, epochs=1, faces=_Damaged)
    if stops:
        with pytest.raises(InputError, match="5.jpg.*max_unreadable"):
            fit(state, loader, run, evaluation(FOUR), epochs=1, max_unreadable=allowed)
        return
    fit(state, loader, run, evaluation(FOUR), epochs=1, max_unreadable=allowed)
    assert lines(run)[0]["unreadable"] == 1
    assert lines(run)[0]["images_seen"] == 23
    assert "5.jpg" in capsys.readouterr().out


def test_gradients_are_clipped_to_the_norm(tmp_path):
    state, loader, run = setup(tmp_path, epochs=1)
    before = [p.detach().clone() for p in state.model.parameters()]
    state.optimiser.param_groups[0]["weight_decay"] = 0.0
    fit(state, loader, run, evaluation(FOUR), epochs=1, clip_grad_norm=1e-6)
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
    state, _, _ = setup(tmp_path, criterion=criterion, network=_Plain)
    labels = torch.tensor([0] * 8 + [1] * 4 + [2] * 2)  # cut in three, a part may lack a class
    gradients = []
    for parts in (1, 3):
        state.settings = settings_of(accumulate_steps=parts)
        loss, _, _ = train._forward(state, IMAGES[:14], labels, labels > 0)
        loss.backward()
        gradients.append([p.grad.clone() for m in (state.model, state.criterion) for p in m.parameters()])
        for module in (state.model, state.criterion):
            module.zero_grad(set_to_none=True)
    assert any(gradient.abs().max() > 1e-3 for gradient in gradients[0])
    for whole, in_parts in zip(*gradients, strict=True):
        assert torch.allclose(whole, in_parts, rtol=1e-5, atol=1e-7)


def test_parts_move_running_statistics_as_so_many_batches_do_and_draw_dropout_once(tmp_path):
    state, _, _ = setup(tmp_path)
    other = copy.deepcopy(state.model)
    rng = torch.get_rng_state()
    state.settings = settings_of(accumulate_steps=2)
    loss, _, embeddings = train._forward(state, IMAGES[:8], torch.arange(8) % 3, torch.zeros(8))
    loss.backward()
    torch.set_rng_state(rng)
    expected = torch.cat([other(normalise(part)) for part in IMAGES[:8].split(4)])
    assert torch.equal(embeddings, expected)
    for ours, theirs in zip(state.model.buffers(), other.buffers(), strict=True):
        assert torch.equal(ours, theirs)


def test_averaged_weights_are_evaluated_and_saved_and_the_own_ones_train(tmp_path):
    state, loader, run = setup(tmp_path, epochs=1, ema=0.5)
    seen = []

    def evaluate(model, epoch):
        seen.append({k: v.clone() for k, v in model.state_dict().items()})
        return evaluation(FOUR)(model, epoch)

    fit(state, loader, run, evaluate, epochs=1)
    saved = torch.load(run.best, weights_only=True)
    assert all(torch.equal(saved["model"][k], v) for k, v in seen[0].items())
    assert all(torch.equal(saved["raw_model"][k], v) for k, v in state.model.state_dict().items())
    assert not torch.equal(saved["model"]["layers.1.weight"], saved["raw_model"]["layers.1.weight"])


def test_the_search_of_the_fp16_scale_is_no_divergence(tmp_path):
    """Gradients of a loss a thousand times as large overflow at this scale, until it is found that does not."""

    class Large(Softmax):
        def forward(self, embeddings, labels):
            loss, stats = super().forward(embeddings, labels)
            return 1024 * loss, stats

    state, loader, run = setup(tmp_path, epochs=2, lr=1e-5, criterion=Large)
    state.precision.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**118, growth_interval=1000)
    assert fit(state, loader, run, evaluation(FOUR), epochs=2) is None
    assert lines(run)[0]["skipped_steps"] > 0
    assert 1 < state.precision.scaler.get_scale() < 2.0**118
    assert not run.skipped.exists(), "nothing of it is the images' fault"


def test_an_infinite_loss_of_finite_gradients_moves_nothing_under_the_fp16_scaler(tmp_path):
    class Infinite(Softmax):
        def forward(self, embeddings, labels):
            loss, stats = super().forward(embeddings, labels)
            return (loss + math.inf if len(self.progress) == 2 else loss), stats

    state, loader, run = setup(tmp_path, criterion=Infinite, epochs=1)
    state.precision.scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=1000)
    moved = []
    state.optimiser.register_step_post_hook(lambda *_: moved.append(len(state.criterion.progress)))
    assert fit(state, loader, run, evaluation(FOUR), epochs=1) is None
    assert moved == [1, 3, 4]
    assert lines(run)[0]["skipped_steps"] == 1
    assert run.skipped.exists()


def test_skipped_steps_are_filed_with_their_images(tmp_path):
    state, loader, run = setup(tmp_path, criterion=lambda: Softmax(spoiled={6}), epochs=2)
    fit(state, loader, run, evaluation(FOUR), epochs=2)
    (line,) = map(json.loads, run.skipped.read_text().splitlines())
    loader.batch_sampler.set_epoch(2)
    second = list(loader.batch_sampler)[1]
    assert line["paths"] == [NAMES[key.index] for key in second]
    assert (line["epoch"], line["step"], line["lr"]) == (2, 2, pytest.approx(0.0854, abs=1e-4))


def test_the_estimate_leaves_no_trace(tmp_path, capsys):
    state, loader, run = setup(tmp_path)
    before, rng = {k: v.clone() for k, v in state.model.state_dict().items()}, torch.get_rng_state()
    line = train._start_line(state, loader, run)
    assert "16 steps" in line
    assert "GiB" in line
    assert all(torch.equal(v, before[k]) for k, v in state.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), rng)
    assert all(p.grad is None for p in state.model.parameters())
    assert not state.optimiser.state


def test_a_smaller_last_batch_is_computed_in_fewer_parts(tmp_path):
    state, _, _ = setup(tmp_path)
    state.settings = settings_of(accumulate_steps=3)
    rows = []
    state.model.layers[2].register_forward_pre_hook(lambda module, given: rows.append(len(given[0])))
    for images in (6, 5, 3):
        with torch.no_grad():
            train._forward(state, IMAGES[:images], torch.arange(images) % 3, torch.zeros(images))
    assert rows == [2, 2, 2, 3, 2, 3]


def test_tensorboard_gets_the_epochs_figures(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    state, loader, run = setup(tmp_path, epochs=2)
    fit(state, loader, run, evaluation(FOUR), epochs=2, tensorboard=True)
    curves = events.EventAccumulator(str(run.path / "tensorboard"))
    curves.Reload()
    assert [(p.step, p.value) for p in curves.Scalars("epoch/iou")] == [(4, 0.5), (8, pytest.approx(0.2))]
