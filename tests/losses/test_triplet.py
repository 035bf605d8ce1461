"""Every mining rule against a loop over triplets that anybody can believe."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning import losses as pml_losses
from pytorch_metric_learning import miners as pml_miners
from pytorch_metric_learning import reducers as pml_reducers
from torch.nn import functional as F

from losses import MINING_RULES, TripletLoss
from runtime.errors import InputError

# ==== the naive loop ====


class Naive:
    """Value and gradient of a rule in float64, triplet by triplet."""

    def __init__(self, rows: np.ndarray, labels: np.ndarray, margin: float, squared: bool) -> None:
        self.rows, self.labels, self.margin, self.squared = rows, labels, margin, squared
        self.value, self.gradient = 0.0, np.zeros_like(rows)
        self.terms = self.active = 0.0

    def distance(self, i: int, j: int) -> float:
        step = self.rows[i] - self.rows[j]
        return step @ step if self.squared else math.sqrt(step @ step)

    def pull(self, i: int, j: int, factor: float) -> None:
        """Adds the gradient of factor · distance(i, j); 0 at distance 0."""
        step, length = self.rows[i] - self.rows[j], self.distance(i, j)
        slope = 2 * step if self.squared else step / length if length > 0 else 0 * step
        self.gradient[i] += factor * slope
        self.gradient[j] -= factor * slope

    def triplet(self, a: int, p: int, n: int, soft: bool = False, weight: float = 1.0) -> None:
        self.terms += weight
        if soft:
            violation = self.distance(a, p) - self.distance(a, n)
            self.active += violation >= 0
            value, slope = math.log1p(math.exp(violation)), 1 / (1 + math.exp(-violation))
        else:
            value = self.distance(a, p) - self.distance(a, n) + self.margin
            if value <= 0:
                return
            self.active += weight
            slope = 1.0
        self.value += weight * value
        self.pull(a, p, weight * slope)
        self.pull(a, n, -weight * slope)

    def run(self, rule: str) -> "Naive":
        for a in range(len(self.labels)):
            positives = [j for j in range(len(self.labels)) if j != a and self.labels[j] == self.labels[a]]
            negatives = [j for j in range(len(self.labels)) if self.labels[j] != self.labels[a]]
            if positives and negatives:
                getattr(self, rule)(a, positives, negatives)
        count = self.active if rule in ("batch_all", "distance_weighted") else self.terms
        self.value /= max(count, 1)
        self.gradient /= max(count, 1)
        return self

    def batch_all(self, a: int, positives: list[int], negatives: list[int]) -> None:
        for p in positives:
            for n in negatives:
                self.triplet(a, p, n)

    def distance_weighted(self, a: int, positives: list[int], negatives: list[int]) -> None:
        """One over the density of the distance between random points of a sphere in 64 dimensions (Wu 2017)."""
        rarity = []
        for n in negatives:
            d = min(max(math.dist(self.rows[a], self.rows[n]), 0.5), 1.4)
            rarity.append(d**-62 * (1 - d * d / 4) ** -30.5)
        for p in positives:
            for n, weight in zip(negatives, rarity, strict=True):
                self.triplet(a, p, n, weight=weight / sum(rarity))

    def batch_hard(self, a: int, positives: list[int], negatives: list[int], soft: bool = False) -> None:
        p = max(positives, key=lambda j: self.distance(a, j))  # max and min keep the first of equals
        n = min(negatives, key=lambda j: self.distance(a, j))
        self.triplet(a, p, n, soft)

    def batch_hard_soft(self, a: int, positives: list[int], negatives: list[int]) -> None:
        self.batch_hard(a, positives, negatives, soft=True)

    def semi_hard(self, a: int, positives: list[int], negatives: list[int]) -> None:
        for p in positives:
            beyond = [j for j in negatives if self.distance(a, j) > self.distance(a, p)]
            nearest = min(beyond, key=lambda j: self.distance(a, j)) if beyond else None
            farthest = max(negatives, key=lambda j: self.distance(a, j))
            self.triplet(a, p, farthest if nearest is None else nearest)


# ==== batches ====


@st.composite
def batches(draw) -> tuple[np.ndarray, np.ndarray]:
    """Rows and labels: unit rows with and without copies, or points of a small grid where ties abound."""
    size = draw(st.integers(1, 12))
    dimensions = draw(st.integers(1, 4))
    if draw(st.booleans()):
        rows = draw(st.lists(st.integers(-2, 2), min_size=size * dimensions, max_size=size * dimensions))
        rows = np.array(rows, dtype=np.float64).reshape(size, dimensions)
    else:
        rows = np.random.default_rng(draw(st.integers(0, 2**32))).normal(size=(size, dimensions + 1))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        rows = rows[draw(st.lists(st.integers(0, size - 1), min_size=size, max_size=size))]
    labels = draw(
        st.one_of(
            st.lists(st.integers(0, 3), min_size=size, max_size=size),
            st.just([7] * size),
            st.just(list(range(size))),
        )
    )
    return rows, np.array(labels)


def computed(loss: TripletLoss, rows: np.ndarray, labels: np.ndarray):
    embeddings = torch.tensor(rows, requires_grad=True)
    value, stats = loss(embeddings, torch.tensor(labels))
    value.backward()
    return value.item(), embeddings.grad.numpy(), stats


@pytest.mark.parametrize("rule", MINING_RULES)
@given(batch=batches(), margin=st.sampled_from([0.25, 0.5, 1.0]), squared=st.booleans())
@settings(max_examples=120, deadline=None)
def test_value_gradient_and_counts_equal_the_naive_loop(rule, batch, margin, squared):
    value, gradient, stats = computed(TripletLoss(rule, margin, squared=squared), *batch)
    naive = Naive(*batch, margin, squared).run(rule)
    assert value == pytest.approx(naive.value, rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(gradient, naive.gradient, rtol=0, atol=1e-9)
    assert stats["triplets"] == pytest.approx(naive.terms)
    assert stats["active"] == pytest.approx(naive.active / max(naive.terms, 1))


@pytest.mark.parametrize("rule", MINING_RULES)
def test_a_pk_batch_equals_the_naive_loop(rule):
    rows = F.normalize(torch.randn(40, 16, generator=torch.Generator().manual_seed(1))).double().numpy()
    labels = np.arange(40) // 5
    value, gradient, _ = computed(TripletLoss(rule, 0.3), rows, labels)
    naive = Naive(rows, labels, 0.3, False).run(rule)
    assert value == pytest.approx(naive.value, rel=1e-9)
    np.testing.assert_allclose(gradient, naive.gradient, rtol=0, atol=1e-9)


@pytest.mark.parametrize("rule", sorted({*MINING_RULES} - {"distance_weighted"}))  # its weights are constants
@pytest.mark.parametrize("squared", [False, True])
def test_gradcheck(rule, squared):
    # Few, well separated rows: no hinge is near 0 and no two distances tie, where the loss has no derivative.
    rows = torch.randn(6, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    rows = F.normalize(rows).requires_grad_()
    labels = torch.tensor([0, 0, 1, 1, 0, 1])
    loss = TripletLoss(rule, 0.3, squared=squared)
    assert loss(rows, labels)[0] > 0
    assert torch.autograd.gradcheck(lambda rows: loss(rows, labels)[0], rows)


# ==== self-restrained: masked anchor, plain positive, plain negative ====


def naive_self_restrained(distances: np.ndarray, labels, masked, margin: float) -> tuple[float, bool, int]:
    people = range(len(labels))
    triplets = [
        (a, p, n)
        for a in people for p in people for n in people
        if labels[a] == labels[p] != labels[n] and masked[a] and not masked[p] and not masked[n]
    ]  # fmt: skip
    if not triplets:
        return 0.0, True, 0
    to_anchors = np.mean([distances[a, n] for a, _, n in triplets])
    to_positives = np.mean([distances[p, n] for _, p, n in triplets])
    restrained = to_anchors >= to_positives
    terms = [
        max(0, distances[a, p] - (to_positives if restrained else distances[a, n]) + margin) for a, p, n in triplets
    ]
    return np.mean(terms), bool(restrained), len(triplets)


@given(seed=st.integers(0, 10_000), margin=st.sampled_from([0.1, 0.5, 1.5]), squared=st.booleans())
@settings(max_examples=150, deadline=None)
def test_self_restrained_equals_the_naive_loop(seed, margin, squared):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 14))
    rows = rng.normal(size=(size, 4))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    labels, masked = rng.integers(0, 4, size), rng.random(size) < 0.5
    distances = np.linalg.norm(rows[:, None] - rows, axis=2) ** (2 if squared else 1)
    value, restrained, count = naive_self_restrained(distances, labels, masked, margin)
    loss = TripletLoss("self_restrained", margin, squared=squared)
    embeddings = torch.tensor(rows, requires_grad=True)
    found, stats = loss(embeddings, torch.tensor(labels), masked=torch.tensor(masked))
    found.backward()
    assert found.item() == pytest.approx(value, abs=1e-9)
    assert stats["triplets"] == count and embeddings.grad.isfinite().all()
    assert stats["restrained"] == (restrained and count > 0)


@pytest.mark.parametrize("shift", [0.0, 2.0], ids=["pushes", "only pulls"])
def test_gradcheck_of_self_restrained(shift):
    """Two people; with a shift the masked faces lie off the line through the plain ones, so that both are far."""
    plain = torch.tensor([[0.0, 0.0], [0.2, 0.1], [1.0, 0.0], [1.1, 0.3]], dtype=torch.float64)
    masked = torch.tensor([[0.5, 0.1 + shift], [0.6, 0.2 + shift]], dtype=torch.float64).requires_grad_()
    labels, flags = torch.tensor([0, 0, 1, 1, 0, 1]), torch.arange(6) >= 4

    def value(masked):  # what is pulled; the plain faces set a constant
        return TripletLoss("self_restrained", 0.5)(torch.cat([plain, masked]), labels, masked=flags)[0]

    loss = TripletLoss("self_restrained", 0.5)
    assert loss(torch.cat([plain, masked]), labels, masked=flags)[1]["restrained"] == (shift > 0)
    assert torch.autograd.gradcheck(value, masked)


# ==== by hand ====

LINE = torch.tensor([[0.0], [2.0], [1.0], [4.0]], dtype=torch.float64)
TWO_AND_TWO = torch.tensor([0, 0, 1, 1])


def test_batch_hard_by_hand():
    # Anchors 0, 2, 1, 4 on a line: farthest positive − nearest negative is 2−1, 2−1, 3−1, 3−2; margin 0.5.
    loss, stats = TripletLoss("batch_hard", 0.5)(LINE, TWO_AND_TWO)
    assert loss.item() == pytest.approx((1.5 + 1.5 + 2.5 + 1.5) / 4)
    assert stats == pytest.approx(
        {
            "active": 1.0,
            "triplets": 4,
            "positive_distance": 2.5,
            "negative_distance": (1 + 4 + 1 + 2) / 4,
            "hardest_negative_distance": (1 + 1 + 1 + 2) / 4,
            "margin": 0.5,
        }
    )


def test_semi_hard_by_hand():
    # Beyond the positive: 4 for anchor 0 (inactive); none strictly beyond for 2, 1 and 4 (2 is a tie): farthest.
    loss, stats = TripletLoss("semi_hard", 0.5)(LINE, TWO_AND_TWO)
    assert loss.item() == pytest.approx((0 + (2 - 2 + 0.5) + (3 - 1 + 0.5) + (3 - 4 + 0.5) * 0) / 4)
    assert stats["active"] == 0.5


def test_a_hinge_at_exactly_zero_is_inactive():
    rows = torch.tensor([[0.0], [1.0], [2.0]], requires_grad=True)  # anchor 0: 1 − 2 + 1 = 0
    for rule in ("batch_hard", "batch_all", "semi_hard"):
        rows.grad = None
        loss, stats = TripletLoss(rule, 1.0)(rows, torch.tensor([0, 0, 1]))
        assert stats["active"] == 0.5, rule  # anchor 1 alone
        loss.backward()
        assert rows.grad[0].item() == (-0.5 if rule != "batch_all" else -1.0)


def test_stats_are_euclidean_with_squared_distances_too():
    plain = TripletLoss("batch_hard", 0.5)(LINE, TWO_AND_TWO)[1]
    squared = TripletLoss("batch_hard", 0.5, squared=True)(LINE, TWO_AND_TWO)[1]
    assert squared == pytest.approx({name: float(figure) for name, figure in plain.items()})


@pytest.mark.parametrize("rule", MINING_RULES)
@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3]])
def test_without_positives_or_negatives_the_loss_is_zero_with_a_graph(rule, labels):
    rows = F.normalize(torch.randn(4, 8)).requires_grad_()
    loss, stats = TripletLoss(rule, 0.3)(rows, torch.tensor(labels))
    loss.backward()
    assert loss.item() == 0 and torch.equal(rows.grad, torch.zeros_like(rows))
    assert stats["triplets"] == 0 and stats["active"] == 0
    missing = "negative_distance" if labels[1] == 0 else "positive_distance"
    assert math.isnan(stats[missing])


@pytest.mark.parametrize("rule", MINING_RULES)
def test_collapsed_embeddings_have_a_finite_gradient(rule):
    rows = F.normalize(torch.ones(12, 8)).requires_grad_()
    loss, stats = TripletLoss(rule, 0.3)(rows, torch.arange(12) // 3)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2) if rule == "batch_hard_soft" else 0.3)
    assert torch.isfinite(rows.grad).all() and stats["active"] == pytest.approx(1)


@pytest.mark.parametrize("rule", MINING_RULES)
@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_broken_embedding_is_never_hidden(rule, poison):
    rows = F.normalize(torch.randn(12, 8))
    rows[5, 2] = poison
    assert not torch.isfinite(TripletLoss(rule, 0.3)(rows, torch.arange(12) // 3)[0])


@pytest.mark.parametrize("rule", MINING_RULES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_embeddings_get_a_float32_loss(rule, dtype):
    rows = F.normalize(torch.randn(12, 32, generator=torch.Generator().manual_seed(0))).to(dtype)
    labels = torch.arange(12) // 3
    low = rows.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = TripletLoss(rule, 0.3)(low, labels)
    loss.backward()
    assert loss.dtype == torch.float32 and torch.isfinite(low.grad).all()
    assert loss.item() == pytest.approx(TripletLoss(rule, 0.3)(rows.double(), labels)[0].item(), rel=1e-4)


# ==== pytorch-metric-learning, where the definition is the same ====


@pytest.mark.parametrize("rule", ["batch_hard", "batch_hard_soft", "batch_all"])
def test_equals_pytorch_metric_learning(rule):
    raw = torch.randn(48, 32, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    theirs, ours = raw.clone().requires_grad_(), raw.clone().requires_grad_()
    labels = torch.arange(48) % 8
    mean = pml_reducers.MeanReducer()
    miner, loss = {
        "batch_hard": (pml_miners.BatchHardMiner(), pml_losses.TripletMarginLoss(0.2, reducer=mean)),
        "batch_hard_soft": (
            pml_miners.BatchHardMiner(),
            pml_losses.TripletMarginLoss(0.0, smooth_loss=True, reducer=mean),
        ),
        "batch_all": (None, pml_losses.TripletMarginLoss(0.2)),
    }[rule]
    value = loss(theirs, labels, None if miner is None else miner(theirs, labels))
    value.backward()
    our_value, _ = TripletLoss(rule, 0.2)(F.normalize(ours), labels)  # theirs normalises by itself
    our_value.backward()
    torch.testing.assert_close(our_value, value, rtol=1e-9, atol=0)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-9)


# ==== settings ====


@pytest.mark.parametrize(("margin", "squared"), [(2.0, False), (3.0, False), (4.0, True)])
def test_a_margin_that_can_never_be_met_is_refused_with_the_reason(margin, squared):
    with pytest.raises(InputError, match=r"can never be met.*all embeddings equal"):
        TripletLoss("batch_hard", margin, squared=squared)
    TripletLoss("batch_hard", margin, squared=squared, allow_saturating_margin=True)


def test_margins_below_the_limit_are_taken():
    assert TripletLoss("batch_hard", 1.99).margin == 1.99
    assert TripletLoss("batch_hard", 3.99, squared=True).squared
    assert TripletLoss("batch_hard_soft", 3.0).mining == "batch_hard_soft"  # the margin has no part in the soft rule


@pytest.mark.parametrize("settings_", [("hardest", 0.3), ("batch_hard", 0.0), ("batch_hard", -1.0)])
def test_senseless_settings_are_refused(settings_):
    with pytest.raises(InputError):
        TripletLoss(*settings_)


@pytest.mark.parametrize("shapes", [((4, 8), (3,)), ((4,), (4,)), ((0, 8), (0,)), ((4, 8), (4, 1))])
def test_shapes_that_do_not_fit_are_refused(shapes):
    rows, labels = shapes
    with pytest.raises(ValueError, match="expected embeddings"):
        TripletLoss("batch_hard", 0.3)(torch.zeros(rows), torch.zeros(labels, dtype=torch.long))


def test_margin_warm_up_rises_and_travels_with_the_state():
    loss = TripletLoss("batch_hard", 0.4, margin_warmup=0.2)
    margins = []
    for progress in (0.0, 0.1, 0.2, 0.9):
        loss.set_progress(progress)
        margins.append(loss(LINE, TWO_AND_TWO)[1]["margin"])
    assert margins == pytest.approx([0, 0.2, 0.4, 0.4])
    loss.set_progress(0.05)
    resumed = TripletLoss("batch_hard", 0.4, margin_warmup=0.2)
    resumed.load_state_dict(loss.state_dict())
    assert resumed(LINE, TWO_AND_TWO)[1]["margin"] == pytest.approx(0.1)


def test_without_a_loop_that_tells_the_progress_the_margin_is_whole():
    assert TripletLoss("batch_hard", 0.4, margin_warmup=0.2)(LINE, TWO_AND_TWO)[1]["margin"] == 0.4
