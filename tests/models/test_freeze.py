"""Frozen parts are the same to the bit after training, running statistics included."""

import copy

import pytest
import torch

from models import build_model
from models.embedder import FaceEmbedder
from runtime.errors import InputError
from runtime.training.ema import EMA
from runtime.training.optim import optimiser_for
from tests.engine import settings_of


def build(backbone: str = "timm:test_resnet", **settings) -> FaceEmbedder:
    torch.manual_seed(0)
    usual = {"embedding_size": 16, "pooling": "average", "dropout": 0.0, "pretrained": "none", "image_size": 32}
    return build_model(backbone, **{**usual, **settings})


def trained(model: FaceEmbedder, **settings) -> tuple[dict, dict]:
    """The state before and after three steps with weight decay, momentum and a moving average."""
    before = copy.deepcopy(model.state_dict())
    optimiser, average = optimiser_for(settings_of(weight_decay=0.1, **settings), [model]), EMA(model, 0.9)
    model.train()
    for seed in range(3):
        images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) + 1
        optimiser.zero_grad()
        embeddings = model(images)
        (embeddings[0] @ embeddings[1] - embeddings[2] @ embeddings[3]).backward()
        optimiser.step()
        average.update()
    for name, value in model.state_dict().items():
        if torch.equal(value, before[name]):
            assert torch.equal(average.state_dict()[name], before[name])
    return before, model.state_dict()


@pytest.mark.parametrize("frozen", [("conv1", "bn1", "layer1"), ("backbone",), ("neck", "layer2.0"), ()])
def test_what_is_named_stays_to_the_bit_and_all_else_moves(frozen):
    model = build()
    model.freeze(frozen)
    before, after = trained(model)
    prefixes = tuple(f"{'' if name in ('backbone', 'neck') else 'backbone.net.'}{name}." for name in frozen)
    for name, value in before.items():
        assert torch.equal(value, after[name]) == name.startswith(prefixes), name


def test_a_frozen_batchnorm_normalises_by_its_running_statistics():
    model = build()
    model.freeze(["backbone"])
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        evaluated = model.eval().backbone(images)
        assert torch.equal(model.train().backbone(images), evaluated)
        assert model.neck.training and not model.backbone.training


@pytest.mark.parametrize(
    ("backbone", "size", "stages"),
    [
        ("inception_resnet_v1", 96, "backbone, neck, conv2d_1a, .*repeat_1, mixed_6a"),
        ("mobilefacenet", 112, "backbone, neck, conv_1, conv_2_dw, dconv_23"),
        ("iresnet18", 112, "backbone, neck, conv1, bn1, prelu, layer1, layer2, layer3, layer4, bn2"),
        ("timm:test_resnet", 32, "backbone, neck, conv1, bn1"),
    ],
)
def test_an_unknown_name_is_answered_with_the_names_there_are(backbone, size, stages):
    model = build(backbone, image_size=size)
    for name in ("layer9", ""):
        with pytest.raises(InputError, match=f"no part '{name}'; its stages are {stages}") as error:
            model.freeze([name])
        assert "\n" not in str(error.value)


def test_nothing_left_to_train_is_said():
    with pytest.raises(InputError, match="backbone, neck leave nothing of the network to train"):
        build().freeze(["backbone", "neck"])
