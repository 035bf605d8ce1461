"""The study's trainings are commands that the scripts understand."""

import dataclasses
import hashlib
import runpy
import sys
import threading
import time

import pandas as pd
import pytest

from configs.cli import parse_settings
from eval.finished_run import PAIR_COLUMNS
from eval.two_folds.halves import FIGURES_FILE
from runtime.errors import InputError
from runtime.run_folder import RunFolder
from study import run
from study.commands import settings_of
from study.distances import write_distances
from study.questions import ARMS, QUESTIONS, WEIGHTS
from study.run import StudySettings, trainings


def _study(tmp_path, question, **options):
    return StudySettings(question, train=tmp_path / "t", eval=tmp_path / "e", weights=tmp_path / "w.pt", **options)


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_command_says_what_its_arm_says(tmp_path, question):
    for training in trainings(_study(tmp_path, question, seeds=2), ["--device", "cpu"]):
        _, script, *options = training.command
        settings = parse_settings(runpy.run_path(script, run_name="constants")["SETTINGS"], "", options)
        assert training.name == f"{training.arm_name}_s{settings.seed}"
        for name, value in ARMS[training.arm_name].options.items():
            assert getattr(settings, name) == ("results/w" if value == WEIGHTS else value), name
        assert (settings.device, settings.keep_checkpoints >= settings.epochs) == ("cpu", True)


def test_arms_of_a_question_see_the_same_number_of_images():
    """An epoch of fewer images per person is shorter, so epochs are comparable only among arms that take the same."""
    for name, question in QUESTIONS.items():
        epochs = {}
        for arm in question.arms:
            options = ARMS[arm].options
            assert epochs.setdefault(options.get("most_images", 0), options["epochs"]) == options["epochs"], name


def test_every_arm_answers_a_question():
    assert {arm for question in QUESTIONS.values() for arm in question.arms} == set(ARMS)


def test_unknown_questions_and_arms_are_named(tmp_path):
    with pytest.raises(InputError, match="no question loses; ask one of losses"):
        trainings(_study(tmp_path, "loses"), [])
    with pytest.raises(InputError, match="masks has no arm masks_on_33; it has masks_on_75"):
        trainings(_study(tmp_path, "masks", only=("masks_on_33",)), [])
    assert {t.arm_name for t in trainings(_study(tmp_path, "masks", only=("masks_on_0",)), [])} == {"masks_on_0"}


@pytest.mark.parametrize("options", [{"seeds": 0}, {"at_once": 0}])
def test_no_seed_and_no_run_at_a_time_are_refused(tmp_path, options):
    with pytest.raises(InputError, match="choose at least 1 of each"):
        trainings(_study(tmp_path, "masks", **options), [])


def test_a_training_that_collapsed_before_it_had_an_epoch_is_finished_and_one_that_was_stopped_is_not(tmp_path):
    """As the scripts leave them: an ended run without a test, and one that is not ended."""
    study = _study(tmp_path, "backbones", seeds=2, only=("efficientnet_b0_original",), results=tmp_path / "results")
    collapsed, stopped = trainings(study, [])
    for training in (collapsed, stopped):
        RunFolder.create(study.results, training.name, {"seed": 0})
    collapsed.run.mark_ended("the embeddings have collapsed")
    assert (collapsed.collapsed_at_once, collapsed.tested, collapsed.finished) == (True, False, True)
    assert (stopped.collapsed_at_once, stopped.tested, stopped.finished) == (False, False, False)


def test_several_are_trained_at_once(tmp_path, monkeypatch):
    left = trainings(_study(tmp_path, "masks", seeds=3, only=("masks_on_0", "masks_on_25")), [])
    together, done = threading.Barrier(2, timeout=20), []

    def meet(training, *, quiet):
        together.wait()  # passes only where two are there at a time
        done.append((training.name, quiet))

    monkeypatch.setattr(run, "train", meet)
    run.train_all(left, 2, "masks")
    assert sorted(done) == sorted((training.name, True) for training in left)


def test_the_first_that_fails_ends_it(tmp_path, monkeypatch):
    left = trainings(_study(tmp_path, "masks", seeds=10, only=("masks_on_0", "masks_on_25")), [])
    begun = []

    def fail(training, *, quiet):
        begun.append(training.name)
        if training is left[0]:
            raise InputError(f"{training.name} ended")
        time.sleep(0.1)

    monkeypatch.setattr(run, "train", fail)
    with pytest.raises(InputError, match="masks_on_0_s0 ended"):
        run.train_all(left, 2, "masks")
    assert len(begun) < len(left) / 2


def test_one_at_a_time_speaks_for_itself(tmp_path, monkeypatch):
    left = trainings(_study(tmp_path, "masks", seeds=1), [])
    done = []
    monkeypatch.setattr(run, "train", lambda training, *, quiet: done.append((training.name, quiet)))
    run.train_all(left, 1, "masks")
    assert done == [(training.name, False) for training in left]


def _run_that(training, script):
    """The training with another program in its place: it gets the run folder, and is found by its name."""
    path = str(training.run.path)
    return dataclasses.replace(training, command=[sys.executable, "-c", script, path])


@pytest.mark.parametrize("quiet", [True, False])
def test_a_training_that_fails_is_named_with_where_to_look(tmp_path, quiet, capfd):
    (tmp_path / "results").mkdir()
    study = _study(tmp_path, "masks", seeds=1, only=("masks_on_0",), results=tmp_path / "results")
    training = _run_that(trainings(study, [])[0], "import sys; sys.exit('no faces here')")
    where = r"see .*masks_on_0_s0.txt" if quiet else "see its output above"
    with pytest.raises(InputError, match=f"masks_on_0_s0 ended with code 1 and without a test; {where}"):
        run.train(training, quiet=quiet)
    said = (study.results / "masks_on_0_s0.txt").read_text() if quiet else capfd.readouterr().err
    assert "no faces here" in said


def test_a_run_of_other_settings_does_not_pass_for_an_arm(tmp_path, monkeypatch):
    study = _study(tmp_path, "masks", seeds=1, only=("masks_on_0",), results=tmp_path / "results")
    monkeypatch.setattr(run, "import_file", lambda *_: None)
    monkeypatch.setattr(run, "_test_untouched", lambda *_: None)
    monkeypatch.setattr(run, "hours_left", lambda *_: "")
    (training,) = trainings(study, [])
    same = settings_of(training.command).to_dict()
    RunFolder.create(study.results, training.name, {**same, "mask_probability": 0.5})
    with pytest.raises(InputError, match="masks_on_0_s0 was trained with mask_probability 0.5, not 0.0; set --results"):
        run.run(study, [])
    # What stands behind -- counts as asked for.
    (study.results / training.name).rename(tmp_path / "away")
    RunFolder.create(study.results, training.name, {**same, "epochs": 1})
    monkeypatch.setattr(run, "train_all", lambda *_: None)
    monkeypatch.setattr(run, "write_answer", lambda *_: None)
    run.run(study, ["--epochs", "1"])


def test_other_weights_of_the_same_name_do_not_pass_for_the_imported_ones(tmp_path, monkeypatch):
    study = _study(tmp_path, "masks", seeds=1, results=tmp_path / "results")
    study.weights.write_bytes(b"those of today")
    made_from = {"sha256": hashlib.sha256(b"those of yesterday").hexdigest()}
    RunFolder.create(study.results, "w", {"imported_from": made_from})
    monkeypatch.setattr(run, "_test_untouched", lambda *_: pytest.fail("hours later"))
    with pytest.raises(InputError, match=r"results/w was not made from .*w.pt, but has its name; set --results"):
        run.run(study, [])


def test_published_distances_of_other_faces_are_refused_before_anything_is_trained(tmp_path, monkeypatch):
    study = _study(tmp_path, "masks", seeds=1, only=("masks_on_0", "masks_on_25"), results=tmp_path / "results")
    own = pd.DataFrame([[0.5] * len(PAIR_COLUMNS)], columns=PAIR_COLUMNS)
    published = trainings(study, [])[0].published
    published.mkdir(parents=True)
    (published / FIGURES_FILE).write_text("{}")
    write_distances(published, own, own.assign(distance=0.9))
    monkeypatch.setattr(run, "import_file", lambda *_: None)
    monkeypatch.setattr(run, "_test_untouched", lambda *_: None)
    monkeypatch.setattr(run, "_refuse_other_settings", lambda *_: None)
    monkeypatch.setattr(run, "read_pair_file", lambda *_: own)
    monkeypatch.setattr(run, "hours_left", lambda *_: "")
    monkeypatch.setattr(run, "train_all", lambda *_: pytest.fail("hours later"))
    with pytest.raises(InputError, match="distances of other faces than --eval"):
        run.run(study, [])


@pytest.mark.parametrize("seeds", [1, 2])
def test_an_answer_for_some_arms_or_seeds_keeps_what_is_known_of_the_others(tmp_path, monkeypatch, seeds):
    study = _study(tmp_path, "masks", seeds=seeds, only=("masks_on_0",), results=tmp_path / "results")
    every = {t.name: t for t in trainings(dataclasses.replace(study, only=(), seeds=11), [])}
    answered = []
    for name in ("_import_weights", "_test_untouched", "_refuse_other_settings", "_refuse_other_faces", "_publish"):
        monkeypatch.setattr(run, name, lambda *_: None)
    monkeypatch.setattr(run, "hours_left", lambda *_: "")
    monkeypatch.setattr(run, "write_answer", lambda path, asks, arms, *_: answered.extend(arms))

    def finish(left, *_):
        for training in left:
            RunFolder.create(study.results, training.name, {})
            (training.run.path / FIGURES_FILE).write_text("{}")

    monkeypatch.setattr(run, "train_all", finish)
    finish([every["masks_on_25_s2"], every["masks_on_25_s10"]])
    (study.results / "masks_on_25_s2.txt").touch()
    run.run(study, [])
    assert {arm.name: [folder.name for folder in arm.folders] for arm in answered} == {
        "masks_on_0": [f"masks_on_0_s{seed}" for seed in range(seeds)],
        "masks_on_25": ["masks_on_25_s2", "masks_on_25_s10"],
    }
