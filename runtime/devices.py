"""Devices and precision: all visible GPUs through DataParallel, the CPU otherwise."""

import contextlib
import os
from dataclasses import dataclass

import torch
from torch import nn

from runtime.errors import InputError


def pick_device(name: str) -> torch.device:
    """``auto`` takes CUDA where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device cuda was asked for, but torch sees no CUDA GPU; set device to cpu or auto")
    return torch.device(name)


def to_device(model: nn.Module, device: torch.device) -> nn.Module:
    """Move to the device in channels_last order, split over all visible GPUs where there are several."""
    model = model.to(device, memory_format=torch.channels_last)
    if device.type == "cuda" and torch.cuda.device_count() > 1:
        return nn.DataParallel(model)
    return model


def unwrap(model: nn.Module) -> nn.Module:
    """The model itself, so that checkpoints carry no ``module.`` prefix."""
    return model.module if isinstance(model, nn.DataParallel) else model


def loader_workers(setting: int, device: torch.device) -> int:
    """Processes that load data; −1 chooses: none beside training on a CPU, up to 8 a GPU otherwise.

    On a CPU the network's threads hold every core; a worker that takes one of them stalls all others.
    """
    if setting >= 0:
        return setting
    if device.type == "cpu":
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8 * torch.cuda.device_count(), max(1, cores - 1))


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
    return Precision(dtype, device, torch.amp.GradScaler(device.type, enabled=name == "fp16"))
