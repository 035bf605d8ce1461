"""Why the original's EfficientNet collapsed: one thing changed at a time, on built-in faces.

    python -m study.efficientnet            what is left of the trainings, two at a time, then the page
    python -m study.efficientnet --page     the page alone, from what is published

Every training is short (one core, a few minutes) and differs in one thing from the recipe of ``--preset effnet_b2`` or
from the original's settings. What is finished is passed over, what was stopped goes on. A line a training goes to
results/published/efficientnet/runs.jsonl, from where the tables and the figure of the page beside it are made.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from configs.presets import effnet_b2, model2, model3
from data.synthetic import FaceSet, ensure_faces
from runtime.errors import InputError, one_line_errors
from runtime.run_folder import RunFolder
from study.efficientnet_page import PUBLISHED, line_of, publish, write_page
from study.questions import ARCFACE, TRIPLET, option_words

RECIPE, ORIGINAL = "recipe", "original"

# ==== what all trainings share: few and small faces, so that one takes minutes on one core ====

FACES = Path("datasets/efficientnet-study")
FACE_SET = FaceSet(
    train_people=160,
    eval_people=32,
    test_people=100,
    images_per_person=4,
    seed=0,
    size=64,
    eval_pairs=480,
    test_pairs=1_500,
)
SHORT = {
    "backbone": "efficientnet_b0",
    "pretrained": "none",
    "crop": "arcface5",
    "data_root": FACES,
    "image_size": FACE_SET.size,
    "mirror": False,
    "epochs": 5,
    "workers": 0,
    "deterministic": True,
    "on_collapse": "warn",  # to the end, so that every training is tested
}
SHORT_ARCFACE = {**SHORT, "batch_size": 32}
SHORT_TRIPLET = {**SHORT, "people_per_batch": 8, "images_per_person": 4, "epoch_mode": "random"}

# ==== the two ends ====

_PRESET = effnet_b2.deltas("efficientnet_b0")
# 200 steps need a higher rate and an earlier end of its warm-up than the preset's 40 epochs, and few people a smaller
# scale and margin.
_SHORT_RECIPE = {"lr": 3e-3, "warmup_epochs": 0.5}
_FEW_PEOPLE = {"scale": 16.0, "margin": 0.2, "margin_warmup_epochs": 3.0}
_OWN_NORM_MOMENTUM = {"norm_momentum": 0.01}  # EfficientNet's, which the original left as it was

ENDS: dict[tuple[str, str], dict] = {
    (ARCFACE, RECIPE): {**_PRESET["ArcFaceSettings"], **SHORT_ARCFACE, **_SHORT_RECIPE, **_FEW_PEOPLE},
    (TRIPLET, RECIPE): {**_PRESET["TripletSettings"], **SHORT_TRIPLET, **_SHORT_RECIPE},
    (ARCFACE, ORIGINAL): {
        **model3.DELTAS["ArcFaceSettings"],
        **SHORT_ARCFACE,
        **_OWN_NORM_MOMENTUM,
        "milestones": (1, 2, 3, 4),
    },
    (TRIPLET, ORIGINAL): {
        **model2.DELTAS["TripletSettings"],
        **SHORT_TRIPLET,
        **_OWN_NORM_MOMENTUM,
        "margin": 3.0,
        "allow_saturating_margin": True,
    },
}
# Changes to the network that are no settings: see study.suspects.
_NETWORKS = {RECIPE: {}, ORIGINAL: {"initialisation": "package"}}


@dataclass(frozen=True)
class Change:
    """One thing changed: in words, and the settings or the suspects of the network that it takes."""

    words: str
    options: Mapping[str, object] = field(default_factory=dict)
    network: Mapping[str, object] = field(default_factory=dict)


AS_IT_IS = Change("")
_ORIGINAL_SGD = {"optimiser": "sgd", "lr": 0.1, "weight_decay": 5e-4}
_ADAMW = {"optimiser": "adamw", "lr": 3e-3, "weight_decay": 0.05}
_NO_DROP_PATH = Change("drop path 0", network={"drop_path": 0})

CHANGES: dict[tuple[str, str], tuple[Change, ...]] = {
    (ARCFACE, RECIPE): (
        Change("norm momentum 0.01", {"norm_momentum": 0.01}),
        Change("SGD, lr 0.1, weight decay 5e-4", _ORIGINAL_SGD),
        Change("no lr warm-up", {"warmup_epochs": 0.0}),
        Change("whole margin from the start", {"margin_warmup_epochs": 0.0}),
        Change("s 45, m 0.4, γ 2", {"scale": 45.0, "margin": 0.4, "focal_gamma": 2.0}),
        Change("norms and biases decay", {"decay_norms": True}),
        Change("lr 1e-3", {"lr": 1e-3}),
        Change("weight decay 1e-4", {"weight_decay": 1e-4}),
        Change("gradients not clipped", {"clip_grad_norm": 0.0}),
        _NO_DROP_PATH,
        Change("stem stride 1", network={"stem_stride": 1}),
        Change("the package's initialisation", network={"initialisation": "package"}),
        Change("GeM pooling", {"pooling": "gem"}),
    ),
    (TRIPLET, RECIPE): (
        Change("norm momentum 0.01", {"norm_momentum": 0.01}),
        Change("Adadelta, lr 0.05", {"optimiser": "adadelta", "lr": 0.05}),
        Change("no lr warm-up", {"warmup_epochs": 0.0}),
        Change("lr 1e-3", {"lr": 1e-3}),
        Change("batch-hard", {"mining": "batch_hard"}),
        Change("distance-weighted", {"mining": "distance_weighted"}),
        Change("margin 3", {"margin": 3.0, "allow_saturating_margin": True}),
        _NO_DROP_PATH,
    ),
    (ARCFACE, ORIGINAL): (
        Change("norm momentum 0.1", {"norm_momentum": 0.1}),
        Change("AdamW, lr 3e-3", _ADAMW),
        Change("AdamW, lr 3e-3, and norm momentum 0.1", {**_ADAMW, "norm_momentum": 0.1}),
        Change("lr 0.01", {"lr": 0.01}),
        Change("lr warm-up", {"warmup_epochs": 0.5}),
        Change("no decay of norms and biases", {"decay_norms": False}),
        Change("weight decay 1e-5", {"weight_decay": 1e-5}),
        Change("the margin grows from zero", {"margin_warmup_epochs": 1.0}),
        Change("the paper's initialisation", network={"initialisation": "paper"}),
    ),
    (TRIPLET, ORIGINAL): (
        Change("norm momentum 0.1", {"norm_momentum": 0.1}),
        Change("AdamW, lr 3e-3", _ADAMW),
        Change("AdamW, lr 3e-3, and norm momentum 0.1", {**_ADAMW, "norm_momentum": 0.1}),
        Change("margin 0.3", {"margin": 0.3}),
        Change("semi-hard", {"mining": "semi_hard"}),
    ),
}


@dataclass(frozen=True)
class Training:
    """One training of the study."""

    script: str
    end: str
    change: Change
    seed: int

    @property
    def objective(self) -> str:
        """arcface or triplet."""
        return Path(self.script).stem.removeprefix("main_")

    @property
    def name(self) -> str:
        """Of its run folder: efficientnet_arcface_recipe_no-lr-warm-up_s0."""
        change = re.sub(r"[^a-zA-Z0-9.]+", "-", self.change.words)
        return "_".join(part for part in ("efficientnet", self.objective, self.end, change, f"s{self.seed}") if part)

    def command(self, results: Path) -> list[str]:
        """What trains it, from the repository's folder."""
        network = {**_NETWORKS[self.end], **self.change.network}
        options = {"results_dir": results, "run_name": self.name, **ENDS[self.script, self.end], **self.change.options}
        suspects = ["-m", "study.suspects", *(f"{k}={v}" for k, v in network.items())] if network else []
        return ["python", *suspects, self.script, *option_words({**options, "seed": self.seed})]

    def train(self, results: Path) -> dict:
        """From nothing, or from where it stopped; its line of the page. Raises InputError where it ends untested."""
        results.mkdir(parents=True, exist_ok=True)
        log = results / f"{self.name}.txt"
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        with log.open("a") as file:
            program = [sys.executable, *self.command(results)[1:]]
            subprocess.run(program, check=False, stdout=file, stderr=file, env=environment)
        if not self.finished(results):
            raise InputError(f"{self.name} did not come to its end: see {log}, and give the command again")
        asked = {"name": self.name, "objective": self.objective, "end": self.end, "change": self.change.words}
        command = " ".join(self.command(Path("results")))
        return {**asked, "seed": self.seed, "command": command, **line_of(RunFolder(results / self.name))}

    def finished(self, results: Path) -> bool:
        """Whether it is trained and tested."""
        return (results / self.name / "metrics.json").is_file()


def trainings() -> list[Training]:
    """All of the study, what matters most first."""
    ends = [Training(script, end, AS_IT_IS, 0) for script, end in ENDS]
    changed = [Training(*end, change, 0) for end, changes in CHANGES.items() for change in changes]
    again = [Training(script, end, AS_IT_IS, seed) for seed in (1, 2) for script, end in ENDS]
    return [*ends, *again, *changed]


@dataclass(frozen=True)
class StudySettings:
    """What to do."""

    results: Path = Path("results")
    """Folder of the run folders."""
    at_once: int = 2
    """Trainings at a time, each on one core."""
    page: bool = False
    """Make the page alone."""


def main() -> None:
    """The command."""
    settings = tyro.cli(StudySettings, description=__doc__)
    results = settings.results
    if not settings.page:
        ensure_faces(FACES, FACE_SET)
        left = [training for training in trainings() if not training.finished(results)]
        print(f"{len(left)} of {len(trainings())} trainings to go", flush=True)
        with ThreadPoolExecutor(settings.at_once) as pool:
            for done in pool.map(lambda training: training.train(results), left):
                publish(results / PUBLISHED, [done])
    write_page(results / PUBLISHED)


if __name__ == "__main__":
    with one_line_errors():
        main()
