import math

import pytest
import torch
from torch import nn

from runtime.training.optim import lr_factor, optimiser_for, scheduler_for
from tests.engine import settings_of

SHAPE = {"epochs": 10, "warmup_epochs": 0.0, "milestones": (3, 6), "lr_decay": 0.1}


def factors(schedule, epochs, **changes):
    settings = settings_of(schedule=schedule, **SHAPE | changes)
    return [lr_factor(settings, epoch) for epoch in epochs]


def test_multistep_equals_torchs_own():
    parameter = nn.Parameter(torch.zeros(1))
    reference = torch.optim.SGD([parameter], lr=1.0)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(reference, [3, 6], gamma=0.1)
    for epoch in range(10):
        assert factors("multistep", [epoch]) == pytest.approx(scheduler.get_last_lr())
        reference.step()
        scheduler.step()


def test_step_multiplies_once_an_epoch():
    assert factors("step", (0, 0.99, 1, 2.5), lr_decay=0.7) == pytest.approx([1, 1, 0.7, 0.49])


def test_cosine_goes_from_one_to_zero_after_the_warm_up():
    found = factors("cosine", (0, 1, 2, 6, 10), warmup_epochs=2.0)
    assert found == pytest.approx([0, 0.5, 1, 0.5 * (1 + math.cos(math.pi / 2)), 0])


def test_cyclic_is_a_triangle_between_decay_and_one():
    assert factors("cyclic", (0, 0.5, 1, 1.5, 2)) == pytest.approx([0.1, 0.55, 1, 0.55, 0.1])


def test_the_first_step_of_a_warm_up_moves_and_the_last_reaches_the_peak():
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = scheduler_for(settings_of(schedule="constant", **SHAPE | {"warmup_epochs": 1.0}), optimiser, 4)
    rates = []
    for _ in range(6):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    assert rates == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0, 2.0])


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "rmsprop", "adadelta"])
def test_every_optimiser_goes_downhill_and_resumes(name):
    def descend(steps, state=None):
        torch.manual_seed(0)
        model = nn.Linear(4, 1)
        settings = settings_of(optimiser=name, lr=0.05, weight_decay=0.0, decay_norms=True)
        optimiser = optimiser_for(settings, [model])
        if state:
            model.load_state_dict(state[0])
            optimiser.load_state_dict(state[1])
        x = torch.linspace(-1, 1, 20).view(5, 4)
        losses = []
        for _ in range(steps):
            loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        return losses, (model.state_dict(), optimiser.state_dict())

    whole, _ = descend(6)
    assert whole[-1] < whole[0]
    first, state = descend(3)
    rest, _ = descend(3, state)
    assert first + rest == whole


@pytest.mark.parametrize("decay_norms", [True, False])
def test_weight_decay_spares_vectors_unless_asked(decay_norms):
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    optimiser = optimiser_for(settings_of(lr=1.0, momentum=0.0, weight_decay=0.5, decay_norms=decay_norms), [model])
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    for name, parameter in model.named_parameters():
        factor = 0.5 if parameter.ndim > 1 or decay_norms else 1.0
        assert torch.allclose(parameter, before[name] * factor)


def test_parameters_without_gradient_stay_out():
    model = nn.Linear(3, 3)
    model.bias.requires_grad_(False)
    optimiser = optimiser_for(settings_of(optimiser="adamw", lr=1.0, weight_decay=0.1), [model])
    assert [p.shape for group in optimiser.param_groups for p in group["params"]] == [(3, 3)]


def test_infinite_sparse_gradients_do_not_pass_the_fp16_scaler():
    table, layer = nn.Embedding(4, 2, sparse=True), nn.Linear(2, 1)
    settings = settings_of(lr=1.0, weight_decay=0.0, decay_norms=True, sampled_share=0.5)
    optimiser = optimiser_for(settings, [table, layer])
    assert not optimiser.defaults["fused"]  # else the scaler hands every step on
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    before = table.weight.detach().clone()
    scaler.scale(layer(table(torch.tensor([1, 2]))).sum() * torch.inf).backward()
    scaler.step(optimiser)
    assert torch.equal(table.weight, before)


@pytest.mark.parametrize("schedule", ["cosine", "step", "multistep", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.5, 1.0, 2.0])
def test_the_only_step_of_a_run_has_a_rate(schedule, warmup):
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    settings = settings_of(schedule=schedule, **SHAPE | {"epochs": 1, "warmup_epochs": warmup, "milestones": ()})
    scheduler_for(settings, optimiser, 1)
    assert optimiser.param_groups[0]["lr"] > 0


class WithBackbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
        self.neck = nn.Linear(4, 2)


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_backbone_gets_its_share_of_the_rate_through_the_whole_schedule(wrapped):
    network, head = WithBackbone(), nn.Linear(2, 3)
    model = nn.DataParallel(network) if wrapped else network
    settings = settings_of(schedule="multistep", lr=0.5, backbone_lr=0.1, **SHAPE | {"milestones": (1,)})
    optimiser = optimiser_for(settings, [model, head])
    scheduler = scheduler_for(settings, optimiser, 1)
    slow = {id(p) for p in network.backbone.parameters()}
    for peak in (0.5, 0.05):
        rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
        assert rates.keys() == {id(p) for module in (model, head) for p in module.parameters()}
        assert all(rate == pytest.approx(peak * (0.1 if p in slow else 1)) for p, rate in rates.items())
        assert optimiser.param_groups[0]["lr"] == pytest.approx(peak)  # what the log shows
        optimiser.step()
        scheduler.step()
    decays = {group["weight_decay"] for group in optimiser.param_groups}
    assert decays == {0.0, settings.weight_decay} and len(optimiser.param_groups) == 4


def test_a_factor_of_one_leaves_the_groups_as_they_were():
    network = WithBackbone()
    assert [len(group["params"]) for group in optimiser_for(settings_of(), [network]).param_groups] == [2, 4]
