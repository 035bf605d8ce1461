"""The EfficientNet study: its trainings are commands that the scripts understand; its page says what happened."""

import json
import runpy

import pytest
import torch

from configs.cli import parse_settings
from study.efficientnet import AS_IT_IS, CHANGES, ENDS, trainings
from study.efficientnet_page import CHANCE, COLLAPSED, IN_EVALUATION, TRAINS, outcome, publish, write_page
from study.questions import ARCFACE, TRIPLET
from study.suspects import SUSPECTS, SuspectFeatures


@pytest.mark.parametrize("script", [ARCFACE, TRIPLET])
def test_every_training_is_a_command_that_differs_from_its_end_in_what_it_says(tmp_path, script):
    constants = runpy.run_path(script, run_name="constants")["SETTINGS"]
    own = [training for training in trainings() if training.script == script]
    parsed = [parse_settings(constants, "", _options(t, tmp_path)).to_dict() for t in own]
    for training, settings in zip(own, parsed, strict=True):
        end = next(i for i, t in enumerate(own) if (t.end, t.change) == (training.end, AS_IT_IS))
        changed = {name for name, value in settings.items() if value != parsed[end][name]} - {"run_name", "seed"}
        assert changed == set(training.change.options), training.name
        assert set(training.change.network) <= set(SUSPECTS)
        assert changed or training.change.network or training.change == AS_IT_IS
    assert len({training.name for training in own}) == len(own)


def _options(training, tmp_path):
    command = training.command(tmp_path)
    return command[command.index(training.script) + 1 :]


def test_the_recipe_and_the_original_are_trained_with_three_seeds():
    for script, end in ENDS:
        own = [t for t in trainings() if (t.script, t.end, t.change) == (script, end, AS_IT_IS)]
        assert sorted(t.seed for t in own) == [0, 1, 2]
    assert len(trainings()) == 12 + sum(len(changes) for changes in CHANGES.values())


def test_suspects_change_the_network_and_not_the_names_of_its_weights():
    images = torch.randn(2, 3, 32, 32)
    usual = SuspectFeatures("b0", 32)
    fine = SuspectFeatures("b0", 32, stem_stride="1", drop_path="0", initialisation="package")
    deviations = [features.net._conv_head.weight.std().item() for features in (usual, fine)]
    # The paper's is by the 1280 outputs, PyTorch's by the 320 inputs.
    assert deviations == pytest.approx([(2 / 1280) ** 0.5, (3 * 320) ** -0.5], rel=0.02)
    fine.load_state_dict(usual.state_dict())
    with torch.no_grad():
        assert (usual(images).shape[2:], fine(images).shape[2:]) == ((1, 1), (2, 2))
        assert torch.equal(fine(images), fine(images))  # no block is passed by at random


def _line(name, change="", *, train=(1.3, 20.0), evaluation=(1.2, 60.0), auc=0.8, low=0.7, seed=0):
    health = {"train_mean_distance": train[0], "train_effective_rank": train[1]}
    health |= {"mean_distance": evaluation[0], "effective_rank": evaluation[1]}
    return {
        "name": name,
        "objective": "arcface",
        "end": "recipe",
        "change": change,
        "seed": seed,
        "log": [health],
        "accuracy": {"masked-masked": auc - 0.1},
        "accuracy_interval": [low - 0.1, 0.8],
        "auc": auc,
        "auc_interval": [low, 0.9],
    }


def test_outcomes_by_hand():
    assert outcome(_line("a")) == TRAINS
    assert outcome(_line("a", low=0.49)) == CHANCE
    assert outcome(_line("a", evaluation=(0.05, 30.0))) == IN_EVALUATION
    assert outcome(_line("a", evaluation=(1.0, 1.2))) == IN_EVALUATION
    assert outcome(_line("a", train=(0.05, 1.1))) == COLLAPSED


def test_the_page_is_made_from_the_published_lines_between_its_words(tmp_path):
    lines = [_line("a0", auc=0.7), _line("a1", auc=0.9, seed=1), _line("b0", "lr", evaluation=(0.01, 1.0), low=0.4)]
    publish(tmp_path, lines[:2])
    publish(tmp_path, lines[1:])
    assert [json.loads(line)["name"] for line in (tmp_path / "runs.jsonl").read_text().splitlines()] == [
        "a0",
        "a1",
        "b0",
    ]
    (tmp_path / "README.md").write_text("Words.\n<!-- table arcface_recipe -->\n<!-- end -->\nMore.\n")
    write_page(tmp_path)
    page = (tmp_path / "README.md").read_text().splitlines()
    assert (page[0], page[-1]) == ("Words.", "More.")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page[4:6]]
    # The deviation of two values is their distance by √2.
    assert rows[0] == ["**nothing**", "2", "1.30, 20.0", "1.20, 60.0", "70.0 ± 14.1 %", "0.80 ± 0.14", "trains 2 of 2"]
    assert rows[1][-2:] == ["0.80 (0.40–0.90)", "collapsed in evaluation"]
    assert (tmp_path / "accuracy.png").stat().st_size > 10_000
