"""Which number format a run computes in, and the loss scaling that fp16 needs."""

import contextlib
from dataclasses import dataclass

import torch

from runtime.errors import InputError
from runtime.processes.distributed import ranks


@dataclass
class Precision:
    """Autocast and gradient scaling of one run. ``scaler`` is disabled outside fp16."""

    dtype: torch.dtype
    device: torch.device
    scaler: torch.amp.GradScaler

    def autocast(self) -> contextlib.AbstractContextManager:
        """The context of a forward pass."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.dtype)


def make_precision(name: str, device: torch.device) -> Precision:
    """``auto`` is bf16 on GPUs that have it, fp16 on older ones, float32 on a CPU (bf16 training is slower there)."""
    if name == "auto":
        gpu = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp16"
        name = gpu if device.type == "cuda" else "float32"
    if name == "fp16" and device.type == "cpu":
        raise InputError("precision fp16 needs a GPU; set precision to float32 or bf16")
    dtype = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]
    return Precision(dtype, device, _scaler_type()(device.type, enabled=name == "fp16"))


def _scaler_type() -> type[torch.amp.GradScaler]:
    """With several processes all must pass over a step where one has infinite gradients."""
    if ranks() == 1:
        return torch.amp.GradScaler
    # Imported where it is needed: it brings all of FSDP, a second or so of a script's start.
    from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler

    return ShardedGradScaler
