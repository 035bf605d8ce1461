"""The lists of IJB-B and IJB-C, written line by line and damaged."""

import re
from pathlib import Path

import numpy as np
import pytest

from data.sources.ijb import IjbLists, find_ijb, read_ijb
from tests.ijb_set import POINTS, write_lists
from tests.one_line import one_line

PICTURES = [("1.jpg", 7, 70, 0.9), ("2.jpg", 7, 70, 0.8), ("3.jpg", 3, 11, 1.0), ("4.jpg", 9, 12, 0.25)]
PAIRS = [(7, 3, 1), (9, 7, 0), (3, 9, 0)]


@pytest.fixture
def folder(tmp_path):
    return write_lists(tmp_path / "IJBC", PICTURES, PAIRS)


def read(folder: Path) -> IjbLists:
    (files,) = find_ijb(folder)
    return read_ijb(files)


def test_lists_are_read_as_they_were_written(folder):
    found = read(folder)
    assert found.paths.tolist() == ["1.jpg", "2.jpg", "3.jpg", "4.jpg"]
    np.testing.assert_allclose(found.landmarks, [POINTS] * 4, atol=6e-4)
    np.testing.assert_allclose(found.scores, [0.9, 0.8, 1.0, 0.25])
    names = np.array([3, 7, 9])  # of the places 0, 1, 2
    assert names[found.template].tolist() == [7, 7, 3, 9] and found.templates == 3
    assert found.media.tolist() == [70, 70, 11, 12]
    rows = zip(names[found.left], names[found.right], found.same, strict=True)
    assert [tuple(map(int, row)) for row in rows] == PAIRS
    assert found.unknown_pairs == 0


def test_lists_may_lie_beside_the_pictures_and_two_sets_in_one_folder(folder):
    for path in list((folder / "meta").iterdir()):
        path.rename(folder / path.name)
    write_lists(folder, PICTURES, PAIRS, name="ijbb")
    assert {files.name for files in find_ijb(folder)} == {"ijbb", "ijbc"}


def test_other_folders_hold_no_set(tmp_path):
    assert find_ijb(tmp_path) == []


def test_pairs_that_name_unknown_templates_are_counted(tmp_path):
    found = read(write_lists(tmp_path, PICTURES, [*PAIRS, (7, 8, 0), (10, 9, 1), (-1, 2, 0)]))
    assert len(found.same) == 3 and found.unknown_pairs == 3


def test_lists_of_two_sets_are_refused(tmp_path):
    folder = write_lists(tmp_path, PICTURES, [(100, 200, 1)])
    assert "they belong to two sets" in one_line(lambda: read(folder))


@pytest.mark.parametrize("ending", ["name_5pts_score", "template_pair_label"])
def test_a_list_that_is_not_there_is_named(folder, ending):
    (folder / "meta" / f"ijbc_{ending}.txt").unlink()
    assert f"not ijbc_{ending}.txt beside it" in one_line(lambda: find_ijb(folder))


def test_pictures_that_are_not_there_are_asked_for(folder):
    (folder / "loose_crop").rmdir()
    assert "no folder" in one_line(lambda: find_ijb(folder))


DAMAGED = [
    ("face_tid_mid", "2.jpg 7 70", "2.jpg 7", r"line 2: '2.jpg 7' is not picture, template, medium"),
    ("face_tid_mid", "2.jpg 7 70", "2.jpg 7 70 1", r"line 2: '2.jpg 7 70 1' is not"),
    ("face_tid_mid", "1.jpg 7 70", "1.jpg 7 70 1", r"line 1: '1.jpg 7 70 1' is not"),
    ("face_tid_mid", "2.jpg 7 70", "2.jpg seven 70", r"line 2: '2.jpg seven 70' is not"),
    ("face_tid_mid", "2.jpg 7 70", "2.jpg 7.5 70", r"line 2: '2.jpg 7.5 70' is not"),
    ("face_tid_mid", "2.jpg 7 70", "2.jpg 7 99999999999999999999", r"line 2: '2.jpg 7 99999999999999999999' is not"),
    ("face_tid_mid", "2.jpg 7 70", "../2.jpg 7 70", r"line 2"),
    ("face_tid_mid", "2.jpg 7 70", "5.jpg 7 70", r"line 2 of .* names 5.jpg, that of ijbc_name_5pts_score.txt 2.jpg"),
    ("face_tid_mid", "4.jpg 9 12\n", "", r"has 3 pictures, ijbc_name_5pts_score.txt 4"),
    ("name_5pts_score", "0.800", "nan", r"line 2: .* is not picture, landmark 0"),
    ("name_5pts_score", "0.800", "inf", r"line 2"),
    ("name_5pts_score", "0.800", "-0.8", r"line 2: the detector's score is negative"),
    ("name_5pts_score", " 0.800", "", r"line 2"),
    ("name_5pts_score", "0.800", "0,8", r"line 2"),
    ("template_pair_label", "9 7 0", "9 7 2", r"line 2: the last column must be 1 \(same person\) or 0"),
    ("template_pair_label", "9 7 0", "9 7", r"line 2: '9 7' is not template, other, label"),
    ("template_pair_label", "9 7 0", "9\t7\t0", r"line 2"),
    ("template_pair_label", "9 7 0", '"9 7 0', r"line 2"),
    ("template_pair_label", "9 7 0", "\x00\x01", r"line 2"),
]


@pytest.mark.parametrize(("ending", "old", "new", "message"), DAMAGED)
def test_damaged_lines_are_refused_by_their_number(folder, ending, old, new, message):
    path = folder / "meta" / f"ijbc_{ending}.txt"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    found = one_line(lambda: read(folder))
    assert re.search(message, found), found
    assert str(folder) in found


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe\x00 1 2\n", b"\x89PNG\r\n" + bytes(range(256))])
@pytest.mark.parametrize("ending", ["face_tid_mid", "name_5pts_score", "template_pair_label"])
def test_files_of_another_kind_are_refused(folder, ending, content):
    path = folder / "meta" / f"ijbc_{ending}.txt"
    path.write_bytes(content)
    assert str(path) in one_line(lambda: read(folder))


def test_pictures_outside_their_folder_are_refused(tmp_path):
    for name in ("../1.jpg", "/etc/1.jpg", "a\\1.jpg", ".."):
        folder = write_lists(tmp_path, [(name, 1, 1, 1.0), *PICTURES], PAIRS)
        assert "line 1" in one_line(lambda: read(folder))  # noqa: B023
