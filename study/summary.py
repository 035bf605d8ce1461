"""The README's table of results on real faces, from the answers of the study."""

from dataclasses import dataclass
from pathlib import Path

from data.tables.pair_csv import CONDITIONS
from runtime.errors import InputError
from study.answers import UNTOUCHED, read_answer
from study.marked_tables import fill_tables, markdown, percent
from study.questions import ARMS


@dataclass(frozen=True)
class Row:
    """An arm in words, and a question whose answer has its figures."""

    words: str
    question: str
    arm: str


ROWS = (
    Row("MobileFaceNet, MS1M weights, untouched", "fine_tuning", UNTOUCHED),
    Row("… fine-tuned with triplets and a teacher", "fine_tuning", "fine_tuned_taught"),
    Row("… no cloth and no blue mask in training", "fine_tuning", "fine_tuned_taught_without_cloth_and_blue"),
    Row("InceptionResNetV1 from scratch, MobileFaceNet as teacher", "scratch", "scratch_taught"),
    Row("… triplets", "losses", "scratch_triplet"),
    Row("… ArcFace + focal", "scratch", "scratch_arcface"),
    Row("… the original's triplets", "scratch", "original_triplet"),
    Row("… the original's ArcFace + focal", "scratch", "original_arcface"),
    Row("EfficientNet-B0 from scratch, triplets", "backbones", "efficientnet_b0_triplet"),
    Row("… the original's ArcFace + focal", "backbones", "efficientnet_b0_original"),
    Row("SE-ResNeXt-101 from scratch, triplets", "seresnext", "seresnext101_3_epochs"),
)


def fill_summary(text: str, answers: Path) -> str:
    """The README with its table made anew. Raises InputError where an answer is not there, or lacks an arm."""
    return fill_tables(text, lambda _: _table(answers))


def _table(answers: Path) -> str:
    head = ["", "seeds", "epochs", *CONDITIONS, "`python -m study.run` …"]
    return markdown(head, [_cells(row, answers) for row in ROWS])


def _cells(row: Row, answers: Path) -> list[str]:
    answer = read_answer(answers, row.question)
    if row.arm == UNTOUCHED:
        return [row.words, "", "", *(percent([answer[UNTOUCHED][name]["accuracy"]], 1) for name in CONDITIONS), ""]
    found = [arm for arm in answer["arms"] if arm["name"] == row.arm]
    if not found:
        raise InputError(f"the answer {row.question} has no arm {row.arm}: python -m study.run {row.question} gives it")
    (arm,) = found
    figures = [percent(arm["accuracy"].get(name, []), 1) for name in CONDITIONS]
    if not arm["accuracy"]:
        figures = ["collapsed"] * len(CONDITIONS)
    epochs = str(ARMS[row.arm].options["epochs"])
    return [row.words, str(len(arm["seeds"])), epochs, *figures, f"`{row.question} --only {row.arm}`"]
