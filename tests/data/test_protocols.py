import json
import unicodedata
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data.protocols import ProtocolSettings, write_protocol
from data.sources.outcome import Outcome
from data.sources.pair_lists import Face, find_faces, pair_list, read_mask_labels, read_pairs_file
from data.sources.source_file import SourcePair
from data.tables.pair_csv import read_pair_csvs
from runtime.errors import InputError

PAIRS = "1\t2\nAnn\t1\t2\nBob\t1\t3\nAnn\t1\tBob\t2\nAnn\t2\tCleo_X\t1\n"
LABELS = "Ann, 1, no-mask\nAnn, 2, surgical\nBob, 1, cloth\nBob, 2, no-mask\nBob, 3, no-mask\nCleo_X, 1, n95\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def make(root: Path, pairs: Path, labels: Path | None = None) -> tuple[tuple[int, int, int], pd.DataFrame]:
    counts = write_protocol(ProtocolSettings(pairs, root, root / "out.csv", labels))
    return counts, pd.read_csv(root / "out.csv", keep_default_na=False)


def test_lfws_format(tmp_path):
    pairs = read_pairs_file(write(tmp_path / "pairs.txt", PAIRS))
    assert [(p.name, p.pair_name, p.same) for p in pairs] == [
        ("Ann/1", "Ann/2", True),
        ("Bob/1", "Bob/3", True),
        ("Ann/1", "Bob/2", False),
        ("Ann/2", "Cleo_X/1", False),
    ]


def test_other_heads_and_blanks(tmp_path):
    expected = read_pairs_file(write(tmp_path / "a.txt", PAIRS))
    body = PAIRS.partition("\n")[2]
    for text in (
        body,
        "500\n" + body,
        "10 300\n" + body.replace("\t", " "),
        "\ufeff1\t2\r\n" + body.replace("\n", "\r\n\n"),
    ):
        assert read_pairs_file(write(tmp_path / "b.txt", text)) == expected
    spaces = read_pairs_file(write(tmp_path / "c.txt", "Ann of Cleves\t0001\t2\n"))
    assert spaces == [SourcePair("Ann of Cleves/1", "Ann of Cleves/2", True)]


@pytest.mark.parametrize(
    "text", ["", "Ann\t1\t²\n", "10\t300\n", "Ann 1\n", "Ann 1 two\n", PAIRS + "Ann\t1\tBob\n", PAIRS + "3\t4\n"]
)
def test_a_line_that_is_no_pair_is_named(tmp_path, text):
    with pytest.raises(InputError, match=r"no pair|line \d"):
        read_pairs_file(write(tmp_path / "pairs.txt", text))


def test_labels(tmp_path):
    labels = read_mask_labels(write(tmp_path / "labels.txt", LABELS))
    assert labels["Ann/2"] == "surgical" and labels["Ann/1"] == "no-mask" and len(labels) == 6
    with pytest.raises(InputError, match="line 2"):
        read_mask_labels(write(tmp_path / "labels.txt", "Ann, 1, cloth\nAnn 2 cloth\n"))


def test_a_folder_of_raw_people_with_labels(tmp_path):
    touch(tmp_path, "Ann/Ann_0001.png", "Ann/Ann_0002.png", "Bob/Bob_0001.png", "Bob/Bob_0002.jpg", "Bob/Bob_0003.png")
    pairs, labels = write(tmp_path / "pairs.txt", PAIRS), write(tmp_path / "labels.txt", LABELS)
    counts, table = make(tmp_path, pairs, labels)
    assert counts == (4, 1, 3)
    assert table["path"].tolist() == ["Ann/Ann_0001.png", "Bob/Bob_0001.png", "Ann/Ann_0001.png"]
    assert table["same"].tolist() == [1, 1, 0]
    assert table[["masked", "pair_masked"]].to_numpy().tolist() == [[0, 1], [1, 0], [0, 0]]
    assert table["pair_mask_kind"].tolist() == ["surgical", "", ""]
    assert table[["target", "pair_target"]].to_numpy().tolist() == [["Ann", "Ann"], ["Bob", "Bob"], ["Ann", "Bob"]]
    assert read_pair_csvs([tmp_path / "out.csv"]).condition.tolist() == ["plain-masked", "plain-masked", "plain-plain"]


def test_a_prepared_folder_gives_each_condition(tmp_path):
    for kind in ("plain", "masked"):
        touch(tmp_path, f"{kind}/Ann/Ann_0001.jpg", f"{kind}/Ann/Ann_0002.jpg")
    counts, table = make(tmp_path, write(tmp_path / "pairs.txt", "Ann 1 2\nAnn 1 Bob 1\n"))
    assert counts == (2, 1, 3)
    assert list(zip(table["path"], table["pair_path"], strict=True)) == [
        ("plain/Ann/Ann_0001.jpg", "plain/Ann/Ann_0002.jpg"),
        ("plain/Ann/Ann_0001.jpg", "masked/Ann/Ann_0002.jpg"),
        ("masked/Ann/Ann_0001.jpg", "masked/Ann/Ann_0002.jpg"),
    ]


def test_a_prepared_folder_also_gives_the_sides_of_the_faces(tmp_path):
    touch(tmp_path, "plain/Ann/1.jpg", "masked/Ann/2.jpg", "plain/Bob/2.jpg")
    about = [("Ann/1.jpg", "none", 50.5), ("Ann/2.jpg", "worn", 31.0), ("Bob/2.jpg", "none", 0.0)]
    lines = [
        asdict(Outcome(name, "", "written", name=name, person=name[:3], mask=mask, side=side))
        for name, mask, side in about
    ]
    write(tmp_path / "journal.jsonl", "\n".join(["{}", *map(json.dumps, lines)]))
    pairs = write(tmp_path / "pairs.txt", "Ann\t1\t2\nAnn\t1\tBob\t2\n")
    make(tmp_path, pairs)
    np.testing.assert_equal(read_pair_csvs([tmp_path / "out.csv"]).sides, [[50.5, 31.0], [50.5, np.nan]])


def test_a_worn_mask_on_either_side_is_kept():
    both, worn = [Face("p/a", False), Face("m/a", True, "n95")], [Face("m/b", True, "worn")]
    table, lost = pair_list([SourcePair("b", "a", True), SourcePair("a", "b", True)], {"a": both, "b": worn})
    assert lost == 0
    assert table[["path", "pair_path", "masked", "pair_masked"]].to_numpy().tolist() == [
        ["m/b", "p/a", 1, 0],
        ["m/b", "m/a", 1, 1],
        ["p/a", "m/b", 0, 1],
        ["m/a", "m/b", 1, 1],
    ]


def test_nothing_there_is_one_line(tmp_path):
    pairs = write(tmp_path / "pairs.txt", PAIRS)
    with pytest.raises(InputError, match="has no face"):
        make(tmp_path, pairs)
    with pytest.raises(InputError, match="is not there"):
        write_protocol(ProtocolSettings(pairs, tmp_path / "none", tmp_path / "out.csv"))
    with pytest.raises(InputError, match="can't be read"):
        read_pairs_file(tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("stem", "number"),
    [
        ("Ann_0003", 3),
        ("img12", 12),
        ("Ann_0003_N95", 3),
        ("Ann_0003_KN95", 3),
        ("Ann_0003_surgical_green", 3),
        ("Ann_0003_0", 3),
        ("Ann_2019_0003", 3),
        ("Ann_0003_crop", 3),
        ("Ann_0", 0),
        ("Ann_N95", None),
        ("Ann", None),
    ],
)
def test_the_number_of_a_picture_is_no_masks(tmp_path, stem, number):
    touch(tmp_path, f"Ann/{stem}.jpg", f"Ann/._{stem}.jpg")
    found = [key for key in find_faces(tmp_path, ["Ann"], {}) if not key.endswith(".")]
    assert found == ([] if number is None else [f"Ann/{number}"])


def test_further_faces_of_a_picture_are_no_pictures_of_a_list(tmp_path):
    """--detections all: the second face of picture 1 is not picture 2, and perhaps not Ann."""
    touch(tmp_path, "plain/Ann/Ann_0001.jpg", "plain/Ann/Ann_0001_face2.jpg", "plain/Ann/Ann_0002.jpg")
    touch(tmp_path, "masked/Ann/Ann_0001_face2.jpg", "masked/Ann/Ann_0002.jpg")
    found = find_faces(tmp_path, ["Ann"], {})
    assert [face.path for face in found["Ann/1"]] == ["plain/Ann/Ann_0001.jpg"]
    assert [face.path for face in found["Ann/2"]] == ["plain/Ann/Ann_0002.jpg", "masked/Ann/Ann_0002.jpg"]


@pytest.mark.parametrize(
    "text",
    [
        "Ann/Ann_0001.jpg Ann/Ann_0002.jpg\nAnn/Ann_0001.jpg Bob/x.png\n",
        "Ann/Ann_0001.jpg,Ann/Ann_0002.jpg,1\nAnn/Ann_0001.jpg,Bob/x.png,0\n",
        "path,pair_path,same\nlfw/Ann/Ann_0001.png,lfw/Ann/Ann_0002.jpg,1\nlfw/Ann/Ann_0001.jpg,lfw/Bob/x.jpg,0\n",
        "Ann\\Ann_0001.jpg\tAnn\\Ann_0002.jpg\t1\nAnn\\Ann_0001.jpg\tBob\\x.jpg\t0\n",
        "2\nAnn 1 2 1\nAnn 1 Bob 7 0\n",
        "name,imagenum1,imagenum2,\nAnn,1,2\nAnn,1,Bob,7\n",
    ],
)
def test_lists_of_paths_and_of_names_with_or_without_labels(tmp_path, text):
    touch(tmp_path, "Ann/Ann_0001.jpg", "Ann/Ann_0002.jpg", "Bob/x.jpg", "Bob/Bob_0007.jpg")
    counts, table = make(tmp_path, write(tmp_path / "pairs.txt", text))
    bob = "Bob/x.jpg" if "x." in text else "Bob/Bob_0007.jpg"
    assert counts == (2, 0, 2) and table["same"].tolist() == [1, 0]
    assert table["path"].tolist() == ["Ann/Ann_0001.jpg"] * 2
    assert table["pair_path"].tolist() == ["Ann/Ann_0002.jpg", bob]


def test_a_label_against_the_names_is_refused_and_against_folders_is_followed(tmp_path):
    with pytest.raises(InputError, match="line 2: the last column says 1, but the names are Ann and Bob"):
        read_pairs_file(write(tmp_path / "pairs.txt", "Ann 1 Ann 2 1\nAnn 1 Bob 2 1\n"))
    touch(tmp_path, "all/a.jpg", "all/b.jpg", "all/c.jpg")
    text = "all/a.jpg all/b.jpg 1\nall/a.jpg all/c.jpg 0\n"
    _, table = make(tmp_path, write(tmp_path / "pairs.txt", text))
    assert table["same"].tolist() == [1, 0] and "target" not in table
    assert read_pair_csvs([tmp_path / "out.csv"]).same.tolist() == [True, False]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_in_either_unicode_form(tmp_path, form):
    touch(tmp_path, *(unicodedata.normalize(form, f"José/José_000{i}.jpg") for i in (1, 2)))
    for listed in ("NFC", "NFD"):
        text = unicodedata.normalize(listed, "José 1 2\nJosé/José_0001.jpg José/José_0002.jpg\n")
        for line in text.splitlines():
            assert make(tmp_path, write(tmp_path / "pairs.txt", line))[0] == (1, 0, 1)


def ten_sets(each: int = 1) -> str:
    """LFW's format: ten sets of ``each`` same and different pairs."""
    lines = [f"10\t{each}"]
    for fold in range(10):
        lines += [f"P{fold}\t1\t2"] * each + [f"P{fold}\t1\tP{(fold + 1) % 10}\t2"] * each
    return "\n".join(lines)


def test_lfws_sets_become_folds_in_order(tmp_path):
    touch(tmp_path, *(f"P{person}/P{person}_{number:04d}.jpg" for person in range(10) for number in (1, 2)))
    _, table = make(tmp_path, write(tmp_path / "pairs.txt", ten_sets()))
    assert table["fold"].tolist() == [fold for fold in range(1, 11) for _ in range(2)]
    pairs = read_pair_csvs([tmp_path / "out.csv"])
    assert (pairs.folds + 1).tolist() == table["fold"].tolist()
    assert (pairs.without(pairs.folds < 3, "a reason").folds == pairs.folds[pairs.folds >= 3]).all()


def test_a_list_that_is_not_what_its_head_says_has_no_folds(tmp_path, capsys):
    touch(tmp_path, *(f"P{person}/P{person}_{number:04d}.jpg" for person in range(10) for number in (1, 2)))
    short = ten_sets().rpartition("\n")[0]
    _, table = make(tmp_path, write(tmp_path / "pairs.txt", short))
    assert "fold" not in table and "folds of the list are left out" in capsys.readouterr().out


@pytest.mark.parametrize("fold", ["0", "11", "x", ""])
def test_a_fold_that_is_none_is_refused(tmp_path, fold):
    csv = write(tmp_path / "pairs.csv", f"path,pair_path,same,fold\na.jpg,b.jpg,1,1\na.jpg,c.jpg,0,{fold}\n")
    with pytest.raises(InputError, match="line 3: fold must be 1 to 10"):
        read_pair_csvs([csv])
