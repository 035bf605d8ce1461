"""Searches with a small program in place of a script: it writes a run folder as a script does, without a network."""

import contextlib
import json
import multiprocessing
import os
import re
import signal
import statistics
import sys
import time
from types import SimpleNamespace

import pandas as pd
import pytest

from configs.cli import parse_settings
from main_triplet import SETTINGS
from runtime.run_folder import open_run
from study.search import script, storage
from study.search.__main__ import SearchSettings, search
from study.search.records import records
from study.search.space import parse_space
from study.search.trials import _report
from tests.one_line import one_line
from tests.processes import ROOT
from tests.small_run import SETTINGS as SMALL

# The IOU falls with the epochs and rises with the margin, so that the smallest margin is best.
PROGRAM = """
if __name__ == "constants":
    from main_triplet import SETTINGS
else:
    import json, os, signal, sys, time
    from pathlib import Path

    options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
    run, margin = Path(options["--results-dir"], options["--run-name"]), float(options["--margin"])
    run.mkdir(exist_ok=True)
    with (run / "starts").open("a") as starts:
        starts.write(" ".join([str(os.getpid()), *sys.argv]) + "\\n")
    (run / "config.json").write_text('{"settings": {}}')

    def stop(number, frame):
        (run / "saved").touch()
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    if options.get("--mining") == "batch_all":
        print("a traceback")
        sys.exit("error: out of memory")
    log = run / "log.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    for epoch in range(len(lines) + 1, int(options["--epochs"]) + 1):
        time.sleep(SLEEP)
        if options.get("--mining") == "batch_hard":
            (run / "config.json").write_text('{"settings": {}, "ended": "the embeddings have collapsed"}')
            sys.exit("training stopped early")
        line = {"epoch": epoch, "iou": margin - 0.01 * epoch, "images_seen": 100 * epoch}
        lines.append(json.dumps(line))
        new = run / "log.new"
        new.write_text("\\n".join(lines) + "\\n")
        new.rename(log)
    (run / "tested").touch()
    time.sleep(60)
"""
MARGIN = "margin=0.1..0.5"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(script, "SECONDS_BETWEEN_LOOKS", 0.02)
    monkeypatch.setattr(storage, "HEARTBEAT", 1)
    monkeypatch.setattr(storage, "GRACE", 2)
    monkeypatch.chdir(ROOT)


@pytest.fixture
def start(tmp_path):
    """A search of so many trials of three epochs, each of which takes ``sleep`` seconds."""

    def start(trials, *space, sleep=0.0, source=PROGRAM, options=(), **settings):
        program = tmp_path / "program.py"
        program.write_text(source.replace("SLEEP", str(sleep)))
        chosen = SearchSettings(str(program), space or (MARGIN,), trials, tmp_path / "search", **settings)
        search(chosen, ["--epochs", "3", *options])

    return start


@pytest.fixture
def fork(start, tmp_path):
    """The same in a process of its own, whose output goes to a file."""
    children = []

    def child(arguments, options):
        with (tmp_path / f"said_{os.getpid()}").open("w") as said, contextlib.redirect_stdout(said):
            start(*arguments, **options)

    def fork(*arguments, **options):
        children.append(multiprocessing.get_context("fork").Process(target=child, args=(arguments, options)))
        children[-1].start()
        return children[-1]

    yield fork
    for process in children:
        process.kill()
        process.join()


def table(tmp_path):
    return pd.read_csv(tmp_path / "search/trials.csv")


def starts(tmp_path):
    """Run → the command line of each of its starts, without the process's number."""
    found = sorted((tmp_path / "search").glob("trial_*/starts"))
    return {p.parent.name: [line.split(" ", 1)[1] for line in p.read_text().splitlines()] for p in found}


def wait_for(path):
    while not path.is_file():
        time.sleep(0.01)


def study_in(folder):
    return storage.extra("optuna").load_study(study_name=storage.NAME, storage=f"sqlite:///{folder / storage.FILE}")


def test_the_best_trial_and_its_command_are_those_of_the_runs(start, tmp_path, capsys):
    start(4, MARGIN, "lr=1e-4..1e-2:log", options=["--builtin-people", "30"])
    said = capsys.readouterr().out
    runs = {}
    for path in (tmp_path / "search").glob("trial_*/starts"):
        words = path.read_text().split()
        runs[path.parent.name] = {name: words[words.index(f"--{name}") + 1] for name in ("margin", "lr")}
    best = min(runs, key=lambda name: float(runs[name]["margin"]))
    lines = said.splitlines()
    assert lines[-1] == (
        f"python {tmp_path / 'program.py'} --epochs 3 --builtin-people 30 "
        f"--margin {runs[best]['margin']} --lr {runs[best]['lr']}"
    )
    parse_settings(SETTINGS, "", lines[-1].split()[2:])  # the script takes it
    assert "on the evaluation pairs" in lines[-2] and "test on other people" in lines[-2]
    assert "4 trials (4 complete) saw 1,200 images; the longest saw 300" in said
    found = table(tmp_path)
    assert found["run"].iloc[0] == best and found["iou"].is_monotonic_increasing
    assert found["iou"].tolist() == pytest.approx(sorted(float(run["margin"]) - 0.03 for run in runs.values()))
    assert len((tmp_path / "search/trials.md").read_text().splitlines()) == 2 + 4


def test_a_trial_above_the_median_of_the_others_is_stopped_before_its_test(start, tmp_path):
    start(9)
    found = table(tmp_path).sort_values("trial")
    complete = []
    for row in found.itertuples():
        worse = len(complete) >= 5 and row.margin > statistics.median(complete)
        assert row.state == ("pruned" if worse else "complete")
        assert (row.epochs, row.images_seen) == ((1, 100) if worse else (3, 300))
        if not worse:
            complete.append(row.margin)
        assert (tmp_path / "search" / row.run / "saved").is_file(), "it was stopped by its signal"
    assert 0 < len(complete) < 9


TAKES_BACK = PROGRAM.replace(
    "        time.sleep(SLEEP)\n",
    """
        # The last line but one, and the last, are each taken back once, and come again. The last one makes the search
        # stop the program.
        if epoch > 1 and not (run / f"back_{epoch}").exists():
            (run / f"back_{epoch}").touch()
            low = json.dumps({"epoch": epoch, "iou": 0.0, "images_seen": 100 * epoch})
            log.write_text("".join(line + "\\n" for line in [*lines, low]))
            time.sleep(0.5 if epoch == 2 else 60)
            log.write_text("".join(line + "\\n" for line in lines))
""",
).replace('(run / "saved").touch()', 'log.write_text("".join(line + "\\n" for line in lines))')


def test_the_iou_of_an_epoch_that_a_recovery_took_back_counts_for_nothing(start, tmp_path):
    start(1, source=TAKES_BACK)
    (row,) = table(tmp_path).to_dict("records")
    assert row["state"] == "complete" and row["epochs"] == 3
    assert row["iou"] == pytest.approx(row["margin"] - 0.03)
    assert len(starts(tmp_path)["trial_000"]) == 2


@pytest.mark.parametrize(
    "line", ["3", "[]", "{", '{"epoch": 1, "iou": 0.3}', '{"epoch": 1, "iou": "a", "images_seen": 1}']
)
def test_a_log_that_holds_something_else_fails_the_trial_in_a_line(tmp_path, line):
    run = script.TrialRun([sys.executable, "-c", ""], tmp_path / "trial_000", 1)
    run.path.mkdir()
    (run.path / "log.jsonl").write_text(line + "\n")
    with pytest.raises(script.TrialFailed, match="log.jsonl, line 1"):
        list(run.epochs_logged(SimpleNamespace(received=None)))


def test_what_failed_is_counted_with_its_last_line_and_a_collapse_is_a_result(start, tmp_path, capsys):
    start(8, MARGIN, "mining=semi_hard,batch_hard,batch_all", seed=2)
    found = table(tmp_path).set_index("mining")
    assert set(found.loc[["batch_all"], "state"]) == {"failed"}
    assert set(found.loc[["batch_all"], "reason"]) == {"error: out of memory"}
    assert set(found.loc[["batch_hard"], "state"]) == {"collapsed"}
    assert set(found.loc[["batch_hard"], "reason"]) == {"the embeddings have collapsed"}
    assert set(found.loc[["semi_hard"], "state"]) <= {"complete", "pruned"}
    assert "failed: error: out of memory" in capsys.readouterr().out


def test_three_failures_in_a_row_end_the_search_with_the_last_line(start, tmp_path):
    message = one_line(lambda: start(9, options=["--mining", "batch_all"]))
    assert message.startswith("3 trials in a row failed; the last one said: error: out of memory")
    assert len(starts(tmp_path)) == 3 and "trial_002.txt" in message


def test_a_search_that_is_killed_is_resumed_and_so_is_its_run(start, fork, tmp_path):
    killed = fork(2, sleep=0.3)
    wait_for(tmp_path / "search/trial_000/log.jsonl")
    script_pid = int((tmp_path / "search/trial_000/starts").read_text().split()[0])
    killed.kill()
    killed.join()
    start(2)
    runs = starts(tmp_path)
    assert sorted(map(len, runs.values())) == [1, 2], "one run was begun and resumed, no other trial took its place"
    first, second = runs["trial_000"]
    assert second == first.replace("--resume auto", f"--resume {tmp_path / 'search/trial_000'}")
    found = table(tmp_path)
    assert set(found["state"]) == {"complete"} and len(found) == 2 and found["margin"].nunique() == 2
    if sys.platform == "linux":
        with pytest.raises(ProcessLookupError):
            os.kill(script_pid, 0)  # it did not outlive its search


@pytest.mark.parametrize("options", [["--device", "cpu"], ["--gpus", "1"], ["--resume", "never"]])
def test_a_trial_is_resumed_on_another_device(tmp_path, options):
    own = ["--results-dir", str(tmp_path), "--run-name", "trial_000"]

    def opened(options):
        run = script.TrialRun(["python", "main_triplet.py", *options, *own], tmp_path / "trial_000", epochs=1)
        return open_run(parse_settings(SETTINGS, "", run.words[2:])).path

    assert opened(["--device", "cuda", "--gpus", "0"]) == opened(options) == tmp_path / "trial_000"


@pytest.mark.skipif(sys.platform == "win32", reason="no signals that kill")
def test_a_script_that_is_killed_says_so_and_not_how_far_it_was(tmp_path):
    program = "import os, signal; print('epoch 1/5:  34%', flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    run = script.TrialRun([sys.executable, "-c", program], tmp_path / "trial_000", epochs=1)
    with pytest.raises(script.TrialFailed, match=r"^killed by SIGKILL, as for lack of memory$"):
        list(run.epochs_logged(SimpleNamespace(received=None)))


def test_a_signal_stops_the_script_in_order_and_the_same_command_resumes(start, fork, tmp_path):
    stopped = fork(1, sleep=0.3)
    wait_for(tmp_path / "search/trial_000/log.jsonl")
    os.kill(stopped.pid, signal.SIGTERM)
    stopped.join()
    assert stopped.exitcode == 143
    assert (tmp_path / "search/trial_000/saved").is_file()
    said = (tmp_path / f"said_{stopped.pid}").read_text()
    assert "stopped; the same command resumes the search" in said
    assert [record.state for record in records(study_in(tmp_path / "search"))] == ["waiting"]
    start(1)
    assert len(starts(tmp_path)["trial_000"]) == 2
    assert table(tmp_path)["state"].tolist() == ["complete"]


def test_a_second_ctrl_c_ends_at_once_and_loses_no_trial(start, fork, tmp_path):
    slow = PROGRAM.replace("        sys.exit(128", "        time.sleep(60)\n        sys.exit(128")
    stopped = fork(1, sleep=0.3, source=slow)
    wait_for(tmp_path / "search/trial_000/log.jsonl")
    os.kill(stopped.pid, signal.SIGINT)
    wait_for(tmp_path / "search/trial_000/saved")
    os.kill(stopped.pid, signal.SIGINT)
    stopped.join()
    assert stopped.exitcode == 130
    assert [record.state for record in records(study_in(tmp_path / "search"))] == ["waiting"]


def test_a_script_that_somebody_stops_stops_the_search(start, fork, tmp_path):
    stopped = fork(1, sleep=0.3)
    wait_for(tmp_path / "search/trial_000/log.jsonl")
    os.kill(int((tmp_path / "search/trial_000/starts").read_text().split()[0]), signal.SIGTERM)
    stopped.join()
    assert stopped.exitcode == 143


def test_processes_share_the_trials(start, fork, tmp_path):
    other = fork(7, sleep=0.05)
    start(7, sleep=0.05)
    other.join()
    assert other.exitcode == 0
    runs = starts(tmp_path)
    assert len(runs) == 7 and all(len(lines) == 1 for lines in runs.values())
    assert len({line for lines in runs.values() for line in lines}) == 7
    said = next(tmp_path.glob("said_*")).read_text()
    own = set(re.findall(r"^(trial_\d+): ", said, re.M))
    assert 0 < len(own) < 7, "both had some"


def test_more_trials_continue_the_search(start, tmp_path):
    start(1)
    start(2)
    assert table(tmp_path)["trial"].nunique() == 2
    assert all(len(lines) == 1 for lines in starts(tmp_path).values())


@pytest.mark.filterwarnings("ignore:Heartbeat")
def test_the_seed_decides_the_values_and_a_resumed_search_draws_none_twice(tmp_path):
    space = parse_space([MARGIN, "lr=1e-4..1e-2:log"], SETTINGS)
    plan = storage.Plan("program.py", space, SETTINGS)

    def drawn(name, seed):
        trial = storage.open_study(tmp_path / name, plan, seed).ask()
        return [dimension.suggest(trial) for dimension in space]

    first, resumed = drawn("a", seed=0), drawn("a", seed=0)
    assert first == drawn("b", seed=0)
    assert len({*first, *resumed, *drawn("c", seed=1)}) == 6


def test_another_search_is_not_resumed(start):
    start(1)
    for space, options, said in (
        (["margin=0.1..0.4"], [], "--space margin is 0.1..0.5 there and 0.1..0.4 here"),
        ([MARGIN, "lr=0.1,0.2"], [], "--space lr is missing there and 0.1,0.2 here"),
        ([MARGIN], ["--dropout", "0.3"], "dropout is 0.0 there and 0.3 here"),
    ):
        assert said in one_line(lambda space=space, options=options: start(2, *space, options=options))
    start(1, options=["--workers", "0", "--device", "cpu", "--compile"])  # which changes no result


def test_a_folder_with_something_else_is_refused(start, tmp_path):
    (tmp_path / "search").mkdir()
    (tmp_path / "search/photos").touch()
    assert "exists and is not a search" in one_line(lambda: start(1))


@pytest.mark.parametrize("content", [b"", b"x" * 5000])
def test_a_damaged_file_is_one_line(start, tmp_path, content):
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / storage.FILE).write_bytes(content)
    assert "trials.sqlite is not a search's file" in one_line(lambda: start(1))


def test_without_optuna_one_line_says_how_to_install_it(start, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert "pip install -r requirements-extras.txt" in one_line(lambda: start(1))
    assert not (tmp_path / "search").exists()


@pytest.mark.parametrize("name", ["main_quadruplet.py", "train.py"])
def test_other_scripts_are_refused(name, tmp_path):
    assert "choose main_arcface.py" in one_line(lambda: search(SearchSettings(name, (MARGIN,), out=tmp_path), []))


@pytest.mark.filterwarnings("ignore:Heartbeat")
def test_a_trial_whose_process_dies_again_and_again_is_given_up(start, tmp_path):
    plan = storage.Plan("program.py", parse_space([MARGIN], SETTINGS), SETTINGS)
    study = storage.open_study(tmp_path / "search", plan, 0)
    for _ in range(storage.MOST_DEATHS + 1):
        trial = study.ask()
        trial.set_user_attr("run", "trial_000")
        storage._retry_after_death(study, study.tell(trial, state=storage.extra("optuna").trial.TrialState.FAIL))
    (record,) = records(study)
    assert (record.state, record.reason) == ("failed", "its process died repeatedly")


@pytest.mark.filterwarnings("ignore:Heartbeat")
def test_a_trial_that_another_process_took_over_ends_this_one_with_a_line(tmp_path):
    study = storage.open_study(tmp_path, storage.Plan("a.py", parse_space([MARGIN], SETTINGS), SETTINGS), 0)
    trial = study.ask()
    study.tell(trial, state=storage.extra("optuna").trial.TrialState.FAIL)
    with pytest.raises(SystemExit, match="another process has taken over this trial"):
        _report(trial, {"iou": 0.5, "epoch": 1, "images_seen": 100})


def test_only_the_best_trial_keeps_its_checkpoint(start, tmp_path):
    begin = "    log = run"
    keeping = '    (run / "checkpoints").mkdir(exist_ok=True)\n    for n in ("best.pt", "last.pt"): (run / n).touch()\n'
    start(3, source=PROGRAM.replace(begin, keeping + begin))
    left = {path.parent.name for path in (tmp_path / "search").glob("*/best.pt")}
    assert left == {table(tmp_path)["run"].iloc[0]}
    assert not list((tmp_path / "search").glob("*/last.pt")) and not list((tmp_path / "search").glob("*/checkpoints"))


def test_a_real_script_from_end_to_end(drawn_faces, tmp_path, capsys):
    small = [word for name, value in SMALL.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    sizes = ["--people-per-batch", "3", "--images-per-person", "2", "--epochs", "1", "--workers", "0"]
    options = ["--data-root", str(drawn_faces), "--no-mirror", *sizes, *small]
    search(SearchSettings("main_triplet.py", ("lr=1e-4..1e-3:log",), 1, tmp_path / "search"), options)
    run = tmp_path / "search/trial_000"
    log = json.loads((run / "log.jsonl").read_text())
    assert table(tmp_path)[["iou", "images_seen"]].to_numpy().tolist() == [[log["iou"], log["images_seen"]]]
    assert not (run / "metrics.json").exists(), "nobody looks at the test pairs"
    assert "--lr" in capsys.readouterr().out.splitlines()[-1]
