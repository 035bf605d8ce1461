"""The sampled head against the full one."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from losses import ArcFaceLoss, sampled_head
from losses.sampled_head import sample_classes
from runtime.training.row_sgd import RowSGD

FULL = {"scale": 32.0, "margin": 0.4, "focal_gamma": 2.0}


def batch(classes: int, samples: int = 24, size: int = 16, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return (
        F.normalize(torch.randn(samples, size, generator=generator)),
        torch.randint(classes, (samples,), generator=generator),
    )


def test_sample_holds_every_label_once_and_the_asked_share():
    labels = torch.tensor([5, 99, 5, 0])
    for share in (0.01, 0.1, 0.5, 1.0):
        sampled = sample_classes(labels, 100, share)
        assert len(sampled) == max(3, round(share * 100))
        assert (sampled.diff() > 0).all() and sampled[0] >= 0 and sampled[-1] < 100
        assert {0, 5, 99} <= set(sampled.tolist())


def test_other_classes_are_drawn_evenly():
    torch.manual_seed(0)
    draws = torch.bincount(torch.cat([sample_classes(torch.tensor([3]), 40, 0.25) for _ in range(4000)]), minlength=40)
    others = np.delete(draws.numpy(), 3)
    assert draws[3] == 4000
    expected = 4000 * 9 / 39
    spread = np.sqrt(4000 * (9 / 39) * (30 / 39))  # of a binomial count
    assert np.abs(others - expected).max() < 5 * spread


@pytest.mark.parametrize("options", [{}, {"sub_centres": 3}, {"label_smoothing": 0.1}, {"kind": "cosface"}], ids=str)
def test_everything_sampled_equals_the_full_head(options):
    embeddings, labels = batch(50)
    full = ArcFaceLoss(16, 50, **FULL, **options)
    sampled = ArcFaceLoss(16, 50, **FULL, **options, sample_share=1.0)
    sampled.load_state_dict(full.state_dict())
    rows = [embeddings.clone().requires_grad_() for _ in range(2)]
    (value, stats), (expected, expected_stats) = sampled(rows[0], labels), full(rows[1], labels)
    (value + expected).backward()
    assert value.item() == expected.item() and stats == expected_stats
    assert torch.equal(rows[0].grad, rows[1].grad)
    assert torch.equal(sampled.weight.grad.to_dense(), full.weight.grad)


def test_a_sample_is_the_full_head_on_those_classes():
    embeddings, labels = batch(200)
    loss = ArcFaceLoss(16, 200, **FULL, sample_share=0.3)
    torch.manual_seed(7)
    value, _ = loss(embeddings, labels)
    value.backward()
    torch.manual_seed(7)
    sampled = sample_classes(labels, 200, 0.3)
    small = ArcFaceLoss(16, 60, **FULL)
    small.weight.data = loss.weight.data[sampled].clone()
    expected, _ = small(embeddings, torch.searchsorted(sampled, labels))
    expected.backward()
    assert value.item() == expected.item()
    dense = loss.weight.grad.to_dense()
    assert torch.equal(dense[sampled], small.weight.grad)
    untouched = torch.ones(200, dtype=torch.bool)
    untouched[sampled] = False
    assert untouched.sum() == 140 and (dense[untouched] == 0).all()


@pytest.mark.parametrize("rows_at_once", [1, 7, 16])
def test_rows_are_made_unit_a_few_at_a_time(rows_at_once, monkeypatch):
    monkeypatch.setattr(sampled_head, "ROWS_AT_ONCE", {"cpu": rows_at_once})
    weight = torch.randn(40, 6, dtype=torch.float64)
    weight[3] = 0  # has no direction
    rows = torch.arange(0, 40, 3)
    slopes = torch.randn(len(rows), 6, dtype=torch.float64)
    ours, theirs = (weight.clone().requires_grad_() for _ in range(2))
    unit = sampled_head.sampled_unit_rows(ours, rows, torch.float64)
    expected = torch.stack([theirs[i] if i == 3 else theirs[i] / theirs[i].norm() for i in rows])
    torch.testing.assert_close(unit, expected)
    (unit * slopes).sum().backward()
    (expected * slopes).sum().backward()
    torch.testing.assert_close(ours.grad.to_dense(), theirs.grad)


def test_frequency_weights_follow_the_labels_into_the_sample():
    embeddings, labels = batch(50)
    options = {"class_counts": list(range(1, 51)), "frequency_weights": "inverse_log"}
    full = ArcFaceLoss(16, 50, **FULL, **options)
    sampled = ArcFaceLoss(16, 50, **FULL, **options, sample_share=1.0)
    sampled.load_state_dict(full.state_dict())
    assert sampled(embeddings, labels)[0].item() == full(embeddings, labels)[0].item()


def test_a_million_classes_take_a_step():
    embeddings, labels = batch(1_000_000, samples=32, size=8)
    embeddings = embeddings.half().requires_grad_()
    loss = ArcFaceLoss(8, 1_000_000, **FULL | {"scale": 64.0}, sample_share=0.01)
    optimiser = RowSGD(loss.parameters(), lr=0.1, momentum=0.9)
    before = loss.weight.detach().clone()
    value, _ = loss(embeddings, labels)
    value.backward()
    optimiser.step()
    assert torch.isfinite(value) and torch.isfinite(embeddings.grad).all()
    assert loss.weight.grad._nnz() == 10_000
    changed = (before != loss.weight.detach()).any(1)
    assert changed[labels].all() and changed.sum() <= 10_000


def test_dense_and_sparse_in_one_optimiser_and_its_state_resumes():
    embeddings, labels = batch(50)

    def build():
        torch.manual_seed(0)
        layer = torch.nn.Linear(16, 16)
        loss = ArcFaceLoss(16, 50, **FULL, sample_share=0.2)
        optimiser = RowSGD([*layer.parameters(), *loss.parameters()], lr=0.1, momentum=0.9, weight_decay=1e-4)
        return layer, loss, optimiser

    def step(layer, loss, optimiser, seed):
        torch.manual_seed(seed)
        optimiser.zero_grad()
        loss(layer(embeddings), labels)[0].backward()
        optimiser.step()

    straight, resumed = build(), build()
    for seed in range(4):
        step(*straight, seed)
    for seed in range(2):
        step(*resumed, seed)
    fresh = build()
    for new, old in zip(fresh, resumed, strict=True):
        new.load_state_dict(old.state_dict())
    for seed in range(2, 4):
        step(*fresh, seed)
    for a, b in zip(straight[:2], fresh[:2], strict=True):
        for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
            assert torch.equal(x, y), name
