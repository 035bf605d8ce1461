"""A resumed run with other settings than its checkpoint: against torch's own optimisers, and the schedule's formula."""

import copy

import pytest
import torch
from torch import nn

from losses import ArcFaceLoss
from runtime.errors import InputError
from runtime.precision import make_precision
from runtime.training.optim import lr_factor, optimiser_for, scale_lr, scheduler_for
from runtime.training.state import TrainingState
from tests.engine import preprocessing_of, settings_of

STEPS = 10  # in an epoch


def _state(steps=STEPS, criterion=None, **changes):
    settings = settings_of(**{"schedule": "constant", "warmup_epochs": 0.0, "epochs": 8, **changes})
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    optimiser = optimiser_for(settings, [model])
    scheduler = scheduler_for(settings, optimiser, steps)
    return TrainingState(
        model,
        criterion or nn.Identity(),
        optimiser,
        scheduler,
        make_precision("float32", torch.device("cpu")),
        settings,
        preprocessing_of(None),
        ["a", "b"],
    )


def _train(state, steps):
    for _ in range(steps):
        state.optimiser.zero_grad()
        state.model(torch.linspace(-1, 2, 32).view(8, 4).sin()).pow(2).sum().backward()
        state.optimiser.step()
        state.scheduler.step()


def _trained(finished=2, **changes):
    """After so many epochs."""
    state = _state(**changes)
    _train(state, finished * STEPS)
    state.epoch = finished
    return state


def _resumed(before, steps=STEPS, **changes):
    state = _state(steps, **{"epochs": before.settings.epochs, **changes})
    state.load_state_dict(copy.deepcopy(before.state_dict()), "results/run")
    return state


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw", "rmsprop", "adadelta"])
def test_the_next_steps_are_those_of_torchs_optimiser_with_the_new_values(optimiser):
    before = _trained(optimiser=optimiser, lr=0.05, momentum=0.9, weight_decay=1e-3)
    after = _resumed(before, optimiser=optimiser, lr=0.01, momentum=0.5, weight_decay=0.2)
    for group in before.optimiser.param_groups:
        group["lr"] = 0.01
        group["weight_decay"] = 0.2 if group["weight_decay"] else 0.0  # vectors are spared
        if "betas" in group:
            group["betas"] = (0.5, 0.999)
        elif "momentum" in group:
            group["momentum"] = 0.5
    before.scheduler.base_lrs = [0.01, 0.01]
    _train(before, 5)
    _train(after, 5)
    for expected, found in zip(before.model.parameters(), after.model.parameters(), strict=True):
        assert torch.equal(expected, found)


def test_another_rate_keeps_what_remedies_did_to_it():
    before = _trained(lr=0.4, schedule="step", lr_decay=0.5)
    scale_lr(before.optimiser, before.scheduler, 0.1)
    after = _resumed(before, lr=0.04, schedule="step", lr_decay=0.5)
    assert after.lr == pytest.approx(0.04 * 0.5**2 * 0.1)
    _train(after, STEPS)
    assert after.lr == pytest.approx(0.04 * 0.5**3 * 0.1)


@pytest.mark.parametrize("schedule", ["cosine", "multistep", "step", "cyclic", "constant"])
@pytest.mark.parametrize("steps", [STEPS // 2, STEPS, 3 * STEPS])
def test_the_schedule_counts_epochs_whatever_their_length(schedule, steps):
    """As with another batch size, or more training faces."""
    same = {"schedule": schedule, "lr": 0.3, "warmup_epochs": 1.0, "epochs": 8}
    after = _resumed(_trained(4, **same), steps, **same)
    assert after.lr == pytest.approx(0.3 * lr_factor(after.settings, 4.0))
    _train(after, 2 * steps)
    assert after.lr == pytest.approx(0.3 * lr_factor(after.settings, 6.0))


def test_an_extended_run_leaves_the_end_of_its_schedule_at_once():
    before = _trained(4, epochs=4, schedule="cosine", lr=0.3)
    assert before.lr == 0
    assert _resumed(before, epochs=8, schedule="cosine", lr=0.3).lr == pytest.approx(0.15)


@pytest.mark.parametrize("schedule", ["cosine", "step"])
def test_with_the_same_settings_nothing_changes_by_a_bit(schedule):
    same = {"schedule": schedule, "optimiser": "adamw", "warmup_epochs": 0.7}
    before = _trained(**same)
    scale_lr(before.optimiser, before.scheduler, 0.1)
    after = _resumed(before, **same)
    for _ in range(15):
        assert [group["lr"] for group in after.optimiser.param_groups] == [
            group["lr"] for group in before.optimiser.param_groups
        ]
        for state in (before, after):
            _train(state, 1)
    for expected, found in zip(before.model.parameters(), after.model.parameters(), strict=True):
        assert torch.equal(expected, found)


@pytest.mark.parametrize(
    "changed",
    [{"optimiser": "adamw"}, {"backbone_lr": 0.1}, {"decay_norms": False}, {"freeze": ("0",), "pretrained": "w.pt"}],
)
def test_what_the_optimiser_remembers_can_not_change(changed):
    before = _trained(decay_norms=True)
    name = next(iter(changed))
    was = before.settings.to_dict()[name] or "none"
    with pytest.raises(InputError) as refused:
        _resumed(before, **{"decay_norms": True, **changed})
    assert f"results/run was trained with {name} {was}, which can't change in a resumed run" in str(refused.value)


def test_in_the_middle_of_an_epoch_its_length_can_not_change():
    before = _trained()
    _train(before, 3)
    before.sums.batches = 3
    assert _resumed(before).sums.batches == 3
    with pytest.raises(
        InputError,
        match="is 3 batches into an epoch of 10, but with these settings and this training CSV an epoch has 5",
    ):
        _resumed(before, steps=5)


def test_checkpoints_of_before_the_length_of_an_epoch_was_saved_resume():
    before = _trained(schedule="cosine")
    content = copy.deepcopy(before.state_dict())
    content["scheduler"].pop("steps_per_epoch")
    after = _state(schedule="cosine")
    after.load_state_dict(content, "results/run")
    assert (after.lr, after.scheduler.last_epoch) == (before.lr, 2 * STEPS)


def test_frequency_weights_are_those_of_the_settings():
    def head(kind):
        return ArcFaceLoss(4, 2, scale=8.0, margin=0.3, focal_gamma=0.0, class_counts=[1, 99], frequency_weights=kind)

    before = _trained(criterion=head("inverse_log"))
    content = before.state_dict()
    assert "class_factors" not in content["criterion"]
    content["criterion"]["class_factors"] = before.criterion.class_factors  # as in older checkpoints
    after = _state(criterion=head("effective_number"))
    after.load_state_dict(content, "results/run")
    assert torch.equal(after.criterion.class_factors, head("effective_number").class_factors)
    assert torch.equal(after.criterion.weight, before.criterion.weight)
