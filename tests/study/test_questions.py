"""The study's trainings are commands that the scripts understand."""

import runpy

import pytest

from configs.cli import parse_settings
from runtime.errors import InputError
from runtime.run_folder import RunFolder
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
    """Epochs count differently where an arm takes another part of the faces: those say so themselves."""
    for name, question in QUESTIONS.items():
        arms = [ARMS[arm] for arm in question.arms]
        assert len({arm.options["epochs"] for arm in arms if "most_images" not in arm.options}) == 1, name


def test_every_arm_answers_a_question():
    assert {arm for question in QUESTIONS.values() for arm in question.arms} == set(ARMS)


def test_unknown_questions_and_arms_are_named(tmp_path):
    with pytest.raises(InputError, match="no question loses; ask one of losses"):
        trainings(_study(tmp_path, "loses"), [])
    with pytest.raises(InputError, match="masks has no arm masks_on_33; it has masks_on_75"):
        trainings(_study(tmp_path, "masks", only=("masks_on_33",)), [])
    assert {t.arm_name for t in trainings(_study(tmp_path, "masks", only=("masks_on_0",)), [])} == {"masks_on_0"}


def test_a_training_that_collapsed_before_it_had_an_epoch_is_finished_and_one_that_was_stopped_is_not(tmp_path):
    """As the scripts leave them: an ended run without a test, and one that is not ended."""
    study = _study(tmp_path, "backbones", seeds=2, only=("efficientnet_b0_original",), results=tmp_path / "results")
    collapsed, stopped = trainings(study, [])
    for training in (collapsed, stopped):
        RunFolder.create(study.results, training.name, {"seed": 0})
    collapsed.run.mark_ended("the embeddings have collapsed")
    assert (collapsed.collapsed_at_once, collapsed.tested, collapsed.finished) == (True, False, True)
    assert (stopped.collapsed_at_once, stopped.tested, stopped.finished) == (False, False, False)
