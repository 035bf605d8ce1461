import json
import subprocess
import sys

import pytest

from runtime.errors import InputError
from runtime.run_folder import RunFolder, open_run, read_config


@pytest.fixture
def settings(tmp_path):
    return {"results_dir": str(tmp_path / "results"), "run_name": "", "resume": "auto", "lr": 0.1, "workers": 2}


def test_auto_takes_the_newest_unfinished_run_of_the_same_settings(settings):
    first = open_run(settings)
    assert read_config(first.path) == settings
    assert open_run({**settings, "workers": 0}).path == first.path
    other = open_run({**settings, "lr": 0.2})
    assert other.path != first.path
    second = open_run({**settings, "resume": "never"})
    assert second.path not in (first.path, other.path)
    config = second.path / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "started": "9999-01-01"}))
    assert open_run(settings).path == second.path
    second.mark_ended(None)
    assert second.ended
    assert open_run(settings).path == first.path
    first.mark_ended("collapsed")
    assert open_run(settings).path not in (first.path, second.path)


def test_a_named_run_goes_on_or_is_refused(settings):
    named = {**settings, "run_name": "mine"}
    run = open_run(named)
    assert open_run(named).path == run.path
    with pytest.raises(InputError, match="exists"):
        open_run({**named, "lr": 3.0})
    with pytest.raises(InputError, match="exists"):
        open_run({**named, "resume": "never"})
    run.mark_ended(None)
    with pytest.raises(InputError, match="exists"):
        open_run(named)
    assert open_run({**named, "resume": str(run.path)}).path == run.path
    with pytest.raises(InputError, match="no run folder"):
        open_run({**named, "resume": str(run.path.parent)})


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
            open_run({**settings, "resume": str(run.path)})
    finally:
        other.kill()
        other.wait()
    (run.path / ".log.jsonl.77.tmp").write_text("half a li")
    assert open_run({**settings, "resume": str(run.path)}).path == run.path
    assert not list(run.path.glob(".*.tmp"))


def test_folders_of_others_are_passed_over(settings, tmp_path):
    for name, text in (("a", "{}"), ("b", "no json"), ("c", '{"settings": 3}'), ("d", '{"settings": {"lr": 0.1}}')):
        (tmp_path / "results" / name).mkdir(parents=True)
        (tmp_path / "results" / name / "config.json").write_text(text)
    assert open_run(settings).path.name not in "abcd"


def test_runs_that_begin_in_the_same_second_get_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda form: "now")
    paths = [RunFolder.create(tmp_path, "").path.name for _ in range(3)]
    assert paths == ["now", "now_2", "now_3"]


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/b", "..", ".", "a\\b", "a\nb", "\x1b[2J"])
def test_a_run_stays_in_its_results_folder(tmp_path, name):
    with pytest.raises(InputError, match="give a plain name"):
        RunFolder.create(tmp_path / "results", name, {})
    assert not list(tmp_path.rglob("*"))
