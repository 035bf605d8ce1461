"""The sums of an epoch."""

import torch

from runtime.training.state import EpochSums


def test_a_figure_is_the_mean_over_the_steps_that_have_it():
    sums = EpochSums()
    for figures in ({"loss": 1.0, "active": 0.5}, {"loss": 3.0}, {"loss": 5.0, "active": 0.7}):
        sums.add(figures, torch.eye(2))
    assert sums.means == {"loss": 3.0, "active": 0.6}
