import os

import pytest
import torch

from runtime.devices import loader_workers

GPU = torch.device("cuda")


@pytest.mark.parametrize(
    ("cores", "gpus", "processes", "workers"),
    [(2, 1, 1, 1), (1, 1, 1, 1), (16, 1, 1, 8), (64, 4, 1, 32), (16, 4, 1, 15), (64, 4, 4, 8), (16, 4, 4, 3)],
)
def test_workers_are_chosen_by_cores_gpus_and_processes(monkeypatch, cores, gpus, processes, workers):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    if processes > 1:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert loader_workers(-1, GPU) == workers
    assert loader_workers(5, GPU) == 5


def test_no_process_loads_beside_training_on_a_cpu():
    assert loader_workers(-1, torch.device("cpu")) == 0
