"""What is measured, in the order of its weight: where time is short, the last arms are left out."""

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Literal

import torch

from benchmarks.throughput.measure import (
    Span,
    measure_bare,
    measure_engine,
    measure_plain_fp16,
    measure_sampled_head,
)
from benchmarks.throughput.training import Way
from runtime.training.compiled import CUDA_GRAPHS
from runtime.training.profile import Profile

BATCHES = {"cuda": 256, "cpu": 4}
SPANS = {"cuda": Span(warm_up=10, steps=20, seconds=1.5), "cpu": Span(warm_up=1, steps=2, seconds=0.0)}
IDENTITIES = {"cuda": 10_000_000, "cpu": 20_000}

FLOAT32, TF32, PLAIN, ENGINE, MASKS = "float32", "float32 with TF32", "plain fp16", "engine", "engine, fresh masks"
COMPILED, GRAPHS, HEAD = "engine, compiled", "engine, reduce-overhead", "sampled head"
BARS = (("iresnet50", 112), ("inception_resnet_v1", 112), ("inception_resnet_v1", 160))
OTHERS = (("iresnet100", 112), ("seresnext101", 128), ("efficientnet_b0", 128), ("mobilefacenet", 112))
LEVERS = BARS[:2]

# What the engine does where bits need not repeat.
BEST = Way("auto", channels_last=True, autotuned=True, fused=True)
# Up to the best each has what those before it have; then come ways to go beyond.
LADDER = {
    "bare: bf16": Way("bf16"),
    "bare: bf16, channels_last": Way("bf16", channels_last=True),
    "bare: …, autotuned": Way("bf16", channels_last=True, autotuned=True),
    "bare: …, fused optimiser: best": BEST,
    "bare: best, TF32 in the head": replace(BEST, tf32=True),
    "bare: best, loss without figures": replace(BEST, figures=False),
    "bare: best, loss without figures, CUDA graphs": replace(BEST, figures=False, graphs=True),
}
COMPILERS = {
    "bare: best, compiled": replace(BEST, compiled="default"),
    "bare: best, reduce-overhead": replace(BEST, compiled=CUDA_GRAPHS),
}


@dataclass(frozen=True)
class Arm:
    """One row of the table."""

    backbone: str
    size: int
    name: str
    kind: Literal["engine", "bare", "plain", "head", "profile"]
    way: Way = BEST
    masked: bool = False
    times_batch: float = 1.0
    traces: Path | None = None  # folder

    def __str__(self) -> str:
        return f"{self.backbone} {self.size} {self.name}".strip()

    def batch(self, device: torch.device) -> int:
        """Images a step."""
        return max(2, int(self.times_batch * BATCHES[device.type]))

    def measure(self, device: torch.device, packs: Path) -> dict:
        """Seconds a step and of its parts. Raises whatever goes wrong."""
        at = {"batch": self.batch(device), "span": SPANS[device.type], "device": device}
        faces = {"pack": packs / str(self.size) / "train.pack", "masked": self.masked}
        match self.kind:
            case "engine":
                return measure_engine(self.backbone, self.size, self.way, **faces, **at)
            case "profile":
                return self._profile(at | faces | {"span": replace(SPANS[device.type], steps=5, seconds=0.0)})
            case "bare":
                return measure_bare(self.backbone, self.size, self.way, **at)
            case "plain":
                return measure_plain_fp16(self.backbone, self.size, **at)
            case "head":
                return measure_sampled_head(IDENTITIES[device.type], **at)

    def _profile(self, at: dict) -> dict:
        profile = Profile(at["device"])
        measured = measure_engine(self.backbone, self.size, self.way, profile=profile, **at)
        profile.save_trace(self.traces / f"{self.backbone}_{self.size}.json.gz")
        return measured


def all_arms(traces: Path | None) -> list[Arm]:
    """Bars first, then compiled kernels, the head, the profiles, the levers, and the other networks."""
    arms = [arm for network in BARS for arm in _peers(*network)]
    arms += [Arm(*network, COMPILED, "engine", replace(BEST, compiled="default")) for network in LEVERS]
    arms += [Arm(*network, GRAPHS, "engine", replace(BEST, compiled=CUDA_GRAPHS)) for network in BARS[1:]]
    arms.append(Arm("", 0, HEAD, "head"))
    arms += [_profiled(*network, traces) for network in LEVERS if traces]
    deterministic = replace(BEST, autotuned=False, deterministic=True)
    arms += [Arm(*network, "engine, deterministic", "engine", deterministic) for network in LEVERS]
    arms += [Arm(*network, name, "bare", way) for network in LEVERS for name, way in LADDER.items()]
    arms += [arm for network in OTHERS for arm in _peers(*network) if arm.name not in (TF32, MASKS)]
    for network, times in product(LEVERS, (0.5, 2)):
        arms.append(Arm(*network, f"engine, {times:g} × the batch", "engine", times_batch=times))
    arms.append(Arm(*BARS[2], COMPILED, "engine", replace(BEST, compiled="default")))
    arms += [Arm(*network, name, "bare", way) for network in LEVERS for name, way in COMPILERS.items()]
    return arms


def quick_arms(traces: Path | None) -> list[Arm]:
    """Every kind once, on the smallest network."""
    network = OTHERS[-1]
    ladder = [Arm(*network, name, "bare", way) for name, way in LADDER.items()]
    compiled = Arm(*network, COMPILED, "engine", replace(BEST, compiled="default"))
    profiled = [_profiled(*network, traces)] if traces else []
    return [*_peers(*network), *ladder, Arm("", 0, HEAD, "head"), *profiled, compiled]


def _profiled(backbone: str, size: int, traces: Path) -> Arm:
    return Arm(backbone, size, "engine, profiled", "profile", traces=traces)


def _peers(backbone: str, size: int) -> list[Arm]:
    return [
        Arm(backbone, size, ENGINE, "engine"),
        Arm(backbone, size, MASKS, "engine", masked=True),
        Arm(backbone, size, FLOAT32, "bare", Way()),
        Arm(backbone, size, TF32, "bare", Way(tf32=True)),
        Arm(backbone, size, PLAIN, "plain"),
    ]
