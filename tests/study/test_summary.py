"""The README's table and STUDY.md's from hand-made answers; and that what is published was trained as its arm says."""

import json
import shutil

import pytest

from runtime.errors import InputError
from study import summary
from study.page import fill
from study.questions import ARMS, WEIGHTS
from study.summary import Row, all_arms, fill_readme
from tests.processes import ROOT

PUBLISHED = ROOT / "results" / "published" / "study"
README = "Before.\n<!-- table real_faces -->\nold\n<!-- end -->\nAfter.\n"


def _parts(value):
    return dict.fromkeys(("plain-plain", "plain-masked", "masked-masked"), value)


@pytest.fixture
def answers(tmp_path, monkeypatch):
    """One question with an arm of two seeds, and one that collapsed."""
    arms = [
        {"name": "scratch_arcface", "seeds": [0, 1], "accuracy": _parts([0.8, 0.9])},
        {"name": "efficientnet_b0_original", "seeds": [0, 1, 2], "accuracy": {}},
    ]
    answer = {"untouched": {name: {"accuracy": value} for name, value in _parts(0.95).items()}, "arms": arms}
    (tmp_path / "backbones.json").write_text(json.dumps(answer))
    rows = [
        Row("the weights", "backbones", "untouched"),
        Row("plain", "backbones", "scratch_arcface"),
        Row("collapsing", "backbones", "efficientnet_b0_original", in_readme=False),
    ]
    monkeypatch.setattr(summary, "ROWS", rows)
    return tmp_path


def _rows(table):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def test_each_row_has_its_results_and_its_command(answers):
    epochs = str(ARMS["scratch_arcface"].options["epochs"])
    assert _rows(all_arms(answers)) == [
        ["the weights", "", "", *["95.0 %"] * 3, ""],
        ["plain", "2", epochs, *["85.0 ± 7.1 %"] * 3, "`backbones --only scratch_arcface`"],
        ["collapsing", "3", epochs, *["collapsed"] * 3, "`backbones --only efficientnet_b0_original`"],
    ]


def test_the_readme_shows_its_rows_without_commands(answers):
    before, after = README.split("old\n")
    text = fill_readme(README, answers)
    assert text.startswith(before) and text.endswith(after)
    shown = text.removeprefix(before).removesuffix(after)
    assert _rows(shown) == [row[:-1] for row in _rows(all_arms(answers))[:2]]


def test_an_arm_without_an_answer_is_named(answers, monkeypatch):
    monkeypatch.setattr(summary, "ROWS", [Row("triplets", "backbones", "scratch_triplet")])
    with pytest.raises(InputError, match="backbones has no arm scratch_triplet"):
        fill_readme(README, answers)


def test_the_pages_of_the_repository_say_what_the_published_answers_say(tmp_path):
    for file in PUBLISHED.glob("*.json"):
        shutil.copy(file, tmp_path)
    study, readme = (PUBLISHED.parents[1] / "STUDY.md").read_text(), (PUBLISHED.parents[2] / "README.md").read_text()
    assert "<!-- table fine_tuning -->\n![" in study and "<!-- table real_faces -->\n| " in readme
    assert fill(study, tmp_path) == study
    assert fill_readme(readme, tmp_path) == readme


@pytest.mark.parametrize(
    "folder", sorted(path.parent for path in PUBLISHED.glob("*/config.json")), ids=lambda p: p.name
)
def test_a_published_training_had_the_settings_of_its_arm(folder):
    arm, seed = folder.name.rsplit("_s", 1)
    config = json.loads((folder / "config.json").read_text())
    options = json.loads(json.dumps(ARMS[arm].options))  # tuples as lists
    for name, value in options.items():
        found = config["settings"][name]
        assert found.startswith("results/") if value == WEIGHTS else found == value, name
    assert config["settings"]["seed"] == int(seed)
    assert config["command"].split()[0] == ARMS[arm].script
