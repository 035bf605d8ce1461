"""A profiled run gives bit-identical weights, and says where its time goes."""

import gzip
import json
import time

import pytest
import torch

from runtime.training import profile, watch
from runtime.training.state import resume
from tests.engine import FOUR, Faces, Network, Softmax, evaluation, fit, lines, setup


@pytest.fixture(autouse=True)
def one_step_of_warm_up(monkeypatch):
    monkeypatch.setattr(profile, "WARM_UP", 1)  # of an epoch's four


def _ranges(run):
    """Name and the two ends of each of our own marks in the trace."""
    with gzip.open(run.path / "profile.json.gz") as file:
        events = json.load(file)["traceEvents"]
    marks = [event for event in events if event.get("cat") == "user_annotation"]
    return [(event["name"], event["ts"], event["ts"] + event["dur"]) for event in marks]


def test_the_trace_holds_the_steps_and_in_each_its_parts_in_their_order(tmp_path, capsys):
    state, loader, run = setup(tmp_path)
    fit(state, loader, run, evaluation(FOUR), profile=2)
    ranges = _ranges(run)
    steps = [(start, end) for name, start, end in ranges if name.startswith("step ")]
    assert len(steps) == 2
    for start, end in steps:
        inside = [name for name, *span in sorted(ranges, key=lambda r: r[1]) if start <= span[0] and span[1] <= end]
        assert [name for name in inside if name in profile.PARTS] == [
            "forward",
            "loss",
            "backward",
            "optimiser",
            "between",
        ]
    words = (run.path / "profile.txt").read_text()
    assert words in capsys.readouterr().out.replace("\r", "")
    assert words.startswith("steps profiled: 2,") and len(words.splitlines()) <= 12


def test_a_run_trains_to_the_same_bits_with_and_without_and_after_a_resume(tmp_path):
    runs = {}
    for name, steps in (("plain", 0), ("profiled", 2)):
        state, loader, run = setup(tmp_path, name)
        fit(state, loader, run, evaluation(FOUR), epochs=2, profile=steps)
        state, loader, run = setup(tmp_path, name)
        resume(state, run)
        (run.path / "profile.txt").unlink(missing_ok=True)
        fit(state, loader, run, evaluation(FOUR), profile=steps)
        assert (run.path / "profile.txt").is_file() == (steps > 0)  # a resumed run is profiled anew
        runs[name] = run
    assert lines(runs["plain"]) == lines(runs["profiled"])
    ends = [torch.load(run.last, weights_only=True) for run in runs.values()]
    for part in ("model", "criterion"):
        assert all(torch.equal(ends[0][part][key], ends[1][part][key]) for key in ends[0][part])


def test_what_the_profile_takes_to_start_and_to_save_is_no_part_of_the_epochs_time(tmp_path, monkeypatch):
    hour, passed, now = 3600, [0], time.perf_counter
    monkeypatch.setattr(time, "perf_counter", lambda: now() + passed[0])
    for owner, name in ((profile.Profile, "start"), (profile.Profile, "save_trace")):
        whole = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *args, whole=whole: (passed.append(passed.pop() + hour), whole(*args)))
    state, loader, run = setup(tmp_path)
    fit(state, loader, run, evaluation(FOUR), epochs=1, profile=2)
    (line,) = map(json.loads, (run.path / "log.jsonl").read_text().splitlines())
    assert passed == [2 * hour] and line["seconds"] < hour and line["step_seconds"] < hour / 4


class _SlowFaces(Faces):
    def __getitems__(self, keys):
        time.sleep(0.2)
        return super().__getitems__(keys)


class _SlowLoss(Softmax):
    def forward(self, embeddings, labels):
        time.sleep(0.2)
        return super().forward(embeddings, labels)


@pytest.mark.parametrize(
    ("parts", "culprit", "remedy"),
    [
        ({"faces": _SlowFaces}, "data", "data.pack"),
        ({"criterion": _SlowLoss}, "loss", "--sampled-share"),
        ({"network": lambda: _with_sleep(Network())}, "forward", "a smaller network"),
    ],
)
def test_the_words_name_what_takes_the_time(tmp_path, parts, culprit, remedy):
    state, loader, run = setup(tmp_path, epochs=1, **parts)
    fit(state, loader, run, evaluation(FOUR), epochs=1, profile=3)
    said = (run.path / "profile.txt").read_text()
    shares = dict(part.rsplit(" ", 1) for part in said.splitlines()[1].removeprefix("of a step: ").split(", "))
    assert max(shares, key=lambda name: int(shares[name].rstrip("%"))) == culprit
    assert remedy in next(line for line in said.splitlines() if line.startswith("advice: "))


def _with_sleep(network):
    network.register_forward_hook(lambda *_: time.sleep(0.2))
    return network


def test_where_an_epoch_ends_the_profile_ends_with_the_steps_that_it_had(tmp_path, monkeypatch):
    state, loader, run = setup(tmp_path)
    fit(state, loader, run, evaluation(FOUR), profile=50)
    assert len([name for name, *_ in _ranges(run) if name.startswith("step ")]) == 3
    # Fewer steps than the warm-up takes: it is counted over the epochs.
    monkeypatch.setattr(profile, "WARM_UP", 6)
    state, loader, run = setup(tmp_path, "later")
    fit(state, loader, run, evaluation(FOUR), profile=50)
    assert len([name for name, *_ in _ranges(run) if name.startswith("step ")]) == 2


def test_a_full_disk_costs_the_profile_and_not_the_run(tmp_path, capsys):
    state, loader, run = setup(tmp_path)
    (run.path / "profile.json.gz").mkdir()
    assert fit(state, loader, run, evaluation(FOUR), profile=1) is None
    assert "training continues, but" in capsys.readouterr().out
    assert len(lines(run)) == 4


def test_of_several_processes_the_first_alone_profiles(tmp_path, monkeypatch):
    state, loader, run = setup(tmp_path)
    monkeypatch.setattr(watch, "is_first", lambda: False)
    fit(state, loader, run, evaluation(FOUR), profile=1)
    assert not (run.path / "profile.txt").exists()
