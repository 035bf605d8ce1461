"""The MXNet mapping against a second MobileFaceNet, written with plain functions on the arrays of the graph."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from models import build_model
from runtime.errors import InputError

# (name in the graph, inputs, width, outputs, stride), in the order of the graph.
BOTTLENECKS = [
    ("dconv_23", 64, 128, 64, 2),
    *[(f"res_3_block{i}", 64, 128, 64, 1) for i in range(4)],
    ("dconv_34", 64, 256, 128, 2),
    *[(f"res_4_block{i}", 128, 256, 128, 1) for i in range(6)],
    ("dconv_45", 128, 512, 128, 2),
    *[(f"res_5_block{i}", 128, 256, 128, 1) for i in range(2)],
]


def random_arrays() -> dict[str, Tensor]:
    """Every array of the graph under its MXNet name, with values that keep the signal alive."""
    generator = torch.Generator().manual_seed(0)
    arrays = {}

    def norm(name: str, channels: int) -> None:
        arrays[f"{name}_gamma"] = 0.5 + torch.rand(channels, generator=generator)
        arrays[f"{name}_beta"] = 0.3 * torch.randn(channels, generator=generator)
        arrays[f"{name}_moving_mean"] = 0.3 * torch.randn(channels, generator=generator)
        arrays[f"{name}_moving_var"] = 0.5 + torch.rand(channels, generator=generator)

    def unit(name: str, inputs: int, outputs: int, kernel: int, prelu: bool = True) -> None:
        scale = (inputs * kernel**2) ** -0.5
        weight = torch.randn(outputs, inputs, kernel, kernel, generator=generator)
        arrays[f"{name}_conv2d_weight"] = scale * weight
        norm(f"{name}_batchnorm", outputs)
        if prelu:
            arrays[f"{name}_relu_gamma"] = torch.randn(outputs, generator=generator)

    unit("conv_1", 3, 64, 3)
    unit("conv_2_dw", 1, 64, 3)
    for name, inputs, width, outputs, _ in BOTTLENECKS:
        unit(f"{name}_conv_sep", inputs, width, 1)
        unit(f"{name}_conv_dw", 1, width, 3)
        unit(f"{name}_conv_proj", width, outputs, 1, prelu=False)
    unit("conv_6sep", 128, 512, 1)
    unit("conv_6dw7_7", 1, 512, 7, prelu=False)
    arrays["fc1_weight"] = 512**-0.5 * torch.randn(128, 512, generator=generator)
    arrays["pre_fc1_bias"] = torch.randn(128, generator=generator)
    norm("fc1", 128)
    return arrays


def reference(arrays: dict[str, Tensor], x: Tensor) -> Tensor:
    """The graph in float64, from images to unit rows. The last gamma is not read: fix_gamma."""
    a = {name: value.double() for name, value in arrays.items()}

    def norm(name: str, x: Tensor, gamma: Tensor | None, eps: float) -> Tensor:
        mean, var = a[f"{name}_moving_mean"], a[f"{name}_moving_var"]
        return F.batch_norm(x, mean, var, gamma, a[f"{name}_beta"], training=False, eps=eps)

    def unit(name: str, x: Tensor, stride: int = 1, groups: int = 1, pad: int = 0) -> Tensor:
        x = F.conv2d(x, a[f"{name}_conv2d_weight"], None, stride, pad, 1, groups)
        x = norm(f"{name}_batchnorm", x, a[f"{name}_batchnorm_gamma"], 1e-3)
        slope = a.get(f"{name}_relu_gamma")
        return x if slope is None else torch.where(x > 0, x, slope.view(1, -1, 1, 1) * x)

    x = unit("conv_1", x.double(), stride=2, pad=1)
    x = unit("conv_2_dw", x, groups=64, pad=1)
    for name, _, width, _, stride in BOTTLENECKS:
        inner = unit(f"{name}_conv_dw", unit(f"{name}_conv_sep", x), stride, width, 1)
        inner = unit(f"{name}_conv_proj", inner)
        x = inner + x if name.startswith("res") else inner
    x = unit("conv_6dw7_7", unit("conv_6sep", x), groups=512).flatten(1)
    x = norm("fc1", x @ a["fc1_weight"].T + a["pre_fc1_bias"], None, 2e-5)
    return x / x.square().sum(1, keepdim=True).sqrt()


def build_from(path):
    return build_model(
        "mobilefacenet",
        embedding_size=128,
        pooling="backbone",
        dropout=0.0,
        pretrained=str(path),
        image_size=112,
    )


@pytest.fixture(scope="module")
def arrays():
    return random_arrays()


def test_weights_under_mxnet_names_give_the_output_of_the_graph(arrays, tmp_path):
    assert len(arrays) == 284  # as many as the graph has besides its input
    save_file(arrays, tmp_path / "weights.safetensors")
    images = torch.randn(3, 3, 112, 112, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        embeddings = build_from(tmp_path / "weights.safetensors").eval()(images)
    np.testing.assert_allclose(embeddings.numpy(), reference(arrays, images).numpy(), atol=1e-5)


def test_loaded_weights_can_be_fine_tuned(arrays, tmp_path):
    save_file(arrays, tmp_path / "weights.safetensors")
    model = build_from(tmp_path / "weights.safetensors")
    embeddings = model(torch.randn(4, 3, 112, 112, generator=torch.Generator().manual_seed(1)))
    (embeddings[0] - embeddings[1]).square().sum().backward()
    fixed = [name for name, p in model.named_parameters() if p.grad is None]
    assert fixed == ["neck.norm.weight"] and model.neck.norm.weight.eq(1).all()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a.pop("res_4_block2_conv_dw_relu_gamma"), ["1 missing", "backbone.res_4_block2.dw.activation"]),
        (lambda a: a.update(conv_7_conv2d_weight=torch.ones(1)), ["1 unexpected", "conv_7"]),
        (lambda a: a.update(softmax_weight=torch.ones(1)), ["1 unexpected (softmax_weight)"]),
        (lambda a: a.update(fc1_weight=torch.ones(64, 512)), ["of another shape", "[64, 512] instead of [128, 512]"]),
    ],
)
def test_an_array_too_few_too_many_or_of_another_shape_is_an_error(arrays, tmp_path, change, words):
    changed = dict(arrays)
    change(changed)
    save_file(changed, tmp_path / "weights.safetensors")
    with pytest.raises(InputError) as caught:
        build_from(tmp_path / "weights.safetensors")
    assert all(word in str(caught.value) for word in words), caught.value
