"""GeM and the depthwise pooling against closed forms written with numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.pooling import AveragePooling, DepthwisePooling, GeM

MAPS = arrays(np.float32, (2, 3, 4, 5), elements=st.floats(0.0009765625, 100, width=32))


def gem_of(features: np.ndarray, p: float, eps: float = 1e-6) -> np.ndarray:
    """Equation 3 of Radenović et al. in float64."""
    return (np.maximum(features.astype(np.float64), eps) ** p).mean((2, 3)) ** (1 / p)


@settings(max_examples=40, deadline=None)
@given(MAPS, st.floats(1, 12))
def test_gem_equals_the_formula(features, p):
    pooled = GeM(p)(torch.from_numpy(features)).detach().numpy()
    np.testing.assert_allclose(pooled, gem_of(features, p), rtol=1e-4)


@settings(max_examples=40, deadline=None)
@given(MAPS)
def test_gem_with_p_1_is_the_average(features):
    maps = torch.from_numpy(features)
    torch.testing.assert_close(GeM(1.0)(maps), AveragePooling()(maps), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(AveragePooling()(maps).numpy(), features.astype(np.float64).mean((2, 3)), rtol=1e-4)


@settings(max_examples=40, deadline=None)
@given(MAPS)
def test_gem_with_a_large_p_approaches_the_maximum(features):
    pooled = GeM(2000.0)(torch.from_numpy(features)).detach().numpy()
    # Between max · (1/n)^(1/p) and max, for n = 20 positions.
    np.testing.assert_allclose(pooled, features.max((2, 3)), rtol=2e-3)


@settings(max_examples=40, deadline=None)
@given(MAPS, st.floats(1.1, 6))
def test_gem_gradients_equal_those_of_the_formula(features, p):
    ours, naive = (torch.from_numpy(features.copy()).requires_grad_() for _ in range(2))
    layer, naive_p = GeM(p), torch.tensor([p], dtype=torch.float64, requires_grad=True)
    layer(ours).sum().backward()
    naive.double().pow(naive_p).mean((2, 3)).pow(1 / naive_p).sum().backward()
    torch.testing.assert_close(ours.grad, naive.grad, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(layer.p.grad.double(), naive_p.grad, rtol=1e-2, atol=1e-3)


def test_gem_of_signed_features_is_gem_behind_a_relu():
    features = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(GeM()(features), GeM()(features.relu()))
    assert GeM()(-features.abs()).max() <= 1.001e-6


def test_gem_stays_finite_at_the_edges():
    features = torch.zeros(1, 3, 2, 2)
    features[0, 1] = 1e30
    features[0, 2, 0, 0] = 1e-5
    features.requires_grad_()
    layer = GeM(50.0)
    pooled = layer(features)
    pooled.sum().backward()
    assert pooled.isfinite().all() and features.grad.isfinite().all() and layer.p.grad.isfinite().all()
    assert pooled[0, 1].item() == pytest.approx(1e30)


def test_gem_with_p_below_1_is_the_average():
    features = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)) + 0.1
    torch.testing.assert_close(GeM(-2.0)(features), features.mean((2, 3)))


def test_depthwise_pooling_is_a_weighted_sum_for_each_channel():
    torch.manual_seed(0)
    layer, features = DepthwisePooling(3, 7).eval(), torch.randn(2, 3, 7, 7)
    torch.nn.init.normal_(layer.norm.running_mean)
    sums = np.einsum("bchw,chw->bc", features.numpy(), layer.conv.weight.detach().numpy()[:, 0])
    expected = (sums - layer.norm.running_mean.numpy()) / np.sqrt(1 + 1e-3)
    np.testing.assert_allclose(layer(features).detach().numpy(), expected, rtol=1e-4, atol=1e-5)
