"""Is the mean of several networks' weights better than each of them?

    python -m study.means masked_first
    python -m study.means all_photos --mirror

For each arm of a question that study.run has trained with as many seeds as the baseline: the mean of the weights of its
seeds, and one mean of all these networks (model soups, Wortsman et al. 2022, arXiv:2203.05482). Nothing is chosen: each
network counts as it is after its last epoch. Every mean is tested on both halves and compared with the single networks
of the question's baseline; besides, each half is reported with the mean that is best on the other. With --mirror, the
means and the untouched network are tested on faces and their mirror images, too. The answer is
results/published/study/QUESTION_means.json; study.page makes its table, <!-- table QUESTION means -->.
"""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from data.tables.pair_csv import CONDITIONS
from eval.compare.differences import resample, share_pairs
from eval.finished_run import FinishedRun, read_pair_file
from eval.metrics.conditions import parts
from eval.metrics.intervals.significance import difference
from eval.two_folds.halves import FIGURES_FILE, PAIRS_FILE, TwoFoldSettings, two_folds
from runtime.errors import InputError, one_line_errors
from runtime.files import sha256, write_json
from runtime.run_folder import read_config
from study.answers import (
    ANSWERS,
    MEANS,
    UNTOUCHED,
    UNTOUCHED_MIRRORED,
    crossed,
    errors_removed,
    figures_by_part,
    seeds_of,
    tested_run,
)
from study.distances import FILE as DISTANCES_FILE
from study.distances import read_distances
from study.questions import QUESTIONS

LAST = "last.pt"
# How the name of a test with mirror images ends.
MIRRORED = "_mirrored"


@dataclass(frozen=True)
class MeanSettings:
    """Whose networks."""

    question: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="QUESTION")]
    """A question of study.run."""
    results: Path = Path("results")
    """Folder of the run folders, where the means go, too."""
    mirror: bool = False
    """Test the means, and the untouched network, on faces and their mirror images, too."""


def answer_with_means(settings: MeanSettings) -> Path:
    """Make, test and compare the means; return the answer's file.

    Raises InputError if there is no such question, its baseline or every other network has not been trained here, or a
    mean's folder was made of other networks.
    """
    arms = _trained_arms(settings)
    baseline, *_ = arms
    members = _members(settings.question, arms)
    config = read_config(arms[baseline][0])
    untouched = Path(config["pretrained"])
    _refuse_other_faces(untouched, settings.results / ANSWERS / arms[baseline][0].name, settings.question)
    for name, networks in members.items():
        _make(settings.results / name, networks)
    tests = [_test(settings.results / name, config) for name in members]
    others = [untouched, *arms[baseline]]
    if settings.mirror:
        tests += [_test(test, config, settings.results / f"{test.name}{MIRRORED}") for test in tests]
        others.append(_test(untouched, config, settings.results / f"{settings.question}_untouched{MIRRORED}"))
    runs = share_pairs(
        {folder.name: tested_run(folder, read_pair_file(folder, PAIRS_FILE)) for folder in (*others, *tests)}
    )
    before, singles = runs[untouched.name], [runs[folder.name] for folder in arms[baseline]]
    means = {test.name: runs[test.name] for test in tests}
    best = [min(means, key=lambda name: means[name].metrics["folds"][half]["iou"]) for half in (0, 1)]
    answer = {
        "asks": QUESTIONS[settings.question].asks,
        "baseline": baseline,
        UNTOUCHED: _accuracy(before),
        **({UNTOUCHED_MIRRORED: _accuracy(runs[others[-1].name])} if settings.mirror else {}),
        "singles": [_accuracy(run) for run in singles],
        "means": [{"name": name, **_compared(run, singles, before)} for name, run in means.items()],
        "chosen": {"names": best, **_compared(crossed(*(means[name] for name in best)), singles, before)},
    }
    path = settings.results / ANSWERS / f"{settings.question}{MEANS}.json"
    write_json(path, answer, indent=None)
    return path


def _trained_arms(settings: MeanSettings) -> dict[str, list[Path]]:
    """Arm → the run folders of its seeds, of the arms that have as many as the baseline: all count the same in the mean
    of all. Raises InputError if the baseline has none.
    """
    if settings.question not in QUESTIONS:
        raise InputError(f"there is no question {settings.question}; take one of {', '.join(QUESTIONS)}")
    found = {}
    for name in QUESTIONS[settings.question].arms:
        folders = [settings.results / f"{name}_s{seed}" for seed in seeds_of(settings.results, name)]
        if runs := [run for run in folders if (run / FIGURES_FILE).is_file() and (run / LAST).is_file()]:
            found[name] = runs
        elif not found:
            raise InputError(
                f"{settings.results} has no trained {name}, the baseline: run python -m study.run "
                f"{settings.question} first"
            )
    seeds = len(next(iter(found.values())))
    return {name: runs for name, runs in found.items() if len(runs) == seeds}


def _members(question: str, arms: Mapping[str, list[Path]]) -> dict[str, list[Path]]:
    """Name of a mean → its networks. Raises InputError if no arm has several."""
    members = {f"{name}_mean_of_{len(runs)}": runs for name, runs in arms.items() if len(runs) > 1}
    everyone = [run for runs in arms.values() for run in runs]
    if len(arms) > 1:
        members[f"{question}_mean_of_all_{len(everyone)}"] = everyone
    if not members:
        raise InputError(f"{question}: only one network is trained; a mean needs two or more")
    return members


def _refuse_other_faces(untouched: Path, published: Path, question: str) -> None:
    """study.run may have tested the untouched network on another question's faces since this one was answered."""
    try:
        if (published / DISTANCES_FILE).is_file():
            read_distances(published, read_pair_file(untouched, PAIRS_FILE))
    except InputError as error:
        raise InputError(f"{error}; or run python -m study.run {question} once more") from None


def _make(out: Path, runs: Sequence[Path]) -> None:
    """By the command, as the runs themselves are trained by theirs."""
    networks = [run / LAST for run in runs]
    if not out.is_dir():
        command = [sys.executable, "-m", "models.average", *map(str, networks), "--out", str(out)]
        if subprocess.run(command, check=False).returncode:
            raise InputError(f"{out} could not be made; see above")
    elif [part["sha256"] for part in read_config(out)["averaged_from"]] != [sha256(path) for path in networks]:
        raise InputError(f"{out} is the mean of other networks; remove it, or set --results to another folder")


def _test(run: Path, config: Mapping, mirrored: Path | None = None) -> Path:
    """Test on the halves that the networks themselves were tested on, unless it is done, and return the result's
    folder: the run's, or ``mirrored`` for a test with mirror images."""
    out = mirrored or run
    if not (out / FIGURES_FILE).is_file():
        root = Path(config.get("eval_root") or config["data_root"])
        halves = {"first": tuple(config["eval_csvs"]), "second": (config["test_csv"],)}
        two_folds(TwoFoldSettings(run, root=root, **halves, mirror=mirrored is not None, out=out))
    return out


def _accuracy(run: FinishedRun) -> dict[str, float]:
    of_parts = figures_by_part(run.metrics)
    return {name: of_parts[name]["accuracy"] for name in CONDITIONS}


def _compared(run: FinishedRun, singles: Sequence[FinishedRun], before: FinishedRun) -> dict:
    """Its accuracy, the errors of ``before`` that it removes, and what it gains on single networks, by condition."""
    gains, accuracy = {}, {}
    for name, chosen in parts(before.pairs["condition"].to_numpy(str)).items():
        own, *others = (resample(one, chosen) for one in (run, *singles))
        accuracy[name] = own.figures["accuracy"]
        value = accuracy[name] - float(np.mean([other.figures["accuracy"] for other in others]))
        resampled = [own.resampled["accuracy"]], [other.resampled["accuracy"] for other in others]
        gain = difference(*resampled, value)
        low, high = gain.interval or (None, None)
        gains[name] = {"difference": gain.value, "low": low, "high": high}
    return {"accuracy": accuracy, "errors_removed": errors_removed([run], before), "gains": gains}


def main() -> None:
    """The command."""
    path = answer_with_means(tyro.cli(MeanSettings, prog="python -m study.means", description=__doc__))
    print(f"written to {path}; python -m study.page puts it into STUDY.md")


if __name__ == "__main__":
    with one_line_errors():
        main()
