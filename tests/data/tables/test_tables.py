import os

import numpy as np
import pytest

from data.tables.card import prepared_as, read_dataset_card, write_dataset_card
from data.tables.pair_csv import read_pair_csvs
from data.tables.paths import missing_files, require_files
from data.tables.train_csv import choose_faces, read_train_csv
from runtime.errors import InputError


def _csv(folder, text, name="table.csv"):
    path = folder / name
    path.write_text(text)
    return path


def test_train_csv_of_the_original_loads_with_its_index_and_integer_targets(tmp_path):
    path = _csv(tmp_path, ",path,target\n0,a/1.jpg,70\n1,b/1.jpg,5\n2,a/2.jpg,70\n")
    table = read_train_csv(path)
    assert list(table.paths) == ["a/1.jpg", "b/1.jpg", "a/2.jpg"]
    assert [table.names[t] for t in table.targets] == ["70", "5", "70"]
    assert sorted(set(table.targets.tolist())) == [0, 1]
    assert table.counts[table.targets].tolist() == [2, 1, 2]
    assert table.masked is None
    assert table.landmarks is None


def test_targets_may_be_any_strings_even_na_and_leading_zeros(tmp_path):
    path = _csv(tmp_path, "path,target\n1.jpg,NA\n2.jpg,007\n3.jpg,8\n4.jpg,Zoë\n5.jpg,None\n")
    table = read_train_csv(path)
    assert [table.names[t] for t in table.targets] == ["NA", "007", "8", "Zoë", "None"]


def test_landmarks_and_masked_flags_are_read(tmp_path):
    numbers = ",".join(str(i) for i in range(10))
    header = "path,target,masked,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5"
    path = _csv(tmp_path, f"{header}\na.jpg,a,0,{numbers}\nb.jpg,b,1,{numbers}\n")
    table = read_train_csv(path)
    assert table.masked.tolist() == [False, True]
    assert table.landmarks[0].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]


def test_targets_are_text_also_where_all_look_like_numbers(tmp_path):
    table = read_train_csv(_csv(tmp_path, "path,target\na,007\nb,8\nc,007\nd,9.0\n"))
    assert [table.names[t] for t in table.targets] == ["007", "8", "007", "9.0"]


def test_a_name_with_space_around_it_is_one_identity(tmp_path):
    table = read_train_csv(_csv(tmp_path, "path,target\na,p1\nb,p1 \nc, p2\nd,p2\u3000\n"))
    assert table.names == ["p1", "p2"] and table.counts.tolist() == [2, 2]


def test_plain_or_masked_rows_are_chosen_and_identities_without_one_drop_out(tmp_path):
    path = _csv(tmp_path, "path,target,masked\na1,a,0\na2,a,1\nb1,b,1\nc1,c,0\nc2,c,1\n")
    plain, masked = (choose_faces(read_train_csv(path), faces) for faces in ("plain", "masked"))
    assert [(p, plain.names[t]) for p, t in zip(plain.paths, plain.targets, strict=True)] == [("a1", "a"), ("c1", "c")]
    assert masked.names == ["a", "b", "c"]
    assert list(masked.paths) == ["a2", "b1", "c2"]
    assert len(choose_faces(read_train_csv(path), "all").paths) == 5


def test_at_most_so_many_images_of_an_identity_are_chosen_and_all_their_columns_with_them(tmp_path):
    path = _csv(tmp_path, "path,target,masked\na1,a,0\nb1,b,0\na2,a,1\na3,a,0\nb2,b,1\na4,a,0\n")
    two = choose_faces(read_train_csv(path), "all", 2)
    assert (list(two.paths), two.masked.tolist()) == (["a1", "b1", "a2", "b2"], [False, False, True, True])
    assert two.counts.tolist() == [2, 2]
    assert list(choose_faces(read_train_csv(path), "plain", 2).paths) == ["a1", "b1", "a3"]


def test_identities_with_too_few_images_are_left_out(tmp_path):
    path = _csv(tmp_path, "path,target,masked\na1,a,0\na2,a,1\nb1,b,0\nc1,c,0\nc2,c,0\n")
    two = choose_faces(read_train_csv(path), "all", 0, 2)
    assert (
        two.names == ["a", "c"] and list(two.paths) == ["a1", "a2", "c1", "c2"] and two.targets.tolist() == [0, 0, 1, 1]
    )
    assert choose_faces(read_train_csv(path), "all", 0, 1).names == ["a", "b", "c"]
    with pytest.raises(InputError, match="2 or more plain faces of 1 identities"):
        choose_faces(read_train_csv(path), "plain", 0, 2)


def test_a_choice_that_leaves_too_little_or_has_nothing_to_go_by_is_refused(tmp_path):
    with pytest.raises(InputError, match="no column masked"):
        choose_faces(read_train_csv(_csv(tmp_path, "path,target\na,a\nb,b\n")), "plain")
    with pytest.raises(InputError, match="plain faces of 1 identities"):
        choose_faces(read_train_csv(_csv(tmp_path, "path,target,masked\na,a,0\nb,b,1\n")), "plain")


def test_pair_csv_of_the_original_indexes_each_image_once(tmp_path):
    same = _csv(tmp_path, "path,target,pair_path,pair_target\na1,3,a2,3\na1,3,a3,3\n", "same.csv")
    different = _csv(tmp_path, "path,target,pair_path,pair_target\na1,3,b1,4\n", "diff.csv")
    pairs = read_pair_csvs([same, different])
    assert sorted(pairs.paths.tolist()) == ["a1", "a2", "a3", "b1"]
    rows = zip(pairs.left, pairs.right, pairs.same, strict=True)
    named = [(pairs.paths[i], pairs.paths[j], bool(s)) for i, j, s in rows]
    assert named == [("a1", "a2", True), ("a1", "a3", True), ("a1", "b1", False)]
    assert set(pairs.condition) == {"all"}


def test_pairs_with_a_same_column_and_masked_flags(tmp_path):
    text = "path,pair_path,same,masked,pair_masked\na,b,1,0,0\na,c,0,0,1\nb,c,1,1,0\nc,d,0,1,1\n"
    pairs = read_pair_csvs([_csv(tmp_path, text)])
    assert pairs.same.tolist() == [True, False, True, False]
    assert pairs.condition.tolist() == ["plain-plain", "plain-masked", "plain-masked", "masked-masked"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path\na.jpg\n", "lacks the column target"),
        ("path,target\n", "no rows"),
        ("", "can't be read"),
        ("path,target\na.jpg,one\nb.jpg,one\n", "one identity only"),
        ("path,target\na.jpg,a\n,b\n", "empty path"),
        ("path,target\na.jpg,a\n/abs/b.jpg,b\n", "line 3: /abs/b.jpg leaves the data folder"),
        ("path,target\na.jpg,a\nx/../../b.jpg,b\n", "leaves the data folder"),
        ("path,target\na.jpg,a\nC:\\faces\\b.jpg,b\n", "leaves the data folder"),
        ("path,target,masked\na.jpg,a,0\nb.jpg,b,yes\n", "line 3: masked must be 0 or 1"),
        ("path,target\na.jpg,0\nb.jpg,0.0\nc.jpg,1\n", "0 and 0.0 are one number in two forms"),
        ("path,target\na.jpg,007\nb.jpg,7\n", "007 and 7 are one number in two forms"),
        ("path,target\na.jpg,a\nb.jpg,b\n./a.jpg,b\n", "a.jpg stands there as a and as b"),
        ("path,target\na.jpg,a\nb.jpg,  \n", "one identity only (a)"),
        ("path,target\na.jpg,\nb.jpg,\n", "no row with a target"),
    ],
)
def test_a_bad_train_csv_is_one_clear_line(tmp_path, text, said):
    with pytest.raises(InputError, match="table.csv") as error:
        read_train_csv(_csv(tmp_path, text))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_csv_is_named(tmp_path):
    with pytest.raises(InputError, match="none.csv is not there"):
        read_train_csv(tmp_path / "none.csv")


def test_a_pair_csv_without_targets_or_same_is_refused(tmp_path):
    with pytest.raises(InputError, match="target and pair_target, or same"):
        read_pair_csvs([_csv(tmp_path, "path,pair_path\na,b\n")])


def test_path_prefix_maps_foreign_absolute_paths_under_the_root(tmp_path):
    path = _csv(tmp_path, "path,target\n/data/casia/a/1.jpg,a\n/data/casia/b/1.jpg,b\n")
    assert list(read_train_csv(path, "/data/casia=faces").paths) == ["faces/a/1.jpg", "faces/b/1.jpg"]
    assert list(read_train_csv(path, "/data/casia/=").paths) == ["a/1.jpg", "b/1.jpg"]
    with pytest.raises(InputError, match="leaves the data folder .*, or map them with path_prefix"):
        read_train_csv(path, "/data/cas=faces")
    with pytest.raises(InputError, match="leaves the data folder"):
        read_train_csv(path, "/data/casia=/elsewhere/../..")
    windows = _csv(tmp_path, "path,target\nC:\\faces\\a\\1.jpg,a\nC:\\faces\\b\\1.jpg,b\n")
    for prefix in ("C:\\faces=", "C:/faces=", "C:\\faces\\=."):
        assert [p.removeprefix("./") for p in read_train_csv(windows, prefix).paths] == ["a/1.jpg", "b/1.jpg"]
    with pytest.raises(InputError, match="OLD=NEW"):
        read_train_csv(path, "/data/casia")


def test_windows_and_untidy_paths_become_plain_ones(tmp_path):
    path = _csv(tmp_path, "path,target\na\\1.jpg,a\n./b//2.jpg,b\n")
    assert list(read_train_csv(path).paths) == ["a/1.jpg", "b/2.jpg"]


def test_missing_images_are_all_counted_and_the_first_ten_listed(tmp_path):
    (tmp_path / "a").mkdir()
    for i in range(3):
        (tmp_path / "a" / f"{i}.jpg").touch()
    wanted = [f"a/{i}.jpg" for i in range(3)] + [f"b/{i:02d}.jpg" for i in range(12)] + ["b/00.jpg"]
    assert missing_files(tmp_path, wanted) == [f"b/{i:02d}.jpg" for i in range(12)]
    with pytest.raises(InputError, match="train.csv: 12 images are not under") as error:
        require_files(tmp_path, np.array(wanted), "train.csv")
    assert "b/09.jpg" in str(error.value)
    assert "b/10.jpg" not in str(error.value)
    require_files(tmp_path, ["a/0.jpg"], "train.csv")


def test_folders_are_listed_once_each(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    calls = []
    real = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: calls.append(path) or real(path))
    missing_files(tmp_path, [f"a/{i}.jpg" for i in range(50)])
    assert len(calls) == 1


def test_the_card_of_a_folder_round_trips_and_a_broken_one_is_said(tmp_path):
    assert read_dataset_card(tmp_path) is None
    write_dataset_card(tmp_path, "arcface5", 112, people=3)
    assert read_dataset_card(tmp_path) == {"crop": "arcface5", "size": 112, "people": 3}
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(InputError, match="no valid JSON"):
        read_dataset_card(tmp_path)


@pytest.mark.parametrize(("encoding", "line"), [("cp1252", 3), ("utf-16", 1)])
def test_a_csv_that_a_spreadsheet_has_not_saved_as_utf_8_is_refused_by_its_line(tmp_path, encoding, line):
    (tmp_path / "train.csv").write_bytes("path,target\n1.jpg,Ann\n2.jpg,José\n".encode(encoding))
    with pytest.raises(InputError, match=f"train.csv, line {line}: this is no UTF-8; save the CSV as UTF-8"):
        read_train_csv(tmp_path / "train.csv")


def test_a_face_deep_in_a_prepared_folder_knows_its_card(tmp_path):
    write_dataset_card(tmp_path, "arcface5", 112)
    face = tmp_path / "masked" / "Ann" / "train" / "frontal" / "1.jpg"
    assert prepared_as(face) == (tmp_path, "masked", "Ann/train/frontal/1.jpg")


def test_a_column_that_stands_twice_is_refused(tmp_path):
    for header in ("path,target,path", "path,target,target"):
        (tmp_path / "twice.csv").write_text(f"{header}\na.jpg,x,y\nb.jpg,y,y\n")
        with pytest.raises(InputError, match=f"the column {header.split(',')[-1]} twice"):
            read_train_csv(tmp_path / "twice.csv")
    (tmp_path / "nameless.csv").write_text(",,path,target\n0,0,a.jpg,x\n1,1,b.jpg,y\n")
    assert len(read_train_csv(tmp_path / "nameless.csv").targets) == 2, "two indices without names are no harm"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "table",
    ["path,target,masked\na,p,0,\nb,q,1,\n", "path,target,pair_path,pair_target\na,p,b,q,\na,p,c,p,\n"],
)
def test_rows_that_end_in_a_comma_are_refused(tmp_path, table, end):
    path = tmp_path / "table.csv"
    path.write_bytes(table.replace("\n", end).encode())
    with pytest.raises(InputError, match="table.csv: its rows end in a comma, but its header does not; remove these"):
        (read_pair_csvs([path]) if "pair" in table else read_train_csv(path))


def test_rows_with_labels_that_have_no_header_are_read_as_r_writes_them(tmp_path):
    labelled = _csv(tmp_path, "path,target,masked\none,a,p,0\ntwo,b,q,1\nthree,c,q,1\n")
    table = read_train_csv(labelled)
    assert (list(table.paths), table.names, table.masked.tolist()) == (["a", "b", "c"], ["p", "q"], [False, True, True])
    wrong = _csv(tmp_path, "path,target,masked\none,a,p,0\ntwo,b,q,2\n")
    with pytest.raises(InputError, match="line 3: masked must be 0 or 1, not '2'"):
        read_train_csv(wrong)


def test_names_that_differ_in_capitals_alone_are_two_people_and_said(tmp_path, capsys):
    table = tmp_path / "pairs.csv"
    table.write_text(
        "path,target,pair_path,pair_target\na.png,Ann,b.png,ANN\nc.png,Bob,d.png,Bob\ne.png,BOB,f.png,Cid\n"
    )
    pairs = read_pair_csvs([table])
    assert pairs.same.tolist() == [False, True, False]
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "ANN and Ann count as different people (and 1 more such names)" in said
    table.write_text("path,target\na.png,Ann\nb.png,Bob\n")
    read_train_csv(table)
    assert not capsys.readouterr().err


def test_rows_without_a_target_come_last_and_are_nobody(tmp_path):
    text = "path,target,masked\nu1.jpg,,0\na.jpg,b,0\nu2.jpg, ,1\nb.jpg,a,1\na2.jpg,b,1\nb.jpg,,0\n"
    table = read_train_csv(_csv(tmp_path, text))
    assert [table.paths[i] for i in range(6)] == ["a.jpg", "b.jpg", "a2.jpg", "u1.jpg", "u2.jpg", "b.jpg"]
    assert table.targets.tolist() == [1, 0, 1, -1, -1, -1] and table.names == ["a", "b"]
    assert table.named_targets.tolist() == [1, 0, 1] and table.unnamed == 3 and table.counts.tolist() == [1, 2]
    assert table.masked.tolist() == [False, True, True, False, True, False]
    few = choose_faces(table, "all", most_images=1)
    assert few.targets.tolist() == [1, 0, -1, -1, -1]
    with pytest.raises(InputError, match="2 or more all faces of 1 identities"):
        choose_faces(table, "all", least_images=2)
    plain = _csv(tmp_path, "path,target,masked\na.jpg,a,0\nu.jpg,,0\nb.jpg,b,0\nc.jpg,b,1\nv.jpg,,1\n")
    chosen = choose_faces(read_train_csv(plain), "plain")
    assert [chosen.paths[i] for i in range(3)] == ["a.jpg", "b.jpg", "u.jpg"] and chosen.targets.tolist() == [0, 1, -1]
