"""AdaFace and MagFace against their formulas in plain Python, sample by sample."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from losses import ArcFaceLoss
from losses.quality import AdaFaceMargin, MagFaceMargin
from runtime.errors import InputError

BOUNDS, LARGEST, WEIGHT, EFFECT = (5.0, 40.0), 0.8, 35.0, 0.333
RULES = {"adaface": lambda: AdaFaceMargin(EFFECT), "magface": lambda: MagFaceMargin(LARGEST, BOUNDS, WEIGHT)}


def head(kind: str, classes: int = 5, size: int = 4, **options) -> ArcFaceLoss:
    torch.manual_seed(0)
    usual = {"scale": 16.0, "margin": 0.4, "focal_gamma": 0.0, "kind": kind, "length_rule": RULES[kind]()}
    return ArcFaceLoss(size, classes, **usual | options).double()


def batch(seed: int, samples: int = 9, size: int = 4, classes: int = 5):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(samples, size))
    lengths = rng.uniform(1, 60, samples)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return torch.tensor(unit), torch.tensor(rng.integers(0, classes, samples)), torch.tensor(lengths)


def adaface_target(cosine: float, length: float, mean: float, deviation: float, margin: float) -> float:
    quality = max(-1.0, min(1.0, (length - mean) / (deviation + 1e-3) * EFFECT))
    angle = min(max(math.acos(cosine) - margin * quality, 0.0), math.pi)
    return math.cos(angle) - (margin + margin * quality)


def magface_target(cosine: float, length: float, margin: float) -> float:
    share = (min(max(length, BOUNDS[0]), BOUNDS[1]) - BOUNDS[0]) / (BOUNDS[1] - BOUNDS[0])
    angle = margin + (LARGEST - margin) * share
    if math.acos(cosine) > math.pi - angle:
        return cosine - angle * math.sin(angle)
    return math.cos(math.acos(cosine) + angle)


def naive(loss: ArcFaceLoss, embeddings, labels, lengths, mean: float = 0.0, deviation: float = 0.0) -> float:
    """Of two processes or one, whatever the precision around it."""
    total = 0.0
    centres = loss.weight.detach().numpy()
    for row, label, length in zip(embeddings.numpy(), labels.tolist(), lengths.tolist(), strict=True):
        cosines = [float(row @ w / np.linalg.norm(w)) for w in centres]
        if loss.kind == "adaface":
            target = adaface_target(cosines[label], min(max(length, 1e-3), 100.0), mean, deviation, loss.margin)
        else:
            target = magface_target(cosines[label], length, loss.margin)
        logits = [loss.scale * (target if c == label else cosine) for c, cosine in enumerate(cosines)]
        entropy = math.log(math.fsum(math.exp(z - max(logits)) for z in logits)) + max(logits) - logits[label]
        total += (1 - math.exp(-entropy)) ** loss.focal_gamma * entropy
        if loss.kind == "magface":
            held = min(max(length, BOUNDS[0]), BOUNDS[1])
            total += WEIGHT * (1 / held + held / BOUNDS[1] ** 2)
    return total / len(labels)


@given(seed=st.integers(0, 10_000), margin=st.sampled_from([0.0, 0.2, 0.7]), gamma=st.sampled_from([0.0, 2.0]))
@settings(max_examples=60, deadline=None)
def test_magface_equals_the_naive_loop(seed, margin, gamma):
    loss, inputs = head("magface", margin=margin, focal_gamma=gamma), batch(seed)
    found = loss(inputs[0], inputs[1], lengths=inputs[2])[0].item()
    assert found == pytest.approx(naive(loss, *inputs), abs=1e-9)


@given(seed=st.integers(0, 10_000), margin=st.sampled_from([0.0, 0.4, 1.2]), gamma=st.sampled_from([0.0, 2.0]))
@settings(max_examples=60, deadline=None)
def test_adaface_equals_the_naive_loop_over_three_batches(seed, margin, gamma):
    loss = head("adaface", margin=margin, focal_gamma=gamma)
    mean = deviation = None
    for step in range(3):
        embeddings, labels, lengths = batch(seed + step)
        new = float(lengths.numpy().mean()), float(lengths.numpy().std(ddof=1))
        if mean is None:
            mean, deviation = new
        else:
            mean, deviation = 0.99 * mean + 0.01 * new[0], 0.99 * deviation + 0.01 * new[1]
        found = loss(embeddings, labels, lengths=lengths)[0].item()
        assert found == pytest.approx(naive(loss, embeddings, labels, lengths, mean, deviation), abs=1e-9)


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize("options", [{}, {"focal_gamma": 2.0, "sub_centres": 2}], ids=str)
def test_gradcheck_of_embeddings_centres_and_lengths(kind, options):
    embeddings, labels, lengths = batch(3, samples=6)
    loss = head(kind, scale=8.0, **options)
    loss(embeddings, labels, lengths=lengths)
    loss.eval()  # mean and deviation stay: the gradient doesn't go through them

    def value(embeddings, weight, lengths):
        return torch.func.functional_call(loss, {"weight": weight}, (embeddings, labels), {"lengths": lengths})[0]

    fixed = lengths if kind == "adaface" else lengths.requires_grad_()
    assert torch.autograd.gradcheck(value, (embeddings.requires_grad_(), loss.weight, fixed))


def test_adaface_gives_lengths_no_gradient_and_magface_pulls_them_up():
    embeddings, labels, lengths = batch(1)
    for kind in RULES:
        loss = head(kind, margin=0.8 if kind == "magface" else 0.4)  # one margin for all: only the penalty is left
        lengths = lengths.clone().clamp(6, 39).requires_grad_()
        value = loss(embeddings.clone().requires_grad_(), labels, lengths=lengths)[0]
        (gradient,) = torch.autograd.grad(value, lengths, allow_unused=True)
        assert gradient is None if kind == "adaface" else (gradient < 0).all()


def test_a_hard_sample_counts_more_if_its_embedding_is_long_and_less_if_short():
    """AdaFace, figure 4: by how much the target's cosine falls with the angle, far from the centre and near it."""
    rule = AdaFaceMargin(EFFECT).eval()
    rule.statistics.copy_(torch.tensor([20.0, 2.0]))

    def slope(degrees: float, length: float) -> float:
        lengths = torch.tensor([length])
        return math.sin(math.radians(degrees) + rule.margin(lengths, lengths, 0.4, 1.0).angle.item())

    assert slope(120, 26.0) > slope(120, 14.0) and slope(60, 26.0) < slope(60, 14.0)


@pytest.mark.parametrize("kind", RULES)
def test_a_sampled_head_with_all_classes_gives_the_same(kind):
    embeddings, labels, lengths = batch(2)
    whole, sampled = head(kind), head(kind, sample_share=1.0)
    found = [loss(embeddings, labels, lengths=lengths)[0] for loss in (whole, sampled)]
    torch.testing.assert_close(*found, rtol=1e-12, atol=0)


def test_statistics_travel_with_the_state_and_a_bad_batch_leaves_no_trace():
    embeddings, labels, lengths = batch(4)
    loss = head("adaface")
    loss(embeddings, labels, lengths=lengths)
    kept = loss.length_rule.statistics.clone()
    for bad in (math.nan, math.inf):
        loss(embeddings, labels, lengths=torch.cat([lengths[:-1], torch.full((1,), bad, dtype=lengths.dtype)]))
        assert torch.equal(loss.length_rule.statistics, kept)
    again = head("adaface")
    again.load_state_dict(loss.state_dict())
    torch.testing.assert_close(again.length_rule.statistics, kept, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", RULES)
def test_everything_is_finite_at_the_ends(kind, dtype):
    loss = head(kind, scale=64.0, size=8).float()
    embeddings = torch.zeros(6, 8, dtype=dtype)
    embeddings[:4, 0] = torch.tensor([1.0, -1, 1, -1])
    loss.weight.data[0] = F.one_hot(torch.tensor(0), 8)
    embeddings.requires_grad_()
    lengths = torch.tensor([0.0, 1e-9, 1e4, 20, 0, 1e30], dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, _ = loss(embeddings, torch.tensor([0, 0, 0, 0, 1, 2]), lengths=lengths)
    value.backward()
    assert value.isfinite() and embeddings.grad.isfinite().all() and loss.weight.grad.isfinite().all()


@pytest.mark.parametrize(
    "build",
    [
        lambda: AdaFaceMargin(0.0),
        lambda: MagFaceMargin(0.8, (0.0, 10.0), 35.0),
        lambda: MagFaceMargin(0.8, (10.0, 10.0), 35.0),
        lambda: MagFaceMargin(0.8, (1.0, 2.0, 3.0), 35.0),
        lambda: MagFaceMargin(0.8, (1.0, 2.0), -1.0),
        lambda: head("magface", length_rule=MagFaceMargin(0.3, BOUNDS, WEIGHT)),  # below the margin
        lambda: head("magface", length_rule=MagFaceMargin(1.6, BOUNDS, WEIGHT)),
        lambda: head("adaface", length_rule=None),
        lambda: head("magface", length_rule=AdaFaceMargin(0.333)),
    ],
)
def test_senseless_settings_are_refused_in_one_line(build):
    with pytest.raises(InputError) as refusal:
        build()
    assert "\n" not in str(refusal.value)
