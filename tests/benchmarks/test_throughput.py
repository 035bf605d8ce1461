import time

import pytest
import torch

from benchmarks.throughput.arms import all_arms, quick_arms
from benchmarks.throughput.chip import training_flops
from benchmarks.throughput.measure import Span, Stopwatch
from models import build_model

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
