"""Hostile, damaged and foreign pickles: refused in one line, and nothing of them runs."""

import builtins
import os
import pickle
import zipfile
from collections import OrderedDict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models.weights.pickled import read_pickled
from runtime.errors import InputError
from runtime.inert_pickle import StandIn


class Calls:
    """Pickled as the call of a function; unpickling runs it."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_pickled(path)
    message = str(caught.value)
    assert "\n" not in message and path.name in message and len(message) < 400
    return message


HOSTILE = {
    "os.system": lambda witness: Calls(os.system, f"touch {witness}"),
    "builtins.eval": lambda witness: Calls(eval, f"open({str(witness)!r}, 'w')"),
    "builtins.exec": lambda witness: Calls(exec, f"open({str(witness)!r}, 'w')"),
    "open": lambda witness: Calls(open, str(witness), "w"),
    "a call in a call's arguments": lambda witness: Calls(print, Calls(os.system, f"touch {witness}")),
    "a call in an allowed call": lambda witness: Calls(OrderedDict, [("a", Calls(os.system, f"touch {witness}"))]),
    "a call behind partial": lambda witness: Calls(partial(os.system, f"touch {witness}")),
    "a method by name": lambda witness: Calls(getattr, Path(witness), "touch"),
    "a path's own method": lambda witness: Calls(Path.touch, witness),
    "torch's loader": lambda witness: Calls(torch.load, str(witness)),
    "torch.hub": lambda witness: Calls(torch.hub.download_url_to_file, "file:///etc/passwd", str(witness)),
    "numpy's loader": lambda witness: Calls(np.load, str(witness)),
    "a pickle in a pickle": lambda witness: Calls(pickle.loads, pickle.dumps(Calls(os.system, f"touch {witness}"))),
    "import": lambda witness: Calls(builtins.__import__, "antigravity"),
}


@pytest.mark.parametrize("old", [False, True], ids=["zip", "old"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_pickles_are_refused_and_nothing_runs(tmp_path, kind, old):
    witness = tmp_path / "witness"
    hostile = HOSTILE[kind](witness)
    for place, content in enumerate(
        (hostile, {"model": hostile}, {"model": {"weight": torch.ones(3)}, "x": [hostile]})
    ):
        path = tmp_path / f"{place}.pt"
        torch.save(content, path, _use_new_zipfile_serialization=not old)
        assert "refused, and nothing of it was run" in refused(path)
    assert not witness.exists()


def test_those_files_are_hostile_indeed(tmp_path):
    torch.save(HOSTILE["os.system"](tmp_path / "witness"), tmp_path / "file.pt")
    torch.load(tmp_path / "file.pt", weights_only=False)
    assert (tmp_path / "witness").exists()


def test_a_hostile_start_of_an_old_file_is_refused(tmp_path):
    """Old files begin with pickles of numbers; a hostile one in their place must not run either."""
    path = tmp_path / "start.pt"
    path.write_bytes(pickle.dumps(Calls(os.system, f"touch {tmp_path / 'witness'}")))
    assert "refused" in refused(path)
    assert not (tmp_path / "witness").exists()


def opcodes(path: Path, program: bytes) -> Path:
    """A zip of torch.save whose pickle is written by hand."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program)
    return path


@pytest.mark.parametrize(
    "program",
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n}S'x'\nK\x01sb.",  # BUILD on an allowed function
        b"ctorch.nn.modules.linear\nLinear\n}S'x'\nK\x01sb.",  # BUILD on a stand-in's class
        b"ccollections\nOrderedDict\n}S'x'\nK\x01sb.",  # BUILD on a real class
        b"\x80\x04\x8c\x05torch\x8c\x0e_C.__dict__.os\x93.",  # a dotted name
        b"cos\nsystem\n.",  # only named, never called
        b"csys\nmodules\n.",
        b"c__builtin__\neval\n.",  # Python 2's name
        b"(S'storage'\nS'torch.FloatStorage'\nS'0'\nS'cpu'\nK\x03tQ.",  # a storage type that is no type
        b"\x80\x05\x96\x00\x00\x00\x00\x10\x00\x00\x00.",  # a bytearray of 64 GB
        b"K\x01r\x00\x00\x00\x01.",  # a place of the memo for which 256 MB are needed
        b"\x80\x02X\x0f\x00\x00\x00.",  # cut off
        b"",
    ],
)
def test_handmade_programs_end_in_one_line(tmp_path, program):
    assert "file.pt" in refused(opcodes(tmp_path / "file.pt", program))


def test_attributes_dont_replace_methods(tmp_path):
    path = opcodes(tmp_path / "file.pt", b"ccollections\nOrderedDict\n)R}S'items'\nK\x01sb.")
    assert list(read_pickled(path).items()) == []


def test_tensors_cant_leave_their_storage(tmp_path):
    """A view larger than its storage would read foreign memory."""
    torch.save({"weight": torch.arange(6.0)}, tmp_path / "good.pt")
    with zipfile.ZipFile(tmp_path / "good.pt") as good, zipfile.ZipFile(tmp_path / "bad.pt", "w") as bad:
        for name in good.namelist():
            data = good.read(name)
            if name.endswith("data.pkl"):
                assert data.count(b"K\x06\x85") == 1  # the size (6,)
                data = data.replace(b"K\x06\x85", b"K\xff\x85")
            bad.writestr(name, data)
    refused(tmp_path / "bad.pt")


def test_a_tensor_takes_no_state(tmp_path):
    """Its own __setstate__ would make its storage as large as it is told."""
    torch.save({"weight": torch.arange(6.0)}, tmp_path / "good.pt")
    with zipfile.ZipFile(tmp_path / "good.pt") as good, zipfile.ZipFile(tmp_path / "bad.pt", "w") as bad:
        for name in good.namelist():
            data = good.read(name)
            if name.endswith("data.pkl"):
                assert data.count(b"s.") == 1  # the end of {"weight": tensor}
                data = data.replace(b"s.", b"(h\x00K\x00J\x00\x00\x00\x7f\x85K\x01\x85tbs.")
            bad.writestr(name, data)
    assert "no state" in refused(tmp_path / "bad.pt")


def test_a_storage_that_unpacks_to_more_than_its_bytes_is_refused(tmp_path):
    torch.save({"weight": torch.zeros(100_000)}, tmp_path / "good.pt")
    with (
        zipfile.ZipFile(tmp_path / "good.pt") as good,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bad,
    ):
        for name in good.namelist():
            bad.writestr(name, good.read(name))
    assert "wrong length" in refused(tmp_path / "bomb.pt")
    with zipfile.ZipFile(tmp_path / "program.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"N0" * 100_000 + b"N.")
    assert "wrong length" in refused(tmp_path / "program.pt")


def old_file(path: Path, storage: bytes, names: list[str], content: bytes) -> Path:
    """A file of the format before torch 1.6 with one tensor: the second and third value of ``storage``."""
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    head = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, machine))
    view = b"(" + storage + b"QK\x01(K\x02t(K\x01tI00\nccollections\nOrderedDict\n)RtR."
    path.write_bytes(head + b"ctorch._utils\n_rebuild_tensor_v2\n" + view + pickle.dumps(names, 2) + content)
    return path


def test_views_of_storages_in_old_files_are_as_torch_reads_them(tmp_path):
    storage = b"(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cuda:0'\nK\x06(S'view'\nK\x02K\x04tt"
    content = (6).to_bytes(8, "little") + np.arange(6, dtype="<f4").tobytes()
    path = old_file(tmp_path / "old.pt", storage, ["0"], content)
    expected = torch.load(path, map_location="cpu", weights_only=False)
    assert torch.equal(read_pickled(path), expected) and expected.tolist() == [3, 4]


def test_old_storages_without_content_are_refused(tmp_path):
    """Their values would be what the memory held before."""
    storage = b"(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nK\x06Nt"
    assert "without content" in refused(old_file(tmp_path / "old.pt", storage, [], b""))


def test_damaged_and_foreign_files_get_one_line(tmp_path):
    for old in (False, True):
        torch.save({"weight": torch.ones(1000)}, tmp_path / "whole.pt", _use_new_zipfile_serialization=not old)
        data = (tmp_path / "whole.pt").read_bytes()
        for length in (0, 1, 30, len(data) // 2, len(data) - 9):
            (tmp_path / "cut.pt").write_bytes(data[:length])
            refused(tmp_path / "cut.pt")
    (tmp_path / "page.pt").write_text("<html>404</html>")
    (tmp_path / "number.pt").write_bytes(pickle.dumps(7))
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        archive.writestr("script/data.pkl", b"N.")
        archive.writestr("script/constants.pkl", b"N.")
    for name in ("page.pt", "number.pt"):
        refused(tmp_path / name)
    assert "TorchScript" in refused(tmp_path / "script.pt")
    assert "no file" in refused(tmp_path / "missing.pt")


@pytest.mark.parametrize("old", [False, True], ids=["zip", "old"])
def test_plain_values_and_tensors_come_back_as_torch_reads_them(tmp_path, old):
    shared = torch.arange(24.0).reshape(2, 3, 4)
    kinds = (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
    content = {
        "views": [shared, shared.mT, shared[1, :, 2], torch.empty(0)],
        "kinds": {str(kind): torch.tensor([[1, 0, 3]]).to(kind) for kind in kinds},
        "values": (1, 2.5, "text", None, True, {1, 2}, OrderedDict(a=torch.Size([3]))),
        "scalar": torch.tensor(3.0),
        "parameter": nn.Parameter(torch.ones(2)),
    }
    torch.save(content, tmp_path / "file.pt", _use_new_zipfile_serialization=not old)
    found, expected = read_pickled(tmp_path / "file.pt"), torch.load(tmp_path / "file.pt", weights_only=False)
    assert found["values"] == expected["values"]
    for name in ("views", "kinds", "scalar", "parameter"):
        torch.testing.assert_close(found[name], expected[name].data if name == "parameter" else expected[name])


def test_objects_become_stand_ins_with_their_state(tmp_path):
    torch.save(nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.25)), tmp_path / "module.pt")
    found = read_pickled(tmp_path / "module.pt")
    linear, dropout = found.state["_modules"].values()
    assert isinstance(found, StandIn) and type(linear).__name__ == "Linear"
    assert linear.state["_parameters"]["weight"].shape == (3, 2) and dropout.state["p"] == 0.25
    assert not callable(found) and not isinstance(found, nn.Module)
