import time

import pytest
import torch
from torch import nn

from benchmarks.throughput.arms import all_arms, quick_arms
from benchmarks.throughput.chip import training_flops
from benchmarks.throughput.measure import Span, Stopwatch
from benchmarks.throughput.parts import PARTS, PartTimer
from models import build_model
from runtime.training.state import TrainingState
from tests.engine import settings_of

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("backbone", "size", "billions"),
    # Three times two operations a multiply-add of the published networks.
    [("iresnet50", 112, 37.9), ("inception_resnet_v1", 112, 3.56), ("inception_resnet_v1", 160, 8.51)],
)
def test_operations_of_a_step_are_those_of_the_network(backbone, size, billions):
    own = {"embedding_size": 512, "pooling": "backbone", "dropout": 0.0, "pretrained": "none"}
    model = build_model(backbone, image_size=size, **own)
    assert training_flops(model, size) / 1e9 == pytest.approx(billions, rel=0.002)


def test_no_two_arms_are_the_same():
    for arms in (all_arms(None), quick_arms(None)):
        assert len({str(arm) for arm in arms}) == len(arms)


def test_the_warm_up_is_not_measured():
    slow_first = iter([0.3, 0.3, 0.0, 0.0, 0.0])
    seconds = Stopwatch(Span(warm_up=2, steps=3, seconds=0.0), CPU).run(lambda: time.sleep(next(slow_first)))
    assert seconds < 0.1 and next(slow_first, None) is None


class _Slow(nn.Module):
    def __init__(self, seconds):
        super().__init__()
        self.weight, self.seconds = nn.Parameter(torch.ones(1)), seconds

    def forward(self, x):
        time.sleep(self.seconds)
        return x * self.weight


def test_each_part_of_a_step_is_counted_where_it_is_spent():
    model, criterion = _Slow(0.05), _Slow(0.02)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    state = TrainingState(model, criterion, optimiser, None, None, settings_of(), None, [])
    timer = PartTimer(CPU)
    timer.attach(state)
    for _ in range(3):
        criterion(model(torch.ones(1))).sum().backward()
        optimiser.step()
    spent = timer.milliseconds()
    assert tuple(spent) == PARTS
    assert spent["forward"] >= 50 > spent["loss"] >= 20
