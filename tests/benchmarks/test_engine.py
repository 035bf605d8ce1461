import itertools
from statistics import median
from types import SimpleNamespace

from tqdm import tqdm

from benchmarks import engine


def test_a_machine_that_gets_busier_all_the_time_slows_down_neither(monkeypatch):
    calls = iter(range(100, 200))
    monkeypatch.setattr(engine, "times", lambda run: (next(calls) * run(), 1.0))
    pairs = engine.rounds_of(lambda: 1.0, lambda: 0.5, most=9)
    assert len(pairs) == 9
    assert abs(median(theirs[0] / ours[0] for ours, theirs in pairs) - 0.5) < 0.005


def test_a_slow_network_gets_fewer_rounds_but_never_less_than_the_fewest(monkeypatch):
    clock = itertools.count(0, engine.SECONDS + 1)
    monkeypatch.setattr(engine.time, "monotonic", lambda: next(clock))
    assert len(engine.rounds_of(lambda: None, lambda: None, most=99)) == engine.FEWEST_ROUNDS


def test_the_engines_progress_bars_are_not_shown(monkeypatch, capsys):
    monkeypatch.setattr(engine, "train_one_epoch", lambda *_: list(tqdm(range(2))))
    setup = SimpleNamespace(state=SimpleNamespace(epoch=0), loader=None, watch=None)
    engine.engine_epoch(setup)()
    assert capsys.readouterr() == ("", "") and setup.state.epoch == 1
