"""Pair CSVs with faults: each faulty row is left out, counted and named; nothing else is touched."""

import numpy as np
import pytest

from data.tables.pair_csv import read_pair_csvs, without_missing
from data.tables.pair_faults import reasons
from runtime.errors import InputError

FAULTY = """path,target,pair_path,pair_target,masked,pair_masked,mask_kind,pair_mask_kind
a.jpg,1,b.jpg,1,0,1,,cloth
,1,b.jpg,1,0,1,,
b.jpg,1,a.jpg,1,1,0,cloth,
a.jpg,1,a.jpg,1,0,0,,
a.jpg,1,c.jpg,,0,0,,
a.jpg,1,d.jpg,3,0,0,,
d.jpg,3,a.jpg,1,0,0,,
c.jpg,2,./a.jpg,1,0,0,,
a.jpg,1,e.jpg,4,,0,,
a.jpg,nan,b.jpg,1,0,1,,cloth
"""


def read(tmp_path, *texts: str):
    paths = []
    for number, text in enumerate(texts):
        paths.append(tmp_path / f"{number}.csv")
        paths[-1].write_text(text)
    return read_pair_csvs(paths)


def test_each_faulty_row_is_left_out_and_named_with_its_line(tmp_path):
    pairs = read(tmp_path, FAULTY)
    rows = zip(pairs.paths[pairs.left], pairs.paths[pairs.right], pairs.same.tolist(), strict=True)
    assert list(rows) == [("a.jpg", "b.jpg", True), ("a.jpg", "d.jpg", False), ("c.jpg", "a.jpg", False)]
    assert sorted(pairs.left_out[["reason", "line"]].itertuples(index=False, name=None)) == [
        ("a pair listed before", 4),
        ("a pair listed before", 8),
        ("an image with itself", 5),
        ("empty field", 3),
        ("empty field", 6),
        ("empty field", 10),
        ("empty field", 11),
    ]
    assert pairs.people[0, 0] == pairs.people[0, 1] != pairs.people[1, 1]
    assert pairs.masks.tolist() == [["", "cloth"], ["", ""], ["", ""]]
    said = reasons(pairs.left_out)
    assert "4 × empty field (the first: 0.csv line 3)" in said and "1 × an image with itself" in said


def test_a_pair_listed_as_same_and_as_different_is_left_out_both_times(tmp_path):
    pairs = read(tmp_path, "path,pair_path,same\na,b,1\nb,c,0\nb,a,0\n")
    assert len(pairs.same) == 1
    assert set(pairs.left_out["reason"]) == {"a pair listed as same and as different"} and len(pairs.left_out) == 2


PAIRS = "path,target,pair_path,pair_target"


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ([f"{PAIRS}\na,0,b,0.0\na,0,c,1.0\n"], "0 and 0.0 are one number"),
        ([f"{PAIRS}\na,0007,b,7\n"], "0007 and 7 are one number"),
        ([f"{PAIRS}\na,7,b,7\n", f"{PAIRS}\nc,7.0,d,8\n"], "7 and 7.0 are one number"),
        ([f"{PAIRS}\na,+3,b,3\nc,04,d,4\n"], "and 1 more number"),
        ([f"{PAIRS}\na,p,b,p\na,q,c,q\n"], "a stands there as . and as ."),
        ([f"{PAIRS}\na,p,b,q\n./b,p,c,p\n"], "b stands there as p and as q"),
        ([f"{PAIRS},same\na,p,b,p,1\nc,p,d,q,1\n"], "line 3: same is 1, but the targets are p and q"),
        ([f"{PAIRS},same\na,p,b,p,0\nc,p,d,q,0\n"], "line 2: same is 0, but the targets are p and p"),
    ],
)
def test_people_written_in_two_ways_are_refused_in_one_line(tmp_path, texts, words):
    with pytest.raises(InputError, match=words) as error:
        read(tmp_path, *texts)
    assert "\n" not in str(error.value)


def test_space_around_a_name_and_its_unicode_form_make_no_other_person(tmp_path):
    rows = [("p ", "p"), ("\tp", "p\u00a0"), ("p\u200b", "p"), ("Jos\u00e9", "Jose\u0301")]
    text = "".join(f"{i}a,{one},{i}b,{other}\n" for i, (one, other) in enumerate(rows))
    pairs = read(tmp_path, f"{PAIRS}\n{text}")
    assert pairs.same.all() and pairs.names.tolist() == ["p", "Jos\u00e9"]


def test_numbers_of_two_lists_may_name_one_image_differently(tmp_path):
    assert len(read(tmp_path, f"{PAIRS}\na,1,b,1\n", f"{PAIRS}\na,5,c,6\n").same) == 2


def test_a_pair_listed_in_two_csvs_counts_once(tmp_path):
    header = "path,target,pair_path,pair_target\n"
    pairs = read(tmp_path, header + "a,1,b,1\n", header + "b,1,a,1\na,1,c,2\n")
    assert len(pairs.same) == 2
    assert pairs.left_out[["csv", "line"]].values.tolist() == [["1.csv", 2]]


def test_a_clean_list_leaves_nothing_out(tmp_path):
    pairs = read(tmp_path, "path,target,pair_path,pair_target\na,1,b,1\na,1,c,2\n")
    assert pairs.left_out.empty and reasons(pairs.left_out) == ""
    assert pairs.masks is None


def test_a_list_of_faults_alone_is_refused(tmp_path):
    with pytest.raises(InputError, match="not one row is a pair of two images"):
        read(tmp_path, "path,pair_path,same\na,,1\nb,b,1\n")


def test_no_list_at_all_is_refused():
    with pytest.raises(InputError, match="no pair CSV is named; give at least one"):
        read_pair_csvs([])


def test_lines_of_bad_values_are_those_of_the_file(tmp_path):
    with pytest.raises(InputError, match="line 4: same must be 0 or 1, not 'x'"):
        read(tmp_path, "path,pair_path,same\na,,1\na,b,1\na,c,x\n")
    with pytest.raises(InputError, match="line 3: /abs leaves the data folder"):
        read(tmp_path, "path,pair_path,same\na,,1\n/abs,c,1\n")


def test_people_without_names_are_the_images_that_same_pairs_link(tmp_path):
    text = "path,pair_path,same\na,b,1\nb,c,1\nd,c,1\ne,f,0\nx,e,1\na,e,0\n"
    pairs = read(tmp_path, text)
    person = {}
    for images, people in zip(
        np.stack([pairs.paths[pairs.left], pairs.paths[pairs.right]], axis=1), pairs.people, strict=True
    ):
        for image, who in zip(images, people, strict=True):
            assert person.setdefault(image, who) == who
    assert person["a"] == person["b"] == person["c"] == person["d"]
    assert person["x"] == person["e"]
    assert len(set(person.values())) == 3  # a to d, e with x, and f


@pytest.fixture
def folder(tmp_path):
    for i in range(30):
        (tmp_path / f"{i}.jpg").touch()
    return tmp_path


def chain(tmp_path, images: int):
    rows = "".join(f"{i}.jpg,{i + 1}.jpg,{i % 2}\n" for i in range(images - 1))
    return read(tmp_path, "path,pair_path,same\n" + rows)


def test_pairs_of_a_few_missing_images_are_left_out_and_their_images_are_in_no_list(folder):
    pairs = chain(folder, 31)  # 30.jpg is not there
    (folder / "7.jpg").unlink()
    found = without_missing(pairs, folder, "0.csv")
    assert len(found.same) == 30 - 3
    assert not {"7.jpg", "30.jpg"} & set(found.paths)
    kept = [i for i in range(30) if i not in (6, 7, 29)]
    assert found.paths[found.left].tolist() == [f"{i}.jpg" for i in kept]
    assert found.paths[found.right].tolist() == [f"{i + 1}.jpg" for i in kept]
    assert found.same.tolist() == [i % 2 == 1 for i in kept]
    assert found.left_out[["reason", "path", "pair_path"]].values.tolist() == [
        ["missing image", f"{i}.jpg", f"{i + 1}.jpg"] for i in (6, 7, 29)
    ]
    assert without_missing(found, folder, "0.csv") is found


def test_many_missing_images_are_a_wrong_folder(folder):
    with pytest.raises(InputError, match="0.csv: 5 images are not under"):
        without_missing(chain(folder, 35), folder, "0.csv")
    with pytest.raises(InputError, match="is not there; give the folder"):
        without_missing(chain(folder, 5), folder / "nowhere", "0.csv")


def test_a_missing_image_that_all_pairs_have_is_named(tmp_path):
    """One of twelve, but no pair is left: training would find out after its last epoch."""
    for number in range(11):
        (tmp_path / f"{number}.jpg").touch()
    pairs = read(tmp_path, "path,pair_path,same\n" + "".join(f"gone.jpg,{n}.jpg,{n % 2}\n" for n in range(11)))
    with pytest.raises(InputError, match=r"0\.csv: 1 images are not under .*: gone\.jpg; mend the CSV"):
        without_missing(pairs, tmp_path, "0.csv")
