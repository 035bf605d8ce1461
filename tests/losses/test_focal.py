import pytest
import torch
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from losses.focal import focal_cross_entropy, weighted_mean
from losses.frequency import class_factors


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_two_classes_equal_torchvision(gamma):
    """Softmax over (0, z) is the sigmoid of z, and torchvision's focal loss is written for the sigmoid."""
    z = torch.linspace(-8, 8, 33, dtype=torch.float64)
    labels = (torch.arange(33) % 2).long()
    ours, _ = focal_cross_entropy(torch.stack([torch.zeros_like(z), z], 1), labels, gamma)
    theirs = sigmoid_focal_loss(z, labels.double(), alpha=-1, gamma=gamma)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_without_gamma_it_is_cross_entropy_and_p_is_its_softmax():
    logits, labels = torch.randn(9, 4, dtype=torch.float64), torch.arange(9) % 4
    losses, probability = focal_cross_entropy(logits, labels, 0.0)
    assert torch.equal(losses, F.cross_entropy(logits, labels, reduction="none"))
    torch.testing.assert_close(probability, logits.softmax(1)[torch.arange(9), labels])


@pytest.mark.parametrize("gamma", [0.3, 1.0, 2.0])
def test_a_certain_sample_has_a_finite_gradient(gamma):
    logits = torch.tensor([[1e4, 0.0], [0.0, 1e4]], requires_grad=True)
    losses, _ = focal_cross_entropy(logits, torch.tensor([0, 0]), gamma)
    losses.sum().backward()
    assert losses.tolist() == [0.0, 1e4] and torch.isfinite(logits.grad).all()


def test_weighted_mean_is_divided_by_the_weights_of_the_batch():
    losses = torch.tensor([1.0, 2.0, 4.0])
    assert weighted_mean(losses, None).item() == pytest.approx(7 / 3)
    assert weighted_mean(losses, torch.tensor([3.0, 0.0, 1.0])).item() == pytest.approx(7 / 4)
    assert weighted_mean(losses, torch.full((3,), 50.0)).item() == pytest.approx(7 / 3)


@pytest.mark.parametrize("kind", ["inverse_log", "effective_number"])
def test_factors_have_mean_one_and_rare_classes_count_more(kind):
    factors = class_factors(kind, [1, 5, 50, 10_000_000], 4)
    assert factors.mean().item() == pytest.approx(1, abs=1e-6)
    assert (factors.diff() < 0).all() and (factors > 0).all()


def test_equal_counts_change_nothing():
    for kind in ("inverse_log", "effective_number"):
        torch.testing.assert_close(class_factors(kind, [20] * 7, 7), torch.ones(7))
