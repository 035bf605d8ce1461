"""Runs that die, stop, go on: bit for bit as if nothing had happened."""

import dataclasses
import os
import signal

import pytest
import torch

from runtime.checkpoints import store as checkpoint_store
from runtime.checkpoints.store import Position
from runtime.errors import InputError
from runtime.run_folder import RunFolder
from runtime.training import state as training_state
from runtime.training.state import resume
from tests.engine import FOUR, Faces, Softmax, evaluation, fit, lines, setup
from tests.processes import in_processes


class _Killed(Exception):
    """What takes a process away in the middle of something."""


def _kill_at(monkeypatch, moment):
    """Let the moment-th call of what happens between start and end of a run be the last: steps, saves, evaluations."""
    calls = iter(range(1000))

    def counted(function):
        def call(*arguments, **options):
            if next(calls) == moment:
                raise _Killed
            return function(*arguments, **options)

        return call

    for owner, name in (
        (Softmax, "forward"),
        (torch.optim.SGD, "step"),
        (training_state, "save"),
        (training_state, "copy_checkpoint"),
        (checkpoint_store.os, "replace"),
        (RunFolder, "write_log"),
    ):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))


def _assert_same_end(run, other):
    assert lines(run) == lines(other)
    for name in ("last.pt", "best.pt"):
        ends = [torch.load(r.path / name, weights_only=True) for r in (run, other)]
        for part in ("model", "criterion"):
            assert all(torch.equal(ends[0][part][k], ends[1][part][k]) for k in ends[0][part])
        for part in ("optimiser", "scheduler", "history", "images_seen", "rng"):
            assert _plain(ends[0][part]) == _plain(ends[1][part])


def _plain(value):
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        timed = {"images_per_second", "data_wait_share", "step_seconds", "seconds", "evaluation_seconds"}
        return {k: _plain(v) for k, v in value.items() if k not in timed}
    return [_plain(v) for v in value] if isinstance(value, list) else value


OPTIONS = {"plain": {}, "averaged": {"ema": 0.9}, "in parts": {"accumulate_steps": 2}}


@pytest.mark.parametrize("kind", OPTIONS)
def test_a_run_that_dies_again_and_again_at_any_moment_equals_an_uninterrupted_one(tmp_path, monkeypatch, kind):
    options = {"checkpoint_minutes": 0.0, **OPTIONS[kind]}
    ema = options.pop("ema", 0.0)
    state, loader, whole = setup(tmp_path, "whole", epochs=2, ema=ema)
    assert fit(state, loader, whole, evaluation(FOUR), epochs=2, **options) is None
    deaths = 0
    for moment in (0, 1, 2, 3, 4, 5, 6, 7, 9, 12, 18, 23, 31, 200):
        with monkeypatch.context() as patch:
            state, loader, cut = setup(tmp_path, "cut", epochs=2, ema=ema)
            if cut.store.newest():
                torch.rand(5)  # a resumed process has drawn other numbers than the first one
            _kill_at(patch, moment)
            try:
                resume(state, cut)
                assert fit(state, loader, cut, evaluation(FOUR), epochs=2, **options) is None
                break
            except _Killed:
                deaths += 1
    assert deaths > 8
    _assert_same_end(cut, whole)


def test_without_time_for_a_checkpoint_a_run_goes_on_from_the_end_of_the_last_epoch(tmp_path):
    state, loader, whole = setup(tmp_path, "whole")
    fit(state, loader, whole, evaluation(FOUR))

    def interrupted(model, epoch):
        if epoch == 3:
            raise _Killed
        return evaluation(FOUR)(model, epoch)

    state, loader, cut = setup(tmp_path, "cut")
    with pytest.raises(_Killed):
        fit(state, loader, cut, interrupted)
    state, loader, cut = setup(tmp_path, "cut")
    resume(state, cut)
    assert state.position == (2, 0)
    fit(state, loader, cut, evaluation(FOUR))
    _assert_same_end(cut, whole)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("where", ["step", "waiting", "evaluation"])
def test_a_signal_ends_the_step_saves_and_exits_and_the_same_again_goes_on(tmp_path, number, code, where):
    state, loader, whole = setup(tmp_path, "whole")
    fit(state, loader, whole, evaluation(FOUR))

    class Signalled(Softmax):
        def forward(self, embeddings, labels):
            if where == "step" and len(self.progress) == 6:
                os.kill(os.getpid(), number)
            return super().forward(embeddings, labels)

    class Waiting(Faces):
        def __getitems__(self, keys):
            if where == "waiting" and len(state.criterion.progress) == 6:
                os.kill(os.getpid(), number)
                raise AssertionError("waiting is left at once")
            return super().__getitems__(keys)

    def evaluate(model, epoch):
        if where == "evaluation" and epoch == 2:
            os.kill(os.getpid(), number)
            raise AssertionError("an evaluation is left at once")
        return evaluation(FOUR)(model, epoch)

    state, loader, cut = setup(tmp_path, "cut", criterion=Signalled, faces=Waiting)
    with pytest.raises(SystemExit) as stop:
        fit(state, loader, cut, evaluate)
    assert stop.value.code == code
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    state, loader, cut = setup(tmp_path, "cut")
    resume(state, cut)
    assert state.position == ((1, 4) if where == "evaluation" else (1, 2))
    fit(state, loader, cut, evaluation(FOUR))
    _assert_same_end(cut, whole)


def _resumed(tmp_path):
    state, _, run = setup(tmp_path)
    resume(state, run)
    return [*state.position, state.model.state_dict()["layers.1.weight"]]


def test_several_processes_pass_over_a_damaged_checkpoint_together(tmp_path):
    state, loader, run = setup(tmp_path)
    fit(state, loader, run, evaluation(FOUR))
    before = run.store.load(Position(3, 0))
    next(run.store.folder.glob("epoch0004*")).write_bytes(b"half")
    for epoch, batch, weight in in_processes(3, _resumed, tmp_path):
        assert (epoch, batch) == (3, 0)
        assert torch.equal(weight, before["model"]["layers.1.weight"])
    assert [path.suffix for path in sorted(run.store.folder.iterdir())] == [".pt", ".damaged"]


def test_lowest_iou_is_best_and_a_tie_goes_to_the_higher_auc(tmp_path):
    state, loader, run = setup(tmp_path)
    fit(state, loader, run, evaluation(FOUR))
    best = torch.load(run.best, weights_only=True)
    assert best["epoch"] == 3
    assert best["threshold"] == pytest.approx(1.3)
    assert best["threshold_metric"] == "balanced_accuracy"
    assert torch.load(run.last, weights_only=True)["epoch"] == 4
    assert [line["images_seen"] for line in lines(run)] == [24, 48, 72, 96]


def test_a_resume_with_other_identities_is_refused(tmp_path):
    state, loader, run = setup(tmp_path, epochs=1)
    fit(state, loader, run, evaluation(FOUR), epochs=1)
    with pytest.raises(InputError, match="other identities"):
        resume(dataclasses.replace(state, identities=["a", "b", "d"]), run)
