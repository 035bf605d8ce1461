"""ArcFace against a loop over samples and classes in plain Python, and against PyTorch where they are the same."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning import losses as pml_losses
from torch.nn import functional as F

from losses import ArcFaceLoss
from runtime.errors import InputError

PLAIN = {"scale": 16.0, "margin": 0.0, "focal_gamma": 0.0}
FULL = {"scale": 45.0, "margin": 0.4, "focal_gamma": 2.0}


def batch(samples: int = 12, size: int = 8, classes: int = 5, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    embeddings = F.normalize(torch.randn(samples, size, generator=generator, dtype=torch.float64))
    return embeddings, torch.randint(classes, (samples,), generator=generator)


def head(size: int = 8, classes: int = 5, seed: int = 0, **options) -> ArcFaceLoss:
    torch.manual_seed(seed)
    return ArcFaceLoss(size, classes, **FULL | options).double()


# ==== the naive loop ====


def naive_loss(loss: ArcFaceLoss, embeddings: torch.Tensor, labels: torch.Tensor, weights=None) -> float:
    """Sample by sample, class by class, in Python floats."""
    centres = loss.weight.detach().numpy().reshape(loss.classes, loss.sub_centres, -1)
    total = total_weight = 0.0
    for row, label in zip(embeddings.detach().numpy(), labels.tolist(), strict=True):
        logits = []
        for c in range(loss.classes):
            cosine = max(row @ w / np.linalg.norm(row) / np.linalg.norm(w) for w in centres[c])
            logits.append(loss.scale * (with_margin(loss, cosine) if c == label else cosine))
        log_sum = math.log(math.fsum(math.exp(z - max(logits)) for z in logits)) + max(logits)
        hit = log_sum - logits[label]
        even = sum(log_sum - z for z in logits) / loss.classes
        entropy = (1 - loss.label_smoothing) * hit + loss.label_smoothing * even
        weight = 1.0 if weights is None else weights[label]
        total += weight * (1 - math.exp(-hit)) ** loss.focal_gamma * entropy
        total_weight += weight
    return total / total_weight


def with_margin(loss: ArcFaceLoss, cosine: float) -> float:
    if loss.kind == "cosface":
        return cosine - loss.margin
    angle = math.acos(max(-1.0, min(1.0, cosine)))
    if angle > math.pi - loss.margin:
        return cosine - loss.margin * math.sin(loss.margin)
    return math.cos(angle + loss.margin)


@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(["arcface", "cosface"]),
    margin=st.sampled_from([0.0, 0.2, 0.5, 1.2]),
    scale=st.sampled_from([1.0, 8.0, 64.0]),
    focal_gamma=st.sampled_from([0.0, 1.0, 2.0]),
    label_smoothing=st.sampled_from([0.0, 0.1]),
    sub_centres=st.integers(1, 3),
    size=st.integers(1, 6),
    classes=st.integers(1, 6),
)
@settings(max_examples=100, deadline=None)
def test_value_equals_the_naive_loop(seed, size, classes, **options):
    embeddings, labels = batch(7, size + 1, classes, seed)
    loss = head(size + 1, classes, seed, **options)
    assert loss(embeddings, labels)[0].item() == pytest.approx(naive_loss(loss, embeddings, labels), abs=1e-9)


@pytest.mark.parametrize("kind", ["inverse_log", "effective_number"])
def test_weighted_value_equals_the_naive_loop(kind):
    counts = [1, 3, 10, 200, 5000]
    embeddings, labels = batch(30)
    loss = head(class_counts=counts, frequency_weights=kind)
    if kind == "inverse_log":
        weights = [1 / math.log(1 + n) for n in counts]
    else:
        weights = [(1 - 0.999) / (1 - 0.999**n) for n in counts]
    expected = naive_loss(loss, embeddings, labels, weights)
    assert loss(embeddings, labels)[0].item() == pytest.approx(expected, rel=1e-6)  # factors are kept in float32
    assert expected != pytest.approx(head()(embeddings, labels)[0].item(), rel=1e-3)


def test_past_pi_minus_m_the_target_keeps_falling():
    # One class straight ahead, embeddings turned away from it degree by degree.
    angles = torch.arange(0.5, 180, 1.0, dtype=torch.float64).deg2rad()
    embeddings = torch.stack([angles.cos(), angles.sin()], 1)
    loss = ArcFaceLoss(2, 2, scale=1.0, margin=0.5, focal_gamma=0.0).double()
    loss.weight.data = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    values = torch.stack([loss(row[None], torch.tensor([0]))[0] for row in embeddings])
    targets = -torch.log(torch.expm1(values))  # the other logit is 0, so the loss is log(1 + exp(−target))
    turned = torch.where(angles > math.pi - 0.5, angles.cos() - 0.5 * math.sin(0.5), (angles + 0.5).cos())
    torch.testing.assert_close(targets, turned, rtol=0, atol=1e-9)
    assert (targets.diff() < 0).all()


# ==== gradients ====

OPTIONS = [
    {},
    {"kind": "cosface"},
    {"sub_centres": 2},
    {"label_smoothing": 0.1, "focal_gamma": 0.5},
    {"class_counts": [1, 2, 3, 4, 100], "frequency_weights": "inverse_log"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: next(iter(options), "default"))
def test_gradcheck_of_embeddings_and_centres(options):
    embeddings, labels = batch(6)
    loss = head(scale=8.0, **options)

    def value(embeddings, weight):
        return torch.func.functional_call(loss, {"weight": weight}, (embeddings, labels))[0]

    assert torch.autograd.gradcheck(value, (embeddings.requires_grad_(), loss.weight))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("options", [*OPTIONS, {"margin": 1.5}], ids=lambda options: next(iter(options), "default"))
def test_everything_is_finite_at_the_ends(options, dtype):
    """Cosines of exactly 1 and −1, a zero embedding, a zero centre; scale 64."""
    loss = ArcFaceLoss(8, 5, **FULL | {"scale": 64.0} | options)
    with torch.no_grad():
        loss.weight[-1] = 0
    embeddings = torch.zeros(7, 8, dtype=dtype)
    embeddings[:6, 0] = torch.tensor([1.0, -1, 1, -1, 1, -1])
    with torch.no_grad():
        loss.weight[: loss.sub_centres] = F.one_hot(torch.tensor(0), 8).float()
        loss.weight[loss.sub_centres : 2 * loss.sub_centres] = -F.one_hot(torch.tensor(0), 8).float()
    embeddings.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, stats = loss(embeddings, torch.tensor([0, 0, 1, 1, 4, 4, 2]))
    value.backward()
    assert value.dtype == torch.float32
    assert torch.isfinite(value) and all(math.isfinite(stat) for stat in stats.values())
    assert torch.isfinite(embeddings.grad).all() and torch.isfinite(loss.weight.grad).all()
    assert loss.weight.grad.abs().max() < 1e3


def test_float16_embeddings_are_not_computed_in_float16():
    embeddings, labels = batch(12)
    half = embeddings.half()
    loss = head().float()
    exact = naive_loss(loss, half.double(), labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert loss(half, labels)[0].item() == pytest.approx(exact, rel=1e-5)


def test_one_class_has_nothing_to_learn():
    loss = head(classes=1)
    embeddings, _ = batch(4)
    embeddings.requires_grad_()
    value, stats = loss(embeddings, torch.zeros(4, dtype=torch.long))
    value.backward()
    assert abs(value.item()) < 1e-6 and embeddings.grad.abs().max() < 1e-6
    assert stats["train_accuracy"] == 1


# ==== the same as others ====


def test_without_margin_and_focus_it_is_cross_entropy():
    embeddings, labels = batch(20)
    loss = head(**PLAIN)
    cosines = embeddings @ F.normalize(loss.weight.detach()).T
    expected = F.cross_entropy(16.0 * cosines, labels)
    torch.testing.assert_close(loss(embeddings, labels)[0], expected, rtol=1e-12, atol=0)
    smooth = head(**PLAIN, label_smoothing=0.2)
    expected = F.cross_entropy(16.0 * cosines, labels, label_smoothing=0.2)
    torch.testing.assert_close(smooth(embeddings, labels)[0], expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("name", "options", "margin"),
    [
        ("ArcFaceLoss", {}, math.degrees(0.3)),
        ("CosFaceLoss", {"kind": "cosface"}, 0.3),
        ("SubCenterArcFaceLoss", {"sub_centres": 2}, math.degrees(0.3)),
    ],
)
def test_equals_pytorch_metric_learning(name, options, margin):
    embeddings, labels = batch(20)  # no angle past π − m here, where the two define the target differently
    loss = head(scale=20.0, margin=0.3, focal_gamma=0.0, **options)
    theirs = {"sub_centers": 2} if "sub_centres" in options else {}
    oracle = getattr(pml_losses, name)(num_classes=5, embedding_size=8, margin=margin, scale=20, **theirs)
    oracle = oracle.double()
    oracle.W.data = loss.weight.data.T.clone()
    ours, other = embeddings.clone().requires_grad_(), embeddings.clone().requires_grad_()
    value, expected = loss(ours, labels)[0], oracle(other, labels)
    (value + expected).backward()
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(ours.grad, other.grad, rtol=0, atol=1e-6)


# ==== figures, warm-up, settings ====


def test_stats_by_hand():
    loss = ArcFaceLoss(2, 2, scale=2.0, margin=0.5, focal_gamma=0.0).double()
    loss.weight.data = torch.eye(2, dtype=torch.float64)
    embeddings = torch.tensor([[1.0, 0.0], [math.cos(1.0), math.sin(1.0)]], dtype=torch.float64)
    stats = loss(embeddings, torch.tensor([0, 0]))[1]
    probabilities = [1 / (1 + math.exp(2 * (math.sin(turn) - math.cos(turn + 0.5)))) for turn in (0.0, 1.0)]
    assert stats["train_accuracy"] == 0.5
    assert stats["target_angle"] == pytest.approx(math.degrees(0.5))
    assert stats["target_probability"] == pytest.approx(sum(probabilities) / 2, abs=1e-3)
    assert stats["margin"] == 0.5 and stats["scale"] == 2.0


def test_margin_and_scale_warm_up_travel_with_the_state():
    embeddings, labels = batch()
    loss = head(margin_warmup=0.5, scale_warmup=0.25)
    start = math.sqrt(2) * math.log(4)
    seen = []
    for progress in (0.0, 0.125, 0.25, 1.0):
        loss.set_progress(progress)
        stats = loss(embeddings, labels)[1]
        seen.append((stats["margin"], stats["scale"]))
    middle = (start + 45) / 2
    assert np.array(seen) == pytest.approx(np.array([(0, start), (0.1, middle), (0.2, 45), (0.4, 45)]))
    loss.set_progress(0.125)
    resumed = head(seed=1, margin_warmup=0.5, scale_warmup=0.25)
    resumed.load_state_dict(loss.state_dict())
    assert resumed(embeddings, labels)[0].item() == loss(embeddings, labels)[0].item()


def test_a_run_that_is_shorter_than_its_warm_up_ends_on_the_way():
    loss = head(margin_warmup=2.0)
    loss.set_progress(1.0)
    assert loss(*batch())[1]["margin"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "sphereface"},
        {"scale": 0.0},
        {"margin": -0.1},
        {"margin": math.pi},
        {"focal_gamma": -1.0},
        {"label_smoothing": 1.0},
        {"sub_centres": 0},
        {"sample_share": 0.0},
        {"margin_warmup": -0.5},
        {"frequency_weights": "learned"},
        {"frequency_weights": "inverse_log"},
        {"frequency_weights": "inverse_log", "class_counts": [1, 2]},
        {"frequency_weights": "inverse_log", "class_counts": [1, 2, 0, 4, 5]},
    ],
    ids=str,
)
def test_senseless_settings_are_refused(options):
    with pytest.raises(InputError):
        head(**options)
