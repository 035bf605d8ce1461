"""Error curves: the rates are those that a loop over thresholds counts, and thinning does not move them."""

import numpy as np

from eval.metrics.error_curves import errors_of

RNG = np.random.default_rng(0)
SAME = np.arange(400) < 200
DISTANCES = np.where(SAME, RNG.normal(0.9, 0.2, 400), RNG.normal(1.3, 0.1, 400)).round(2)


def test_both_rates_equal_a_loop_over_thresholds():
    found = errors_of("all pairs", DISTANCES, SAME, 1.1)
    distances = [-1, *sorted(set(DISTANCES.tolist()))]
    np.testing.assert_allclose(found.far, [np.mean(DISTANCES[~SAME] <= d) for d in distances])
    np.testing.assert_allclose(found.tar, [np.mean(DISTANCES[SAME] <= d) for d in distances])
    assert found.here == (np.mean(DISTANCES[~SAME] <= 1.1), np.mean(DISTANCES[SAME] <= 1.1))


def test_a_million_pairs_are_thinned_without_leaving_the_curve():
    same = np.arange(200_000) % 2 == 0
    distances = np.random.default_rng(1).normal(np.where(same, 0.9, 1.3), 0.15)
    found = errors_of("x", distances, same, None)
    assert len(found.far) < 2000
    for far, tar in zip(found.far[1::50], found.tar[1::50], strict=True):
        threshold = np.sort(distances[~same])[max(round(far * 100_000) - 1, 0)]
        assert np.mean(distances[same] <= threshold) <= tar + 1e-9 or far == 0
    assert np.abs(np.diff(found.tar)).max() < 0.01
