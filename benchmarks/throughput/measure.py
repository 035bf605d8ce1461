"""Measures one arm: the steps of a network, computed in one way."""

import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.harness.fresh_network import fresh_network
from benchmarks.throughput.packed_faces import ROWS, pack_loader
from benchmarks.throughput.training import (
    EMBEDDING,
    IDENTITIES,
    TRAINED,
    Way,
    assemble,
    bare_step,
    one_gpu,
    random_batch,
)
from losses import ArcFaceLoss
from runtime.devices import loader_workers
from runtime.run_folder import RunFolder
from runtime.training.optim import optimiser_for
from runtime.training.parts import PartTimer
from runtime.training.profile import Profile
from runtime.training.watch import Watch
from train import train_one_epoch


@dataclass(frozen=True)
class Span:
    """How long to measure: steps before the clock runs, then at least so many steps and seconds."""

    warm_up: int
    steps: int
    seconds: float


class Enough(Exception):
    """The measured time is over."""


class Stopwatch:
    """Counts steps; from the end of the warm-up to ``Enough`` it knows the seconds."""

    def __init__(self, span: Span, device: torch.device, on_start: Callable[[], None] = lambda: None):
        self.span, self.on_start, self.steps = span, on_start, -span.warm_up
        self._wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None

    def step_done(self) -> None:
        """Raises Enough after the last step."""
        self.steps += 1
        if self.steps == 0:
            self._wait()
            self.on_start()
            self._started = time.perf_counter()
        elif self.steps >= self.span.steps and time.perf_counter() - self._started >= self.span.seconds:
            self._wait()
            self.seconds = time.perf_counter() - self._started
            raise Enough

    def run(self, step: Callable[[], None]) -> float:
        """Steps until it is enough; seconds a step."""
        try:
            while True:
                step()
                self.step_done()
        except Enough:
            return self.seconds / self.steps


class _EngineWatch(Watch):
    """The engine's own, with a stopwatch."""

    stopwatch: Stopwatch
    timer: PartTimer

    def timed(self, batches, clock):
        return self.timer.over(clock.over(batches))

    def after_step(self, loader, stats) -> None:
        super().after_step(loader, stats)
        self.stopwatch.step_done()


def measure_engine(
    backbone: str,
    size: int,
    way: Way,
    batch: int,
    span: Span,
    device: torch.device,
    pack: Path,
    masked: bool,
    profile: Profile | None = None,
) -> dict:
    """Steps of the engine, from a pack of JPEGs through the loader."""
    state, timer = assemble(backbone, size, way, device), PartTimer(device)
    workers = loader_workers(-1, device, one_gpu(device))
    reading = {"batch": batch, "masked": masked, "workers": workers, "pin_memory": device.type == "cuda"}
    loader = pack_loader(pack, size, rows=ROWS, **reading)
    watch = _EngineWatch(state, RunFolder(pack.parent / "run"))

    def start() -> None:
        timer.restart()
        state.sums.waited = state.sums.computed = 0.0
        if profile:
            profile.start()

    watch.timer, watch.stopwatch = timer, Stopwatch(span, device, start)
    with timer.attached(state.criterion, state.optimiser), suppress(Enough):
        train_one_epoch(state, loader, watch)
    if profile:
        profile.stop()
    if state.sums.skipped > span.warm_up:
        raise ArithmeticError(f"{state.sums.skipped} steps had no finite loss")
    words = {"words": profile.words(timer)} if profile else {}
    seconds = watch.stopwatch.seconds
    waiting = state.sums.waited / seconds
    return {"seconds": seconds / watch.stopwatch.steps, "waiting": waiting, **timer.milliseconds(), **words}


def measure_bare(backbone: str, size: int, way: Way, batch: int, span: Span, device: torch.device) -> dict:
    """Forward, backward, step and nothing else, on random images ready in the device's memory."""
    state = assemble(backbone, size, way, device)
    images, labels = random_batch(batch, size, way, device)
    if not way.figures:
        state.criterion.forward = lambda rows, labels: (plain_arcface(rows, state.criterion.weight, labels), {})
    if way.graphs:
        with torch.autocast(device.type, state.precision.dtype, cache_enabled=False):
            torch.cuda.make_graphed_callables(state.model, (images,))
    timer = PartTimer(device)
    state.model.train()

    def step() -> None:
        timer.begin("forward")
        bare_step(state, images, labels)

    with timer.attached(state.criterion, state.optimiser):
        seconds = Stopwatch(span, device, timer.restart).run(step)
    return {"seconds": seconds, **timer.milliseconds()}


def plain_arcface(embeddings: Tensor, centres: Tensor, labels: Tensor) -> Tensor:
    """ArcFace as arcface_torch writes it: logits with the margin, then cross-entropy; no figures."""
    cosines = F.linear(F.normalize(embeddings), F.normalize(centres)).float().clamp(-1, 1)
    rows = torch.arange(len(labels), device=labels.device)
    margined = (cosines[rows, labels].clamp(-1 + 1e-6, 1 - 1e-6).arccos() + 0.5).cos()
    return F.cross_entropy(64 * cosines.index_put((rows, labels), margined), labels)


def measure_plain_fp16(backbone: str, size: int, batch: int, span: Span, device: torch.device) -> dict:
    """A loop in the manner of arcface_torch: fp16 autocast and its scaler, SGD, channels first, clipped, data ready."""
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    model = fresh_network(backbone, size, EMBEDDING).to(device, memory_format=torch.contiguous_format)
    centres = nn.Parameter(0.01 * torch.randn(IDENTITIES, EMBEDDING, device=device))
    optimiser = torch.optim.SGD([*model.parameters(), centres], lr=0.01, momentum=0.9, weight_decay=5e-4)
    on_gpu = device.type == "cuda"
    scaler = torch.amp.GradScaler(device.type, growth_interval=100, enabled=on_gpu)
    images, labels = random_batch(batch, size, Way(), device)

    def step() -> None:
        with torch.autocast(device.type, torch.float16 if on_gpu else torch.bfloat16):
            loss = plain_arcface(model(images), centres, labels)
        scaler.scale(loss).backward()
        scaler.unscale_(optimiser)
        nn.utils.clip_grad_norm_(model.parameters(), 5)
        scaler.step(optimiser)
        scaler.update()
        optimiser.zero_grad()
        loss.item()  # as theirs does for its log

    return {"seconds": Stopwatch(span, device).run(step)}


def measure_sampled_head(identities: int, batch: int, span: Span, device: torch.device) -> dict:
    """Steps of the head alone with a tenth of so many identities at a time, optimiser included."""
    torch.backends.cuda.matmul.allow_tf32 = False
    with device if device.type == "cuda" else nullcontext():
        head = ArcFaceLoss(EMBEDDING, identities, scale=64, margin=0.4, focal_gamma=0, sample_share=0.1)
    optimiser = optimiser_for(replace(TRAINED, sampled_share=0.1), [head])
    rows = torch.randn(batch, EMBEDDING, device=device, requires_grad=True)
    labels = torch.randint(identities, (batch,), device=device)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        loss, _ = head(F.normalize(rows), labels)
        loss.backward()
        optimiser.step()

    return {"seconds": Stopwatch(span, device).run(step)}
