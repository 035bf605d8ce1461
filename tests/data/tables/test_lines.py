"""The line that an error names is the one that an editor shows."""

import numpy as np
import pandas as pd
import pytest

from data.prepare.proposals import read_proposals
from data.tables.lines import line_of, lines_of
from data.tables.pair_csv import read_pair_csvs
from data.tables.train_csv import read_train_csv
from runtime.errors import InputError

# Line 1 is blank; the rows begin on lines 4, 6, 7 and 11.
SHIFTED = '\npath,target,note\n \t\na.jpg,a,\n\nb.jpg,b,"two words"\nc.jpg,c,"over\n\nthree lines"\n\nd.jpg,d,\n\n'


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_blank_lines_and_line_feeds_within_a_field_count(tmp_path, ending, start):
    table = tmp_path / "train.csv"
    table.write_bytes((start + SHIFTED.lstrip("\n") if start else SHIFTED).replace("\n", ending).encode())
    frame = pd.read_csv(table)
    expected = np.array([4, 6, 7, 11]) - bool(start)
    assert frame["path"].tolist() == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert lines_of(table, len(frame)).tolist() == [line_of(table, row) for row in range(4)] == expected.tolist()


def test_the_usual_file_and_the_usual_exceptions(tmp_path):
    table = tmp_path / "train.csv"
    for end in ("", "\n"):
        table.write_text("path,target\na.jpg,a\nb.jpg,b" + end)
        assert lines_of(table, 2).tolist() == [2, 3] and line_of(table, 1) == 3
    table.write_text(f"path,target\n\n{'x' * 200_000},a\nb.jpg,b\n")
    assert lines_of(table, 2).tolist() == [2, 3] and line_of(table, 1) == 3
    assert line_of(tmp_path / "train.pack", 5) == 7


@pytest.mark.parametrize(
    ("read", "text", "words"),
    [
        (read_train_csv, "path,target\n\na.jpg,a\n\n/b.jpg,b\n", "line 5: /b.jpg leaves"),
        (read_train_csv, "path,target,masked\n\na.jpg,a,0\n\nb.jpg,b,yes\n", "line 5: masked must be 0 or 1"),
        (read_train_csv, "path,target\n\na.jpg,a\n\n,b\n", r"\(lines 5\)"),
        (lambda path: read_pair_csvs([path]), "path,pair_path,same\n\na,b,1\n\na,c,maybe\n", "line 5: same must be"),
        (read_proposals, "action,path,target,new_target\n\nmerge,,a,b\n\ndrop,a,,\n", "line 5: action is 'drop'"),
    ],
)
def test_errors_name_it(tmp_path, read, text, words):
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        read(tmp_path / "table.csv")


def test_so_do_the_pairs_that_are_left_out(tmp_path):
    (tmp_path / "pairs.csv").write_text("path,pair_path,same\n\na,b,1\n\na,,0\nb,c,0\n")
    assert read_pair_csvs([tmp_path / "pairs.csv"]).left_out["line"].tolist() == [5]
