"""The arms at a glance, from the answers of the study: a short table for the README, all of them for STUDY.md."""

from dataclasses import dataclass
from pathlib import Path

from data.tables.pair_csv import CONDITIONS
from runtime.errors import InputError
from runtime.text_tables import markdown_table
from study.answers import UNTOUCHED, read_answer
from study.marked_tables import fill_tables, percent
from study.questions import ARMS

# The table's name in STUDY.md; every other name there is a question.
AT_A_GLANCE = "at_a_glance"


@dataclass(frozen=True)
class Row:
    """An arm in words, a question whose answer has its results, and whether the README shows it."""

    words: str
    question: str
    arm: str
    in_readme: bool = True


ROWS = (
    Row("MobileFaceNet, pretrained on MS1M, not fine-tuned", "fine_tuning", UNTOUCHED),
    Row("… fine-tuned with triplets and a teacher", "fine_tuning", "fine_tuned_taught"),
    Row(
        "… the same, without cloth and blue masks in training",
        "fine_tuning",
        "fine_tuned_taught_without_cloth_and_blue",
        in_readme=False,
    ),
    Row("InceptionResNetV1 from scratch, MobileFaceNet as teacher", "scratch", "scratch_taught"),
    Row("… triplets", "losses", "scratch_triplet"),
    Row("… ArcFace + focal", "scratch", "scratch_arcface"),
    Row("… triplets, 2021 settings", "scratch", "original_triplet"),
    Row("… ArcFace + focal, 2021 settings", "scratch", "original_arcface"),
    Row("EfficientNet-B0 from scratch, triplets", "backbones", "efficientnet_b0_triplet"),
    Row("… ArcFace + focal, 2021 settings", "backbones", "efficientnet_b0_original", in_readme=False),
    Row("SE-ResNeXt-101 from scratch, triplets", "seresnext", "seresnext101_3_epochs", in_readme=False),
)


def fill_readme(text: str, answers: Path) -> str:
    """The README with its table made anew. Raises InputError if an answer is missing, or lacks an arm."""
    return fill_tables(text, lambda _: _table([_cells(row, answers) for row in ROWS if row.in_readme]))


def all_arms(answers: Path) -> str:
    """Markdown: every row, with the command that gives it. Raises InputError as ``fill_readme`` does."""
    return _table([[*_cells(row, answers), _command(row)] for row in ROWS], "`python -m study.run` …")


def _table(rows: list[list[str]], *more: str) -> str:
    return markdown_table(["", "seeds", "epochs", *CONDITIONS, *more], rows)


def _command(row: Row) -> str:
    return "" if row.arm == UNTOUCHED else f"`{row.question} --only {row.arm}`"


def _cells(row: Row, answers: Path) -> list[str]:
    answer = read_answer(answers, row.question)
    if row.arm == UNTOUCHED:
        return [row.words, "", "", *(percent([answer[UNTOUCHED][name]["accuracy"]], 1) for name in CONDITIONS)]
    found = [arm for arm in answer["arms"] if arm["name"] == row.arm]
    if not found:
        raise InputError(f"the answer {row.question} has no arm {row.arm}: python -m study.run {row.question} gives it")
    (arm,) = found
    results = [percent(arm["accuracy"].get(name, []), 1) for name in CONDITIONS]
    if not arm["accuracy"]:
        results = ["collapsed"] * len(CONDITIONS)
    epochs = str(ARMS[row.arm].options["epochs"])
    return [row.words, str(len(arm["seeds"])), epochs, *results]
