"""InsightFace's verification sets: pickles made by Python's own pickler, read back without unpickling."""

import os
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.sources.verification_bin import list_verification_bin
from runtime.errors import InputError

BLOBS = [bytes([i]) * (3 + 300 * i) for i in range(6)]
SAME = [True, False, True]


def dump(folder: Path, content: object, protocol: int = 4) -> Path:
    path = folder / "lfw.bin"
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def blobs(path: Path) -> list[bytes]:
    raw = path.read_bytes()
    return [
        raw[offset : offset + length] for f in list_verification_bin(path).pictures for offset, length in f.stretches
    ]


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_pictures_written_as_text_are_refused_with_what_to_do(tmp_path, protocol):
    """Python 3 writes no bytes in protocols 0 to 2."""
    with pytest.raises(InputError, match="write it again with pickle protocol 4"):
        list_verification_bin(dump(tmp_path, (BLOBS, np.array(SAME)), protocol))


def test_the_pictures_stay_in_the_file(tmp_path):
    path = dump(tmp_path, ([bytes(2**20)] * 2 + [bytes(2**20 + i) for i in range(10)], [True] * 6))
    tracemalloc.start()
    source = list_verification_bin(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(source.pictures) == 12 and most < 300_000


@pytest.mark.parametrize("call", [b"cnumpy.core.multiarray\nscalar\n)R", b"cnumpy\nndarray\n)R", b"cnumpy\ndtype\n"])
def test_arrays_without_content_are_refused(tmp_path, call):
    for content in (b"\x80\x02](%sC\x01ae](\x88e\x86." % call, b"\x80\x03](C\x01aC\x01be]%sa\x86." % call):
        (tmp_path / "x.bin").write_bytes(content)
        with pytest.raises(InputError, match=r"x.bin"):
            list_verification_bin(tmp_path / "x.bin")


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("make", [bytes, lambda b: np.frombuffer(b, np.uint8), lambda b: np.array(list(b), np.uint8)])
@pytest.mark.parametrize(
    "flags",
    [
        list,
        np.array,
        lambda same: np.array(same, np.int64),
        lambda same: np.array(same, ">u2"),
        lambda same: [np.bool_(s) for s in same],
        lambda s: [int(v) for v in s],
    ],
)
def test_all_ways_to_write_one(tmp_path, protocol, make, flags):
    path = dump(tmp_path, ([make(blob) for blob in BLOBS], flags(SAME)), protocol)
    assert blobs(path) == BLOBS
    source = list_verification_bin(path)
    assert [p.same for p in source.pairs] == SAME
    assert [f.name for f in source.pictures[:2]] == ["lfw/000000.jpg", "lfw/000001.jpg"]
    assert (source.pairs[1].name, source.pairs[1].pair_name) == ("lfw/000002.jpg", "lfw/000003.jpg")


def test_bytearrays_lists_and_a_picture_in_two_pairs(tmp_path):
    twice = [BLOBS[1], BLOBS[2], BLOBS[1], BLOBS[3]]
    assert blobs(dump(tmp_path, [twice, [1, 0]])) == twice
    assert blobs(dump(tmp_path, ([bytearray(b) for b in twice], [1, 0]), 5)) == twice


def test_python_2_wrote_strings(tmp_path):
    # cPickle.dumps((["ab", "c" * 300], [True]), 2) of Python 2.7, its memo left out.
    path = tmp_path / "old.bin"
    path.write_bytes(b"\x80\x02](U\x02abT\x2c\x01\x00\x00" + b"c" * 300 + b"e]\x88a\x86.")
    assert blobs(path) == [b"ab", b"c" * 300]


@given(st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=300), st.booleans()), min_size=1, max_size=8))
def test_any_bytes_come_back(tmp_path_factory, pairs):
    content = ([blob for one, other, _ in pairs for blob in (one, other)], [same for _, _, same in pairs])
    path = dump(tmp_path_factory.mktemp("bin"), content)
    assert blobs(path) == content[0]


class Hostile:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self):
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("place", ["whole", "pictures", "picture", "flags", "flag", "extra"])
def test_a_hostile_pickle_is_refused_and_nothing_runs(tmp_path, protocol, place):
    evil = Hostile(tmp_path / "harmed")
    content = {
        "whole": evil,
        "pictures": (evil, SAME),
        "picture": ([*BLOBS[:5], evil], SAME),
        "flags": (BLOBS, evil),
        "flag": (BLOBS, [True, True, evil]),
        "extra": (BLOBS, SAME, evil),
    }[place]
    with pytest.raises(InputError):
        list_verification_bin(dump(tmp_path, content, protocol))
    assert not (tmp_path / "harmed").exists()
    # The test can fail: the pickle does harm where it is run.
    pickle.loads((tmp_path / "lfw.bin").read_bytes())
    assert (tmp_path / "harmed").exists()


def test_the_refusal_names_the_call(tmp_path):
    with pytest.raises(InputError, match="mkdir"):
        list_verification_bin(dump(tmp_path, ([*BLOBS[:5], Hostile(tmp_path / "x")], SAME)))


def test_a_bomb_of_memory_is_refused(tmp_path):
    path = tmp_path / "lfw.bin"
    for content in (
        b"\x80\x05\x96" + b"\xff" * 7 + b"\x7f.",
        b"\x80\x04Nr\xff\xff\xff\x7f.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\0\0\0.",
    ):
        path.write_bytes(content)
        with pytest.raises(InputError):
            list_verification_bin(path)


def test_cut_anywhere_it_is_refused(tmp_path):
    whole = dump(tmp_path, (BLOBS, SAME)).read_bytes()
    for end in [*range(40), *range(40, len(whole), 97), len(whole) - 1]:
        (tmp_path / "lfw.bin").write_bytes(whole[:end])
        with pytest.raises(InputError, match="lfw.bin"):
            list_verification_bin(tmp_path / "lfw.bin")


@given(st.binary(max_size=60))
def test_random_bytes_never_crash(tmp_path_factory, junk):
    path = tmp_path_factory.mktemp("bin") / "x.bin"
    for head in (b"", b"\x80\x04](", b"(]"):
        path.write_bytes(head + junk)
        with pytest.raises(InputError):
            list_verification_bin(path)


@pytest.mark.parametrize(
    "content", [(BLOBS, SAME[:2]), ([], []), (BLOBS, [1, 0, 2]), (["text"] * 6, SAME), {"a": 1}, BLOBS, (BLOBS, None)]
)
def test_another_content_is_refused(tmp_path, content):
    with pytest.raises(InputError):
        list_verification_bin(dump(tmp_path, content))
