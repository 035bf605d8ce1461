import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from torch.nn import functional as F

from losses.distances import pairwise_distances


def unit_rows(batch: int, size: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(batch, size, generator=generator, dtype=torch.float64))


def spread_rows(spread: float, seed: int, batch: int = 40) -> torch.Tensor:
    """Rows around one point, ``spread`` apart: from well spread to nearly collapsed."""
    return F.normalize(unit_rows(1, 16, seed) + spread * unit_rows(batch, 16, seed + 1))


@given(st.floats(-7, 0), st.integers(0, 1000), st.booleans())
@settings(max_examples=40, deadline=None)
def test_values_equal_scipy_at_every_spread(log_spread, seed, squared):
    rows = spread_rows(10**log_spread, seed)
    expected = cdist(rows.numpy(), rows.numpy(), "sqeuclidean" if squared else "euclidean")
    np.testing.assert_allclose(pairwise_distances(rows, squared).numpy(), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("spread", [1.0, 1e-2, 1e-4, 1e-6])
def test_float32_keeps_four_digits_of_tiny_distances(spread):
    rows = spread_rows(spread, 3).float()
    expected = cdist(rows.double().numpy(), rows.double().numpy())
    np.testing.assert_allclose(pairwise_distances(rows).numpy(), expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("copies", [2, 40])
def test_equal_rows_are_at_zero_and_equally_far_from_all_others(copies):
    rows = unit_rows(61, 37).float()
    rows = torch.cat([rows, rows[7].expand(copies, -1), rows])
    distances = pairwise_distances(rows)
    first = torch.cat([torch.arange(61), torch.full((copies,), 7), torch.arange(61)])
    assert torch.equal(distances, distances[first][:, first])
    assert (distances[first[:, None] == first] == 0).all()
    assert (distances[first[:, None] != first] > 0).all()


@pytest.mark.parametrize("people", [2, 40])
def test_squared_distances_of_whole_numbers_are_whole(people):
    """With few and with many copies: a triplet that lies on the margin must not count as inside it."""
    rows = np.random.default_rng(people).integers(-2, 3, (people, 3)).repeat(80 // people, axis=0)
    expected = np.square(rows[:, None] - rows).sum(2)
    assert np.array_equal(pairwise_distances(torch.tensor(rows, dtype=torch.float64), squared=True), expected)


def naive_gradient(rows: np.ndarray, factors: np.ndarray, squared: bool) -> np.ndarray:
    gradient = np.zeros_like(rows)
    for i in range(len(rows)):
        for j in range(len(rows)):
            step = rows[i] - rows[j]
            length = np.sqrt(step @ step)
            slope = 2 * step if squared else step / length if length > 0 else 0 * step
            gradient[i] += factors[i, j] * slope
            gradient[j] -= factors[i, j] * slope
    return gradient


@given(st.sampled_from([0.0, -1.0, -2.0, -4.0, -6.0]), st.integers(0, 1000), st.booleans(), st.booleans())
@settings(max_examples=30, deadline=None)
def test_gradient_equals_a_loop_over_pairs(log_spread, seed, squared, with_far_rows):
    rows = spread_rows(10**log_spread, seed, batch=12)
    if with_far_rows:  # few close pairs among many: the other way through the code
        rows = torch.cat([rows[:4], rows[:1], unit_rows(20, 16, seed + 2)])
    factors = torch.randn(len(rows), len(rows), generator=torch.Generator().manual_seed(seed)).double()
    rows.requires_grad_()
    (pairwise_distances(rows, squared) * factors).sum().backward()
    expected = naive_gradient(rows.detach().numpy(), factors.numpy(), squared)
    np.testing.assert_allclose(rows.grad.numpy(), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("squared", [False, True])
def test_gradcheck(squared):
    rows = unit_rows(7, 5).requires_grad_()
    off_diagonal = ~torch.eye(7, dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda rows: pairwise_distances(rows, squared)[off_diagonal], rows)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_rows_are_measured_in_float32_under_autocast(dtype):
    rows = unit_rows(20, 64).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        distances = pairwise_distances(rows)
    assert distances.dtype == torch.float32
    expected = cdist(rows.double().numpy(), rows.double().numpy())
    np.testing.assert_allclose(distances.numpy(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("squared", [False, True])
def test_gradient_is_float32_in_a_backward_pass_under_autocast(squared):
    rows = torch.cat([spread_rows(1e-3, 0, batch=4).float(), unit_rows(20, 16, 1).float()]).requires_grad_()
    pairwise_distances(rows, squared).sum().backward()
    expected, rows.grad = rows.grad, None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pairwise_distances(rows, squared).sum().backward()
    assert torch.equal(rows.grad, expected)
