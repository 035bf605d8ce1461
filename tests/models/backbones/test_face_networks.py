"""What the families that take 112×112 faces alone have in common."""

import copy

import pytest
import torch

from models.backbones.iresnet import BLOCKS
from runtime.memory.recompute import recompute_blocks
from tests.models.face_network import build
from tests.models.upstream import images
from tests.one_line import one_line

FAMILIES = {"iresnet18": sum(BLOCKS["iresnet18"]), "ir_18_se": 8}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("pooling", ["average", "gem"])
def test_pooled_features_are_the_channels(name, pooling):
    assert build(name, pooling).neck.linear.in_features == 512


@pytest.mark.parametrize(("name", "blocks"), FAMILIES.items())
def test_blocks_are_recomputed(name, blocks):
    plain = build(name)
    saving = copy.deepcopy(plain)
    assert recompute_blocks(saving) == blocks
    gradients = []
    for model in (plain, saving):
        model(images())[0, 0].backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad]))
    assert gradients[0].equal(gradients[1])


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("pooling", ["backbone", "average"])
def test_another_image_size_is_refused_in_one_line(name, pooling):
    expected = f"{name} takes 112×112 images only; image_size is 128: set it to 112"
    assert one_line(lambda: build(name, pooling, size=128)) == expected
