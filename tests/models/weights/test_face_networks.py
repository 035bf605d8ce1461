"""Weight files of IResNet and IR: read off the tensors, embeddings of the description, wrong ones refused in a line."""

import collections
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models import build_model, weights_preprocessing
from models.backbones.ir import FORMS
from models.backbones.iresnet import BLOCKS
from models.weights.import_file import import_file
from models.weights.pickled import read_pickled
from models.weights.read import read_network
from models.weights.recognise import recognise
from runtime.checkpoints.file import load_checkpoint
from tests.models.upstream import DEPTHS, images, ir_embeddings, ir_tensors, iresnet_embeddings, iresnet_tensors
from tests.one_line import one_line

EMBEDDING = 48
STEM = "input_layer.0.weight"


@pytest.fixture(scope="module")
def iresnet() -> dict[str, Tensor]:
    return iresnet_tensors(DEPTHS[18], EMBEDDING)


@pytest.fixture(scope="module")
def ir() -> dict[str, Tensor]:
    return ir_tensors(DEPTHS[18], EMBEDDING)


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in tensors.items()}


def pretrained(path: Path, backbone: str, **changes: object):
    settings = {"embedding_size": EMBEDDING, "pooling": "backbone", "image_size": 112, "dropout": 0.0, **changes}
    return build_model(backbone, pretrained=str(path), **settings).eval()


# ==== embeddings ====


@torch.no_grad()
def test_insightfaces_backbone(iresnet, tmp_path):
    path = tmp_path / "backbone.pth"
    torch.save(iresnet, path)
    found = pretrained(path, "iresnet18")(images())
    np.testing.assert_allclose(found.numpy(), iresnet_embeddings(iresnet, images()).numpy(), atol=1e-5)
    assert weights_preprocessing("iresnet18", str(path)) == {
        "size": 112,
        "crop": "arcface5",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    }


class ModelCheckpoint:
    """Lightning names its callbacks' classes in its checkpoints."""


def lightning_checkpoint(tensors: dict[str, Tensor], path: Path) -> None:
    """As AdaFace's: network, head and its buffers in one state dict, and much else beside it."""
    names = ["pytorch_lightning", "pytorch_lightning.callbacks", "pytorch_lightning.callbacks.model_checkpoint"]
    modules = {name: types.ModuleType(name) for name in names}
    modules[names[-1]].ModelCheckpoint = ModelCheckpoint
    ModelCheckpoint.__module__ = names[-1]
    head = {"head.kernel": torch.arange(EMBEDDING * 5.0).reshape(EMBEDDING, 5), "head.t": torch.zeros(1)}
    content = {
        "epoch": 25,
        "pytorch-lightning_version": "1.4.4",
        "state_dict": {**under("model.", tensors), **head},
        "callbacks": {ModelCheckpoint: {"best_model_path": "epoch=25.ckpt"}},
        "optimizer_states": [{"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}],
        "hyper_parameters": {"arch": "ir_18", "head": "adaface"},
    }
    # Not mock.patch.dict, which would also drop what is first imported meanwhile.
    with pytest.MonkeyPatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        torch.save(content, path)


@torch.no_grad()
def test_adafaces_checkpoint_takes_rgb_after_the_import(ir, tmp_path):
    path = tmp_path / "adaface_ir18.ckpt"
    lightning_checkpoint(ir, path)
    network = import_file(path, tmp_path / "run")
    content = load_checkpoint(tmp_path / "run" / "best.pt")
    assert network.kind == "AdaFace's ir_18" and any("reversed" in remark for remark in network.remarks)
    assert content["model"]["backbone.input_layer.0.weight"].equal(ir[STEM][:, [2, 1, 0]])
    assert content["criterion"]["weight"].equal(torch.arange(EMBEDDING * 5.0).reshape(EMBEDDING, 5).T)
    assert content["preprocessing"]["std"] == [0.5, 0.5, 0.5]
    expected = ir_embeddings(ir, images()[:, [2, 1, 0]]).numpy()
    for start in (path, tmp_path / "run"):
        np.testing.assert_allclose(pretrained(start, "ir_18")(images()).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("prefix", "config", "turned"),
    [
        ("model.net.", None, False),
        ("model.net.", '{"conf": {"color_space": "RGB"}}', False),
        ("model.net.", '{"conf": {"name": "ir18", "color_space": "BGR"}}', True),
        ("", None, True),
    ],
    ids=["CVLface", "says RGB", "says BGR", "AdaFace's bare"],
)
def test_which_files_take_bgr(ir, tmp_path, prefix, config, turned):
    save_file(under(prefix, ir), tmp_path / "model.safetensors")
    if config:
        (tmp_path / "config.json").write_text(config)
    stem = read_network(tmp_path / "model.safetensors").state["backbone.input_layer.0.weight"]
    assert stem.equal(ir[STEM].flip(1) if turned else ir[STEM])


def test_cvlfaces_yaml_says_the_colours_of_an_iresnet(iresnet, tmp_path):
    torch.save(under("net.", iresnet), tmp_path / "model.pt")
    (tmp_path / "model.yaml").write_text("name: 'ir50'\ncolor_space: 'BGR'\n")
    stem = read_network(tmp_path / "model.pt").state["backbone.conv1.weight"]
    assert stem.equal(iresnet["conv1.weight"].flip(1))


# ==== depth, form and size are read off the tensors ====


@pytest.mark.parametrize("name", BLOCKS)
def test_each_iresnet_is_recognised(name):
    found = recognise(iresnet_tensors(DEPTHS[int(name.removeprefix("iresnet"))], 64, "meta"), Path("backbone.pth"))
    assert found.settings == {"backbone": name, "embedding_size": 64, "pooling": "backbone", "image_size": 112}


@pytest.mark.parametrize("name", FORMS)
def test_each_ir_is_recognised(name):
    form = FORMS[name]
    found = recognise(ir_tensors(form.blocks, 64, form.excited, form.middle_norm, "meta"), Path("model.pt"))
    assert found.settings == {"backbone": name, "embedding_size": 64, "pooling": "backbone", "image_size": 112}
    assert found.kind == f"{'AdaFace' if form.middle_norm else 'CurricularFace'}'s {name}"


def test_curricularface_takes_rgb(tmp_path):
    tensors = ir_tensors(DEPTHS[50], EMBEDDING, True, False, "meta")
    tensors[STEM] = torch.randn(64, 3, 3, 3)
    found = recognise(under("module.", tensors), Path("CurricularFace_Backbone.pth"))
    assert found.state["backbone.input_layer.0.weight"].equal(tensors[STEM])


# ==== what is refused ====


def test_other_settings_are_refused_with_those_that_fit(iresnet, tmp_path):
    path = tmp_path / "backbone.pth"
    torch.save(iresnet, path)
    for backbone, changes, remedy, given in (
        (
            "iresnet50",
            {},
            f"backbone iresnet18, embedding_size {EMBEDDING}, pooling backbone, image_size 112",
            "iresnet50",
        ),
        ("efficientnet_b0", {}, "backbone iresnet18", "efficientnet_b0"),
        ("mobilefacenet", {}, "backbone iresnet18", "mobilefacenet"),
        ("iresnet18", {"embedding_size": 512}, f"embedding_size {EMBEDDING}", "512"),
        ("iresnet18", {"pooling": "gem"}, "pooling backbone", "gem"),
    ):
        message = one_line(lambda b=backbone, c=changes: pretrained(path, b, **c))
        assert message.startswith(f"{path} holds InsightFace's iresnet18; set ")
        assert remedy in message and message.endswith(f"(not {given})")


def test_networks_that_are_not_here_are_named(iresnet, ir, tmp_path):
    deeper = {**iresnet, **{f"layer4.{i}.conv1.weight": torch.zeros(1) for i in (2, 3)}}
    learned = {**ir, "output_layer.4.weight": torch.ones(EMBEDDING)}
    longer = {**ir, "body.8.res_layer.1.weight": torch.zeros(512, 1)}
    for name, content, words in (
        ("deeper.pth", deeper, "IResNet of 2-2-2-4 blocks"),
        ("evolve.pth", learned, "face.evoLVe"),
        ("longer.pth", longer, "2-2-2-3 blocks (excitation: false, middle batchnorm: true); known are ir_18"),
        ("headless.pth", {key: x for key, x in iresnet.items() if not key.startswith("fc.")}, "lacks fc.weight"),
        ("bare.pth", {key: x for key, x in ir.items() if "output_layer" not in key}, "lacks output_layer.3.weight"),
        ("part.pth", {key: x for key, x in iresnet.items() if not key.startswith("bn2.")}, "missing"),
        ("other.pth", {"stem.weight": torch.zeros(3)}, "unknown network"),
    ):
        torch.save(content, tmp_path / name)
        message = one_line(lambda n=name: import_file(tmp_path / n, tmp_path / "run"))
        assert name in message and words in message
    assert not (tmp_path / "run").exists()


def test_a_tensor_of_another_shape_is_refused(ir, tmp_path):
    torch.save({**ir, "output_layer.3.weight": torch.zeros(EMBEDDING, 512 * 14 * 14)}, tmp_path / "for_224px.pth")
    message = one_line(lambda: pretrained(tmp_path / "for_224px.pth", "ir_18"))
    assert "neck.linear.weight [48, 100352] instead of [48, 25088]" in message


class Call:
    """A pickle that calls a function."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.made = function, arguments

    def __reduce__(self):
        return self.made


def test_fifty_hostile_files_run_nothing(tmp_path):
    """Each would leave a file behind, wherever in the content the call is and whatever it looks like."""
    witness = tmp_path / "ran"
    calls = [
        Call(Path.touch, witness),
        Call(exec, f"open({str(witness)!r}, 'w')"),
        Call(eval, f"open({str(witness)!r}, 'w')"),
        Call(open, str(witness), "w"),
        Call(__import__("os").system, f"touch {witness}"),
        Call(__import__("subprocess").call, ["touch", str(witness)]),
        Call(torch.save, {}, str(witness)),
        Call(np.save, str(witness), np.zeros(1)),
        Call(torch.load, str(tmp_path / "0_0.pth")),
        Call(__import__("shutil").copy, __file__, str(witness)),
    ]
    places = [
        lambda call: call,
        lambda call: {"state_dict": {"model.input_layer.0.weight": call}},
        lambda call: {"state_dict": {"model.input_layer.0.weight": torch.zeros(1)}, "callbacks": {"a": call}},
        lambda call: collections.OrderedDict([("layer1.0.prelu.weight", torch.zeros(1)), ("x", [call])]),
        lambda call: {"model": {"net": call}, "hyper_parameters": (call,)},
    ]
    count = 0
    for i, call in enumerate(calls):
        for j, place in enumerate(places):
            path = tmp_path / f"{i}_{j}.pth"
            try:
                torch.save(place(call), path)
            except (TypeError, pickle.PicklingError):
                continue
            for use in (read_pickled, lambda p: weights_preprocessing("ir_18", str(p))):
                assert path.name in one_line(lambda u=use, p=path: u(p))
            count += 1
    assert count == 50 and not witness.exists()
