"""Packs whose checksums are right and whose numbers point nowhere: one line when they are opened."""

import json
import zlib

import numpy as np
import pytest

from data.tables.pack_file import Pack
from data.tables.rows import read_rows
from data.tables.write_pack import _header_bytes, pack_csv
from runtime.errors import InputError


@pytest.fixture(scope="module")
def pack(drawn_faces, tmp_path_factory):
    out = tmp_path_factory.mktemp("pack") / "train.pack"
    pack_csv(drawn_faces / "train.csv", out, root=drawn_faces)
    return out


def rewritten(pack, path, arrays=lambda arrays: None, header=lambda header: None):
    """The pack with changed arrays or header, and checksums that fit."""
    whole = Pack(pack)
    content = {name: np.array(values) for name, values in whole.arrays.items()}
    kinds = {name: entry["dtype"] for name, entry in json.loads(_raw(pack)).items() if name != "__metadata__"}
    arrays(content)
    new, parts, at = {"__metadata__": {**whole.metadata, "header_crc32": "0" * 8}}, [], 0
    for name, values in content.items():
        raw = values.tobytes()
        new[name] = {"dtype": kinds[name], "shape": [len(values)], "data_offsets": [at, at + len(raw)]}
        new["__metadata__"][f"crc32.{name}"] = f"{zlib.crc32(raw):08x}"
        parts.append(raw)
        at += len(raw)
    header(new)
    path.write_bytes(_header_bytes(new) + b"".join(parts))
    return path


def _raw(pack):
    data = pack.read_bytes()
    return data[8 : 8 + int.from_bytes(data[:8], "little")]


def _set(name, place, value):
    return {"arrays": lambda arrays: arrays[name].__setitem__(place, value)}


def _entry(name, **changes):
    return {"header": lambda header: header[name].update(changes)}


WRONG = {
    "an image before the first": _set("starts", 0, -5),
    "an image behind the last": _set("starts", 0, 2**40),
    "an image at the end of numbers": _set("starts", 0, 2**63 - 1),
    "an image that is too long": _set("sizes", -1, 2**31),
    "a target that is not there": _set("column.target", 0, 9999),
    "a path that is not there": _set("column.path", 3, -2),
    "ends that go back": _set("path.ends", 1, 2**40),
    "a text without its ends": {"arrays": lambda arrays: arrays.pop("column.target.ends")},
    "too few checksums": {"arrays": lambda arrays: arrays.update(crc32=arrays["crc32"][:-1])},
    "columns of two lengths": {"arrays": lambda arrays: arrays.update({"column.x1": arrays["column.x1"][:-1]})},
    "no images": {"header": lambda header: header.pop("images")},
    "no paths": {"header": lambda header: header.pop("column.path")},
    "a dtype that is not known": _entry("starts", dtype="I63"),
    "starts as fractions": _entry("starts", dtype="F64"),
    "an offset in words": _entry("sizes", data_offsets=["a", "b"]),
    "an offset turned round": _entry("sizes", data_offsets=[8, 0]),
    "a shape of another size": _entry("sizes", shape=[3]),
    "an entry that is a list": {"header": lambda header: header.update(sizes=[])},
    "no checksum": {"header": lambda header: header["__metadata__"].pop("crc32.starts")},
    "a card that is no JSON": {"header": lambda header: header["__metadata__"].update(card="{")},
    "a card that is nested deep": {"header": lambda header: header["__metadata__"].update(card="[" * 20_000)},
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_pack_that_contradicts_itself_is_refused_in_a_line(pack, tmp_path, kind):
    with pytest.raises(InputError) as error:
        Pack(rewritten(pack, tmp_path / "wrong.pack", **WRONG[kind]))
    said = str(error.value)
    assert "wrong.pack" in said and "pack the CSV again" in said and "\n" not in said and len(said) < 400


def test_a_text_that_is_none_is_refused_when_it_is_read(pack, tmp_path):
    path = rewritten(pack, tmp_path / "wrong.pack", **_set("column.target.text", slice(None), 0xFF))
    with pytest.raises(InputError, match="column target holds bytes that are no text"):
        read_rows(path, ["path"])


def test_a_pack_written_anew_without_a_change_is_read(pack, tmp_path):
    assert read_rows(rewritten(pack, tmp_path / "same.pack"), ["path"]).equals(read_rows(pack, ["path"]))
