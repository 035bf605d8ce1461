"""IR against a second one: plain functions on seeded tensors under the names of AdaFace and CurricularFace."""

import numpy as np
import pytest
import torch
from torch import Tensor

from models.backbones.ir import FORMS, IRFeatures
from tests.models.face_network import EMBEDDING, build
from tests.models.upstream import DEPTHS, images, ir_embeddings, ir_tensors

UPSTREAM = {
    **{f"ir_{n}": (DEPTHS[100 if n == 101 else n], False, True) for n in (18, 34, 50, 101)},
    **{f"ir_{n}_se": (DEPTHS[100 if n == 101 else n], True, True) for n in (18, 34, 50, 101)},
    **{f"ir_{n}_curricular": (DEPTHS[100 if n == 101 else n], False, False) for n in (50, 101)},
    **{f"ir_{n}_se_curricular": (DEPTHS[100 if n == 101 else n], True, False) for n in (50, 101)},
}


def as_ours(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same under this project's names: the end of the tail is the neck, all else the backbone."""
    renamed = {}
    for name, value in tensors.items():
        own = name.replace("output_layer.3.", "neck.linear.").replace("output_layer.4.", "neck.norm.")
        renamed[own if own.startswith("neck.") else f"backbone.{name}"] = value
    return renamed


@pytest.mark.parametrize("name", ["ir_18", "ir_18_se", "ir_50_se_curricular", "ir_50_curricular"])
@torch.no_grad()
def test_upstreams_tensors_give_the_embeddings_of_the_description(name):
    tensors, model = ir_tensors(UPSTREAM[name][0], EMBEDDING, *UPSTREAM[name][1:]), build(name).eval()
    model.load_state_dict(as_ours(tensors))
    np.testing.assert_allclose(model(images()).numpy(), ir_embeddings(tensors, images()).numpy(), atol=1e-5)


@pytest.mark.parametrize("name", FORMS)
def test_names_and_shapes_are_upstreams(name):
    expected = as_ours(ir_tensors(UPSTREAM[name][0], EMBEDDING, *UPSTREAM[name][1:], device="meta"))
    with torch.device("meta"):
        found = IRFeatures(name).state_dict()
    wanted = {key.removeprefix("backbone."): value.shape for key, value in expected.items() if "neck" not in key}
    assert {key: value.shape for key, value in found.items()} == wanted


def test_the_last_norm_learns_nothing():
    neck = build("ir_18").neck
    assert neck.norm.weight is None and neck.norm.bias is None and neck.norm.eps == 1e-5
    assert neck.linear.bias.requires_grad and neck.linear.in_features == 512 * 49
