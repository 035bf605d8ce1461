"""The engine on the GPU where there is one; on a CPU the same must hold."""

import copy

import pytest
import torch
from torch import nn

from models import build_model
from runtime.devices import _Replicated, to_device
from runtime.precision import make_precision
from runtime.training.state import resume
from tests.engine import FOUR, Float32, Softmax, evaluation, fit, lines, setup

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
needs_gpu = pytest.mark.skipif(not GPU, reason="needs a GPU")


def on_device(tmp_path, name="run", precision="float32", spoiled=(), network=Float32):
    state, loader, run = setup(tmp_path, name, criterion=lambda: Softmax(spoiled), network=network)
    state.model.to(DEVICE)
    state.criterion.to(DEVICE)
    state.precision = make_precision(precision, DEVICE)
    return state, loader, run


@pytest.mark.parametrize("precision", ["float32", "bf16", pytest.param("fp16", marks=needs_gpu)])
def test_a_run_skips_what_is_not_finite_and_goes_on(tmp_path, precision):
    state, loader, run = on_device(tmp_path, precision=precision, spoiled={6})
    assert fit(state, loader, run, evaluation(FOUR)) is None
    assert lines(run)[1]["skipped_steps"] >= 1 and len(lines(run)) == 4
    assert lines(run)[3]["loss"] < lines(run)[0]["loss"]
    assert all(p.isfinite().all() for p in state.model.parameters())


def test_a_resumed_run_ends_as_an_uninterrupted_one(tmp_path):
    whole, loader, run = on_device(tmp_path, "whole")
    fit(whole, loader, run, evaluation(FOUR))
    half, loader, run = on_device(tmp_path, "half")
    fit(half, loader, run, evaluation(FOUR), epochs=2)
    again, loader, run = on_device(tmp_path, "half")
    resume(again, run)
    fit(again, loader, run, evaluation(FOUR))
    for ours, theirs in zip(again.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@needs_gpu
def test_replicas_give_what_the_network_gives_in_the_precision_of_the_caller():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.LazyLinear(4)).to(DEVICE)
    images = torch.randn(6, 3, 8, 8, device=DEVICE)
    with torch.autocast("cuda", torch.bfloat16):
        expected = network(images)
        split = _Replicated(network, device_ids=[0, 0])(images)  # two threads on one GPU
    assert split.dtype == torch.bfloat16
    torch.testing.assert_close(split, expected, rtol=0, atol=0.05)
    split.float().sum().backward()
    assert all(p.grad is not None for p in network.parameters())


@needs_gpu
@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_lengths_come_through_replicas_and_compiled(cuda_graphs):
    settings = {"embedding_size": 16, "pooling": "average", "dropout": 0.0, "pretrained": "none", "image_size": 32}
    network = build_model("timm:test_resnet", **settings).to(DEVICE)
    images = torch.randn(6, 3, 32, 32, device=DEVICE)
    trained, expected = network(images, lengths=True), network.eval()(images, lengths=True)
    split = _Replicated(network, device_ids=[0, 0])(images, lengths=True)
    torch.testing.assert_close(split, expected, rtol=0, atol=1e-3)
    few = _Replicated(network, device_ids=[0, 0, 0, 0])(images[:5], lengths=True)  # three parts for four replicas
    torch.testing.assert_close(few, tuple(part[:5] for part in expected), rtol=0, atol=1e-3)
    compiled = to_device(network, DEVICE, (0,), compiled=True, cuda_graphs=cuda_graphs).train()
    torch.testing.assert_close(compiled(images, lengths=True), trained, rtol=0, atol=1e-3)
    torch.testing.assert_close(compiled(images), trained[0], rtol=0, atol=1e-3)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.BatchNorm2d(8), nn.PReLU(8), nn.Conv2d(8, 8, 3, padding=1))

    def forward(self, x):
        return x + self.inner(x)


@needs_gpu
@pytest.mark.parametrize("cuda_graphs", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
def test_a_compiled_network_trains_as_an_eager_one(cuda_graphs, recompute):
    """With graphs the first pass warms up, the second one is recorded, the third replayed; a smaller batch has its own.

    What a pass gave must outlast the next ones.
    """
    eager = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sequential(Block(), Block()), nn.Flatten(), nn.Linear(288, 4))
    options = {"compiled": True, "cuda_graphs": cuda_graphs, "recompute": recompute}
    compiled = to_device(copy.deepcopy(eager), DEVICE, (0,), **options)
    eager, given = eager.to(DEVICE), []
    for size in (6, 6, 6, 3, 6, 3, 3):
        images = torch.randn(size, 3, 8, 8, device=DEVICE)
        outputs = []
        for network in (eager, compiled):
            network.zero_grad(set_to_none=True)
            outputs.append(network(images))
            outputs[-1].square().sum().backward()
        for ours, theirs in zip(compiled.parameters(), eager.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-2, atol=1e-2)
        given.append([output.detach() for output in outputs])
    torch.testing.assert_close(list(compiled.buffers()), list(eager.buffers()), rtol=1e-3, atol=1e-3)
    for theirs, ours in given:
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
