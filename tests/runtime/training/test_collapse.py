import math

import pytest
import torch
import torch.nn.functional as F

from runtime.training.collapse import collapse_reason, embedding_health


def test_equal_embeddings_have_rank_one_distance_zero_and_are_named():
    health = embedding_health(F.normalize(torch.ones(32, 8)))
    assert health["mean_distance"] == pytest.approx(0, abs=1e-6)
    assert health["effective_rank"] == pytest.approx(1, abs=1e-3)
    assert "collapsed" in collapse_reason(health)


def test_orthonormal_embeddings_have_full_rank_and_distance_root_two():
    health = embedding_health(torch.eye(16))
    assert health["effective_rank"] == pytest.approx(16, rel=1e-5)
    assert health["mean_distance"] == pytest.approx(math.sqrt(2), rel=1e-6)
    assert collapse_reason(health) is None


def test_two_opposite_points_are_a_collapse_though_far_apart():
    row = F.normalize(torch.randn(1, 8, generator=torch.Generator().manual_seed(0)))
    health = embedding_health(torch.cat([row.repeat(16, 1), -row.repeat(16, 1)]))
    assert health["mean_distance"] == pytest.approx(2, rel=1e-5)
    assert "collapsed" in collapse_reason(health)


def test_random_embeddings_are_healthy():
    x = F.normalize(torch.randn(64, 128, generator=torch.Generator().manual_seed(1)))
    assert collapse_reason(embedding_health(x)) is None
