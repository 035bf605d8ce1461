import pytest
import torch
from torch import nn

from runtime.memory import estimate
from runtime.memory.estimate import bytes_to_come
from runtime.training.optim import optimiser_for
from tests.engine import settings_of, setup


@pytest.mark.parametrize(
    ("name", "momentum", "by_rows", "copies"),
    [
        ("sgd", 0.9, False, 1),
        ("sgd", 0.9, True, 1),
        ("sgd", 0.0, False, 0),
        ("adam", 0.9, False, 2),
        ("adamw", 0.9, False, 2),
        ("rmsprop", 0.9, False, 2),
        ("adadelta", 0.9, False, 2),
    ],
)
def test_what_an_optimiser_will_keep_is_what_it_keeps_after_a_step(name, momentum, by_rows, copies):
    model = nn.Sequential(nn.Linear(30, 20), nn.BatchNorm1d(20))
    settings = settings_of(optimiser=name, momentum=momentum, sampled_share=0.5 if by_rows else 1.0)
    optimiser = optimiser_for(settings, [model])
    before = [p.detach().clone() for p in model.parameters()]
    expected = bytes_to_come(optimiser)
    assert expected == copies * 4 * (30 * 20 + 20 + 20 + 20)
    assert not optimiser.state and len(optimiser.param_groups) == 2
    assert all(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    tensors = [v for state in optimiser.state.values() for v in state.values() if isinstance(v, torch.Tensor)]
    assert sum(tensor.nbytes for tensor in tensors if tensor.ndim) == expected
    assert bytes_to_come(optimiser) == 0


def test_the_gain_of_bfloat16_is_that_of_forward_passes_as_in_training(tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "cpu_has_bf16", lambda: True)
    monkeypatch.setattr(estimate, "SECONDS_WORTH_A_TRIAL", 0)
    state, loader, *_ = setup(tmp_path)
    formats = []

    def run_step(*parts):
        assert not torch.is_autocast_enabled("cpu")  # the loss and the backward pass compute in float32
        with state.precision.autocast():
            formats.append(nn.Linear(2, 2)(torch.ones(1, 2)).dtype)

    estimate.estimate(loader, run_step, state.model, state.optimiser, state.precision, steps=100)
    assert formats == [torch.float32] * 2 + [torch.bfloat16] * 2
    assert state.precision.name == "float32"
