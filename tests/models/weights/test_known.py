"""Published weight files: found, loaded as their own packages would, and refused in one line."""

import urllib.error
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from efficientnet_pytorch import EfficientNet
from facenet_pytorch import InceptionResnetV1
from safetensors.torch import save_file
from torch import nn

from models import build_model, weights_preprocessing
from models.weights import known as weights
from tests.one_line import one_line

VGGFACE2 = "20180402-114759-vggface2.pt"


def build(backbone: str, pretrained: str, **settings):
    defaults = {"embedding_size": 512, "pooling": "backbone", "dropout": 0.0, "image_size": 96}
    return build_model(backbone, pretrained=pretrained, **{**defaults, **settings})


def with_random_statistics(model: nn.Module) -> nn.Module:
    """BatchNorm statistics that are not those of a fresh network."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval()


@pytest.fixture
def no_network(monkeypatch, tmp_path) -> Path:
    """An empty cache folder, and downloads that fail as they do without a network."""

    def fail(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    monkeypatch.setattr(weights, "try_to_load_from_cache", lambda *args: None)
    return tmp_path


@pytest.fixture(scope="module")
def facenet() -> InceptionResnetV1:
    torch.manual_seed(0)
    return with_random_statistics(InceptionResnetV1(classify=True, num_classes=7))


@pytest.mark.parametrize("folder", ["checkpoints", "hub/checkpoints"])
def test_vggface2_in_the_cache_gives_facenet_pytorchs_embeddings(no_network, facenet, folder):
    (no_network / folder).mkdir(parents=True)
    torch.save(facenet.state_dict(), no_network / folder / VGGFACE2)
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    facenet.classify = False
    with torch.no_grad():
        ours, theirs = build("inception_resnet_v1", "vggface2").eval()(images), facenet(images)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-5)


def test_a_local_file_works_with_gem_too(facenet, tmp_path):
    torch.save(facenet.state_dict(), tmp_path / "mine.pt")
    model = build("inception_resnet_v1", str(tmp_path / "mine.pt"), pooling="gem")
    assert model.neck.linear.weight.equal(facenet.last_linear.weight) and model.pooling.p.item() == 3


def test_a_download_lands_in_the_cache_and_is_loaded(no_network, facenet, monkeypatch):
    fetched = []

    def fetch(url, target):
        fetched.append(url)
        torch.save(facenet.state_dict(), target)

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    for _ in range(2):
        model = build("inception_resnet_v1", "vggface2")
    assert model.neck.linear.weight.equal(facenet.last_linear.weight)
    assert len(fetched) == 1 and fetched[0].endswith(VGGFACE2)


def test_efficientnet_takes_its_packages_weights(tmp_path):
    torch.manual_seed(0)
    theirs = with_random_statistics(EfficientNet.from_name("efficientnet-b0", image_size=96))
    torch.save(theirs.state_dict(), tmp_path / "b0.pth")
    ours = build("efficientnet_b0", str(tmp_path / "b0.pth")).eval()
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        features, expected = ours.backbone(images), theirs.extract_features(images)
    np.testing.assert_allclose(features.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)


def test_timm_takes_its_own_weights(tmp_path):
    torch.manual_seed(0)
    theirs = with_random_statistics(timm.create_model("test_resnet"))
    save_file(theirs.state_dict(), tmp_path / "weights.safetensors")
    ours = build("timm:test_resnet", str(tmp_path / "weights.safetensors")).eval()
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        features, expected = ours.backbone(images), theirs.forward_features(images)
    np.testing.assert_allclose(features.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("backbone", "pretrained", "file", "host"),
    [
        ("inception_resnet_v1", "vggface2", VGGFACE2, "https://github.com/"),
        ("inception_resnet_v1", "casia-webface", "20180408-102900-casia-webface.pt", "https://github.com/"),
        ("efficientnet_b3", "imagenet", "efficientnet-b3-5fb5a3c3.pth", "https://github.com/"),
        ("seresnext101", "imagenet", "seresnext101_32x4d", "https://huggingface.co/"),
        ("timm:resnet18", "imagenet", "resnet18", "https://huggingface.co/"),
    ],
)
def test_weights_that_cant_be_downloaded_get_one_line(no_network, backbone, pretrained, file, host):
    message = one_line(lambda: build(backbone, pretrained))
    assert file in message and host in message and str(no_network / "hub" / "checkpoints") in message
    assert not list(no_network.rglob("*.p*"))


def test_weights_of_another_architecture_get_one_line(facenet, tmp_path):
    path = str(tmp_path / "facenet.pt")
    torch.save(facenet.state_dict(), path)
    for backbone, settings in (
        ("efficientnet_b0", {}),
        ("timm:test_resnet", {}),
        ("mobilefacenet", {"image_size": 112, "embedding_size": 128}),
    ):
        message = one_line(lambda b=backbone, s=settings: build(b, path, **s))
        assert message.startswith(
            f"{path} holds InceptionResnetV1 of facenet-pytorch; set backbone inception_resnet_v1"
        )


def test_a_network_of_another_width_gets_one_line(tmp_path):
    torch.save(EfficientNet.from_name("efficientnet-b0").state_dict(), tmp_path / "b0.pth")
    message = one_line(lambda: build("efficientnet_b2", str(tmp_path / "b0.pth")))
    assert "of another shape" in message and " instead of " in message


class Hostile:
    """Unpickling it would leave a file behind."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return Path.touch, (self.witness,)


def test_damaged_and_foreign_files_get_one_line(facenet, tmp_path):
    whole = tmp_path / "whole.pt"
    torch.save(facenet.state_dict(), whole)
    save_file({"weight": torch.ones(100)}, tmp_path / "whole.safetensors")
    (tmp_path / "cut.pt").write_bytes(whole.read_bytes()[:100_000])
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "whole.safetensors").read_bytes()[:90])
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "page.pt").write_text("<html>404</html>")
    torch.save({"model": Hostile(tmp_path / "ran")}, tmp_path / "hostile.pt")
    torch.save({"epoch": 3}, tmp_path / "numbers.pt")
    for name in ("cut.pt", "cut.safetensors", "empty.pt", "page.pt", "hostile.pt", "numbers.pt"):
        message = one_line(lambda n=name: build("inception_resnet_v1", str(tmp_path / n)))
        assert name in message
    assert not (tmp_path / "ran").exists()


def test_preprocessing_of_the_known_weights(facenet, tmp_path):
    by_name = weights_preprocessing("inception_resnet_v1", "vggface2")
    assert (by_name["size"], by_name["crop"]) == (160, "mtcnn_box")
    # (x − 127.5) / 128 on bytes.
    pixels = np.array([0, 100, 255])
    np.testing.assert_allclose((pixels / 255 - by_name["mean"][0]) / by_name["std"][0], (pixels - 127.5) / 128)
    for file, expected in ((VGGFACE2, by_name), ("mine.pt", None)):
        torch.save(facenet.state_dict(), tmp_path / file)
        assert weights_preprocessing("inception_resnet_v1", str(tmp_path / file)) == expected
    torch.save(EfficientNet.from_name("efficientnet-b0").state_dict(), tmp_path / "b0.pth")
    for backbone, pretrained in (
        ("inception_resnet_v1", "none"),
        ("seresnext101", "imagenet"),
        ("efficientnet_b0", "imagenet"),
        ("efficientnet_b0", str(tmp_path / "b0.pth")),
    ):
        assert weights_preprocessing(backbone, pretrained) is None
    one_line(lambda: weights_preprocessing("nonesuch", "none"))
