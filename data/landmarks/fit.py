"""The training loop: resumable, the same bits whatever the number of workers and wherever it was stopped."""

import signal
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from data.alignment.landmark_network import LandmarkNetwork, Points
from data.landmarks.hide import hard_face
from data.landmarks.settings import LandmarkSettings
from data.landmarks.teacher import Taught
from runtime.checkpoints.file import load_checkpoint, load_state, save_checkpoint
from runtime.errors import InputError
from runtime.processes.children import end_with_parent, no_opencv_threads
from runtime.seeds import SampleGenerators
from runtime.training.ema import EMA

_SAVED_EVERY = 25
# The averaged weights are those of about the last hundred steps.
_AVERAGE = 0.99
# Where the network is sure of a point, an error counts by how sure; everywhere it counts against this, too, so that
# what is hard to see is not given up.
_FIXED_SPREAD = 0.04


class _HardBatches(Dataset):
    """The batch of every step: crops uint8 (B, 96, 96, 3), landmarks float32 (B, 5, 2), faces float32 (B,)."""

    def __init__(self, taught: Taught, settings: LandmarkSettings) -> None:
        self._crops, self._landmarks = taught.crops, taught.landmarks
        self._rows = np.flatnonzero(~taught.held_out)
        self._batch, self._kinds = settings.batch_size, settings.mask_kinds
        self._generators = SampleGenerators(settings.seed)

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        hard = [self._example(self._generators.at(0, step * self._batch + i)) for i in range(self._batch)]
        crops, landmarks, faces = (np.stack(values) for values in zip(*hard, strict=True))
        return torch.from_numpy(crops), torch.from_numpy(landmarks), torch.from_numpy(faces.astype(np.float32))

    def _example(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, bool]:
        row = self._rows[int(rng.integers(len(self._rows)))]
        return hard_face(self._crops[row], self._landmarks[row], rng, self._kinds, self._crops)


def loss_of(points: Points, landmarks: Tensor, faces: Tensor) -> Tensor:
    """How unlikely the true points are, each under a spread of its own (the distance is Laplacian in the plane), and
    the cross-entropy of whether there is a face. Points count on faces alone."""
    distance = (points.landmarks - landmarks).square().sum(-1).add(1e-10).sqrt()
    unlikely = 2 * distance / points.spread + 2 * points.spread.log() + distance / _FIXED_SPREAD
    of_points = (unlikely.mean(1) * faces).sum() / faces.sum().clamp(min=1)
    return of_points + F.binary_cross_entropy_with_logits(points.face, faces)


class _Training:
    """What a checkpoint holds: network, averaged weights, optimiser and the number of steps done."""

    def __init__(self, settings: LandmarkSettings, photographs: str) -> None:
        torch.manual_seed(settings.seed)
        self._made_with = {**settings.made_with(), "photographs": photographs}
        self._lr, self._steps = settings.lr, settings.steps
        self.network = LandmarkNetwork().train()
        self.average = EMA(self.network, _AVERAGE)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=settings.lr, weight_decay=1e-3)
        self.done = 0

    def step(self, crops: Tensor, landmarks: Tensor, faces: Tensor) -> float:
        """One batch, at a rate that falls in a straight line to zero; returns its loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self._lr * (1 - self.done / self._steps)
        loss = loss_of(self.network(crops), landmarks, faces)
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.average.update()
        self.done += 1
        return float(loss.detach())

    def save(self, path: Path) -> None:
        content = {"model": self.network.state_dict(), "average": self.average.state_dict(), "step": self.done}
        save_checkpoint(path, {**content, "optimiser": self.optimiser.state_dict(), "settings": self._made_with})

    def resume(self, path: Path) -> None:
        """Take up a checkpoint, if there is one. Raises InputError where it was made with other settings, or on other
        photographs, which older ones don't name."""
        if not path.is_file():
            return
        content = load_checkpoint(path)
        made_with = {"photographs": self._made_with["photographs"], **content["settings"]}
        different = [key for key, value in self._made_with.items() if made_with.get(key) != value]
        if different:
            was = ", ".join("other photographs" if k == "photographs" else f"{k} {made_with.get(k)}" for k in different)
            raise InputError(f"{path} was begun with {was}; use the same settings to resume, or name another --out")
        load_state(self.network, content["model"], str(path))
        self.average.load_state_dict(content["average"], content["step"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.done = content["step"]


def fit(taught: Taught, settings: LandmarkSettings, checkpoint: Path) -> LandmarkNetwork:
    """The network with its averaged weights after ``settings.steps``, trained from ``checkpoint`` on if it is there.

    Raises InputError where the checkpoint was made with other settings, or on other photographs.
    """
    training = _Training(settings, taught.digest)
    training.resume(checkpoint)
    loader = DataLoader(
        _HardBatches(taught, settings),
        batch_size=None,
        sampler=range(training.done, settings.steps),
        num_workers=settings.workers,
        generator=torch.Generator(),
        worker_init_fn=_start_worker,
    )
    bar = tqdm(loader, desc="training", unit="step", initial=training.done, total=settings.steps)
    for batch in bar:
        bar.set_postfix(loss=f"{training.step(*batch):.3f}", refresh=False)
        if training.done % _SAVED_EVERY == 0 or training.done == settings.steps:
            training.save(checkpoint)
    training.network.load_state_dict(training.average.state_dict())
    return training.network.eval()


def _start_worker(worker: int) -> None:
    """Ctrl-C is the parent's business."""
    no_opencv_threads()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
