"""IResNet against a second one: plain functions on seeded tensors under the names of arcface_torch's files."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from models import build_model
from models.backbones.iresnet import BLOCKS
from models.embedder import FaceEmbedder
from runtime.errors import InputError
from runtime.memory.recompute import recompute_blocks
from tests.models.upstream import SIZE, images, iresnet_embeddings, iresnet_tensors

EMBEDDING = 64


def as_ours(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same under this project's names: the tail is the neck, all else the backbone."""
    tail = {"fc": "neck.linear", "features": "neck.norm"}
    split = {name: name.split(".", 1) for name in tensors}
    return {
        f"{tail[first]}.{rest}" if first in tail else f"backbone.{name}": tensors[name]
        for name, (first, rest) in split.items()
    }


def build(name: str, pooling: str = "backbone", size: int = SIZE) -> FaceEmbedder:
    torch.manual_seed(0)
    settings = {"embedding_size": EMBEDDING, "dropout": 0.0, "pretrained": "none"}
    return build_model(name, pooling=pooling, image_size=size, **settings)


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


def test_every_position_has_weights_of_its_own_unless_they_are_pooled():
    assert build("iresnet18").neck.linear.in_features == 512 * 49
    for pooling in ("average", "gem"):
        assert build("iresnet18", pooling).neck.linear.in_features == 512


def test_the_last_scale_stays_1():
    neck = build("iresnet18").neck
    assert not neck.norm.weight.requires_grad and neck.linear.bias.requires_grad and neck.norm.eps == 1e-5


def test_blocks_are_recomputed():
    plain = build("iresnet18")
    saving = copy.deepcopy(plain)
    assert recompute_blocks(saving) == sum(BLOCKS["iresnet18"])
    gradients = []
    for model in (plain, saving):
        model(images())[0, 0].backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad]))
    assert gradients[0].equal(gradients[1])


@pytest.mark.parametrize("pooling", ["backbone", "average"])
def test_another_image_size_is_refused_in_one_line(pooling):
    with pytest.raises(InputError) as caught:
        build("iresnet18", pooling, size=128)
    assert str(caught.value) == "iresnet18 takes 112×112 images only; image_size is 128: set it to 112"
