import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import MISSING, fields, replace
from pathlib import Path

import pytest

from runtime import run_folder
from runtime.errors import InputError
from runtime.run_folder import open_run, read_config
from tests.engine import settings_of


@pytest.fixture
def settings(tmp_path):
    return settings_of(results_dir=str(tmp_path / "results"))


def test_auto_takes_the_newest_unfinished_run_of_the_same_settings(settings):
    first = open_run(settings)
    assert read_config(first.path) == settings.to_dict()
    assert open_run(replace(settings, workers=0, gpus=(1,))).path == first.path
    other = open_run(replace(settings, lr=0.2))
    assert other.path != first.path
    second = open_run(replace(settings, resume="never"))
    assert second.path not in (first.path, other.path)
    config = second.path / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "started": "9999-01-01"}))
    assert open_run(settings).path == second.path
    second.mark_ended(None)
    assert second.ended
    assert open_run(settings).path == first.path
    first.mark_ended("collapsed")
    assert open_run(settings).path not in (first.path, second.path)


def test_a_named_run_resumes_or_is_refused(settings):
    named = replace(settings, run_name="mine")
    run = open_run(named)
    assert open_run(named).path == run.path
    with pytest.raises(InputError, match="exists"):
        open_run(replace(named, lr=3.0))
    with pytest.raises(InputError, match="exists"):
        open_run(replace(named, resume="never"))
    run.mark_ended(None)
    with pytest.raises(InputError, match="exists"):
        open_run(named)
    assert open_run(replace(named, resume=str(run.path))).path == run.path
    with pytest.raises(InputError, match="not a run folder"):
        open_run(replace(named, resume=str(run.path.parent)))


def test_a_run_that_another_process_trains_in_is_left_alone(settings):
    run = open_run(settings)
    (run.store.folder).mkdir()
    code = (
        "import sys; from pathlib import Path; from runtime.run_folder import RunFolder\n"
        f"run = RunFolder(Path({str(run.path)!r})); assert run.lock(); print('held', flush=True); sys.stdin.read()"
    )
    run._lock.close()
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        assert open_run(settings).path != run.path
        with pytest.raises(InputError, match="another process"):
            open_run(replace(settings, resume=str(run.path)))
    finally:
        other.kill()
        other.wait()
    (run.path / ".log.jsonl.77.tmp").write_text("half a li")
    assert open_run(replace(settings, resume=str(run.path))).path == run.path
    assert not list(run.path.glob(".*.tmp"))


def test_folders_of_others_are_passed_over(settings, tmp_path):
    for name, text in (("a", "{}"), ("b", "no json"), ("c", '{"settings": 3}'), ("d", '{"settings": {"lr": 0.1}}')):
        (tmp_path / "results" / name).mkdir(parents=True)
        (tmp_path / "results" / name / "config.json").write_text(text)
    assert open_run(settings).path.name not in "abcd"


def test_runs_that_begin_in_the_same_second_get_folders_of_their_own(settings, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda form: "now")
    many = [replace(settings, resume="never")] * 10
    with ThreadPoolExecutor(10) as pool:  # each takes the names in turn until one is free
        names = {run.path.name for run in pool.map(open_run, many)}
    first = f"arcface-{settings.backbone}-now"
    assert names == {first} | {f"{first}_{number}" for number in range(2, 11)}
    assert all((Path(settings.results_dir) / name / "config.json").is_file() for name in names)
    assert not list(Path(settings.results_dir).glob(".*"))


def test_of_two_that_want_one_name_the_later_is_told_to_choose_another(settings, monkeypatch):
    named = replace(settings, run_name="mine", resume="never")
    open_run(named)
    monkeypatch.setattr(Path, "exists", lambda path: False)  # the other one is made between the look and the renaming
    with pytest.raises(InputError, match="the run .*mine exists; choose another run_name"):
        open_run(named)
    assert not list(Path(settings.results_dir).glob(".*"))


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ".", "/abs", "a\\b", "a\nb", "\x1b[2J"])
def test_a_run_never_leaves_the_results_folder(settings, name):
    with pytest.raises(InputError, match="must be a plain name"):
        open_run(replace(settings, run_name=name))
    assert not Path(settings.results_dir).exists()


def test_the_default_name_says_what_the_run_is(settings):
    path = open_run(replace(settings, backbone="timm:some/net")).path
    assert re.fullmatch(r"arcface-timm_some_net-\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", path.name)


@pytest.mark.parametrize(
    "config",
    ["[" * 100_000, '{"settings": {}, "started": 5}', '{"settings": []}', "\0", '{"settings": {"lr": [[]]}}'],
)
def test_one_bad_folder_does_not_stop_another_run(settings, config):
    run = open_run(settings)
    bad = Path(settings.results_dir) / "bad"
    bad.mkdir()
    (bad / "config.json").write_text(config)
    assert open_run(settings).path == run.path


def test_a_pipe_for_a_config_is_not_waited_for(settings, capsys):
    bad = Path(settings.results_dir) / "bad"
    bad.mkdir(parents=True)
    os.mkfifo(bad / "config.json")
    open_run(settings)
    assert f"{bad} is skipped: its config.json can't be read" in capsys.readouterr().out


def test_a_resumed_run_takes_the_new_settings_once_it_starts_and_is_unfinished_again(settings):
    run = open_run(settings)
    run.mark_ended(None)
    longer = replace(settings, epochs=50, resume=str(run.path))
    assert open_run(longer).path == run.path
    assert (read_config(run.path), run.ended) == (settings.to_dict(), True)  # what follows may still refuse it
    run.mark_start(longer, None, "float32")
    assert read_config(run.path) == replace(settings, epochs=50).to_dict()
    assert not run.ended
    assert open_run(replace(settings, epochs=50)).path == run.path  # a kill at epoch 40 is resumed by auto


def test_an_unfinished_run_of_before_a_setting_was_added_is_resumed(settings):
    run = open_run(settings)
    config = json.loads((run.path / "config.json").read_text())
    added = [f.name for f in fields(settings) if f.default is not MISSING]
    for name in added:
        config["settings"].pop(name)
    (run.path / "config.json").write_text(json.dumps(config))
    assert added
    assert open_run(settings).path == run.path


def test_a_library_under_another_name_is_no_reason_to_stop(monkeypatch):
    monkeypatch.setattr(run_folder, "LIBRARIES", ("numpy", "opencv-python-of-nobody"))
    libraries = run_folder.environment()["libraries"]
    assert libraries["numpy"] and libraries["opencv-python-of-nobody"] is None
