"""A loader whose workers die, or wait for a disk that does not answer."""

import os
import signal
import time

import pytest
import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data._utils import signal_handling

from runtime.errors import InputError
from runtime.processes import watched_loader
from runtime.processes.watched_loader import DataLost, Progress, WatchedLoader


class _Numbers(Dataset):
    """Rows 0 to 19; ``trouble(row)`` is called before a row is given."""

    def __init__(self, workers, trouble):
        self.progress, self.trouble = Progress(workers), trouble

    def __len__(self):
        return 20

    def name(self, row):
        return f"{row}.jpg"

    def __getitems__(self, rows):
        for row in rows:
            self.progress.at(row)
            self.trouble(row)
        self.progress.done()
        return torch.tensor(rows)


def _loader(trouble, workers=2, **options):
    context = "fork" if workers else None
    return WatchedLoader(
        _Numbers(workers, trouble), 2, collate_fn=lambda batch: batch, num_workers=workers,
        multiprocessing_context=context, **options,
    )  # fmt: skip


def _rows(loader):
    return torch.cat(list(loader)).tolist()


@pytest.fixture
def stuck(tmp_path):
    """What waits at row 7 until the test is over."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    return lambda row: pipe.read_bytes() if row == 7 else None


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "worker 1 of the data loader was killed by SIGKILL.*workers"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "worker 1 of the data loader was killed by SIGSEGV$"),
        (lambda: os._exit(3), "worker 1 of the data loader ended with exit code 3$"),
    ],
)
def test_a_dead_worker_is_named_with_how_it_ended(end, said):
    with pytest.raises(DataLost, match=said):
        _rows(_loader(lambda row: end() if row == 7 else None))


def test_a_worker_that_dies_between_two_epochs_interrupts_nothing_but_the_next_wait():
    loader = _loader(lambda row: None, persistent_workers=True)
    assert _rows(loader) == list(range(20))
    workers = loader._workers
    os.kill(workers[0].pid, signal.SIGKILL)
    workers[0].join()
    sum(range(10_000))  # torch's own handler raises here
    with pytest.raises(DataLost, match="worker 0 .* SIGKILL"):
        _rows(loader)
    workers[1].join(timeout=20)
    assert workers[1].exitcode == -signal.SIGKILL  # though it is well, and may ignore SIGTERM


def test_another_loaders_handler_for_dead_workers_is_gone(monkeypatch):
    monkeypatch.setattr(signal_handling, "_SIGCHLD_handler_set", False)  # torch sets it once a process
    assert len(list(DataLoader(list(range(4)), num_workers=1, multiprocessing_context="fork"))) == 4
    assert signal.getsignal(signal.SIGCHLD) != signal.SIG_DFL
    assert _rows(_loader(lambda row: None)) == list(range(20))
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL


@pytest.mark.parametrize(("workers", "reader"), [(2, "worker 1"), (0, "this process")])
def test_what_is_waited_for_is_said_and_ends_the_wait_only_after_the_time_allowed(
    stuck, monkeypatch, capsys, workers, reader
):
    monkeypatch.setattr(watched_loader, "PATIENCE", 1.0)
    with pytest.raises(DataLost, match=f"{reader} has been reading 7.jpg for .*data_timeout_minutes"):
        _rows(_loader(stuck, workers, timeout_minutes=2.5 / 60))
    said = capsys.readouterr().err
    assert f"no data for 1 s: {reader} has been reading 7.jpg for " in said
    assert said.count("no data") == 2  # after one second and after two


def test_slow_data_comes_and_the_alarm_is_off_afterwards(monkeypatch, capsys):
    monkeypatch.setattr(watched_loader, "PATIENCE", 1.0)
    assert _rows(_loader(lambda row: time.sleep(2.5 * (row == 7)))) == list(range(20))
    assert "has been reading 7.jpg" in capsys.readouterr().err
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


def test_somebody_elses_alarm_is_left_alone():
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        signal.setitimer(signal.ITIMER_REAL, 100)
        assert _rows(_loader(lambda row: None)) == list(range(20))
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_workers_that_cannot_be_started_are_one_line(monkeypatch):
    def fork():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    with pytest.raises(InputError, match="can't start 2 processes .*temporarily unavailable.*workers"):
        _rows(_loader(lambda row: None))
