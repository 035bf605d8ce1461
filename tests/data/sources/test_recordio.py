"""InsightFace's train.rec: written here byte by byte from the format's description, read back by the package."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from data.sources.read_image import UnreadableImage
from data.sources.recordio import list_records
from runtime.errors import InputError

MAGIC = struct.pack("<I", 0xCED7230A)


def record(content: bytes) -> bytes:
    """As dmlc-core's writer does it: content is cut where the magic word stands at a multiple of 4 bytes."""
    parts, start = [], 0
    for i in range(0, len(content) - 3, 4):
        if content[i : i + 4] == MAGIC:
            parts.append(content[start:i])
            start = i + 4
    parts.append(content[start:])
    flags = [0] if len(parts) == 1 else [1, *[2] * (len(parts) - 2), 3]
    words = [MAGIC + struct.pack("<I", flag << 29 | len(part)) for flag, part in zip(flags, parts, strict=True)]
    return b"".join(word + part + b"\0" * (-len(part) % 4) for word, part in zip(words, parts, strict=True))


def labelled(label: float, picture: bytes, more: tuple[float, ...] = ()) -> bytes:
    """MXNet's header, then the picture; with ``more`` labels they follow the header."""
    head = struct.pack("<IfQQ", len(more), label if not more else 0.0, 7, 0)
    return head + struct.pack(f"<{len(more)}f", *more) + picture


def jpeg(shade: int) -> bytes:
    whole = io.BytesIO()
    Image.new("RGB", (24, 24), (shade, 100, 50)).save(whole, "JPEG", quality=95)
    return whole.getvalue()


def write(folder: Path, contents: list[bytes]) -> Path:
    rec, offset, lines = b"", 0, []
    for key, content in enumerate(contents):
        lines.append(f"{key}\t{offset}\n")
        rec += record(content)
        offset = len(rec)
    (folder / "train.idx").write_text("".join(lines))
    (folder / "train.rec").write_bytes(rec)
    return folder / "train.rec"


@pytest.fixture
def rec(tmp_path) -> Path:
    """As InsightFace packs it: first the range of the keys, then the pictures, then a range for each person."""
    ranges = [labelled(0, b"", (4.0, 6.0))]
    pictures = [labelled(3, jpeg(10)), labelled(3, jpeg(60)), labelled(0, jpeg(200), (12.0, 1.0))]
    return write(tmp_path, [*ranges, *pictures, labelled(0, b"", (1.0, 3.0)), labelled(0, b"", (3.0, 4.0))])


def test_pictures_people_and_names(rec):
    source = list_records(rec)
    assert [(f.person, f.name) for f in source.pictures] == [
        ("3", "3/00000001.jpg"),
        ("3", "3/00000002.jpg"),
        ("12", "12/00000003.jpg"),
    ]
    assert source.other == []
    for file, shade in zip(source.pictures, (10, 60, 200), strict=True):
        assert abs(int(file.read()[12, 12, 0]) - shade) < 3


@given(st.lists(st.one_of(st.just(MAGIC), st.binary(min_size=1, max_size=9)), min_size=1, max_size=8))
def test_pictures_that_hold_the_magic_word_come_whole(tmp_path_factory, pieces):
    folder = tmp_path_factory.mktemp("rec")
    picture = b"".join(pieces)
    (file,) = list_records(write(folder, [labelled(1, picture)])).pictures
    raw = (folder / "train.rec").read_bytes()
    assert MAGIC.join(raw[offset : offset + length] for offset, length in file.stretches) == picture


def test_a_picture_cut_by_the_magic_word_decodes(tmp_path):
    whole = jpeg(90)
    # A comment segment of a JPEG may hold anything; its place makes the word stand at a multiple of 4 bytes.
    picture = whole[:2] + b"\xff\xfe\x00\x08" + b"\0\0" + MAGIC + whole[2:]
    (file,) = list_records(write(tmp_path, [labelled(1, picture)])).pictures
    assert len(file.stretches) == 2
    assert abs(int(file.read()[12, 12, 0]) - 90) < 3


def test_a_cut_file_keeps_what_is_whole_and_lists_the_rest(rec):
    whole = rec.read_bytes()
    second = int(rec.with_suffix(".idx").read_text().splitlines()[2].split()[1])
    rec.write_bytes(whole[: second + 40])
    source = list_records(rec)
    assert [f.name for f in source.pictures] == ["3/00000001.jpg"]
    assert [(o.path, o.status) for o in source.other] == [(f"train.rec/{k}", "unreadable") for k in (2, 3, 4, 5)]
    assert "cut short within it" in source.other[0].reason and "cut short before it" in source.other[1].reason


def test_damaged_records_are_listed(tmp_path):
    rec = write(tmp_path, [labelled(1, jpeg(5)), b"short", labelled(float("nan"), b"x"), labelled(-1, jpeg(5))])
    data = bytearray(rec.read_bytes())
    data[0] ^= 1
    rec.write_bytes(data)
    source = list_records(rec)
    assert source.pictures == []
    assert [o.reason for o in source.other] == [
        "no record starts at byte 0",
        "its header is cut short",
        "its label is no number",
        "its label -1 is no person",
    ]


def test_what_is_no_picture_inside_is_unreadable_when_read(tmp_path):
    (file,) = list_records(write(tmp_path, [labelled(1, b"no picture")])).pictures
    with pytest.raises(UnreadableImage, match="not an image"):
        file.read()


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "is not there"), ("", "is empty"), ("0\tx\n", "line 1"), ("0 0 0\n", "line 1"), ("0 0\n0 8\n", "twice")],
)
def test_a_bad_index_is_one_line(rec, text, message):
    index = rec.with_suffix(".idx")
    index.unlink() if text is None else index.write_text(text)
    with pytest.raises(InputError, match=message):
        list_records(rec)


def test_random_bytes_never_crash(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(50):
        (tmp_path / "train.rec").write_bytes(MAGIC + rng.bytes(int(rng.integers(1, 60))))
        (tmp_path / "train.idx").write_text(f"0 0\n1 {rng.integers(100)}\n")
        source = list_records(tmp_path / "train.rec")
        assert len(source.pictures) + len(source.other) <= 2
