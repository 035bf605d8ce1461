"""The fast backward pass of PReLU against PyTorch's own."""

import pytest
import torch
from torch import Tensor, nn

from models.prelu import PReLU


def _pass(layer: nn.Module, x: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
    leaf = x.detach().clone(memory_format=torch.preserve_format).requires_grad_(x.requires_grad)
    out = layer(leaf)
    out.backward(gradient)
    return out.detach(), leaf.grad, layer.weight.grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(5, 6, 9, 7), (5, 6, 3), (5, 6)], ids=str)
@pytest.mark.parametrize("slopes", [1, 6])
@pytest.mark.parametrize("to_x, to_slopes", [(True, True), (True, False), (False, True)])
def test_values_and_gradients_are_those_of_pytorch_to_the_bit(dtype, shape, slopes, to_x, to_slopes):
    torch.manual_seed(0)
    layers = nn.PReLU(slopes, dtype=dtype), PReLU(slopes, dtype=dtype)
    x = torch.randn(shape, dtype=dtype)
    x[0, 0] = 0  # neither positive nor negative
    if len(shape) == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    gradient = torch.randn_like(x)
    results = []
    for layer in layers:
        with torch.no_grad():
            layer.weight.copy_(torch.linspace(-0.5, 1.5, slopes))
        layer.weight.requires_grad_(to_slopes)
        results.append(_pass(layer, x.requires_grad_(to_x), gradient))
    for theirs, ours in zip(*results, strict=True):
        assert (ours is None) == (theirs is None)
        assert theirs is None or torch.equal(ours, theirs)
    assert results[1][0].stride() == results[0][0].stride()


def test_gradients_agree_with_finite_differences():
    torch.manual_seed(0)
    layer = PReLU(3).double()
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    x = x.sign() * (x.abs() + 0.01)  # away from the kink
    assert torch.autograd.gradcheck(layer, (x.requires_grad_(),))


def test_bf16_images_meet_float32_slopes_under_autocast():
    layer, x = PReLU(6), torch.randn(2, 6, 3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x.bfloat16())
    out.float().sum().backward()
    assert out.dtype == torch.bfloat16
    assert layer.weight.grad.dtype == torch.float32
