"""Which photographs a user means."""

import pytest

from eval.photographs.files import list_photographs
from runtime.errors import InputError


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_folders_are_searched_and_earlier_results_passed_over(tmp_path):
    touch(tmp_path, "party/b.jpg", "party/deep/a.PNG", "party/notes.txt", "party/.hidden/c.jpg", "party/out/b.jpg")
    found = list_photographs([tmp_path / "party"], apart_from=tmp_path / "party" / "out")
    assert list(found) == ["b.jpg", "deep/a.PNG"] and found["b.jpg"] == tmp_path / "party" / "b.jpg"


def test_two_of_one_name_keep_apart_and_one_given_twice_is_one(tmp_path):
    touch(tmp_path, "one/1.jpg", "two/1.jpg")
    found = list_photographs([tmp_path / "one", tmp_path / "two" / "1.jpg", tmp_path / "one" / "1.jpg"])
    assert found == {"1.jpg": tmp_path / "one" / "1.jpg", "two/1.jpg": tmp_path / "two" / "1.jpg"}


def test_what_is_not_there_is_said(tmp_path):
    touch(tmp_path, "empty/notes.txt")
    with pytest.raises(InputError, match="no photograph or folder"):
        list_photographs([tmp_path / "nowhere"])
    with pytest.raises(InputError, match=r"no picture in .*empty"):
        list_photographs([tmp_path / "empty"])
