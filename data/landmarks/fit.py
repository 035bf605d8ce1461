"""The training loop: resumable, the same bits whatever the number of workers and wherever it was stopped."""

import math
from pathlib import Path

import cv2
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
from runtime.seeds import SampleGenerators

_SAVED_EVERY = 100
_WARM_UP = 100
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


def fit(taught: Taught, settings: LandmarkSettings, checkpoint: Path) -> LandmarkNetwork:
    """Train, from ``checkpoint`` on if it is there. Raises InputError where that was made with other settings."""
    torch.manual_seed(settings.seed)
    network = LandmarkNetwork()
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.lr, weight_decay=1e-3)
    done = _resume(checkpoint, settings, network, optimiser)
    loader = DataLoader(
        _HardBatches(taught, settings),
        batch_size=None,
        sampler=range(done, settings.steps),
        num_workers=settings.workers,
        generator=torch.Generator(),
        worker_init_fn=_start_worker,
    )
    network.train()
    bar = tqdm(loader, desc="training", unit="step", initial=done, total=settings.steps)
    for step, batch in enumerate(bar, start=done):
        for group in optimiser.param_groups:
            group["lr"] = settings.lr * _schedule(step, settings.steps)
        crops, landmarks, faces = batch
        loss = loss_of(network(crops), landmarks, faces)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        if step % 10 == 0:
            bar.set_postfix(loss=f"{float(loss.detach()):.3f}", refresh=False)
        if (step + 1) % _SAVED_EVERY == 0 or step + 1 == settings.steps:
            _save(checkpoint, settings, network, optimiser, step + 1)
    return network.eval()


def _schedule(step: int, steps: int) -> float:
    """A short warm-up, then half a cosine to zero."""
    warm = min(_WARM_UP, steps // 10)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(steps - warm, 1)))


def _save(
    path: Path, settings: LandmarkSettings, network: LandmarkNetwork, optimiser: torch.optim.Optimizer, done: int
) -> None:
    made_with = settings.made_with()
    state = {"model": network.state_dict(), "optimiser": optimiser.state_dict(), "settings": made_with, "step": done}
    save_checkpoint(path, state)


def _resume(path: Path, settings: LandmarkSettings, network: LandmarkNetwork, optimiser: torch.optim.Optimizer) -> int:
    """The number of steps that ``path`` has behind it, 0 where there is no such file."""
    if not path.is_file():
        return 0
    content = load_checkpoint(path)
    different = [key for key, value in settings.made_with().items() if content["settings"].get(key) != value]
    if different:
        was = ", ".join(f"{key} {content['settings'].get(key)}" for key in different)
        raise InputError(f"{path} was begun with {was}; use the same settings to resume, or name another --out")
    load_state(network, content["model"], str(path))
    optimiser.load_state_dict(content["optimiser"])
    return content["step"]


def _start_worker(worker: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
