"""One door for all that is written: whole or not at all, and one line where the disk takes no more."""

import errno
import multiprocessing
import os
import resource
import signal
from pathlib import Path

import matplotlib.figure
import numpy as np
import onnx
import pandas as pd
import pytest
import safetensors.torch
import torch

from runtime.errors import InputError
from runtime.files import copy_file, replace_file, replace_folder, require_writable, write_file, write_json, writing

LARGE = torch.arange(200_000.0)  # 800 kB
MOST = 100_000


def _plot(path: Path) -> None:
    figure = matplotlib.figure.Figure()
    figure.subplots().imshow(np.random.default_rng(0).random((400, 400, 3)))
    figure.savefig(path, format="png", dpi=200)


def _onnx(path: Path) -> None:
    values = onnx.numpy_helper.from_array(LARGE.numpy(), "w")
    onnx.save_model(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [values])), str(path))


def _numpy(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=LARGE.numpy())


WRITERS = {
    "text": lambda path: path.write_text("x" * 800_000),
    "torch": lambda path: torch.save({"a": LARGE}, path),
    "safetensors": lambda path: safetensors.torch.save_file({"a": LARGE}, path),
    "numpy": _numpy,
    "pandas": lambda path: pd.DataFrame({"a": LARGE.numpy()}).to_csv(path),
    "matplotlib": _plot,
    "onnx": _onnx,
}


def _on_a_small_disk(folder: Path, answer) -> None:
    """In a process of its own: no file may pass MOST bytes, as on a disk that is about to be full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST, MOST))
    said = {}
    for name, write in WRITERS.items():
        try:
            with replace_file(folder / name) as temporary:
                write(temporary)
        except BaseException as error:
            said[name] = f"{type(error).__name__}: {error}"
    answer.send(said)


def test_every_library_that_finds_the_disk_full_ends_in_the_same_line(tmp_path):
    receiver, sender = multiprocessing.get_context("spawn").Pipe(duplex=False)
    child = multiprocessing.get_context("spawn").Process(target=_on_a_small_disk, args=(tmp_path, sender))
    child.start()
    said = receiver.recv()
    child.join()
    for name in WRITERS:
        assert said[name].startswith(f"InputError: can't write {tmp_path / name} (File too large; "), said[name]
        assert "MB free); make room, or write elsewhere" in said[name] and "\n" not in said[name]
    assert "more than 0.1 MB needed" in said["torch"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0 or not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_is_full_indeed(tmp_path):
    full, words = Path("/dev/full"), r"can't write /dev/full \(No space left on device; .* free\); do this"
    with pytest.raises(InputError, match=words), writing(full, then="do this"):
        full.write_text("x")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_failure_that_does_not_say_where_is_of_the_file_that_was_written(tmp_path, number):
    with pytest.raises(InputError) as error, replace_file(tmp_path / "plot.png"):
        raise OSError(number, os.strerror(number))
    assert str(error.value).startswith(f"can't write {tmp_path / 'plot.png'} ({os.strerror(number)}; ")


def test_what_is_no_failure_of_the_disk_passes(tmp_path):
    for defect in (RuntimeError("a defect of ours"), KeyError("x"), InputError("another line")):
        with pytest.raises(type(defect)) as error, replace_file(tmp_path / "a"):
            raise defect
        assert error.value is defect
    with pytest.raises(FileNotFoundError), replace_file(tmp_path / "a" / "b"):
        Path("/no/such/picture.jpg").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_places_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "a.json", tmp_path, Path("/proc/nowhere/a.json"), tmp_path / ("long" * 100)):
        with pytest.raises(InputError, match="can't write") as error:
            write_json(path, {})
        assert str(path) in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_result_that_could_not_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "a.json", tmp_path, Path("/proc/nowhere/a.json"), tmp_path / ("long" * 100)):
        with pytest.raises(InputError, match="can't write") as error:
            require_writable(path)
        assert str(path) in str(error.value)
    for path in (tmp_path / "file", tmp_path / "new" / "folder" / "a.json"):
        require_writable(path)
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]
    assert (tmp_path / "file").read_text() == "x"


def test_a_name_as_long_as_names_can_be_is_written(tmp_path):
    path = tmp_path / ("x" * 251 + ".jpg")
    require_writable(path)
    write_file(path, b"1")
    require_writable(path)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [(path.name, b"1")]


@pytest.mark.parametrize("length", [60, 254])
def test_names_that_begin_alike_are_written_at_the_same_time(tmp_path, length):
    one, other = (tmp_path / ("x" * length + end) for end in "12")
    with replace_file(one) as first, replace_file(other) as second:
        first.write_bytes(b"1")
        second.write_bytes(b"2")
    assert (one.read_bytes(), other.read_bytes()) == (b"1", b"2")


def test_text_bytes_json_and_copies(tmp_path):
    write_file(tmp_path / "new" / "text", "é\n")
    write_file(tmp_path / "bytes", b"\0\1", flush=False)
    write_json(tmp_path / "json", {"a": [1]}, indent=None)
    copy_file(tmp_path / "bytes", tmp_path / "copy")
    found = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"text": "é\n".encode(), "bytes": b"\0\1", "json": b'{"a": [1]}\n', "copy": b"\0\1"}


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with replace_folder(tmp_path / "faces") as draft:
        (draft / "old").write_text("")
    with pytest.raises(RuntimeError), replace_folder(tmp_path / "faces") as draft:
        (draft / "half").write_text("")
        raise RuntimeError("killed")
    assert [path.name for path in tmp_path.rglob("*")] == ["faces", "old"]
    with replace_folder(tmp_path / "faces") as draft:
        (draft / "new").write_text("")
    assert [path.name for path in tmp_path.rglob("*")] == ["faces", "new"]
