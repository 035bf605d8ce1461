"""IResNet against a second one: plain functions on seeded tensors under the names of arcface_torch's files."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models import build_model
from models.backbones.iresnet import BLOCKS
from models.embedder import FaceEmbedder
from runtime.errors import InputError
from runtime.memory.recompute import recompute_blocks

SIZE, EMBEDDING = 112, 64


def random_tensors(blocks: tuple[int, ...]) -> dict[str, Tensor]:
    """A ``backbone.pth`` with values that keep the signal alive."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}

    def weights(name: str, *shape: int) -> None:
        tensors[f"{name}.weight"] = np.prod(shape[1:]) ** -0.5 * torch.randn(*shape, generator=generator)

    def norm(name: str, channels: int) -> None:
        tensors[f"{name}.weight"] = 0.5 + torch.rand(channels, generator=generator)
        tensors[f"{name}.bias"] = 0.3 * torch.randn(channels, generator=generator)
        tensors[f"{name}.running_mean"] = 0.3 * torch.randn(channels, generator=generator)
        tensors[f"{name}.running_var"] = 0.5 + torch.rand(channels, generator=generator)
        tensors[f"{name}.num_batches_tracked"] = torch.tensor(7)

    weights("conv1", 64, 3, 3, 3)
    norm("bn1", 64)
    tensors["prelu.weight"] = torch.rand(64, generator=generator)
    inputs = 64
    for stage, count in enumerate(blocks):
        width = 64 * 2**stage
        for i in range(count):
            name = f"layer{stage + 1}.{i}"
            norm(f"{name}.bn1", inputs)
            weights(f"{name}.conv1", width, inputs, 3, 3)
            norm(f"{name}.bn2", width)
            tensors[f"{name}.prelu.weight"] = torch.rand(width, generator=generator)
            weights(f"{name}.conv2", width, width, 3, 3)
            norm(f"{name}.bn3", width)
            if i == 0:
                weights(f"{name}.downsample.0", width, inputs, 1, 1)
                norm(f"{name}.downsample.1", width)
            inputs = width
    norm("bn2", 512)
    weights("fc", EMBEDDING, 512 * 7 * 7)
    tensors["fc.bias"] = torch.randn(EMBEDDING, generator=generator)
    norm("features", EMBEDDING)
    tensors["features.weight"] = torch.ones(EMBEDDING)
    return tensors


def reference(tensors: dict[str, Tensor], x: Tensor) -> Tensor:
    """Images to embeddings in float64, in evaluation; not of unit length."""
    t = {name: value.double() for name, value in tensors.items()}

    def norm(name: str, x: Tensor) -> Tensor:
        shape = (1, -1) + (1,) * (x.ndim - 2)
        scale = t[f"{name}.weight"] / (t[f"{name}.running_var"] + 1e-5).sqrt()
        return (x - t[f"{name}.running_mean"].view(shape)) * scale.view(shape) + t[f"{name}.bias"].view(shape)

    def prelu(name: str, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, t[f"{name}.weight"].view(1, -1, 1, 1) * x)

    x = prelu("prelu", norm("bn1", F.conv2d(x.double(), t["conv1.weight"], padding=1)))
    for name in [key.removesuffix(".conv1.weight") for key in t if key.endswith(".conv1.weight")]:
        stride = 2 if name.endswith(".0") else 1
        out = F.conv2d(norm(f"{name}.bn1", x), t[f"{name}.conv1.weight"], padding=1)
        out = prelu(f"{name}.prelu", norm(f"{name}.bn2", out))
        out = norm(f"{name}.bn3", F.conv2d(out, t[f"{name}.conv2.weight"], padding=1, stride=stride))
        if stride == 2:
            x = norm(f"{name}.downsample.1", F.conv2d(x, t[f"{name}.downsample.0.weight"], stride=2))
        x = out + x
    flat = norm("bn2", x).reshape(len(x), -1)
    return norm("features", flat @ t["fc.weight"].T + t["fc.bias"])


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


def faces(count: int = 2) -> Tensor:
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["iresnet18", "iresnet50"])
@torch.no_grad()
def test_upstreams_tensors_give_the_embeddings_of_the_description(name):
    tensors, model = random_tensors(BLOCKS[name]), build(name).eval()
    model.load_state_dict(as_ours(tensors))
    expected = F.normalize(reference(tensors, faces()))
    np.testing.assert_allclose(model(faces()).numpy(), expected.numpy(), atol=1e-5)


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
        model(faces())[0, 0].backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad]))
    assert gradients[0].equal(gradients[1])


@pytest.mark.parametrize("pooling", ["backbone", "average"])
def test_another_image_size_is_refused_in_one_line(pooling):
    with pytest.raises(InputError) as caught:
        build("iresnet18", pooling, size=128)
    assert str(caught.value) == "iresnet18 takes 112×112 images only; image_size is 128: set it to 112"
