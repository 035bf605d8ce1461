"""Run folders as a run makes them, from embeddings made up in a moment: no network, no faces."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from data.tables.pair_csv import CONDITIONS, PairTable
from data.tables.pair_faults import COLUMNS
from eval.after_epoch import EpochReport
from eval.evaluators import PairEvaluator
from eval.final_test import test_best
from eval.plots import style
from runtime.checkpoints.file import save_checkpoint
from runtime.run_folder import RunFolder

PEOPLE, IMAGES = 30, 6  # half of each person's images wear a mask


class MadeUpLoader:
    """Images that hold nothing but their own number, in the first two bytes."""

    def __init__(self, count: int):
        self.images = np.zeros((count, 8, 8, 3), np.uint8)
        self.images[:, 0, 0, 0], self.images[:, 0, 0, 1] = np.divmod(np.arange(count), 256)
        self.images[:, 2:, :, 0] = 200
        self.unreadable: set[int] = set()

    def __iter__(self):
        yield from torch.from_numpy(self.images).split(64)

    def faces(self, indices):
        return self.images[np.asarray(indices)]


class MadeUpModel(nn.Module):
    """Gives the image with number n the n-th row."""

    def __init__(self, rows: np.ndarray):
        super().__init__()
        self.register_buffer("rows", torch.from_numpy(rows).float())

    def forward(self, images, *, lengths=False):
        rows = self.rows[images[:, 0, 0, 0].long() * 256 + images[:, 1, 0, 0].long()]
        unit = nn.functional.normalize(rows)
        return (unit, rows.norm(dim=1)) if lengths else unit


def made_up_pairs(seed: int, pairs: int = 600) -> PairTable:
    """Half same, half different pairs of PEOPLE people, all conditions, two masks; one row was left out."""
    rng = np.random.default_rng(seed)
    same = np.arange(pairs) < pairs // 2
    one = rng.integers(PEOPLE, size=pairs)
    other = np.where(same, one, (one + rng.integers(1, PEOPLE, pairs)) % PEOPLE)
    first = rng.integers(IMAGES, size=pairs)
    second = np.where(same, (first + rng.integers(1, IMAGES, pairs)) % IMAGES, rng.integers(IMAGES, size=pairs))
    masked = np.stack([first >= IMAGES // 2, second >= IMAGES // 2], axis=1)
    kinds = np.array(["cloth", "N95"])[rng.integers(2, size=(pairs, 2))]
    return PairTable(
        paths=np.array([f"somebody_{i // IMAGES}/{i}.jpg" for i in range(PEOPLE * IMAGES)]),
        left=one * IMAGES + first,
        right=other * IMAGES + second,
        same=same,
        condition=np.array(CONDITIONS)[masked.sum(axis=1)],
        people=np.stack([one, other], axis=1),
        masks=np.where(masked, kinds, ""),
        left_out=pd.DataFrame([["test.csv", 7, "a pair listed before", "x.jpg", "y<b>.jpg"]], columns=COLUMNS),
    )


def made_up_rows(kind: str, seed: int) -> np.ndarray:
    """Embeddings (N, 64) of a healthy, a perfect or a collapsed network; masks make a healthy one worse."""
    rng = np.random.default_rng(seed)
    people = np.repeat(rng.normal(size=(PEOPLE, 64)), IMAGES, axis=0)
    noise = rng.normal(size=people.shape)
    masked = (np.arange(len(people)) % IMAGES >= IMAGES // 2)[:, None]
    return {
        "healthy": people + np.where(masked, 1.7, 0.9) * noise,
        "perfect": people + 0.05 * noise,
        "collapsed": np.ones_like(people) + 1e-4 * noise,
    }[kind]


def normalise(batch: torch.Tensor) -> torch.Tensor:
    return batch.permute(0, 3, 1, 2).float()


def make_run(results: Path, name: str, kind: str, epochs: int, stopped: str | None = None) -> Path:
    """A finished run of ``epochs`` epochs, by the functions that make one."""
    run = RunFolder.create(results, name)
    settings = {"backbone": "made-up", "data_root": "faces", "pretrained": "none", "precision": "auto", "seed": 0}
    run.write_config({**settings, "run_name": name})
    lists = {"evaluation": made_up_pairs(0), "test": made_up_pairs(1)}
    lists["evaluation"] = dataclasses.replace(lists["evaluation"], left_out=lists["test"].left_out[:0])
    options = {"device": torch.device("cpu"), "normalise": normalise}
    evaluators = {part: PairEvaluator(MadeUpLoader(PEOPLE * IMAGES), pairs, **options) for part, pairs in lists.items()}
    model, history = MadeUpModel(made_up_rows(kind, 0)), []
    report = EpochReport(run, evaluators["evaluation"])
    for epoch in range(1, epochs + 1):
        line = {"epoch": epoch, "loss": 3 / epoch, "lr": 0.1 if epoch < 3 else 0.01, **report(model, epoch)}
        line |= {"images_seen": 100 * epoch, "seconds": 60.0, "evaluation_seconds": 6.0, "unreadable": 0}
        history.append({**line, "skipped_steps": 0})
    run.write_log(history)
    report.draw(history, epochs)
    content = {"model": model.state_dict(), "history": history, "epoch": epochs, "threshold": line["threshold"]}
    save_checkpoint(run.best, content | {"threshold_metric": "balanced_accuracy", "images_seen": 100 * epochs})
    test_best(run, model, evaluators, stopped)
    return run.path


@pytest.fixture(scope="session")
def finished_runs(tmp_path_factory) -> dict[str, Path]:
    """Run folders by kind, to be read only; change a copy."""
    results = tmp_path_factory.mktemp("finished") / "results"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(style._LOOK, "savefig.dpi", 50)  # nobody looks at these
        return {
            "healthy": make_run(results, "healthy", "healthy", epochs=2),
            "collapsed": make_run(results, "collapsed", "collapsed", epochs=1, stopped="the embeddings have collapsed"),
            "perfect": make_run(results, "perfect", "perfect", epochs=1),
        }
