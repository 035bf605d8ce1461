"""Files of the original's three kinds, written with classes of its names: imported, embeddings as before."""

import sys
import types
from collections import OrderedDict
from pathlib import Path

import pytest
import timm
import torch
from efficientnet_pytorch import EfficientNet
from facenet_pytorch import InceptionResnetV1
from torch import nn
from torch.nn import functional as F

from models import build_model, network_run, weights_preprocessing
from models.weights.import_file import import_file
from runtime.checkpoints.file import load_checkpoint, save_checkpoint
from runtime.errors import InputError

IMAGES = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(3))


class GeM(nn.Module):
    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.ones(1) * p)

    def forward(self, x):
        return (x.clamp(min=1e-6) ** self.p).mean((2, 3), keepdim=True) ** (1 / self.p)


class Backboned(nn.Module):
    """What the original had under ``model``: the backbone as ``net``."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net


class FaceNet2(nn.Module):
    """The original's class: beside the backbone a pooling and a neck (bias and all), and class centres."""

    def __init__(self, net: nn.Module, channels: int) -> None:
        super().__init__()
        self.model = Backboned(net)
        self.global_pool = GeM(2.5)
        self.neck = nn.Sequential(nn.Linear(channels, 40), nn.BatchNorm1d(40, eps=1e-3))
        self.head = nn.Linear(40, 9, bias=False)


class FaceNet(FaceNet2):
    """The triplets' class."""

    def __init__(self, net: nn.Module, channels: int) -> None:
        super().__init__(net, channels)
        del self.head


def inception(gem: bool) -> InceptionResnetV1:
    net = InceptionResnetV1(classify=False, num_classes=9)
    if gem:
        net.avgpool_1a = GeM(2.2)
    return net


def efficientnet(variant: str, **changes: object) -> EfficientNet:
    net = EfficientNet.from_name(f"efficientnet-{variant}", **changes)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):  # the package's own start makes the same of all images
            nn.init.kaiming_normal_(module.weight, a=0.4)
    return net


def unusual(network: nn.Module) -> nn.Module:
    """Evaluation mode, with BatchNorm statistics that are not those of a fresh network."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return network.eval()


@torch.no_grad()
def embed(network: FaceNet2) -> torch.Tensor:
    """As the original computed it, then normalised, as it compared."""
    net = network.model.net
    if isinstance(net, InceptionResnetV1):
        return net(IMAGES)
    features = net.extract_features(IMAGES) if isinstance(net, EfficientNet) else net.forward_features(IMAGES)
    return F.normalize(network.neck(network.global_pool(features).flatten(1)))


@pytest.fixture
def original(monkeypatch):
    """The classes as those of a module ``model``, which is gone again before anything is imported."""
    torch.manual_seed(0)
    module = types.ModuleType("model")
    for cls in (FaceNet, FaceNet2, Backboned, GeM):
        monkeypatch.setattr(cls, "__module__", "model")
        setattr(module, cls.__name__, cls)

    def save(content: object, path: Path, old: bool = False) -> Path:
        sys.modules["model"] = module
        try:
            torch.save(content, path, _use_new_zipfile_serialization=not old)
        finally:
            del sys.modules["model"]
        return path

    return save


def training(network: nn.Module) -> dict:
    """Optimiser and scheduler after a step, as they are pickled beside the network."""
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    network.neck[0].weight.grad = torch.zeros_like(network.neck[0].weight)
    optimiser.step()
    return {"optimizer": optimiser, "scheduler": torch.optim.lr_scheduler.MultiStepLR(optimiser, [5, 10])}


@torch.no_grad()
def imported(path: Path, out: Path) -> torch.Tensor:
    import_file(path, out)
    settings = load_checkpoint(out / "best.pt")["settings"]
    model = build_model(**settings, pretrained="none").eval()
    model.load_state_dict(load_checkpoint(out / "best.pt")["model"])
    return model(IMAGES)


def close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    return torch.allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize(("old", "gem"), [(False, False), (True, True)], ids=["zip, average", "old format, GeM"])
def test_a_dict_of_pickled_objects(original, tmp_path, old, gem):
    torch.manual_seed(0)
    network = unusual(FaceNet2(inception(gem), 1792))
    held = nn.DataParallel(network) if old else network
    path = original({"model": held, **training(network)}, tmp_path / "checkpoint.pt", old)
    assert close(imported(path, tmp_path / "run"), embed(network))
    content = load_checkpoint(tmp_path / "run" / "best.pt")
    assert torch.equal(content["criterion"]["weight"], network.head.weight)
    assert content["preprocessing"]["crop"] == "mtcnn_box" and content["preprocessing"]["size"] == 128
    assert content["settings"]["pooling"] == ("gem" if gem else "average")


@pytest.mark.parametrize("variant", ["b0", "b2"])
def test_a_whole_pickled_network_with_the_padding_it_was_built_with(original, tmp_path, variant):
    torch.manual_seed(1)
    # B2 is built for 260 px by default: its padding at 128 px is then another than that of a B2 for 128 px.
    net = efficientnet(variant)
    network = unusual(FaceNet(net, net._conv_head.out_channels))
    path = original(network, tmp_path / "network.pt")
    assert close(imported(path, tmp_path / "run"), embed(network))
    assert "criterion" not in load_checkpoint(tmp_path / "run" / "best.pt")


def test_a_pickled_efficientnet_for_another_size(original, tmp_path):
    net = efficientnet("b2", image_size=128)
    network = unusual(FaceNet(net, net._conv_head.out_channels))
    path = original(network, tmp_path / "network.pt")
    assert close(imported(path, tmp_path / "run"), embed(network))


@pytest.mark.parametrize("both_sides", [True, False], ids=["0.7.0", "before 0.7"])
def test_efficientnets_of_older_packages_keep_their_padding(original, tmp_path, both_sides):
    """0.7.0 padded strided layers on both sides whatever the size, versions before 0.7 those of an even image never."""
    net = efficientnet("b2")  # B2's own size, 260, becomes 130 and 65: padded in both ways
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.stride[0] == 2:
            more = (module.kernel_size[0] - 1) // 2
            less = more if both_sides else more - 1
            module.static_padding = nn.ZeroPad2d((less, more, less, more))
    network = unusual(FaceNet(net, net._conv_head.out_channels))
    path = original(network, tmp_path / "network.pt")
    assert close(imported(path, tmp_path / "run"), embed(network))


def test_an_efficientnet_that_pads_for_what_comes(original, tmp_path):
    net = efficientnet("b2", image_size=None)
    network = unusual(FaceNet(net, net._conv_head.out_channels))
    path = original(network, tmp_path / "network.pt")
    assert close(imported(path, tmp_path / "run"), embed(network))


@pytest.mark.parametrize("name", ["seresnext101_32x4d", "legacy_seresnext101_32x4d"])
def test_a_dict_of_state_dicts(original, tmp_path, name):
    network = unusual(FaceNet2(timm.create_model(name), 2048))
    state = nn.DataParallel(network).state_dict()
    content = {"model_state_dict": state, "optimizer_state_dict": training(network)["optimizer"].state_dict()}
    path = original(content, tmp_path / "checkpoint.pth")
    assert close(imported(path, tmp_path / "run"), embed(network))


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_a_file_saved_on_a_gpu_loads_on_the_cpu(original, tmp_path, monkeypatch):
    network = unusual(FaceNet(inception(False), 1792))
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:1")
    for old in (False, True):
        path = original(network, tmp_path / f"gpu{old}.pt", old)
        assert b"cuda:1" in path.read_bytes()
        assert close(imported(path, tmp_path / f"run{old}"), embed(network))


def test_bare_facenet_pytorch_weights(tmp_path):
    network = unusual(InceptionResnetV1(classify=False, num_classes=9))
    torch.save(network.state_dict(), tmp_path / "mine.pt")
    with torch.no_grad():
        assert close(imported(tmp_path / "mine.pt", tmp_path / "run"), network(IMAGES))
    assert load_checkpoint(tmp_path / "run" / "best.pt")["preprocessing"]["size"] == 160


def test_training_starts_from_an_imported_run(original, tmp_path):
    network = unusual(FaceNet2(inception(False), 1792))
    run = tmp_path / "run"
    import_file(original(network, tmp_path / "network.pt"), run)
    settings = {"embedding_size": 512, "dropout": 0.4, "image_size": 128, "pretrained": str(run)}
    model = build_model("inception_resnet_v1", pooling="backbone", **settings).eval()
    with torch.no_grad():
        assert close(model(IMAGES), embed(network))
    assert weights_preprocessing("inception_resnet_v1", str(run))["crop"] == "mtcnn_box"
    for change in ({"pooling": "gem"}, {"pooling": "average", "embedding_size": 128}):
        with pytest.raises(InputError, match="holds a run of this project"):
            build_model("inception_resnet_v1", **{**settings, **change})
    with pytest.raises(InputError, match="backbone inception_resnet_v1"):
        build_model("efficientnet_b0", pooling="average", **settings)


def test_a_checkpoint_of_this_project_needs_no_import(tmp_path):
    save_checkpoint(tmp_path / "best.pt", {"model": {"weight": torch.ones(2)}, "preprocessing": {"size": 112}})
    with pytest.raises(InputError, match="of this project"):
        import_file(tmp_path / "best.pt", tmp_path / "run")


def test_an_existing_run_is_not_overwritten(tmp_path):
    torch.save(InceptionResnetV1().state_dict(), tmp_path / "mine.pt")
    (tmp_path / "run").mkdir()
    with pytest.raises(InputError, match="exists"):
        import_file(tmp_path / "mine.pt", tmp_path / "run")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"epoch": torch.ones(3)}, "unknown network"),
        ({"epoch": 3}, "holds no network"),
        ([1, 2], "holds no network"),
        ({1: torch.ones(2)}, "holds no network"),
        (nn.Identity(), "without tensors"),
        (OrderedDict({"layer1.0.prelu.weight": torch.ones(2)}), "IResNet of 0-0-0-0 blocks"),
        ({"model.net.stem.weight": torch.ones(2)}, "neck.0.weight"),
        (
            {"model.net.stem.weight": torch.ones(2)}
            | {"neck.0.weight": torch.ones(2, 2), "neck.1.running_mean": torch.ones(2)},
            "backbone that is not known",
        ),
        ({"conv2d_1a.conv.weight": torch.ones(2), "last_linear.weight": torch.ones(512, 1792)}, "another architecture"),
        ({"conv2d_1a.conv.weight": torch.ones(2), "last_linear.weight": torch.tensor(1.0)}, "don't fit together"),
        (
            {"model.net._conv_stem.weight": torch.ones(2), "model.net._conv_head.weight": torch.ones(1280, 2)}
            | {f"model.net._blocks.{i}.x": torch.ones(2) for i in range(16)}
            | {"neck.0.weight": torch.ones(2, 2), "neck.0.bias": torch.ones(3), "neck.1.running_mean": torch.ones(2)},
            "don't fit together",
        ),
    ],
)
def test_unknown_contents_get_one_line(tmp_path, content, words):
    torch.save(content, tmp_path / "file.pt")
    with pytest.raises(InputError, match=words) as caught:
        import_file(tmp_path / "file.pt", tmp_path / "run")
    assert "\n" not in str(caught.value) and "file.pt" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_network_that_contains_itself_or_a_part_endlessly_often_gets_one_line(tmp_path):
    itself, doubled = nn.Sequential(), nn.Linear(2, 2)
    itself.add_module("itself", itself)
    for _ in range(40):
        doubled = nn.Sequential(doubled, doubled)
    for network in (itself, doubled):
        torch.save(network, tmp_path / "file.pt")
        with pytest.raises(InputError, match="too many modules"):
            import_file(tmp_path / "file.pt", tmp_path / "run")


def test_a_failure_while_writing_leaves_no_run(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    torch.save(InceptionResnetV1().state_dict(), tmp_path / "mine.pt")
    monkeypatch.setattr(network_run, "save_checkpoint", full)
    with pytest.raises(OSError, match="space"):
        import_file(tmp_path / "mine.pt", tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.pt"]
