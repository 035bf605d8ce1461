"""Which folder is a person: layouts that people have, each read right or refused in one line."""

import itertools

import pandas as pd
import pytest
from PIL import Image

from data.prepare.pipeline import prepare
from data.prepare.settings import PrepareSettings
from data.sources.layout import understand
from data.sources.mask_words import says_masked
from runtime.errors import InputError

PEOPLE = [f"Person {chr(65 + i)}" for i in range(20)]


def tree(*levels: list[str]) -> list[str]:
    return ["/".join(parts) for parts in itertools.product(*levels)]


MASKS, PARTS = ["mask", "no_mask"], ["train", "val"]
VIEWS = ["frontal", "profile"]


@pytest.mark.parametrize(
    ("folders", "form", "masked"),
    [
        (tree(PEOPLE), "PHOTOS/<person>", set()),
        (tree(PEOPLE, ["original", "fakemask"]), "PHOTOS/<person>/<kind>", {"fakemask"}),
        (tree(PEOPLE, MASKS), "PHOTOS/<person>/<kind>", {"mask"}),
        (tree(PEOPLE[:2], MASKS), "PHOTOS/<person>/<kind>", {"mask"}),
        ([*tree(PEOPLE, ["0", "1"]), f"{PEOPLE[3]}/2"], "PHOTOS/<person>/<kind>", set()),
        (tree(PEOPLE, ["surgical", "n95", "none"]), "PHOTOS/<person>/<kind>", {"surgical", "n95"}),
        (tree(PARTS, PEOPLE), "PHOTOS/*/<person>", set()),
        (tree(PARTS, PEOPLE[:2]), "PHOTOS/*/<person>", set()),
        (tree(["AFDB_face", "AFDB_masked"], PEOPLE), "PHOTOS/*/<person>", {"AFDB_masked"}),
        (tree(PARTS, PEOPLE, MASKS), "PHOTOS/*/<person>/<kind>", {"mask"}),
        (tree(PEOPLE, ["1", "2"], MASKS), "PHOTOS/<person>/<kind>/<kind>", {"mask"}),
        (tree(["Data"], ["Images"], PEOPLE, VIEWS), "PHOTOS/Data/Images/<person>/<kind>", set()),
        (PEOPLE + tree(PEOPLE[:4], ["masked"]), "PHOTOS/<person> and PHOTOS/<person>/<kind>", {"masked"}),
        (tree(PEOPLE[:9], ["original", "mask"]) + tree(PEOPLE[9:], ["original"]), "PHOTOS/<person>/<kind>", {"mask"}),
    ],
)
def test_layouts_that_say_who_is_who(folders, form, masked):
    holders, line = understand(folders, "PHOTOS")
    people = {part for folder in folders for part in folder.split("/") if part in PEOPLE}
    assert line.startswith(f"{len(people)} people in {form}")
    for folder, holder in holders.items():
        assert holder.person in people and holder.person in folder.split("/")
        assert holder.masked == bool(masked & set(folder.split("/")))
    # No two folders write into one place.
    assert len({(holder.person, holder.kind, holder.masked) for holder in holders.values()}) == len(folders)
    assert all(name in line for name in masked) and ("masked" in line) == bool(masked)


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (tree(["cam1", "cam2"], PEOPLE), "--person-level 1 .*cam1.* or 2"),
        (tree(["a", "b"], ["x", "y"]), "a/x and b/x share the name x"),
        (["usa/Ann", "uk/Ann", "uk/Bob"], "uk/Ann and usa/Ann share the name Ann"),
        ([f"{person}/{person}_video{i}" for person in PEOPLE for i in range(4)], "20 folders hold only 80"),
        ([*PEOPLE, f"{PEOPLE[0]}/holiday"], "holds pictures and folders of pictures"),
        ([*PEOPLE, "masked"], "PHOTOS/masked holds pictures, but no folder"),
        (tree(PARTS, ["WithMask", "WithoutMask"]), "no folder in or above it is named after a person"),
    ],
)
def test_layouts_that_could_be_read_in_two_ways_are_refused(folders, words):
    with pytest.raises(InputError, match=words) as error:
        understand(folders, "PHOTOS")
    assert "\n" not in str(error.value) and "--person-level" in str(error.value)


def test_the_user_says_at_which_level_people_are():
    cameras = tree(["cam1", "cam2"], PEOPLE)
    holders, line = understand(cameras, "PHOTOS", 2)
    assert {holder.person for holder in holders.values()} == set(PEOPLE) and "one name is one person" in line
    assert holders[cameras[0]].kind == "cam1/"
    holders, _ = understand([*cameras, "loose"], "PHOTOS", 1)
    assert {holder.person for holder in holders.values()} == {"cam1", "cam2", "loose"}
    assert "loose" not in understand([*cameras, "loose"], "PHOTOS", 2)[0]
    with pytest.raises(InputError, match="no folder with pictures lies 3 deep"):
        understand(cameras, "PHOTOS", 3)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("mask masked fakemask with_mask WithMask facemask AFDB_masked_face KN95 surgical", True),
        ("no_mask nomask NoMask without_mask WithoutMask unmasked maskless mask-free not-masked non_masked", False),
        ("original Ann Maskell AFDB_face 0", None),
    ],
)
def test_what_names_say_of_masks(names, expected):
    assert {name: says_masked(name) for name in names.split()} == dict.fromkeys(names.split(), expected)


def test_pictures_in_a_mask_folder_are_prepared_as_masked(tmp_path, capsys):
    for folder in tree(PEOPLE[:8], ["original", "fakemask"]):
        (tmp_path / "in" / folder).mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (112, 112), (90, 10 * i, 60)).save(tmp_path / "in" / folder / f"{i}.jpg")
    settings = PrepareSettings(str(tmp_path / "in"), tmp_path / "out", size=112, align="none", masks="none", jobs=1)
    summary = prepare(settings, lambda: lambda images: [])
    assert "8 people in in/<person>/<kind>; fakemask counts as masked" in capsys.readouterr().out
    assert sum(summary["people"].values()) == 8 and summary["written"] == 32
    train = pd.read_csv(tmp_path / "out" / "train.csv")
    assert (train["masked"] == train["path"].str.contains("fakemask")).all() and train["masked"].sum() == len(train) / 2
