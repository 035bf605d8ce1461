"""What changes in a loss while a run goes on: margin and scale that rise slowly, saved with the loss."""

import torch
from torch import Tensor, nn


class ProgressiveLoss(nn.Module):
    """A loss that knows how far the run is.

    The loop calls ``set_progress(step / total_steps)``; the subclass reads ``ramp(share)``. The progress is a
    buffer, so it travels in ``state_dict`` and a resumed run goes on with the same margin. A loss whose loop
    never calls ``set_progress`` acts as at the end of the run: warm-up asks for a loop that supports it,
    everything else does not.
    """

    progress: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("progress", torch.ones((), dtype=torch.float64))
        self._fraction = 1.0  # the buffer's value on the host, so that reading it never waits for the GPU
        self.register_load_state_dict_post_hook(_read_back_progress)

    def set_progress(self, fraction: float) -> None:
        """Tell the loss which share of the run, 0 to 1, is done."""
        self._fraction = min(max(float(fraction), 0.0), 1.0)
        self.progress.fill_(self._fraction)

    def ramp(self, share: float) -> float:
        """A line from 0 at the start of the run to 1 after ``share`` of it; 1 throughout when ``share`` is
        0."""
        return 1.0 if share <= 0 else min(1.0, self._fraction / share)


def _read_back_progress(module: ProgressiveLoss, _incompatible_keys: object) -> None:
    module._fraction = float(module.progress)
