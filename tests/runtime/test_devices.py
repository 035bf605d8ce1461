import pytest
import torch
from torch import nn

from runtime.devices import loader_workers, pick_device, to_device
from runtime.errors import InputError


def test_gpus_that_are_not_there_are_said(monkeypatch):
    with pytest.raises(InputError, match="on the CPU"):
        pick_device("cpu", (0,))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("auto") == torch.device("cuda")
    assert pick_device("auto", (1, 0)) == torch.device("cuda", 1)
    assert loader_workers(-1, torch.device("cuda"), (1,)) <= 8
    for gpus in ((0, 2), (-1,), (1, 1)):
        with pytest.raises(InputError, match="0 to 1"):
            pick_device("cuda", gpus)


def test_what_does_not_go_together_is_refused():
    blocks = nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.Linear(2, 2))
    with pytest.raises(InputError, match="activation_checkpointing"):
        to_device(blocks, torch.device("cpu"), compiled=True, recompute=True)
    with pytest.raises(InputError, match="no blocks"):
        to_device(nn.Linear(2, 2), torch.device("cpu"), recompute=True)
