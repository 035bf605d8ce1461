"""Means of a question's networks, against counting by hand."""

import json

import pytest
import torch

from eval.finished_run import read_pair_file
from eval.two_folds.halves import PAIRS_FILE
from runtime.errors import InputError
from runtime.files import copy_file
from study import means
from study.distances import write_distances
from study.means import MeanSettings, answer_with_means
from tests.small_run import write_small_run
from tests.study.tested_runs import write_tested_run

MASKED = "masked-masked"
FACES = {"eval_root": "faces", "eval_csvs": ["eval.csv"], "test_csv": "test.csv"}


def _both_halves(people):
    return {(half, MASKED): set(people) for half in (0, 1)}


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Two seeds of each arm of a question; the means are "tested" by ``errors_of``, a name's start → errors a half."""
    write_tested_run(tmp_path / "weights", wrong=_both_halves(range(10)))
    for arm, wrong in (("aligned_as_bare", range(6)), ("aligned_with_errors", range(8))):
        for seed in (0, 1):
            folder = write_tested_run(tmp_path / f"{arm}_s{seed}", wrong=_both_halves(wrong), seed=seed)
            config = json.loads((folder / "config.json").read_text())
            config["settings"] |= {**FACES, "pretrained": str(tmp_path / "weights")}
            (folder / "config.json").write_text(json.dumps(config))
            network = write_small_run(tmp_path / "network", seed=len(arm) + seed)
            (network / "best.pt").rename(folder / "last.pt")
            network.rmdir()
    tested = []

    def fake_two_folds(settings):
        tested.append((settings.out.name, settings.root.name, settings.first, settings.second))
        wrong, iou = ERRORS[settings.run.name] if not settings.mirror else MIRRORED_ERRORS[settings.run.name]
        made = write_tested_run(tmp_path / "made", wrong=wrong, iou=iou)
        for name in ("two_folds.json", "two_folds.csv"):
            copy_file(made / name, settings.out / name)
        for path in made.iterdir():
            path.unlink()
        made.rmdir()

    monkeypatch.setattr(means, "two_folds", fake_two_folds)
    return tmp_path, tested


BARE, WITH_ERRORS, ALL = "aligned_as_bare_mean_of_2", "aligned_with_errors_mean_of_2", "alignment_mean_of_all_4"
ERRORS = {
    BARE: ({(0, MASKED): {0}, (1, MASKED): {0, 1, 2}}, (0.1, 0.3)),  # the best on the first half
    WITH_ERRORS: (_both_halves(range(10)), (0.4, 0.4)),
    ALL: ({(0, MASKED): {3, 4}, (1, MASKED): {5}}, (0.2, 0.2)),  # and on the second
}
MIRRORED_ERRORS = {
    "weights": (_both_halves(range(9)), (0.5, 0.5)),
    BARE: (_both_halves({0}), (0.2, 0.1)),
    WITH_ERRORS: (_both_halves(range(7)), (0.4, 0.4)),
    ALL: (_both_halves({1}), (0.3, 0.3)),
}


def test_means_are_compared_with_the_single_networks_of_the_baseline(results):
    folder, tested = results
    answer = json.loads(answer_with_means(MeanSettings("alignment", folder)).read_text())
    assert sorted(tested) == sorted((name, "faces", ("eval.csv",), ("test.csv",)) for name in ERRORS)
    assert answer["baseline"] == "aligned_as_bare"
    assert [single[MASKED] for single in answer["singles"]] == [pytest.approx(1 - 12 / 160)] * 2
    assert [mean["name"] for mean in answer["means"]] == [BARE, WITH_ERRORS, ALL]
    assert "untouched_mirrored" not in answer
    for mean, errors in zip(answer["means"], (4, 20, 3), strict=True):
        assert mean["accuracy"][MASKED] == pytest.approx(1 - errors / 160)
        assert mean["errors_removed"][MASKED]["mean"] == pytest.approx(1 - errors / 20)
        gain = mean["gains"][MASKED]
        assert gain["difference"] == pytest.approx((12 - errors) / 160)
        assert gain["low"] < gain["difference"] < gain["high"]
        assert mean["gains"]["plain-plain"]["difference"] == 0


def test_each_half_is_reported_with_the_mean_that_is_best_on_the_other(results):
    folder, _ = results
    chosen = json.loads(answer_with_means(MeanSettings("alignment", folder)).read_text())["chosen"]
    assert chosen["names"] == [BARE, ALL]
    # The first half chooses BARE, which errs three times on the second; the second ALL, which errs twice on the first.
    assert chosen["accuracy"][MASKED] == pytest.approx(1 - 5 / 160)


def test_with_mirror_images_the_means_and_the_untouched_network_are_tested_a_second_time(results):
    folder, tested = results
    answer = json.loads(answer_with_means(MeanSettings("alignment", folder, mirror=True)).read_text())
    plain, mirrored = [BARE, WITH_ERRORS, ALL], [f"{name}_mirrored" for name in (BARE, WITH_ERRORS, ALL)]
    assert sorted(name for name, *_ in tested) == sorted([*plain, *mirrored, "alignment_untouched_mirrored"])
    assert [mean["name"] for mean in answer["means"]] == plain + mirrored
    for mean, errors in zip(answer["means"], (4, 20, 3, 2, 14, 2), strict=True):
        assert mean["accuracy"][MASKED] == pytest.approx(1 - errors / 160)
    # Errors removed are those of the untouched network without mirror images.
    assert answer["means"][-1]["errors_removed"][MASKED]["mean"] == pytest.approx(1 - 2 / 20)
    assert answer["untouched"][MASKED] == pytest.approx(1 - 20 / 160)
    assert answer["untouched_mirrored"][MASKED] == pytest.approx(1 - 18 / 160)
    assert answer["chosen"]["names"] == [BARE, f"{BARE}_mirrored"]


def test_the_mean_has_the_mean_weights_of_the_last_epochs(results):
    folder, _ = results
    answer_with_means(MeanSettings("alignment", folder))

    def weights(path):
        return torch.load(path, weights_only=True)["model"]

    found = weights(folder / ALL / "best.pt")
    members = [weights(path) for path in folder.glob("aligned_*_s?/last.pt")]
    assert len(members) == 4
    for name, tensor in found.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, torch.stack([member[name] for member in members]).mean(0))


def test_a_second_time_nothing_is_made_or_tested_again_unless_the_networks_are_others(results):
    folder, tested = results
    answer_with_means(MeanSettings("alignment", folder))
    answer_with_means(MeanSettings("alignment", folder))
    assert len(tested) == len(ERRORS)
    (folder / "aligned_as_bare_s0" / "last.pt").write_bytes((folder / "aligned_as_bare_s1" / "last.pt").read_bytes())
    with pytest.raises(InputError, match=f"{BARE} is the mean of other networks; remove it"):
        answer_with_means(MeanSettings("alignment", folder))


def test_an_arm_of_fewer_seeds_than_the_baseline_is_left_out(results):
    folder, tested = results
    (folder / "aligned_with_errors_s1" / "last.pt").unlink()
    answer = json.loads(answer_with_means(MeanSettings("alignment", folder)).read_text())
    assert [mean["name"] for mean in answer["means"]] == [name for name, *_ in tested] == [BARE]


def test_what_is_missing_is_named(results):
    folder, _ = results
    with pytest.raises(InputError, match="no question losse; take one of losses"):
        answer_with_means(MeanSettings("losse", folder))
    with pytest.raises(InputError, match=r"no trained scratch_arcface, the baseline: run python -m study.run losses"):
        answer_with_means(MeanSettings("losses", folder))


def test_an_untouched_network_that_was_tested_on_other_faces_since_is_refused(results):
    folder, tested = results
    published = folder / "published" / "study" / "aligned_as_bare_s0"
    published.mkdir(parents=True)
    own, untouched = (read_pair_file(folder / name, PAIRS_FILE) for name in ("aligned_as_bare_s0", "weights"))
    write_distances(published, own, untouched.assign(distance=untouched["distance"] + 0.1))
    with pytest.raises(InputError, match="of other faces than .* run python -m study.run alignment once more"):
        answer_with_means(MeanSettings("alignment", folder))
    assert not tested
