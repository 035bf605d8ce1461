"""Which photographs a user means."""

import os

import pytest

from eval.photographs.files import list_photographs, refuse_to_overwrite
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


def test_thumbnails_of_the_system_and_names_that_no_table_takes_are_passed_over(tmp_path, capsys):
    touch(tmp_path, "a.jpg", "@eaDir/a.jpg", "__MACOSX/a.jpg")
    (tmp_path / os.fsdecode(b"\xff.jpg")).write_bytes(b"")
    assert list(list_photographs([tmp_path])) == ["a.jpg"]
    said = capsys.readouterr().out
    assert "1 picture passed over, such as" in said and "its name is not valid UTF-8" in said


def test_an_original_is_never_written_over(tmp_path):
    touch(tmp_path, "a.jpg", "other/a.jpg")
    refuse_to_overwrite([tmp_path / "a.jpg"], [tmp_path / "named" / "a.jpg"])
    with pytest.raises(InputError, match=r"a.jpg is one of the photographs and would be overwritten"):
        refuse_to_overwrite([tmp_path / "other" / "a.jpg"], [tmp_path / "other" / ".." / "other" / "a.jpg"])
