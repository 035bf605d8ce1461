import pytest
import torch
from torch import nn

from runtime.training.ema import EMA


def test_the_average_follows_the_recurrence_and_swaps_in_and_out_to_the_bit():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    ema = EMA(model, decay=0.7)
    expected = {k: v.double() for k, v in model.state_dict().items()}
    for step in range(1, 9):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        model(torch.randn(4, 3))  # moves the running statistics and their counter
        ema.update()
        decay = min(0.7, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            counter = name.endswith("num_batches_tracked")
            expected[name] = value.double() if counter else decay * expected[name] + (1 - decay) * value.double()
    own = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(RuntimeError), ema.applied():
        for name, value in model.state_dict().items():
            assert torch.allclose(value.double(), expected[name], atol=1e-6)
        raise RuntimeError("an evaluation that is left early")
    assert all(torch.equal(value, own[name]) for name, value in model.state_dict().items())

    other = EMA(model, decay=0.7)
    other.load_state_dict(ema.state_dict(), ema.updates)
    assert all(torch.equal(value, ema.state_dict()[name]) for name, value in other.state_dict().items())
    assert other.updates == 8
