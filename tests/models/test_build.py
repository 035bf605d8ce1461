"""Every backbone gives unit rows and trains; settings take effect; bad settings get one line."""

import numpy as np
import pytest
import torch
from torch import Tensor

from models import BACKBONES, build_model
from models.embedder import FaceEmbedder, Neck
from models.pooling import AveragePooling
from runtime.errors import InputError

SETTINGS = {"embedding_size": 32, "pooling": "backbone", "dropout": 0.0, "pretrained": "none", "image_size": 64}
SIZES = {"inception_resnet_v1": 96, "mobilefacenet": 112, "iresnet18": 112, "ir_18_se": 112}
# The other networks of the two families have more of the same blocks, or less in them: see test_iresnet, test_ir.
EVERY = [name for name in BACKBONES if not name.startswith("ir") or name in SIZES]
# Feature maps of tokens, and plain ones.
TIMM = ("timm:test_vit", "timm:test_resnet")
LIGHT = ("inception_resnet_v1", "efficientnet_b0", "mobilefacenet", "timm:test_resnet")


def build(backbone: str, **settings) -> FaceEmbedder:
    torch.manual_seed(0)
    return build_model(backbone, **{**SETTINGS, "image_size": SIZES.get(backbone, 64), **settings})


def faces(backbone: str, count: int = 3, image_size: int | None = None) -> Tensor:
    size = image_size or SIZES.get(backbone, 64)
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def lengths(embeddings: Tensor) -> np.ndarray:
    return np.sqrt((embeddings.detach().numpy().astype(np.float64) ** 2).sum(1))


def loss_of(model: FaceEmbedder, images: Tensor) -> Tensor:
    torch.manual_seed(2)  # EfficientNet drops whole blocks at random
    embeddings = model(images)
    return embeddings[0] @ embeddings[1] - embeddings[0] @ embeddings[2]


@pytest.mark.parametrize("backbone", [*EVERY, *TIMM])
def test_a_fresh_network_gives_unit_rows_in_evaluation_mode(backbone):
    with torch.no_grad():
        embeddings = build(backbone).eval()(faces(backbone))
    np.testing.assert_allclose(lengths(embeddings), 1, atol=1e-5)


@pytest.mark.parametrize("backbone", [*EVERY, *TIMM])
def test_each_backbone_gives_unit_rows_and_learns_in_one_step(backbone):
    model, images = build(backbone), faces(backbone)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    loss = loss_of(model, images)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained.values())
    squared = sum(float(p.grad.double().square().sum()) for p in trained.values())
    assert squared > 0
    with torch.no_grad():
        for p in trained.values():
            p -= 0.01 / squared * p.grad  # a first-order decrease of 0.01
        assert loss_of(model, images) < loss - 0.001
        embeddings = model.eval()(images)
    assert embeddings.shape == (3, 32) and embeddings.dtype == torch.float32
    np.testing.assert_allclose(lengths(embeddings), 1, atol=1e-5)


@pytest.mark.parametrize("backbone", LIGHT)
@pytest.mark.parametrize("training", [True, False])
def test_autocast_still_gives_float32_unit_rows(backbone, training):
    model = build(backbone).train(training)
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = model(faces(backbone))
    assert embeddings.dtype == torch.float32
    np.testing.assert_allclose(lengths(embeddings), 1, atol=1e-5)


def test_a_row_of_zeros_gives_no_nan():
    model = FaceEmbedder(torch.nn.Identity(), AveragePooling(), 0.0, Neck(3, 4)).eval()
    images = torch.zeros(2, 3, 5, 5)
    images[1] = 1
    images.requires_grad_()
    embeddings = model(images)
    embeddings.sum().backward()
    assert embeddings[0].eq(0).all() and images.grad.isfinite().all()
    np.testing.assert_allclose(lengths(embeddings)[1], 1, atol=1e-6)


@pytest.mark.parametrize("backbone", LIGHT)
@pytest.mark.parametrize("pooling", ["gem", "average"])
def test_pooling_replaces_that_of_the_backbone(backbone, pooling):
    size = 112 if backbone == "mobilefacenet" else 128
    model = build(backbone, pooling=pooling, image_size=size)
    seen = {}
    model.backbone.register_forward_hook(lambda module, inputs, output: seen.update(features=output))
    model.neck.register_forward_hook(lambda module, inputs, output: seen.update(pooled=inputs[0]))
    with torch.no_grad():
        model(faces(backbone, image_size=size))
    features = seen["features"].double().numpy()
    gem = (np.maximum(features, 1e-6) ** 3).mean((2, 3)) ** (1 / 3)
    expected, other = (gem, features.mean((2, 3))) if pooling == "gem" else (features.mean((2, 3)), gem)
    np.testing.assert_allclose(seen["pooled"].numpy(), expected, rtol=1e-3, atol=1e-5)
    assert not np.allclose(seen["pooled"].numpy(), other, rtol=1e-3, atol=1e-5)


def test_gem_has_a_learned_exponent_and_the_average_has_none():
    # 128 px, as smaller images leave a feature map of one position, where p makes no difference.
    model = build("inception_resnet_v1", pooling="gem", image_size=128)
    model(faces("inception_resnet_v1", image_size=128))[0, 0].backward()
    assert model.pooling.p.grad.abs().item() > 0
    assert not list(build("inception_resnet_v1").pooling.parameters())


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_dropout_takes_effect_in_training_alone(dropout):
    model = build("mobilefacenet", dropout=dropout)
    seen = []
    model.neck.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    with torch.no_grad():
        model(faces("mobilefacenet", 8))
        model.eval()(faces("mobilefacenet", 8))
    dropped = [(pooled == 0).double().mean().item() for pooled in seen]
    # 8 × 512 draws: the standard deviation of the share is 0.8 %.
    assert dropped[0] == pytest.approx(dropout, abs=0.04) and dropped[1] == 0


@pytest.mark.parametrize("backbone", LIGHT)
def test_norm_momentum_reaches_every_batchnorm(backbone):
    norms = [
        m for m in build(backbone, norm_momentum=0.3).modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)
    ]
    assert norms and all(norm.momentum == 0.3 for norm in norms)


@pytest.mark.parametrize(("norm_momentum", "looks_collapsed"), [(0.01, True), (0.1, False)])
def test_efficientnets_own_norm_momentum_looks_collapsed_in_evaluation(norm_momentum, looks_collapsed):
    """No weight moves and every batch is the same: what differs is how soon the running statistics are those of it."""
    model, images = build("efficientnet_b0", image_size=32, norm_momentum=norm_momentum), torch.randn(8, 3, 32, 32)
    with torch.no_grad():
        for _ in range(40):
            assert torch.pdist(model(images)).mean() > 1
        assert (torch.pdist(model.eval()(images)).mean() < 0.1) == looks_collapsed


def test_mobilefacenets_fixed_gamma_stays_1_in_training():
    model = build("mobilefacenet")
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    before = model.neck.norm.bias.detach().clone()
    for _ in range(2):
        optimiser.zero_grad()
        loss_of(model, faces("mobilefacenet")).backward()
        optimiser.step()
    assert model.neck.norm.weight.eq(1).all() and not model.neck.norm.bias.equal(before)


def test_the_same_settings_rebuild_the_model():
    model = build("inception_resnet_v1", pooling="gem").eval()
    torch.nn.init.constant_(model.pooling.p, 2.5)
    again = build_model("inception_resnet_v1", **{**SETTINGS, "pooling": "gem", "image_size": 96}).eval()
    again.load_state_dict(model.state_dict())
    images = faces("inception_resnet_v1")
    assert again(images).equal(model(images))


@pytest.mark.parametrize(
    ("backbone", "settings", "words"),
    [
        ("inception_resnet_v2", {}, [*BACKBONES, "timm:NAME"]),
        ("timm:seresnext101_32x4", {}, ["seresnext101_32x4d"]),
        ("timm:qqqq", {}, ["timm.list_models()"]),
        ("mobilefacenet", {"image_size": 128}, ["112"]),
        ("inception_resnet_v1", {"image_size": 40}, ["40", "image_size"]),
        ("efficientnet_b0", {"pooling": "max"}, ["average", "gem", "backbone"]),
        ("efficientnet_b0", {"dropout": 1.0}, ["dropout"]),
        ("efficientnet_b0", {"embedding_size": 0}, ["embedding_size"]),
        ("inception_resnet_v1", {"pretrained": "vggface2"}, ["512", "embedding_size"]),
        ("efficientnet_b0", {"pretrained": "vggface2"}, ["vggface2", "none, imagenet"]),
    ],
)
def test_settings_that_make_no_sense_get_one_line(backbone, settings, words):
    with pytest.raises(InputError) as caught:
        build(backbone, **settings)
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in words), message
