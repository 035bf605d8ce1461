import errno
import os
import pickle

import pytest
import torch

from runtime.checkpoints.file import copy_checkpoint, find_checkpoint, load_checkpoint, load_state, save_checkpoint
from runtime.errors import InputError, one_line_errors
from runtime.files import replace_file


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "figures.json"
    path.write_text("old")
    with pytest.raises(RuntimeError), replace_file(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError("the disk is full")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["figures.json"]


def test_a_written_file_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "new" / "figures.json"
    with replace_file(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["figures.json"]


def test_checkpoint_round_trip_with_weights_only(tmp_path):
    content = {"model": {"w": torch.arange(3.0)}, "settings": {"lr": 0.1, "names": ["a", "b"]}, "epoch": 3}
    save_checkpoint(tmp_path / "last.pt", content)
    plain = torch.load(tmp_path / "last.pt", weights_only=True)
    assert torch.equal(plain["model"]["w"], torch.tensor([0.0, 1.0, 2.0]))
    loaded = load_checkpoint(tmp_path / "last.pt")
    assert loaded["settings"] == content["settings"]
    assert loaded["epoch"] == 3


def test_a_copied_checkpoint_keeps_its_content_when_the_source_is_written_again(tmp_path):
    last, best = tmp_path / "last.pt", tmp_path / "best.pt"
    save_checkpoint(last, {"epoch": 1})
    copy_checkpoint(last, best)
    save_checkpoint(last, {"epoch": 2})
    assert load_checkpoint(best)["epoch"] == 1
    copy_checkpoint(last, best)
    assert load_checkpoint(best)["epoch"] == 2


class _Hostile:
    def __reduce__(self):
        return (os.mkdir, ("hacked",))


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "hostile", "foreign", "missing"])
def test_a_damaged_or_foreign_checkpoint_is_one_clear_line_and_runs_nothing(tmp_path, monkeypatch, damage):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"model": {"w": torch.zeros(1000)}})
    whole = path.read_bytes()
    match damage:
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(whole[: len(whole) // 2])
        case "text":
            path.write_text("these are not weights")
        case "hostile":
            path.write_bytes(pickle.dumps(_Hostile()))
        case "foreign":
            torch.save({"state_dict": {}}, path)
        case "missing":
            path.unlink()
    with pytest.raises(InputError) as error:
        load_checkpoint(path)
    assert "last.pt" in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "hacked").exists()


def test_find_checkpoint_takes_a_run_folder_or_a_file(tmp_path):
    assert find_checkpoint(tmp_path) == tmp_path / "best.pt"
    assert find_checkpoint(tmp_path / "other.pt") == tmp_path / "other.pt"


def test_state_of_another_architecture_is_counted_in_one_line():
    model = torch.nn.Linear(3, 2)
    with pytest.raises(InputError, match=r"1 missing \(bias\), 1 unexpected \(scale\), 1 of another shape") as error:
        load_state(model, {"weight": torch.zeros(5, 3), "scale": torch.zeros(1)}, "best.pt")
    assert "\n" not in str(error.value)
    before = model.weight.detach().clone()
    with pytest.raises(InputError, match="unexpected"):
        load_state(model, {"weight": torch.ones(2, 3), "bias": torch.ones(2), "x": torch.ones(1)}, "best.pt")
    assert torch.equal(model.weight, before), "a refused state changes nothing"
    load_state(model, {"weight": torch.ones(2, 3), "bias": torch.ones(2)}, "best.pt")
    assert torch.equal(model.weight, torch.ones(2, 3))


def test_errors_of_the_user_end_in_one_line_and_others_in_a_traceback(capsys):
    with pytest.raises(SystemExit) as stop, one_line_errors():
        raise InputError("train.csv is not there")
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: train.csv is not there\n"
    with pytest.raises(SystemExit) as stop, one_line_errors():
        raise KeyboardInterrupt
    assert stop.value.code == 130
    with pytest.raises(KeyError), one_line_errors():
        raise KeyError("a defect of ours")


def test_a_full_disk_somewhere_else_names_a_place(capsys):
    with pytest.raises(SystemExit) as stop, one_line_errors():
        raise OSError(errno.ENOSPC, "No space left on device")
    said = capsys.readouterr().err
    assert stop.value.code == 2 and "None" not in said and "/dev/shm" in said


def test_a_message_is_one_short_line_whatever_it_quotes(capsys):
    for quoted in ("x" * 10_000_000, "\x1b[2J" * 1000, "a\nb\0c\x1b[31m\udcff\u202e"):
        with pytest.raises(SystemExit), one_line_errors():
            raise InputError(f"the file {quoted} is not there; name another")
        said = capsys.readouterr().err
        assert said.startswith("error: the file ") and said.endswith(" is not there; name another\n")
        assert len(said) < 500 and said[:-1].isprintable()
