"""Results that can't be written end a command in one line, before it opens a network or reads a face."""

import importlib

import pytest

from benchmarks import backbones
from benchmarks.harness.table import Options, run_command
from runtime.errors import InputError, one_line_errors
from tests.processes import ROOT

# "file" is a file, where a folder would have to be; the networks and folders of people are not there.
COMMANDS = [
    "data.landmarks train nobody --out file/new.safetensors",
    "data.protocols no_pairs.txt --root . --out file/new.csv",
    "eval.audit no_run no.csv --root . --out file",
    "eval.benchmark no_run --sets no_sets --out file",
    "eval.compare no_run another --out file",
    "eval.far_faces no_run no.csv --root . --out file/new.csv",
    "eval.group no_run a.jpg --out file",
    "eval.identify no_run --gallery nobody --people file/people.npz",
    "eval.identify no_run --probe nobody --out file/new.json",
    "eval.identify no_run --photos a.jpg --photos-out file",
    "eval.same no_run a.jpg a.jpg --out file/new.png",
    "eval.two_folds run",
    "eval.verify no_run no.csv --root . --out results",
    "models.export no_run --format onnx --out results",
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("file", "a.jpg"):
        (tmp_path / name).write_text("x")
    for name in ("results", "run/two_folds.json"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "run" / "config.json").write_text('{"settings": {}}')
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_before_any_work(command, here, monkeypatch, capsys):
    module, *arguments = command.split()
    package = ROOT.joinpath(*module.split(".")).is_dir()
    main = importlib.import_module(f"{module}.__main__" if package else module).main
    monkeypatch.setattr("sys.argv", [module, *arguments])
    with pytest.raises(SystemExit) as stop, one_line_errors():
        main()
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert said.startswith("error: can't write ") and said.count("\n") == 1, said
    assert (here / "file").read_text() == "x"


def test_a_benchmark_does_not_begin(here, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmark", "--json", "file/new.json"])
    with pytest.raises(SystemExit) as stop:
        run_command(lambda options: pytest.fail("it began"), Options, "A benchmark.")
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: can't write file/new.json (Not a directory; ")


def test_nor_does_one_whose_page_can_not_be_written(here):
    with pytest.raises(InputError, match="can't write file/page.md"):
        backbones.main(backbones.BackboneOptions(page=here.relative_to(here) / "file" / "page.md"))
