import time

import torch
from torch import nn

from runtime.training.parts import PARTS, PartTimer


class _Slow(nn.Module):
    def __init__(self, seconds):
        super().__init__()
        self.weight, self.seconds = nn.Parameter(torch.ones(1)), seconds

    def forward(self, x):
        time.sleep(self.seconds)
        return x * self.weight


def _batches(seconds):
    for _ in range(3):
        time.sleep(seconds)
        yield torch.ones(1)


def test_each_part_of_a_step_is_counted_where_it_is_spent():
    model, criterion = _Slow(0.05), _Slow(0.02)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    timer, started = PartTimer(torch.device("cpu")), time.perf_counter()
    with timer.attached(criterion, optimiser):
        for batch in timer.over(_batches(0.01)):
            criterion(model(batch)).sum().backward()
            optimiser.step()
            time.sleep(0.03)
    seconds = time.perf_counter() - started
    spent = timer.milliseconds()
    assert tuple(spent) == PARTS and timer.steps == 3
    assert spent["forward"] >= 50 > spent["between"] >= 30 > spent["loss"] >= 20 > spent["data"] >= 10
    assert sum(spent.values()) * 3 <= 1000 * seconds
    criterion(model(torch.ones(1))).sum().backward()
    optimiser.step()
    assert timer.milliseconds() == spent  # nothing is left of it on criterion and optimiser
