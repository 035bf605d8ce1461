"""Every masked picture against every plain one: against a loop over all pairs, on folders in the forms that exist."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from data.tables.card import write_dataset_card
from eval.benchmark.contract import Work
from eval.benchmark.network import FaceNetwork
from eval.benchmark.sets.find import find_sets
from eval.benchmark.sets.mask_plain import find
from tests.one_line import one_line
from tests.small_run import write_small_run

SIZE, PEOPLE = 64, 12


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return FaceNetwork(str(write_small_run(tmp_path_factory.mktemp("runs") / "run")), device="cpu")


def write_set(folder: Path, form: str, people: int = PEOPLE) -> list[tuple[int, bool, Path]]:
    """Aligned faces of coarse noise: one to three masked and plain pictures of each person; (person, masked, path)."""
    rng, written = np.random.default_rng(0), []
    for person in range(people):
        own = rng.integers(0, 256, (6, 6, 3))
        for kind in ("masked", "plain"):
            for number in range(rng.integers(1, 4)):
                path = folder / form.format(kind=kind, person=f"p{person}") / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                noise = np.clip(own + rng.normal(0, 60, own.shape), 0, 255).astype(np.uint8)
                cv2.imwrite(str(path), cv2.resize(noise, (SIZE, SIZE)))
                written.append((person, kind == "masked", path))
    write_dataset_card(folder, "arcface5", SIZE)
    return written


def run(folder: Path, network: FaceNetwork):
    (found,) = find_sets(folder)
    (result,) = found.run(Work(network, "mtcnn", 0, "none", 1))
    return result


def every_pair(written, network: FaceNetwork) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of all masked–plain pairs, and whether they are of one person."""
    rows = network.sums(np.stack([cv2.imread(str(path))[:, :, ::-1] for *_, path in written])).astype(float)
    rows /= np.sqrt((rows**2).sum(axis=1, keepdims=True))
    pairs = [
        (float(a @ b), one == other)
        for a, (one, masked, _) in zip(rows, written, strict=True)
        for b, (other, masked_too, _) in zip(rows, written, strict=True)
        if masked and not masked_too
    ]
    return np.array([cosine for cosine, _ in pairs]), np.array([same for _, same in pairs])


FORMS = ["{kind}/{person}", "{person}/{kind}", "faces_{kind}/{person}"]


@pytest.mark.parametrize("form", FORMS)
def test_tar_is_that_of_all_masked_against_all_plain_pictures(tmp_path, network, form):
    cosines, same = every_pair(write_set(tmp_path / "door", form), network)
    result = run(tmp_path, network)
    assert (result.set, result.condition, result.pairs, result.lost_pairs) == ("door", "plain-masked", len(same), 0)
    assert result.details == {"same_pairs": same.sum(), "different_pairs": (~same).sum()}
    # Fewer than 10,000 different pairs: not one may be accepted.
    (official,) = result.official
    assert official.name == "TAR at FAR 1e-4"
    assert official.value == pytest.approx((cosines[same] > cosines[~same].max()).mean(), abs=1e-9)
    assert "accepts 0 of " in result.notes[-1] and result.notes[-1].endswith("its TAR is unreliable")
    assert {figure.value for figure in result.own} == {None}


def test_lost_pictures_are_named_and_the_rest_is_as_if_they_had_never_been(tmp_path, network):
    written = write_set(tmp_path / "a" / "door", FORMS[0])
    lost = [written[0], next(each for each in written if not each[1])]
    for *_, path in lost:
        path.write_bytes(b"no picture")
    cosines, same = every_pair([each for each in written if each not in lost], network)
    result = run(tmp_path / "a", network)
    assert (result.lost_faces, result.pairs) == (2, len(same))
    assert result.not_comparable.endswith("pairs are missing")
    assert "2 faces lost: masked/p0/0.png (unreadable" in result.notes[0]
    assert result.official[0].value == pytest.approx((cosines[same] > cosines[~same].max()).mean(), abs=1e-9)


def test_without_a_face_of_one_kind_there_is_nothing_to_say(tmp_path, network):
    for _, masked, path in write_set(tmp_path / "door", FORMS[0], people=2):
        if masked:
            path.write_bytes(b"no picture")
    assert "no face was found in its masked pictures" in one_line(lambda: run(tmp_path, network))


def test_the_line_before_the_work_says_what_there_is(tmp_path):
    written = write_set(tmp_path, FORMS[0])
    masked = sum(masked for _, masked, _ in written)
    (found,) = find(tmp_path)
    plain = len(written) - masked
    pairs = masked * plain
    assert found.describe() == f"{masked} masked and {plain} plain pictures of {PEOPLE} people, {pairs:,} pairs"


def test_other_folders_are_no_such_set(tmp_path):
    write_set(tmp_path / "only", "masked/{person}")
    (tmp_path / "empty").mkdir()
    write_set(tmp_path / "people", "{person}")
    # A folder of two sets, of which one is of people in masks, but of other people.
    write_set(tmp_path / "sets" / "mlfw_masked", "{person}")
    write_set(tmp_path / "sets" / "lfw", "other_{person}")
    for folder in ("only", "empty", "people", "sets", "absent"):
        assert find(tmp_path / folder) == [], folder


def test_a_pair_csv_beside_the_two_folders_is_a_set_of_its_own(tmp_path):
    write_set(tmp_path / "door", FORMS[0])
    (tmp_path / "door" / "evaluation.csv").write_text("path,pair_path,same\nplain/p0/0.png,masked/p0/0.png,1\n")
    assert [found.name for found in find_sets(tmp_path)] == ["door", "evaluation"]
