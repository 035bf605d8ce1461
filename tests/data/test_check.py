from pathlib import Path

import pandas as pd
import pytest

from data.check import CheckSettings, check
from data.sources.spelling import spelled_twice, spelling_key
from runtime.errors import InputError


def face(root: Path, name: str, content: str) -> str:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return name


def train_csv(root: Path, name: str, rows: list[tuple[str, str, str]]) -> Path:
    """Rows of path, content and target."""
    table = pd.DataFrame(
        [(face(root, path, content), target) for path, content, target in rows], columns=["path", "target"]
    )
    table.to_csv(root / name, index=False)
    return root / name


def pair_csv(root: Path, name: str, rows: list[tuple[str, str, str, str]]) -> Path:
    table = pd.DataFrame(rows, columns=["path", "target", "pair_path", "pair_target"])
    for path in {*table["path"], *table["pair_path"]}:
        if not (root / path).exists():
            face(root, path, f"content of {path}")
    table.to_csv(root / name, index=False)
    return root / name


def run(*csvs: Path, **more) -> tuple[dict, list[str]]:
    overlaps, lost = check(CheckSettings(csvs, **more))
    return {
        o.parts: (o.people, [tuple(Path(p.split("/")[-1]).stem for p in i.split(" = ")) for i in o.images])
        for o in overlaps
    }, lost


@pytest.fixture
def train(tmp_path) -> Path:
    return train_csv(tmp_path, "train.csv", [("Ann/1.jpg", "one", "Ann"), ("Bob/1.jpg", "two", "Bob")])


def test_parts_that_are_apart(tmp_path, train):
    same = pair_csv(tmp_path, "eval_same.csv", [("Cleo/1.jpg", "Cleo", "Cleo/2.jpg", "Cleo")])
    diff = pair_csv(tmp_path, "eval_diff.csv", [("Cleo/1.jpg", "Cleo", "Dan/2.jpg", "Dan")])
    test = pair_csv(tmp_path, "test.csv", [("Eve/1.jpg", "Eve", "Finn/2.jpg", "Finn")])
    found, lost = run(train, same, diff, test)
    assert found == {("training", "eval"): ([], []), ("training", "test"): ([], []), ("eval", "test"): ([], [])}
    assert lost == []


def test_a_person_in_both_under_another_spelling(tmp_path, train):
    test = pair_csv(tmp_path, "test.csv", [("ánn/9.jpg", "ánn", "Cleo/2.jpg", "Cleo")])
    assert run(train, test)[0] == {("training", "test"): (["Ann = ánn"], [])}


def test_an_image_in_both_under_another_name(tmp_path, train):
    test = pair_csv(tmp_path, "test.csv", [("Cleo/1.jpg", "Cleo", "Dan/7.jpg", "Dan")])
    (tmp_path / "Dan/7.jpg").write_text("two")
    assert run(train, test)[0] == {("training", "test"): ([], [("1", "7")])}
    (tmp_path / "Dan/7.jpg").write_text("owt")
    assert run(train, test)[0] == {("training", "test"): ([], [])}


def test_numbers_of_two_csvs_are_not_the_same_people(tmp_path):
    train = train_csv(tmp_path, "train.csv", [("Ann/1.jpg", "a", "0"), ("Bob/1.jpg", "b", "1")])
    test = pair_csv(tmp_path, "test.csv", [("Cleo/1.jpg", "0", "Bob/2.jpg", "1")])
    assert run(train, test)[0] == {("training", "test"): (["Bob"], [])}


def test_without_folders_the_target_is_the_person(tmp_path):
    train = train_csv(tmp_path, "train.csv", [("x/1.jpg", "a", "Ann"), ("x/2.jpg", "b", "Bob")])
    test = pair_csv(tmp_path, "test.csv", [("x/3.jpg", "Cleo", "x/4.jpg", "Bob")])
    assert run(train, test)[0] == {("training", "test"): (["Bob"], [])}


def test_several_train_csvs_are_one_part_beside_pairs_and_apart_alone(tmp_path, train):
    other = train_csv(tmp_path, "more.csv", [("Ann/3.jpg", "three", "Ann"), ("Gus/1.jpg", "four", "Gus")])
    assert run(train, other)[0] == {("train", "more"): (["Ann"], [])}
    test = pair_csv(tmp_path, "test.csv", [("Cleo/1.jpg", "Cleo", "Dan/7.jpg", "Dan")])
    assert list(run(train, other, test)[0]) == [("training", "test")]


def test_train_csvs_of_one_name_in_two_folders_are_compared(tmp_path, train):
    (tmp_path / "more").mkdir()
    other = train_csv(tmp_path / "more", "train.csv", [("Ann/2.jpg", "three", "Ann"), ("Cleo/1.jpg", "four", "Cleo")])
    assert run(train, other)[0] == {(str(train), str(other)): (["Ann"], [])}


def test_two_tests_may_share_people_an_evaluation_and_a_test_may_not(tmp_path, train):
    rows = [("Cleo/1.jpg", "Cleo", "Dan/7.jpg", "Dan")]
    test, lfw, eval_ = (pair_csv(tmp_path, f"{name}.csv", rows) for name in ("test", "lfw", "eval"))
    clean = ([], [])
    assert run(train, test, lfw)[0] == {("training", "test"): clean, ("training", "lfw"): clean}
    found = run(train, test, eval_)[0]
    assert found.pop(("test", "eval")) == (["Cleo", "Dan"], [("1",), ("7",)])
    assert list(found.values()) == [clean, clean]
    assert run(test, lfw)[0][("test", "lfw")][0] == ["Cleo", "Dan"]


def test_folders_apart_lost_images_and_foreign_paths(tmp_path, train):
    (tmp_path / "b").mkdir()
    test = pair_csv(tmp_path / "b", "test.csv", [("Cleo/1.jpg", "Cleo", "Dan/2.jpg", "Dan")])
    (tmp_path / "b/Dan/2.jpg").unlink()
    found, lost = run(train, test)
    assert found == {("training", "test"): ([], [])} and [Path(p).name for p in lost] == ["2.jpg"]
    pd.DataFrame(
        {"path": ["/old/Ann/1.jpg"], "target": [5], "pair_path": ["/old/Bob/1.jpg"], "pair_target": [6]}
    ).to_csv(tmp_path / "foreign.csv", index=False)
    shared = run(train, tmp_path / "foreign.csv", path_prefix="/old=")[0]
    assert shared == {("training", "foreign"): (["Ann", "Bob"], [("1",), ("1",)])}


def test_one_part_alone_and_other_files_are_one_line(tmp_path, train):
    with pytest.raises(InputError, match="one part"):
        run(train)
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="lacks the column path"):
        run(train, tmp_path / "x.csv")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("George_W_Bush", "george w. bush"),
        ("Condoleeza_Rice", "Condoleezza-Rice"),
        ("Bush George", "George Bush"),
        ("José Müller", "Jose_Muller"),
        ("casia/Ann", "vgg/Ann"),
    ],
)
def test_spellings_of_one_name(one, other):
    assert spelling_key(one) == spelling_key(other)
    assert spelled_twice([one, other, "Zoe"]) == [sorted([one, other])]


@pytest.mark.parametrize(
    ("one", "other"), [("007", "7"), ("n000011", "n0000011"), ("1_2", "2_1"), ("Ann Lee", "Ann Leigh"), ("李", "王")]
)
def test_names_of_two_people(one, other):
    assert spelling_key(one) != spelling_key(other)
