"""Run the experiments of a question, from the start or from where they stopped.

    python -m study.run losses --train FACES --eval DEV --weights mobilefacenet_ms1m.safetensors --seeds 3
    python -m study.run masks  --train FACES --eval DEV --weights … --only masks_on_75 masks_on_0 -- --device cuda

FACES and DEV are made by data.prepare at 112 px (DEV with --train-share 0, so that its people are split into two
halves). The command first prints how many hours are left. Then each arm is trained with each seed by its script, in a
run folder of its own, and tested on both halves of DEV (eval.two_folds). Stopped runs are resumed. Finished runs are
skipped, even if another question trained them, or if only their published files are here. Options after -- are added
to every command (--device cuda). Several runs at once keep a large GPU busy (--at-once 20). Small files of finished
runs, among them the pairs' distances without picture names, are copied to results/published/study, from which
study.page makes the tables.
"""

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import tyro
from tqdm import tqdm

from configs.cli import option_words
from data.tables.card import CARD
from eval.finished_run import read_pair_file
from eval.two_folds.halves import FIGURES_FILE, PAIRS_FILE, TwoFoldSettings, two_folds
from models.weights.import_file import import_file
from runtime.errors import InputError, one_line_errors
from runtime.files import copy_file, sha256, write_file, write_json, writing
from runtime.run_folder import OF_THE_MACHINE, WITHOUT_EFFECT, RunFolder, read_config
from study.answers import ANSWERS, ArmRuns, seeds_of, write_answer
from study.commands import settings_of, split_at_dashes
from study.distances import FILE as DISTANCES_FILE
from study.distances import read_distances, write_distances
from study.hours import hours_left
from study.questions import ARMS, QUESTIONS, WEIGHTS

_PUBLISHED = ("config.json", "log.jsonl")
# What runs of one arm may differ in. Of the published ones, some were trained in bf16, others in float32.
_OF_A_RUN = WITHOUT_EFFECT | OF_THE_MACHINE | {"precision", "run_name", "preset"}
_FACES = ("data_root", "eval_root")
# The halves of --eval, on which the untouched network is tested, and which faces these were.
_HALVES = {"first": ("eval_same.csv", "eval_diff.csv"), "second": ("test.csv",)}
_TESTED_ON = "tested_on.json"


@dataclasses.dataclass(frozen=True)
class StudySettings:
    """Which question, on which faces."""

    question: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="QUESTION")]
    """losses, backbones, seresnext, balance, masks, fresh_masks, scratch, recipe, fine_tuning, simulation,
    centres, alignment, masked_first or all_photos."""
    train: Path
    """Folder of the training faces."""
    eval: Path
    """Folder of the people to select and report on, in two halves."""
    weights: Path
    """Weights of MobileFaceNet (MS1M), for the arms that start from them or are taught by them."""
    seeds: int = 3
    """Seeds 0 … n − 1."""
    only: tuple[str, ...] = ()
    """Some of the question's arms; empty: all."""
    at_once: int = 1
    """Runs at a time; if several, each writes its output to results/RUN.txt."""
    results: Path = Path("results")
    """Folder of the run folders."""


@dataclasses.dataclass(frozen=True)
class Training:
    """One arm with one seed."""

    name: str
    arm_name: str
    command: list[str]
    run: RunFolder

    @property
    def words(self) -> list[str]:
        """The command; a run that has begun is named, as on another device it would not be known by its settings."""
        return [*self.command, "--resume", str(self.run.path)] if self.run.path.is_dir() else self.command

    @property
    def published(self) -> Path:
        """Folder of its published files."""
        return self.run.path.parent / ANSWERS / self.name

    @property
    def result(self) -> Path:
        """The run folder; of a run that was trained elsewhere, the folder of its published files."""
        elsewhere = not self.run.path.is_dir() and (self.published / DISTANCES_FILE).is_file()
        return self.published if elsewhere else self.run.path

    @property
    def tested(self) -> bool:
        """Whether it is trained and tested on both halves."""
        return (self.result / FIGURES_FILE).is_file()

    @property
    def collapsed_at_once(self) -> bool:
        """Whether it was stopped before it had an epoch to test."""
        path = self.run.path
        return path.is_dir() and self.run.ended and not (path / "metrics.json").is_file()

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.tested or self.collapsed_at_once


def trainings(settings: StudySettings, more: list[str]) -> list[Training]:
    """All runs of the question, seed by seed. Raises InputError if there is no such question or arm."""
    if min(settings.seeds, settings.at_once) < 1:
        raise InputError(f"seeds is {settings.seeds} and at_once is {settings.at_once}; choose at least 1 of each")
    if settings.question not in QUESTIONS:
        raise InputError(f"there is no question {settings.question}; ask one of {', '.join(QUESTIONS)}")
    arms = QUESTIONS[settings.question].arms
    unknown = [name for name in settings.only if name not in arms]
    if unknown:
        raise InputError(f"{settings.question} has no arm {unknown[0]}; it has {', '.join(arms)}")
    chosen = [name for name in arms if name in (settings.only or arms)]
    return [_training(settings, name, seed, more) for seed in range(settings.seeds) for name in chosen]


def _training(settings: StudySettings, arm_name: str, seed: int, more: list[str]) -> Training:
    name, arm = f"{arm_name}_s{seed}", ARMS[arm_name]
    options = {
        "data_root": settings.train,
        "eval_root": settings.eval,
        "results_dir": settings.results,
        "run_name": name,
        **arm.options,
        "seed": seed,
    }
    options = {key: str(_weights_run(settings)) if value == WEIGHTS else value for key, value in options.items()}
    # The other half chooses among all epochs, so that all are kept until it has.
    command = [sys.executable, arm.script, *option_words(options), "--keep-checkpoints", "1000", *more]
    return Training(name, arm_name, command, RunFolder(settings.results / name))


def _weights_run(settings: StudySettings) -> Path:
    return settings.results / settings.weights.stem


def run(settings: StudySettings, more: list[str]) -> None:
    """Do what is left of a question. Raises InputError if a run fails other than by a collapse."""
    todo = trainings(settings, more)
    every = trainings(dataclasses.replace(settings, only=(), seeds=_seeds_known(settings)), more)
    untouched = _weights_run(settings)
    _import_weights(settings.weights, untouched)
    for training in every:
        if training.result.is_dir():
            _refuse_other_settings(training)
    _test_untouched(settings, untouched)
    left = [training for training in todo if not training.finished]
    print(f"{settings.question}: {len(todo)} runs, {len(left)} to go{hours_left([t.command for t in left])}")
    _refuse_other_faces(every, untouched)
    train_all(left, settings.at_once, settings.question)
    for training in todo:
        if training.run.path.is_dir():
            _publish(training, untouched)
    question = QUESTIONS[settings.question]
    answer = settings.results / ANSWERS / f"{settings.question}.json"
    # With --only and fewer --seeds, too, all that is known: an answer must not lose what an earlier command found.
    finished = [training for training in every if training.finished]
    write_answer(answer, question.asks, _by_arm(finished), untouched, question.chosen)
    print(f"written to {answer}; python -m study.page puts it into {settings.results / 'STUDY.md'}")


def _seeds_known(settings: StudySettings) -> int:
    """As many seeds as are wanted, or as some arm of the question has, here or published."""
    folders, arms = (settings.results, settings.results / ANSWERS), QUESTIONS[settings.question].arms
    known = (seed + 1 for folder in folders for arm in arms for seed in seeds_of(folder, arm))
    return max(settings.seeds, *known, 0)


def _import_weights(weights: Path, run: Path) -> None:
    """A run folder is known by the file's name alone: one made of another file must not pass for it."""
    if not run.is_dir():
        import_file(weights, run)
        return
    made_from = read_config(run).get("imported_from", {}).get("sha256")
    if made_from and weights.is_file() and made_from != sha256(weights):
        raise InputError(f"{run} was not made from {weights}, but has its name; set --results to another folder")


def train_all(left: list[Training], at_once: int, title: str) -> None:
    """Train ``at_once`` runs at a time. The first failure ends it, once the runs in progress are done."""
    pool = ThreadPoolExecutor(at_once)
    try:
        done = pool.map(lambda training: train(training, quiet=at_once > 1), left)
        for _ in tqdm(done, total=len(left), desc=title, unit="run"):
            pass
    finally:
        pool.shutdown(cancel_futures=True)


def _refuse_other_settings(training: Training) -> None:
    """A run is known by its arm and seed: one with other settings or other faces must not pass for it."""
    path, settings = training.result, settings_of(training.command)
    wanted, found = settings.to_dict(), settings.completed(read_config(path))
    wanted, found = (_comparable(values, training) for values in (wanted, found))
    for name, value in wanted.items():
        if found.get(name) != value:
            raise InputError(
                f"{path} was trained with {name} {found.get(name)}, not {value}; set --results to another folder"
            )


def _comparable(settings: Mapping, training: Training) -> dict:
    """The settings that make a run what it is. Weights count by their name, as their run folder lies beside the run.

    A published run was trained on another machine, so its paths say nothing: its distances do.
    """
    weights = [name for name, value in ARMS[training.arm_name].options.items() if value == WEIGHTS]
    paths = {name: Path(str(settings.get(name))) for name in (*_FACES, *weights)}
    others = {name: value for name, value in settings.items() if name not in (*_OF_A_RUN, *paths)}
    if training.result == training.published:
        return others
    return others | {name: path.name if name in weights else path.resolve() for name, path in paths.items()}


def _refuse_other_faces(todo: list[Training], untouched: Path) -> None:
    """Published distances must belong to the pairs at hand; the answer would say so only once all is trained."""
    published = [training.result for training in todo if training.result == training.published]
    if published:
        pairs = read_pair_file(untouched, PAIRS_FILE)
        for folder in published:
            read_distances(folder, pairs)


def _by_arm(finished: list[Training]) -> list[ArmRuns]:
    found = []
    for name in dict.fromkeys(training.arm_name for training in finished):
        own = [training for training in finished if training.arm_name == name]
        tested, untested = ([t.result for t in own if t.tested is tested] for tested in (True, False))
        found.append(ArmRuns(name, tested, untested))
    return found


def _test_untouched(settings: StudySettings, run: Path) -> None:
    """Test it, unless its result is of these very faces."""
    tested_on = run / _TESTED_ON
    if not tested_on.is_file() or tested_on.read_text() != _faces_and_result(settings.eval, run):
        two_folds(TwoFoldSettings(run, root=settings.eval, **_HALVES))
        write_file(tested_on, _faces_and_result(settings.eval, run))


def _faces_and_result(faces: Path, run: Path) -> str:
    """The files that say which faces these are, and the test's own, each with its digest."""
    files = [faces / name for name in (CARD, *_HALVES["first"], *_HALVES["second"])]
    files += [run / FIGURES_FILE, run / PAIRS_FILE]
    return json.dumps({str(path.resolve()): sha256(path) for path in files if path.is_file()}, indent=2)


def train(training: Training, *, quiet: bool) -> None:
    """Train one run to its end and test it. Raises InputError if it fails other than by a collapse.

    ``quiet``: its output goes to a file next to its run folder.
    """
    path = training.run.path
    text = path.with_name(f"{path.name}.txt")
    see = f"see {text}" if quiet else "see its output above"
    with writing(text), text.open("a") if quiet else nullcontext() as file:
        if not (path / "metrics.json").is_file():
            code = subprocess.run(training.words, check=False, stdout=file, stderr=file).returncode
            if not training.collapsed_at_once and not (path / "metrics.json").is_file():
                raise InputError(f"{training.name} ended with code {code} and without a test; {see}")
        if not training.collapsed_at_once:
            test = [sys.executable, "-m", "eval.two_folds", str(path)]
            if subprocess.run(test, check=False, stdout=file, stderr=file).returncode:
                raise InputError(f"{training.name} could not be tested; {see}")
            shutil.rmtree(path / "checkpoints")  # the second half has chosen; best.pt and last.pt stay


def _publish(training: Training, untouched: Path) -> None:
    run, published = training.run.path, training.published
    for name in _PUBLISHED:
        if (run / name).is_file():
            copy_file(run / name, published / name)
    if (run / FIGURES_FILE).is_file():
        # On one line: there are many, and git counts lines.
        write_json(published / FIGURES_FILE, json.loads((run / FIGURES_FILE).read_text()), indent=None)
        write_distances(published, *(read_pair_file(folder, PAIRS_FILE) for folder in (run, untouched)))


def main() -> None:
    """The command."""
    arguments, more = split_at_dashes(sys.argv[1:])
    run(tyro.cli(StudySettings, prog="python -m study.run", description=__doc__, args=arguments), more)


if __name__ == "__main__":
    with one_line_errors():
        main()
