"""Make the tables and plots of results/STUDY.md from results/published/study: ``python -m study.page``.

The page's text is written by hand; this command fills in what is between ``<!-- table QUESTION -->``, ``<!-- table
QUESTION by mask -->`` or ``<!-- table QUESTION means -->`` and ``<!-- end -->``.
It also makes the README's table of results.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from data.tables.pair_csv import CONDITIONS
from eval.plots.style import save
from runtime.errors import one_line_errors
from runtime.text_tables import markdown_table
from study.answers import ANSWERS, UNTOUCHED, UNTOUCHED_MIRRORED, read_answer
from study.marked_tables import fill_tables, percent, rewrite
from study.plot import draw_answer
from study.summary import AT_A_GLANCE, all_arms, fill_readme

# The row of the network that fine-tuning starts from.
PRETRAINED = "pretrained, no fine-tuning"
# Ending of a table's name: accuracy by mask, which most questions do not need.
BY_MASK = " by mask"
# Ending of a table's name: what study.means found.
OF_MEANS = " means"
MASKED = [condition for condition in CONDITIONS if "masked" in condition]
REMOVED = f"errors removed, {' and '.join(MASKED)}"
GAINS = [f"Δ {condition}" for condition in MASKED]


@dataclass(frozen=True)
class PageSettings:
    """Where the pages are."""

    results: Path = Path("results")
    """Folder with STUDY.md and published/study."""
    readme: Path = Path("README.md")
    """The page with the short table of results."""


def fill(text: str, answers: Path) -> str:
    """The page with its tables made anew; writes the plot of each answer next to it.

    Raises InputError if a table's answer is missing.
    """

    def table(name: str) -> str:
        if name == AT_A_GLANCE:
            return all_arms(answers)
        if name.endswith(BY_MASK):
            return mask_table(read_answer(answers, name.removesuffix(BY_MASK)))
        if name.endswith(OF_MEANS):
            return means_table(read_answer(answers, name.removesuffix(OF_MEANS), means=True))
        answer = read_answer(answers, name)
        save(draw_answer(answer), answers / f"{name}.png")
        tables = f"{answer_table(answer)}\n{_effort(answer)}{_choice(answer)}"
        return f"![{answer['asks']}]({ANSWERS / name}.png)\n\n{tables.rstrip()}\n"

    return fill_tables(text, table)


def answer_table(answer: dict) -> str:
    """Markdown: accuracy, a row for each arm, and one for the pretrained network.

    With the shares of its errors that are removed, if the question has an arm that removes any.
    """
    removed = [REMOVED] if _removes_errors(answer) else []
    head = ["", "seeds", "images seen", *CONDITIONS, *removed, *GAINS]
    untouched = [PRETRAINED, "", "", *(percent([answer[UNTOUCHED][c]["accuracy"]]) for c in CONDITIONS)]
    untouched += [""] * (len(head) - len(untouched))
    return markdown_table(head, [untouched, *(_row(arm, answer) for arm in answer["arms"])])


def _removes_errors(answer: dict) -> bool:
    shares = [arm["errors_removed"].get(condition) for arm in answer["arms"] for condition in MASKED]
    return any(share and share["mean"] > 0 for share in shares)


def mask_table(answer: dict) -> str:
    """Markdown: accuracy on the pairs in which a face wears the mask; a row per arm, a column per mask."""
    masks = sorted(answer["by_mask"])
    untouched = [PRETRAINED, *(percent([answer["by_mask"][mask]]) for mask in masks)]
    rows = [
        [arm["name"], *(percent(arm["by_mask"][mask]) for mask in masks)] for arm in answer["arms"] if arm["by_mask"]
    ]
    return markdown_table(["pairs with this mask", *masks], [untouched, *rows])


def _row(arm: dict, answer: dict) -> list[str]:
    collapses = sum(reason is not None for reason in arm["collapsed"])
    role = " (baseline)" if arm is answer["arms"][0] else ""
    return [
        arm["name"] + role + (f" ({collapses} of {len(arm['seeds'])} stopped early)" if collapses else ""),
        str(len(arm["seeds"])),
        f"{arm['images_seen']:,}" if arm["accuracy"] else "< 1 epoch",
        *(percent(arm["accuracy"].get(condition, [])) for condition in CONDITIONS),
        *([_removed(arm["errors_removed"])] if _removes_errors(answer) else []),
        *(_difference(arm["name"], answer, condition) for condition in MASKED),
    ]


def means_table(answer: dict) -> str:
    """Markdown: a row for the single networks of the baseline and for each mean, and what is selected crosswise."""
    head = ["weights", *CONDITIONS, REMOVED, *GAINS]
    empty = [""] * (1 + len(GAINS))
    untouched = {PRETRAINED: answer[UNTOUCHED]}
    if UNTOUCHED_MIRRORED in answer:
        untouched[f"{PRETRAINED}, mirrored"] = answer[UNTOUCHED_MIRRORED]
    rows = [[name, *(percent([a[condition]]) for condition in CONDITIONS), *empty] for name, a in untouched.items()]
    singles = [percent([single[name] for single in answer["singles"]]) for name in CONDITIONS]
    rows.append([f"{answer['baseline']}, its single networks (baseline)", *singles, *empty])
    rows += [[mean["name"], *_results_of_mean(mean)] for mean in answer["means"]]
    rows.append(["the best on the other half", *_results_of_mean(answer["chosen"])])
    return f"{markdown_table(head, rows)}\n{_best(answer['chosen']['names'])}\n"


def _results_of_mean(mean: dict) -> list[str]:
    return [
        *(percent([mean["accuracy"][name]]) for name in CONDITIONS),
        _removed(mean["errors_removed"]),
        *(_points(**mean["gains"][name]) for name in MASKED),
    ]


def _effort(answer: dict) -> str:
    """What the runs ran on, and how long one took."""
    minutes: dict[str, list[float]] = {}
    for arm in answer["arms"]:
        for hardware, taken in zip(arm["hardware"], arm["minutes"], strict=True):
            minutes.setdefault(hardware, []).append(taken)
    each = (f"{hardware}, {_range(taken)} min per run" for hardware, taken in minutes.items())
    return f"Hardware: {'; '.join(each)}.\n\n"


def _range(values: list[float]) -> str:
    return " to ".join(dict.fromkeys(f"{end:.0f}" for end in (min(values), max(values))))


def _choice(answer: dict) -> str:
    """The arm with the lowest IOU on each half of the people; if arms were selected, results on the other half."""
    return f"{_best(answer['lowest_iou'])}\n\n" + (_crosswise(answer["chosen"]) if answer["chosen"] else "")


def _best(names: Sequence[str]) -> str:
    """What has the lowest IOU on the first and on the second half of the people."""
    first, second = (f"`{name}`" for name in names)
    if first == second:
        return f"Best by IOU: {first}, on both halves of the people."
    return f"Best by IOU: {first} on the first half of the people, {second} on the second."


def _crosswise(chosen: dict) -> str:
    """Each half tested with the arm selected on the other half."""
    of_first, of_second = (f"`{name}`" for name in chosen["arms"])
    head = [*CONDITIONS, *(f"errors removed {condition}" for condition in MASKED)]
    row = [percent(chosen["accuracy"][condition]) for condition in CONDITIONS]
    row += [_share_with_interval(chosen["errors_removed"].get(condition)) for condition in MASKED]
    return (
        f"Each half tested with the recipe selected on the other half (the first half selects {of_first}, the second "
        f"{of_second}):\n\n{markdown_table(head, [row])}\n"
    )


def _removed(shares: dict) -> str:
    """The means over the seeds, of plain-masked and of masked-masked errors."""
    means = (f"{100 * shares[condition]['mean']:.0f} %" if condition in shares else "–" for condition in MASKED)
    return ", ".join(means) if shares else "–"


def _share_with_interval(share: dict | None) -> str:
    """The mean over the seeds, and its 95 % interval."""
    if share is None:
        return "–"
    ends = f" ({100 * share['interval'][0]:.0f} to {100 * share['interval'][1]:.0f})" if share["interval"] else ""
    return f"{100 * share['mean']:.0f} %{ends}"


def _difference(name: str, answer: dict, condition: str) -> str:
    """How much more accurate an arm is than the first, on pairs of the condition."""
    first = answer["arms"][0]["name"]
    for row in answer["differences"]:
        if (row["first"], row["second"], row["pairs"], row["figure"]) == (first, name, condition, "accuracy"):
            ends = (None, None) if row["low"] is None else (-row["high"], -row["low"])
            return _points(-row["difference"], *ends)
    return ""


def _points(difference: float, low: float | None, high: float | None) -> str:
    """In percentage points, with the 95 % interval."""
    ends = "" if low is None or high is None else f" ({100 * low:+.1f} to {100 * high:+.1f})"
    return f"{100 * difference:+.2f}{ends}"


def main() -> None:
    """The command."""
    settings = tyro.cli(PageSettings, description=__doc__)
    page, answers = settings.results / "STUDY.md", settings.results / ANSWERS
    rewrite(page, lambda text: fill(text, answers))
    rewrite(settings.readme, lambda text: fill_readme(text, answers))
    print(f"tables and plots made anew in {page} and {settings.readme}")


if __name__ == "__main__":
    with one_line_errors():
        main()
