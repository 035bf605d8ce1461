import copy

import pytest
import torch
from torch import nn

from models import build_model
from runtime.memory.recompute import recompute_blocks


class _Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(6, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.4), nn.Linear(24, 6))

    def forward(self, x, scale=1.0):
        return x + scale * self.inner(x)


class Blocks(nn.Module):
    def __init__(self):
        super().__init__()
        self.stages = nn.Sequential(nn.Sequential(_Block(), _Block()), nn.ModuleList([_Block()])[0], nn.BatchNorm1d(6))

    def forward(self, x):
        return self.stages(x)


def step(network):
    """Output, gradients, running statistics, and the bytes kept for the backward pass."""
    kept = {}

    def keep(tensor):
        kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    torch.manual_seed(3)
    x = torch.randn(64, 6)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = network(x)
    output.square().sum().backward()
    gradients = [p.grad for p in network.parameters()]
    return [output, *gradients, *network.buffers()], sum(kept.values())


def test_recomputed_blocks_give_the_same_gradients_and_statistics_from_less_memory():
    torch.manual_seed(0)
    plain = Blocks()
    saving = copy.deepcopy(plain)
    assert recompute_blocks(saving) == 3
    results, kept = step(plain)
    again, kept_again = step(saving)
    assert all(torch.equal(a, b) for a, b in zip(results, again, strict=True))
    assert kept_again < kept / 3
    assert list(saving.state_dict()) == list(plain.state_dict())
    assert int(saving.stages[2].num_batches_tracked) == 1


def test_without_gradients_nothing_changes():
    network = Blocks().eval()
    x = torch.randn(4, 6)
    with torch.no_grad():
        before = network(x)
        recompute_blocks(network)
        assert torch.equal(network(x), before)


@pytest.mark.parametrize(("backbone", "blocks"), [("efficientnet_b0", 16), ("timm:resnet18", 8)])
def test_the_blocks_of_a_backbone_are_those_of_its_paper(backbone, blocks):
    model = build_model(backbone, embedding_size=16, pooling="average", dropout=0.0, pretrained="none", image_size=64)
    assert recompute_blocks(model) == blocks
