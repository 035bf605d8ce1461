"""Losses that change during a run: margin and scale rise slowly, and are saved with the loss."""

import torch
from torch import Tensor, nn

NEVER = -1.0
SOFT_START = 0.2  # of the run: how long the margin takes to grow again after a collapse


class ProgressiveLoss(nn.Module):
    """A loss that knows how far the run is.

    The loop calls ``set_progress(step / total_steps)``; the subclass reads ``ramp(share)``. The progress is a
    buffer, so it travels in ``state_dict`` and a resumed run continues with the same margin. A loss whose loop
    never calls ``set_progress`` acts as at the end of the run: warm-up asks for a loop that supports it,
    everything else does not.

    After a collapse the loop may call ``soften()`` once; that travels in ``state_dict``, too. Subclasses have a
    ``margin_warmup``, the share of the run over which their margin rises.
    """

    # What ``forward`` takes beside embeddings and labels, by name: "lengths" (B,) of the embeddings before normalising,
    # "masked" bool (B,), who wears a mask.
    reads: frozenset[str] = frozenset()
    progress: Tensor
    softened_at: Tensor
    margin_warmup: float

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("progress", torch.ones((), dtype=torch.float64))
        self.register_buffer("softened_at", torch.full((), NEVER, dtype=torch.float64))
        self._start = 0.0  # where in the run the ramps begin
        self._fraction = 1.0  # the buffer's value on the host, so that reading it never waits for the GPU
        self.register_load_state_dict_post_hook(_read_back)

    def set_progress(self, fraction: float) -> None:
        """Tell the loss which share of the run, 0 to 1, is done."""
        self._fraction = min(max(float(fraction), 0.0), 1.0)
        self.progress.fill_(self._fraction)

    def ramp(self, share: float) -> float:
        """A line from 0 at the start of the run to 1 after ``share`` of it; 1 throughout when ``share`` is
        0. After ``soften`` the line may begin anew."""
        return 1.0 if share <= 0 else min(1.0, max(0.0, self._fraction - self._start) / share)

    def soften(self) -> str | None:
        """Make the objective easier from here on, against a collapse; what has changed, in words, or None
        where there is nothing (more) to change."""
        if self.softened_at != NEVER:
            return None
        self.softened_at.fill_(self._fraction)
        return self._soften(self._fraction)

    def _soften(self, at: float) -> str | None:
        """The change that ``soften`` makes when ``at`` of the run is done: here the margin grows from zero again."""
        self._start, self.margin_warmup = at, max(self.margin_warmup, SOFT_START)
        return "the margin grows from zero again"


def _read_back(loss: ProgressiveLoss, _incompatible_keys: object) -> None:
    loss._fraction = float(loss.progress)
    if loss.softened_at != NEVER:
        loss._soften(float(loss.softened_at))
