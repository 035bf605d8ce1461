"""Corrections of a set of faces: read, refused in one line, applied to tables."""

import pandas as pd
import pytest

from data.prepare.proposals import apply_proposals, read_proposals
from runtime.errors import InputError

NAMES = ("a/1", "a/2", "b/1", "c/1", "d/1")
FACES = pd.DataFrame(
    [(f"{kind}/{name}", name[0]) for name in NAMES for kind in ("plain", "masked")], columns=["path", "target"]
)


def proposals(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["action", "path", "target", "new_target"])


def people(*rows: tuple[str, str, str, str]) -> dict[str, str]:
    faces, _ = apply_proposals(FACES, proposals(*rows))
    return dict(zip(faces["path"], faces["target"], strict=True))


def test_a_merge_renames_all_faces_along_chains():
    found = people(("merge", "", "a", "b"), ("merge", "", "b", "c"))
    assert {path: name for path, name in found.items() if name != path.split("/")[1]} == {
        f"{kind}/{name}": "c" for kind in ("plain", "masked") for name in ("a/1", "a/2", "b/1")
    }
    assert set(people(("merge", "", "a", "b"), ("merge", "", "b", "a")).values()) >= {"c", "d"}  # a circle ends


def test_move_and_remove_mean_both_faces_of_the_photograph():
    found = people(("move", "plain/a/2", "a", "d"), ("remove", "masked/b/1", "b", ""))
    assert found["plain/a/2"] == found["masked/a/2"] == "d" and found["plain/a/1"] == "a"
    assert "plain/b/1" not in found and "masked/b/1" not in found and len(found) == 8


def test_those_that_meet_no_face_are_not_counted_and_the_table_stays_as_it_was():
    rows = proposals(("remove", "plain/x/1", "", ""), ("merge", "", "y", "a"), ("move", "plain/c/1", "", "a"))
    before = FACES.copy()
    assert apply_proposals(FACES, rows)[1] == 1
    pd.testing.assert_frame_equal(FACES, before)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("action,path\nremove,x\n", "lacks the column target, new_target"),
        ("action,path,target,new_target\ndelete,x,,\n", "line 2: action is 'delete'"),
        ("action,path,target,new_target\nmerge,,a,\n", "line 2: merge needs new_target"),
        ("", "can't be read"),
    ],
)
def test_files_that_are_none_get_one_line(tmp_path, text, words):
    (tmp_path / "proposals.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        read_proposals(tmp_path / "proposals.csv")
