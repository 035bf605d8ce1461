import pytest
import torch
from torch import nn

from runtime.memory.estimate import bytes_to_come
from runtime.training.optim import optimiser_for
from tests.engine import settings_of


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
