"""Where the time of a few steps goes: torch's profiler, and what it says in ten lines of words."""

from collections import defaultdict
from pathlib import Path

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

# Kinds of work by what the names of torch's operators contain; the first that fits.
KINDS = {
    "optimiser": ("optimizer", "_fused_sgd", "_fused_adam", "_foreach"),
    "compiled kernels": ("triton", "compiled", "inductor"),
    "convolutions": ("conv",),
    "BatchNorm": ("batch_norm",),
    "activations": ("relu", "clamp", "threshold", "silu", "sigmoid"),
    "matrix products": ("mm", "linear", "matmul"),
    "copies and casts": ("copy", "memcpy", "cat", "_to_copy", "contiguous", "memset", "fill", "zero"),
    "pooling and sums": ("pool", "sum", "mean", "norm"),
    "element by element": ("add", "mul", "div", "sub", "where", "index"),
}
BUSY = 0.9  # share of the time in which a GPU that has enough to do computes


class Profile:
    """Some steps under torch's profiler, between ``start`` and ``stop``."""

    def __init__(self, device: torch.device):
        self._on_gpu = device.type == "cuda"
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self._on_gpu else [])]
        self._profiler = profile(activities=activities)

    def start(self) -> None:
        """From here on."""
        self._profiler.start()

    def stop(self) -> None:
        """Until here."""
        self._profiler.stop()

    def save_trace(self, path: Path) -> None:
        """A trace for chrome://tracing or ui.perfetto.dev; ``path`` ends in .json.gz."""
        self._profiler.export_chrome_trace(str(path))

    def words(self, steps: int, seconds: float) -> list[str]:
        """At most ten lines: where the time of so many steps went, which took ``seconds`` in all."""
        averages = self._profiler.key_averages()
        spent = defaultdict(float)
        for event in averages:
            if event.device_type == DeviceType.CPU:
                spent[_kind(event.key)] += (
                    event.self_device_time_total if self._on_gpu else event.self_cpu_time_total
                ) / 1e6
        total = sum(spent.values()) or 1e-9
        lines = [f"{steps} steps of {1000 * seconds / steps:.1f} ms"]
        if self._on_gpu:
            kernels = sum(e.count for e in averages if e.device_type == DeviceType.CUDA)
            busy = total / seconds
            lines[0] += f", {kernels / steps:,.0f} kernels a step; the GPU computes {busy:.0%} of the time"
            lines.append(self._advice(busy, averages))
        shares = sorted(spent.items(), key=lambda kind: -kind[1])[:7]
        return lines + [
            f"  {share / total:4.0%}  {kind}, {1000 * share / steps:.2f} ms a step" for kind, share in shares
        ]

    @staticmethod
    def _advice(busy: float, averages: list) -> str:
        if busy >= BUSY:
            return "the GPU is busy: bf16, compile or a smaller network make it faster, more workers do not"
        reads = sum(e.count for e in averages if e.key in ("aten::_local_scalar_dense", "cudaStreamSynchronize"))
        return (
            f"the GPU waits {1 - busy:.0%} of the time ({reads} reads and waits): for data if the waiting share of the "
            "log is high (workers, a pack, fewer masks), else for launches (larger batch, compile)"
        )


def _kind(name: str) -> str:
    name = name.lower()
    return next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), "other")
