"""Randomness: where it comes from, and how a checkpoint keeps it."""

import os
import random

import numpy as np
import torch


def seed_everything(seed: int, deterministic: bool) -> None:
    """Seed Python, NumPy and torch; ``deterministic`` makes the same run give the same bits on the same machine."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  libraries that still draw from the global generator
    torch.manual_seed(seed)
    if deterministic:
        # cuBLAS reads this at its first call; without it torch refuses deterministic matrix products on a GPU.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        # Filling new memory would cost time and changes nothing here: no result depends on unwritten memory.
        torch.utils.deterministic.fill_uninitialized_memory = False
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.backends.cudnn.benchmark = not deterministic


class SampleGenerators:
    """Gives each training sample its own draws: a function of its place in the epoch's order, never of a worker."""

    def __init__(self, seed: int):
        # One generator, set to another key for each sample, costs a fifth of making a new one.
        self._bits = np.random.Philox(key=[seed % 2**64, 0])
        self._start = self._bits.state
        self._generator = np.random.Generator(self._bits)

    def at(self, epoch: int, position: int) -> np.random.Generator:
        """The generator of one sample, at its beginning. The next call turns it into another's."""
        self._start["state"]["key"][1] = (epoch << 40) + position
        self._bits.state = self._start
        return self._generator


def rng_state() -> dict:
    """The state of every global generator as tensors and plain values."""
    kind, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    version, internal, gauss = random.getstate()
    return {
        "python": [version, list(internal), gauss],
        "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_rng_state(state: dict) -> None:
    """Inverse of ``rng_state``; GPU states are restored where the same number of GPUs is there."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
