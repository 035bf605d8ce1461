import threading

import pytest
import torch
from torch import nn

from runtime.devices import _Replicated, in_autocast_of_now, loader_workers, pick_device, to_device
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


def test_what_does_not_go_together_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match="torchrun --nproc-per-node 2"):
        to_device(nn.Identity(), torch.device("cuda"), compiled=True)
    with pytest.raises(InputError, match="no blocks"):
        to_device(nn.Linear(2, 2), torch.device("cpu"), recompute=True)


def test_a_replicas_thread_computes_in_the_precision_of_its_caller():
    """torch's DataParallel asks for autocast in each thread without saying of which type: its default would count."""
    layer, x, seen = nn.Linear(2, 2), torch.ones(1, 2), []

    def in_a_thread(function):
        def body():
            with torch.amp.autocast("cpu", enabled=torch.is_autocast_enabled("cpu")):
                seen.append(function(x).dtype)

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()

    with torch.autocast("cpu", torch.float16):  # a CPU's default is bfloat16
        in_a_thread(in_autocast_of_now(layer, "cpu"))
    in_a_thread(in_autocast_of_now(layer, "cpu"))
    assert seen == [torch.float16, torch.float32]


def test_a_machine_that_cannot_compile_says_so(monkeypatch):
    def no_compiler(function):
        raise RuntimeError("\nNo working C++ compiler found\n\nSet TORCHDYNAMO_VERBOSE=1")

    monkeypatch.setattr(torch, "compile", no_compiler)
    with pytest.raises(InputError, match=r"\(No working C\+\+ compiler found\); install a C\+\+ compiler"):
        to_device(nn.Linear(2, 2), torch.device("cpu"), compiled=True)


def test_options_go_to_the_replicas_that_have_images(monkeypatch):
    """Five images on four GPUs are three parts; torch copies options to all four and fills up the missing images."""
    options = [{"lengths": True} for _ in range(4)]
    padded = ((torch.zeros(2),), (torch.zeros(2),), (torch.zeros(1),), ())
    replicas = _Replicated(nn.Identity())
    monkeypatch.setattr(nn.DataParallel, "scatter", lambda *_: (padded, tuple(options)))
    assert replicas.scatter((torch.zeros(5),), {"lengths": True}, [0, 1, 2, 3]) == (padded[:3], tuple(options[:3]))
