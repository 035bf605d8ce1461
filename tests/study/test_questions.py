"""The study's trainings are commands that the scripts understand."""

import dataclasses
import hashlib
import json
import os
import runpy
import shutil
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

from configs.cli import parse_settings
from eval.finished_run import PAIR_COLUMNS
from eval.two_folds.halves import FIGURES_FILE, PAIRS_FILE
from runtime.errors import InputError
from runtime.run_folder import RunFolder, open_run
from study import run
from study.commands import settings_of
from study.distances import FILE as DISTANCES_FILE
from study.distances import write_distances
from study.questions import ARMS, QUESTIONS, WEIGHTS
from study.run import StudySettings, trainings
from tests.one_line import one_line

PUBLISHED = Path(__file__).parents[2] / "results" / "published" / "study"


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


OTHER_OPTIONS = [
    (["--dropout", "0.5"], "was trained with dropout 0.5, not "),  # a setting that the arm does not name
    (["--on-collapse", "warn"], "was trained with on_collapse warn, not "),
    (["--seed", "5"], "was trained with seed 5, not 0"),
]


def _trained(study, options, **changed):
    """The run folder of the first training of ``study`` with ``options`` after --."""
    (training,) = trainings(study, options)
    RunFolder.create(study.results, training.name, {**settings_of(training.command).to_dict(), **changed})


@pytest.mark.parametrize(("options", "said"), OTHER_OPTIONS)
def test_a_run_of_other_options_does_not_pass_for_an_arm(tmp_path, options, said):
    study = _study(tmp_path, "masks", seeds=1, only=("masks_on_0",), results=tmp_path / "results")
    _trained(study, options)
    (training,) = trainings(study, [])
    assert said in one_line(lambda: run._refuse_other_settings(training))
    run._refuse_other_settings(trainings(study, options)[0])


@pytest.mark.parametrize("other", ["train", "eval"])
def test_a_run_of_other_faces_is_refused_before_the_untouched_network_is_tested_on_these(tmp_path, monkeypatch, other):
    study = _study(tmp_path, "masks", seeds=1, only=("masks_on_0",), results=tmp_path / "results")
    monkeypatch.setattr(run, "import_file", lambda *_: None)
    monkeypatch.setattr(run, "_test_untouched", lambda *_: pytest.fail("over the result of the other faces"))
    _trained(dataclasses.replace(study, **{other: tmp_path / "others"}), [])
    root = {"train": "data_root", "eval": "eval_root"}[other]
    assert f"was trained with {root} {tmp_path / 'others'}, not" in one_line(lambda: run.run(study, []))


def test_a_run_of_another_machine_or_an_older_version_passes_for_its_arm(tmp_path):
    """And one whose faces were named from the working folder."""
    study = _study(tmp_path, "recipe", seeds=1, only=("recipe",), results=tmp_path / "results")
    machine = ["--device", "cuda", "--gpus", "1", "--precision", "bf16", "--compile", "--workers", "4"]
    faces = {"data_root": os.path.relpath(study.train), "eval_root": os.path.relpath(study.eval)}
    _trained(study, [*machine, "--cache", "memory"], teacher="results/w", **faces)
    config = study.results / "recipe_s0" / "config.json"
    saved = json.loads(config.read_text())
    saved["settings"].pop("freeze")  # added since
    config.write_text(json.dumps(saved))
    (training,) = trainings(study, [])
    run._refuse_other_settings(training)
    config.write_text(json.dumps({**saved, "settings": {**saved["settings"], "jitter": False}}))
    assert "was trained with jitter False, not True" in one_line(lambda: run._refuse_other_settings(training))


@pytest.mark.parametrize("options", [[], ["--device", "cpu"], ["--precision", "float32"], ["--resume", "never"]])
def test_a_stopped_run_is_resumed_on_another_machine(tmp_path, options):
    study = _study(tmp_path, "masks", seeds=1, only=("masks_on_0",), results=tmp_path / "results")
    (training,) = trainings(study, ["--device", "cuda"])
    begun = open_run(settings_of(training.words)).path
    (training,) = trainings(study, options)
    run._refuse_other_settings(training)
    assert open_run(settings_of(training.words)).path == begun == training.run.path


def test_a_run_from_other_weights_does_not_pass_for_an_arm(tmp_path):
    study = _study(tmp_path, "recipe", seeds=1, only=("recipe",), results=tmp_path / "results")
    _trained(dataclasses.replace(study, weights=tmp_path / "others.pt"), [])
    (training,) = trainings(study, [])
    assert "trained with pretrained others, not w" in one_line(lambda: run._refuse_other_settings(training))


@pytest.mark.parametrize("arm", sorted({path.name.rpartition("_s")[0] for path in PUBLISHED.glob("*_s?")}))
def test_every_published_run_passes_for_its_arm(tmp_path, monkeypatch, arm):
    question = next(name for name, question in QUESTIONS.items() if arm in question.arms)
    study = _study(tmp_path, question, only=(arm,), results=tmp_path / "results")
    settings = settings_of(trainings(study, [])[0].command)
    monkeypatch.setattr(run, "settings_of", lambda command: dataclasses.replace(settings, seed=int(command[-3])))
    published = [training for training in trainings(study, []) if (PUBLISHED / training.name).is_dir()]
    for training in published:
        training.published.mkdir(parents=True)
        shutil.copy(PUBLISHED / training.name / "config.json", training.published)
        (training.published / DISTANCES_FILE).touch()
        run._refuse_other_settings(training)
    assert published
    with pytest.raises(InputError, match="was trained with dropout"):
        monkeypatch.setattr(run, "settings_of", lambda _: dataclasses.replace(settings, dropout=0.77))
        run._refuse_other_settings(published[0])


def test_the_untouched_network_is_tested_once_for_the_faces_at_hand(tmp_path, monkeypatch):
    tested = []

    def fake_two_folds(settings):
        tested.append(settings.root.name)
        for name in (FIGURES_FILE, PAIRS_FILE):
            (settings.run / name).write_text(settings.root.name)

    monkeypatch.setattr(run, "two_folds", fake_two_folds)
    untouched = tmp_path / "w"
    untouched.mkdir()
    for faces in ("one", "other"):
        (tmp_path / faces).mkdir()
        for name in ("eval_same.csv", "eval_diff.csv", "test.csv"):
            (tmp_path / faces / name).write_text("path,target,pair_path,pair_target\n")

    def measured_on(faces):
        tested.clear()
        run._test_untouched(StudySettings("masks", train=tmp_path, eval=tmp_path / faces, weights=tmp_path), untouched)
        return tested == [faces]

    assert measured_on("one") and not measured_on("one")
    assert measured_on("other") and not measured_on("other") and measured_on("one")
    (tmp_path / "one" / "test.csv").write_text("prepared anew")
    assert measured_on("one")
    (tmp_path / "one" / "dataset.json").write_text("aligned otherwise")
    assert measured_on("one") and not measured_on("one")
    (untouched / PAIRS_FILE).write_text("by eval.two_folds, of whatever faces")
    assert measured_on("one")
    (untouched / "tested_on.json").unlink()  # by an older version
    assert measured_on("one") and not measured_on("one")


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
