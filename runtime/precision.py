"""Which number format a run computes in, and the loss scaling that fp16 needs."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from runtime.errors import InputError
from runtime.processes.distributed import ranks

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Backbones that train faster in bf16 on a CPU with instructions for it: images/s of one core in float32 and in bf16,
# InceptionResNetV1 at 80 pixels and MobileFaceNet at 112, on AMD EPYC Zen 4 and 5 (AVX512-BF16). No other was measured.
BF16_ON_CPU = {"inception_resnet_v1": (54, 84), "mobilefacenet": (19, 24)}


@dataclass
class Precision:
    """Autocast and gradient scaling of one run. ``scaler`` is disabled outside fp16."""

    name: str  # float32 | bf16 | fp16
    device: torch.device
    scaler: torch.amp.GradScaler

    @property
    def dtype(self) -> torch.dtype:
        """The type that autocast computes in."""
        return DTYPES[self.name]

    def autocast(self) -> contextlib.AbstractContextManager:
        """The context of a forward pass."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    @contextlib.contextmanager
    def switched_to(self, name: str) -> Iterator[None]:
        """Compute in another format for a while."""
        before, self.name = self.name, name
        try:
            yield
        finally:
            self.name = before


def make_precision(name: str, device: torch.device, backbone: str = "") -> Precision:
    """``auto`` is bf16 on GPUs that support it, fp16 on older ones; on a CPU it is bf16 if the processor has the
    instructions and the backbone is known to gain (``BF16_ON_CPU``), else float32."""
    if name == "auto" and device.type == "cuda":
        name = "bf16" if _gpu_has_bf16() else "fp16"
    elif name == "auto":
        name = "bf16" if backbone in BF16_ON_CPU and cpu_has_bf16() else "float32"
    if name == "fp16" and device.type == "cpu":
        raise InputError("precision fp16 needs a GPU; set precision to float32 or bf16")
    return Precision(name, device, _scaler_type()(device.type, enabled=name == "fp16"))


def precision_of_resumed(chosen: Precision, setting: str, stored: str | None, run: Path) -> Precision:
    """The precision of a resumed run: that of its settings; with ``auto`` the one ``stored`` in its checkpoint.

    Older checkpoints store none (None); this means float32 on a CPU, and on a GPU what ``auto`` has ``chosen`` today.
    Raises InputError if this machine has no instructions for it.
    """
    device = chosen.device
    if stored is None and device.type == "cpu":
        stored = "float32"
    if setting != "auto" or stored in (None, chosen.name):
        return chosen
    if not _computes_in(stored, device):
        raise InputError(
            f"{run} was trained in {stored}, for which this {_IN_WORDS[device.type]} has no instructions; resume it on "
            f"one that has them, or continue in float32 with --resume {run} --precision float32"
        )
    return make_precision(stored, device)


_IN_WORDS = {"cpu": "processor", "cuda": "GPU"}


def cpu_has_bf16() -> bool:
    """Whether the processor has bf16 instructions (AVX512-BF16, AMX); without them bf16 is slower than float32."""
    if not hasattr(torch.cpu, "get_capabilities"):  # an older torch
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _gpu_has_bf16() -> bool:
    """Whether the GPU multiplies in bf16 itself; older ones emulate it."""
    return torch.cuda.is_bf16_supported(including_emulation=False)


def _computes_in(name: str, device: torch.device) -> bool:
    on_gpu = device.type == "cuda"
    if name == "bf16":
        return _gpu_has_bf16() if on_gpu else cpu_has_bf16()
    return on_gpu or name == "float32"


def _scaler_type() -> type[torch.amp.GradScaler]:
    """With several processes, all must skip a step in which one has infinite gradients."""
    if ranks() == 1:
        return torch.amp.GradScaler
    # Imported where it is needed: it brings all of FSDP, a second or so of a script's start.
    from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler

    return ShardedGradScaler
