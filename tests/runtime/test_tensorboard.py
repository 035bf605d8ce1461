import resource
import threading

import numpy as np
import pytest
import torch

from runtime import tensorboard
from runtime.errors import InputError
from runtime.tensorboard import PREVIEWED, Board

events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def written(run):
    everything = events.EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0, "histograms": 0})
    everything.Reload()
    return everything


def test_a_batch_is_shown_face_by_face_up_to_a_limit(tmp_path):
    board = Board(tmp_path)
    board.batch(7, torch.full((PREVIEWED + 5, 16, 24, 3), 200, dtype=torch.uint8))
    board.histograms(7, {})
    tags = written(tmp_path).Tags()["images"]
    assert len(tags) == 1
    shown = written(tmp_path).Images(tags[0])[0]
    assert shown.step == 7
    assert shown.width * shown.height == PREVIEWED * 16 * 24


def test_histograms_hold_all_values_between_their_ends(tmp_path):
    distances = np.linspace(0.25, 1.75, 50)
    Board(tmp_path).histograms(3, {"distances/same": distances})
    histogram = written(tmp_path).Histograms("distances/same")[0]
    value = histogram.histogram_value
    assert (histogram.step, value.num, value.min, value.max) == (3, 50, 0.25, 1.75)
    assert value.sum == pytest.approx(50.0)


def test_a_disk_that_takes_no_more_is_said_once(tmp_path, monkeypatch):
    printed = []
    monkeypatch.setattr(threading, "excepthook", printed.append)
    tensorboard._print_no_errors_of_writers.__wrapped__()
    board = Board(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(InputError, match="tensorboard"):
            for step in range(20):
                board.batch(step, torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8))
                board.histograms(step, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    failing = threading.Thread(target=lambda: 1 / 0)
    failing.start()
    failing.join()
    assert [error.exc_type for error in printed] == [ZeroDivisionError]
