import copy
import functools

import pytest
import torch
from torch import nn

from models.embedder import FaceEmbedder, Neck
from models.pooling import AveragePooling
from runtime.devices import to_device
from runtime.processes import distributed
from runtime.training.compiled import compile_training, replayed
from runtime.training.state import resume
from tests.engine import FOUR, Network, evaluation, fit, lines, setup
from tests.processes import in_processes
from tests.runtime.memory.test_recompute import Blocks, step

CPU = torch.device("cpu")
in_process = functools.partial(torch.compile, backend="aot_eager")  # without the C++ compiler, which takes minutes


@pytest.fixture(autouse=True)
def no_compiler_needed(monkeypatch):
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    monkeypatch.setattr(torch, "compile", in_process)


def test_compiled_blocks_are_recomputed_and_give_the_same_gradients_and_statistics():
    torch.manual_seed(0)
    plain = Blocks()
    keeping, saving = copy.deepcopy(plain), copy.deepcopy(plain)
    to_device(keeping, CPU, compiled=True)
    to_device(saving, CPU, compiled=True, recompute=True)
    expected, _ = step(plain)
    results, kept = step(keeping)
    again, kept_again = step(saving)
    for ours, recomputed, theirs in zip(results, again, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(recomputed, theirs, rtol=1e-5, atol=1e-6)
    assert kept_again < kept / 2
    assert list(saving.state_dict()) == list(plain.state_dict())


class Wide(nn.Module):
    """Blocks with more parameters than DistributedDataParallel exchanges at once: torch compiles them in parts."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(*(Residual() for _ in range(2)))

    def forward(self, x):
        return nn.functional.normalize(self.blocks(x))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(512, 512), nn.GELU())

    def forward(self, x):
        return x + self.inner(x)


def gradients(compiled: bool, recompute: bool, cuda_graphs: bool = False) -> list[torch.Tensor]:
    """Of one process's part of a batch, summed over the processes."""
    torch.manual_seed(0)
    model = to_device(Wide(), CPU, compiled=compiled, cuda_graphs=cuda_graphs, recompute=recompute)
    images, towards = torch.randn(2, 10, 512, generator=torch.Generator().manual_seed(1))
    part = distributed.part_of(len(images))
    ((model(images[part]) - towards[part]).square().sum() / len(images)).backward()
    return [parameter.grad for parameter in model.parameters()]


def compiled_gradients() -> list[list[torch.Tensor]]:
    torch.compile = in_process
    return [gradients(True, recompute=False), gradients(True, recompute=True, cuda_graphs=True)]


def test_two_compiled_processes_have_the_gradients_of_one_without():
    expected = gradients(False, recompute=False)
    for results in in_processes(2, compiled_gradients):
        for way in results:
            for ours, theirs in zip(way, expected, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


class CompiledNetwork(Network):
    def __new__(cls):
        network = Network()
        compile_training(network, cuda_graphs=False, recompute=False)
        return network


@pytest.mark.parametrize("parts", [1, 2])
def test_a_compiled_run_equals_an_eager_one_and_a_resumed_one(tmp_path, parts):
    ends = {}
    for name, network in (("eager", Network), ("whole", CompiledNetwork), ("half", CompiledNetwork)):
        state, loader, run = setup(tmp_path, name, network=network)
        fit(state, loader, run, evaluation(FOUR), epochs=2, accumulate_steps=parts)
        if name == "half":
            torch._dynamo.reset()
            state, loader, run = setup(tmp_path, name, network=network)
            resume(state, run)
        fit(state, loader, run, evaluation(FOUR), accumulate_steps=parts)
        ends[name] = state.model.state_dict(), lines(run)
    assert ends["half"][1] == ends["whole"][1]
    for weights, exact in (("whole", 1e-5), ("half", 0)):
        torch.testing.assert_close(ends[weights][0], ends["eager" if exact else "whole"][0], rtol=exact, atol=exact)


def test_in_bf16_the_neck_has_gradients_in_float32_as_without_a_compiler():
    torch.manual_seed(0)
    plain = FaceEmbedder(nn.Conv2d(3, 64, 3), AveragePooling(), 0.0, Neck(64, 32))
    compiled = to_device(copy.deepcopy(plain), CPU, compiled=True)
    images, towards = torch.randn(16, 3, 8, 8), torch.randn(16, 32)
    for network in (plain, compiled):
        with torch.autocast("cpu", torch.bfloat16):
            embeddings = network(images)
        (embeddings - towards).square().sum().backward()
    torch.testing.assert_close(compiled.neck.linear.weight.grad, plain.neck.linear.weight.grad, rtol=1e-4, atol=1e-4)


def test_evaluation_is_not_compiled():
    network, x = CompiledNetwork(), torch.randn(4, 3, 4, 4)
    compiled = torch._dynamo.utils.counters["stats"]
    with torch.no_grad():
        network.eval()(x)
    assert not compiled["unique_graphs"]
    network.train()(x)
    assert compiled["unique_graphs"] == 1


def test_what_a_graph_wrote_outlives_its_next_run():
    memory = torch.zeros(2, 3)

    def graph(value, lengths=False):
        memory.fill_(value)
        return (memory, memory[:, 0]) if lengths else memory

    forward = replayed(graph)
    first, (rows, lengths), _ = forward(1), forward(2, lengths=True), forward(3)
    assert first.eq(1).all() and rows.eq(2).all() and lengths.eq(2).all()
