"""Lists of pairs in every format: found, and evaluated as anybody would by the published protocol."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from data.tables.card import write_dataset_card
from eval.benchmark.contract import AS_LISTED, PLAIN, Work
from eval.benchmark.network import FaceNetwork
from eval.benchmark.sets.find import find_sets
from eval.metrics.accuracy import fold_accuracies
from tests.one_line import one_line
from tests.pair_sets import (
    EACH,
    SIZE,
    faces,
    lfw_lines,
    meant_pairs,
    name,
    write_bin,
    write_csv,
    write_lfw,
    write_mfr2,
    write_two_lines,
)
from tests.small_run import write_small_run
from tests.ten_folds import ten_folds

IMAGES, PAIRS = faces(), meant_pairs()


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return FaceNetwork(str(write_small_run(tmp_path_factory.mktemp("runs") / "run")), device="cpu")


def run(folder: Path, network: FaceNetwork):
    (found,) = find_sets(folder)
    (result,) = found.run(Work(network, "mtcnn", 0, "none", 1))
    return result


def aligned(folder: Path) -> Path:
    """The folder of pictures with a card that says that they are aligned."""
    write_dataset_card(folder, "arcface5", SIZE)
    return folder


# ==== found and evaluated ====


def test_a_bin_is_evaluated_to_the_letter(tmp_path, network):
    write_bin(tmp_path / "agedb_30.bin", IMAGES, PAIRS)
    result = run(tmp_path, network)
    assert (result.set, result.condition, result.pairs, result.lost_pairs) == ("agedb_30", PLAIN, len(PAIRS), 0)
    (official,) = result.official
    assert (official.value, official.std) == pytest.approx(ten_folds(network.sums(IMAGES), PAIRS), abs=1e-9)
    assert result.intervals_over == "pairs"


@pytest.mark.parametrize(("kind", "write"), [("lfw", write_lfw), ("cplfw", write_two_lines)])
def test_lists_keep_their_own_folds(tmp_path, network, kind, write):
    write(tmp_path / kind, IMAGES, PAIRS)
    aligned(next(path for path in (tmp_path / kind).iterdir() if path.is_dir()))
    result = run(tmp_path, network)
    assert (result.set, result.pairs, result.intervals_over) == (kind, len(PAIRS), "people")
    (official,) = result.official
    assert (official.value, official.std) == pytest.approx(ten_folds(network.sums(IMAGES), PAIRS), abs=1e-9)


def test_different_pairs_of_a_two_line_list_are_dealt_in_order_wherever_they_stand(tmp_path, network):
    same_first = sorted(PAIRS, key=lambda pair: not pair.same)
    write_two_lines(tmp_path / "calfw", IMAGES, same_first, "CALFW")
    aligned(tmp_path / "calfw" / "aligned images")
    (official,) = run(tmp_path, network).official
    assert (official.value, official.std) == pytest.approx(ten_folds(network.sums(IMAGES), PAIRS), abs=1e-9)


@pytest.mark.parametrize("labels_are_with", ["the list", "the pictures"])
def test_mfr2_has_real_masks_and_no_folds(tmp_path, network, labels_are_with):
    masked = write_mfr2(tmp_path / "MFR2" / "mfr2", IMAGES, PAIRS)
    aligned(tmp_path / "MFR2" / "mfr2")
    if labels_are_with == "the pictures":
        (tmp_path / "MFR2" / "mfr2" / "pairs.txt").rename(tmp_path / "MFR2" / "pairs.txt")
    result = run(tmp_path, network)
    assert (result.condition, result.official, result.intervals_over) == (AS_LISTED, [], "people")
    worn = [masked[pair.left] + masked[pair.right] for pair in PAIRS]
    counts = {name: part["pairs"] for name, part in result.details["figures"]["by_condition"].items()}
    conditions = ("plain-plain", "plain-masked", "masked-masked")
    assert counts == {name: worn.count(n) for n, name in enumerate(conditions) if n in worn}


def test_a_pair_csv_has_own_figures_alone(tmp_path, network):
    write_csv(tmp_path / "mine.csv", IMAGES, PAIRS)
    aligned(tmp_path / "pictures")
    result = run(tmp_path, network)
    rows = network.sums(IMAGES).astype(float)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    distances = np.array([np.linalg.norm(rows[pair.left] - rows[pair.right]) for pair in PAIRS])
    expected = fold_accuracies(distances, np.array([pair.same for pair in PAIRS])).mean()
    assert result.official == [] and result.own[0].value == pytest.approx(expected, abs=1e-9)
    assert (result.set, result.intervals_over) == ("mine", "people")


def test_a_pair_csv_with_absolute_paths_is_refused_without_an_option_that_the_command_lacks(tmp_path):
    write_csv(tmp_path / "mine.csv", IMAGES, PAIRS)
    rows = (tmp_path / "mine.csv").read_text().replace("Person_", "/old/Person_")
    (tmp_path / "mine.csv").write_text(rows)
    message = one_line(lambda: find_sets(tmp_path))
    assert "line 2: /old/Person_" in message and message.endswith("write paths relative to that folder")


def test_a_set_whose_name_says_masked_has_no_twins(tmp_path, network):
    write_bin(tmp_path / "mlfw.bin", IMAGES, PAIRS)
    (found,) = find_sets(tmp_path)
    results = found.run(Work(network, "mtcnn", 0, "both", 1))
    assert [result.condition for result in results] == [AS_LISTED]


# ==== damaged ====


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2000])


def odd(path: Path) -> None:
    images, flags = pickle.loads(path.read_bytes())
    path.write_bytes(pickle.dumps((images[:-1], flags)))


def few(path: Path) -> None:
    images, flags = pickle.loads(path.read_bytes())
    path.write_bytes(pickle.dumps((images[:18], flags[:9])))


@pytest.mark.parametrize(
    ("damage", "words"),
    [(cut, "cut short"), (odd, "79 pictures for 40 pairs"), (few, "9 pairs, which make no 10 folds")],
)
def test_a_damaged_bin_is_refused(tmp_path, damage, words):
    write_bin(tmp_path / "lfw.bin", IMAGES, PAIRS)
    damage(tmp_path / "lfw.bin")
    assert words in one_line(lambda: find_sets(tmp_path))


def test_an_lfw_list_that_lacks_a_set_is_refused(tmp_path):
    write_lfw(tmp_path / "lfw", IMAGES, PAIRS)
    lines = ["10\t2", *lfw_lines(PAIRS[:-4])]
    (tmp_path / "lfw" / "pairs.txt").write_text("\n".join(lines) + "\n")
    assert "holds 36 pairs; 10 whole sets are needed" in one_line(lambda: find_sets(tmp_path))
    lines = ["10\t2", *lfw_lines([PAIRS[2], *PAIRS[1:]])]
    (tmp_path / "lfw" / "pairs.txt").write_text("\n".join(lines) + "\n")
    assert "set 1 has 1 same pairs, not 2" in one_line(lambda: find_sets(tmp_path))


def test_a_two_line_list_is_refused_if_odd_or_a_fold_too_few(tmp_path):
    write_two_lines(tmp_path / "calfw", IMAGES, PAIRS)
    path = tmp_path / "calfw" / "pairs_CPLFW.txt"
    whole = path.read_text().splitlines()
    path.write_text("\n".join(whole[:-1]))
    assert "79 pictures, an odd number" in one_line(lambda: find_sets(tmp_path))
    path.write_text("\n".join(line for line in whole if not line.endswith(" 10")))
    assert "folds [1, 2, 3, 4, 5, 6, 7, 8, 9], not of 1 to 10" in one_line(lambda: find_sets(tmp_path))
    path.write_text("\n".join([whole[0][:-1] + "7", *whole[1:]]))
    assert "pair 1: its two lines have the flags [7, 1]" in one_line(lambda: find_sets(tmp_path))
    path.write_text("\n")
    assert "pairs_CPLFW.txt holds no pair" in one_line(lambda: find_sets(tmp_path))


def test_missing_and_unreadable_pictures_are_counted_and_named(tmp_path, network):
    write_lfw(tmp_path / "lfw", IMAGES, PAIRS)
    folder = aligned(tmp_path / "lfw" / "images")
    missing, unreadable = PAIRS[0].left, PAIRS[5].right
    path_of = {n: folder / name(n) / f"{name(n)}_{n % EACH + 1:04d}.png" for n in (missing, unreadable)}
    path_of[missing].unlink()
    path_of[unreadable].write_bytes(b"no picture")
    (found,) = find_sets(tmp_path)
    assert f"1 picture missing, such as {name(missing)}/{missing % EACH + 1}" in found.describe()
    result = run(tmp_path, network)
    kept = [pair for pair in PAIRS if not {missing, unreadable} & set(pair[:2])]
    assert (result.lost_faces, result.lost_pairs) == (2, len(PAIRS) - len(kept))
    assert result.not_comparable == f"{len(PAIRS) - len(kept)} of {len(PAIRS)} pairs are missing"
    assert set(result.details["lost"].values()) == {"no file", "unreadable: not an image"}
    (official,) = result.official
    assert official.value == pytest.approx(ten_folds(network.sums(IMAGES), kept)[0], abs=1e-9)


def test_two_sets_of_one_name_are_refused(tmp_path):
    write_bin(tmp_path / "lfw.bin", IMAGES, PAIRS)
    write_lfw(tmp_path / "lfw", IMAGES, PAIRS)
    assert "two sets named lfw" in one_line(lambda: find_sets(tmp_path))
    write_bin(tmp_path / "agedb_30.bin", IMAGES, PAIRS)
    assert [each.name for each in find_sets(tmp_path, ("AgeDB_30",))] == ["agedb_30"]


def test_a_list_above_its_pictures_leaves_the_other_sets(tmp_path):
    write_lfw(tmp_path / "lfw", IMAGES, PAIRS)
    (tmp_path / "lfw" / "pairs.txt").rename(tmp_path / "pairs.txt")
    (tmp_path / "lfw" / "images").rename(tmp_path / "deepfunneled")
    write_mfr2(tmp_path / "mfr2", IMAGES, PAIRS)
    found = {each.name: each.describe() for each in find_sets(tmp_path)}
    assert set(found) == {tmp_path.name, "mfr2"} and "missing" not in found[tmp_path.name]


def test_lfw_beside_its_masked_copy_is_lfw(tmp_path):
    write_lfw(tmp_path / "lfw", IMAGES, PAIRS)
    for place in (tmp_path / "lfw" / "images").iterdir():
        shutil.copytree(place, tmp_path / "lfw" / place.name)
    shutil.copytree(tmp_path / "lfw" / "images", tmp_path / "lfw_masked")
    assert [each.name for each in find_sets(tmp_path)] == ["lfw"]


def test_a_damaged_set_stops_only_those_who_want_it(tmp_path, capsys):
    write_bin(tmp_path / "lfw.bin", IMAGES, PAIRS)
    write_bin(tmp_path / "cfp_fp.bin", IMAGES, PAIRS)
    (tmp_path / "cfp_fp.bin").write_bytes((tmp_path / "cfp_fp.bin").read_bytes()[:1000])
    assert [each.name for each in find_sets(tmp_path, ("lfw",))] == ["lfw"]
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and said.startswith("passed over: ") and "cfp_fp.bin" in said
    for only in ((), ("cfp_fp",), ("lfw", "cfp_fp")):
        assert "cfp_fp.bin" in one_line(lambda only=only: find_sets(tmp_path, only))


def test_nothing_found_and_unknown_names_are_refused(tmp_path):
    assert "no folder" in one_line(lambda: find_sets(tmp_path / "absent"))
    assert "no test set" in one_line(lambda: find_sets(tmp_path))
    write_bin(tmp_path / "lfw.bin", IMAGES, PAIRS)
    assert "--only cfp_fp: no such set" in one_line(lambda: find_sets(tmp_path, ("cfp_fp",)))


def test_a_list_without_one_of_its_pictures_is_refused(tmp_path):
    write_lfw(tmp_path / "lfw", IMAGES, PAIRS)
    (tmp_path / "lfw" / "images").rename(tmp_path / "elsewhere")
    assert "none of its pictures" in one_line(lambda: find_sets(tmp_path))
