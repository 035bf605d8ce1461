"""IResNet against a second one: plain functions on seeded tensors under the names of arcface_torch's files."""

import numpy as np
import pytest
import torch
from torch import Tensor

from models.backbones.iresnet import BLOCKS
from tests.models.face_network import EMBEDDING, build
from tests.models.upstream import images, iresnet_embeddings, iresnet_tensors


def as_ours(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same under this project's names: the tail is the neck, all else the backbone."""
    tail = {"fc": "neck.linear", "features": "neck.norm"}
    split = {name: name.split(".", 1) for name in tensors}
    return {
        f"{tail[first]}.{rest}" if first in tail else f"backbone.{name}": tensors[name]
        for name, (first, rest) in split.items()
    }


@pytest.mark.parametrize("name", ["iresnet18", "iresnet50"])
@torch.no_grad()
def test_upstreams_tensors_give_the_embeddings_of_the_description(name):
    tensors, model = iresnet_tensors(BLOCKS[name], EMBEDDING), build(name).eval()
    model.load_state_dict(as_ours(tensors))
    expected = iresnet_embeddings(tensors, images())
    np.testing.assert_allclose(model(images()).numpy(), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "millions"),
    # Of arcface_torch's networks of 512 values, as its documents and ONNX files have them.
    [("iresnet18", 24.0), ("iresnet34", 34.1), ("iresnet50", 43.6), ("iresnet100", 65.2)],
)
def test_parameters_are_as_many_as_upstream(name, millions):
    features = build(name).backbone
    tail = 512 * 512 * 49 + 3 * 512
    assert (sum(p.numel() for p in features.parameters()) + tail) / 1e6 == pytest.approx(millions, abs=0.06)


def test_every_position_has_weights_of_its_own():
    assert build("iresnet18").neck.linear.in_features == 512 * 49


def test_the_last_scale_stays_1():
    neck = build("iresnet18").neck
    assert not neck.norm.weight.requires_grad and neck.linear.bias.requires_grad and neck.norm.eps == 1e-5
