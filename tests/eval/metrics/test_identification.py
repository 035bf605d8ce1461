"""Figures of identification against a naive count."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from eval.metrics.identification import Probes, identification_figures


@given(arrays(int, (6, 7), elements=st.integers(0, 9)), st.lists(st.integers(-1, 6), min_size=6, max_size=6))
def test_figures_are_those_of_a_naive_count(tenths, truth):
    distances, threshold = tenths / 10, 0.35
    count = dict.fromkeys(("rank_1", "rank_5", "recognised", "without_own_accepted", "stranger_accepted"), 0)
    known = sum(person >= 0 for person in truth)
    for row, person in zip(distances.tolist(), truth, strict=True):
        if person < 0:
            count["stranger_accepted"] += min(row) <= threshold
            continue
        as_near = sum(other <= row[person] for other in row)  # itself among them
        count["rank_1"] += as_near == 1
        count["rank_5"] += as_near <= 5
        count["recognised"] += as_near == 1 and row[person] <= threshold
        count["without_own_accepted"] += min(row[:person] + row[person + 1 :]) <= threshold
    found = identification_figures(Probes.of(distances, np.array(truth), np.arange(6)), threshold)
    for name, number in count.items():
        of = len(truth) - known if name == "stranger_accepted" else known
        assert found[name] == (pytest.approx(number / of) if of else None), name
