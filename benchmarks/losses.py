"""Time and memory of each mining rule beside a naive B³ version and pytorch-metric-learning, of the distances of a
collapsed batch, and of the sampled head.

    python -m benchmarks.losses [--quick] [--check] [--json FILE]

A case is one forward and backward pass in float32, in a fresh process of its own. Memory is the growth of the
process's resident peak during its first pass (Linux: VmHWM, reset before; elsewhere ru_maxrss); time is the
fastest pass of those that follow. All versions of a case get the same rows and labels.
"""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.harness.table import Options, Report, run_command
from losses import MINING_RULES, ArcFaceLoss, TripletLoss
from losses.distances import pairwise_distances
from losses.mining import FARTHEST, NEAREST, SPHERE

EMBEDDING = 512
MARGIN = 0.3
# Images per person: the original's P = 20 × K = 30, and groups of about that size elsewhere.
GROUPS = {256: 32, 600: 30, 2048: 32, 4096: 32}
LARGEST = 4096
HEAD_BATCH, HEAD_SHARE = 256, 0.1

# ==== measuring ====

Case = Callable[..., Callable[[], float]]  # its arguments are plain values; what it gives is one step to measure


@dataclass(frozen=True)
class Measured:
    seconds: float
    megabytes: float
    value: float


def measure(case: Case, *arguments: object, seconds: float) -> Measured | None:
    """Run a case in a process of its own; None if it died for want of memory."""
    context = _context()
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_measure_here, args=(sender, case, arguments, seconds))
    child.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        return None
    finally:
        child.join()


def _context() -> multiprocessing.context.BaseContext:
    """New processes that find torch imported already, where the system can do that."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["losses", "pytorch_metric_learning.losses", "pytorch_metric_learning.miners"])
    return context


def _measure_here(sender: Connection, case: Case, arguments: tuple, budget: float) -> None:
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    step = case(*arguments)
    before = _reset_peak()
    started = time.perf_counter()
    value = step()
    seconds = [time.perf_counter() - started]
    megabytes = max(_peak() - before, 0) / 2**20
    # The fastest of many passes says what the code costs; the mean says who else was using the machine.
    while len(seconds) < 100 and (len(seconds) < 2 or sum(seconds) < budget):
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
    sender.send(Measured(min(seconds), megabytes, value))


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def _reset_peak() -> int:
    """Resident bytes now, from where the peak is counted anew."""
    if not Path("/proc/self/clear_refs").exists():
        return _peak()
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    if Path("/proc/self/clear_refs").exists():
        return _status("VmHWM")
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def available_memory() -> float:
    """Bytes that a case may take: half of what is free."""
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []
    return next((int(line.split()[1]) * 512 for line in lines if line.startswith("MemAvailable")), 4e9)


# ==== triplets ====


def inputs(batch: int) -> tuple[Tensor, Tensor]:
    """Unit rows (B, D) as in the middle of a training, people loosely grouped; labels (B,)."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(batch) // GROUPS.get(batch, 4)
    people = torch.randn(int(labels.max()) + 1, EMBEDDING, generator=generator)
    rows = people[labels] + 1.5 * torch.randn(batch, EMBEDDING, generator=generator)
    return F.normalize(rows), labels


def triplet_case(version: str, rule: str, batch: int) -> Callable[[], float]:
    """A step of one version: "ours", "naive" or "peer"; warmed up on a tiny batch so that nothing is lazy
    later."""
    loss = {"ours": ours, "naive": naive, "peer": peer}[version](rule)
    step(loss, *inputs(8))
    rows, labels = inputs(batch)
    return lambda: step(loss, rows, labels)


def step(loss: Callable[[Tensor, Tensor], Tensor], rows: Tensor, labels: Tensor) -> float:
    """One forward and backward pass."""
    rows = rows.detach().requires_grad_()
    value = loss(rows, labels)
    value.backward()
    return value.item()


def ours(rule: str) -> Callable[[Tensor, Tensor], Tensor]:
    """This project's loss; its figures are part of the time."""
    loss = TripletLoss(rule, MARGIN)
    return lambda rows, labels: loss(rows, labels)[0]


def naive(rule: str) -> Callable[[Tensor, Tensor], Tensor]:
    """All triplets at once, as (B, B, B) tensors: short, obviously right, and large."""

    def loss(rows: Tensor, labels: Tensor) -> Tensor:
        distances = torch.cdist(rows, rows)
        same = labels[:, None] == labels
        positive = same & ~torch.eye(len(rows), dtype=torch.bool)
        valid = positive[:, :, None] & ~same[:, None, :]
        violation = distances[:, :, None] - distances[:, None, :]
        return NAIVE[rule](violation, valid, positive, distances.detach())

    return loss


def _naive_weighted(violation: Tensor, weights: Tensor) -> Tensor:
    hinges = F.relu(violation + MARGIN)
    return (hinges * weights).sum() / ((hinges > 0) * weights).sum()


def _naive_semi_hard(violation: Tensor, valid: Tensor, positive: Tensor, distances: Tensor) -> Tensor:
    beyond = valid & (violation < 0)
    nearest = violation.masked_fill(~beyond, -torch.inf).amax(2)
    farthest = violation.masked_fill(~valid, torch.inf).amin(2)
    return F.relu(torch.where(beyond.any(2), nearest, farthest) + MARGIN)[positive].mean()


def _naive_distance_weighted(violation: Tensor, valid: Tensor, positive: Tensor, distances: Tensor) -> Tensor:
    between = distances.clamp(NEAREST, FARTHEST).double()
    weights = between ** (2 - SPHERE) * (1 - between.square() / 4) ** ((3 - SPHERE) / 2)
    weights = weights * valid.any(1)
    return _naive_weighted(violation, (weights / weights.sum(1, keepdim=True)).float()[:, None, :] * valid)


NAIVE = {
    "batch_hard": lambda violation, valid, *_: F.relu(_naive_hardest(violation, valid) + MARGIN).mean(),
    "batch_hard_soft": lambda violation, valid, *_: F.softplus(_naive_hardest(violation, valid)).mean(),
    "semi_hard": _naive_semi_hard,
    "batch_all": lambda violation, valid, *_: _naive_weighted(violation, valid),
    "distance_weighted": _naive_distance_weighted,
}


def _naive_hardest(violation: Tensor, valid: Tensor) -> Tensor:
    return violation.masked_fill(~valid, -torch.inf).flatten(1).amax(1)


def peer(rule: str) -> Callable[[Tensor, Tensor], Tensor]:
    """pytorch-metric-learning with the nearest definition: semi-hard takes every negative between, and
    distance-weighted draws one negative a pair."""
    from pytorch_metric_learning import losses, miners
    from pytorch_metric_learning.reducers import MeanReducer

    miner = {
        "batch_hard": lambda: miners.BatchHardMiner(),
        "batch_hard_soft": lambda: miners.BatchHardMiner(),
        "semi_hard": lambda: miners.TripletMarginMiner(MARGIN, type_of_triplets="semihard"),
        "batch_all": lambda: lambda rows, labels: None,
        "distance_weighted": lambda: miners.DistanceWeightedMiner(NEAREST, FARTHEST),
    }[rule]()
    if rule == "batch_hard_soft":
        loss = losses.TripletMarginLoss(0.0, smooth_loss=True, reducer=MeanReducer())
    else:
        loss = losses.TripletMarginLoss(MARGIN, reducer=MeanReducer() if rule == "batch_hard" else None)
    return lambda rows, labels: loss(rows, labels, miner(rows, labels))


# Peak bytes for each of B³ triplets, from runs at B = 256.
PER_TRIPLET = {"naive": 20, "peer": 8}
CUBIC_PEERS = ("semi_hard", "batch_all")


def fits(version: str, rule: str, batch: int) -> bool:
    """Whether a version can be tried at this size without taking the machine down."""
    cubic = version == "naive" or (version == "peer" and rule in CUBIC_PEERS)
    return not cubic or batch**3 * PER_TRIPLET[version] < available_memory()


def compare_rules(report: Report, batch: int, seconds: float) -> None:
    """One row for each rule at this batch size, and the bars that hold at any size."""
    for rule in MINING_RULES:
        print(f"measuring {rule}, B = {batch} …", file=sys.stderr, flush=True)
        runs = {
            version: measure(triplet_case, version, rule, batch, seconds=seconds)
            if fits(version, rule, batch)
            else None
            for version in ("ours", "naive", "peer")
        }
        mine, plain, other = runs["ours"], runs["naive"], runs["peer"]
        report.add(
            B=batch,
            rule=rule,
            ms=mine.seconds * 1e3,
            MB=mine.megabytes,
            naive_ms=plain and plain.seconds * 1e3,
            naive_MB=plain and plain.megabytes,
            peer_ms=other and other.seconds * 1e3,
            peer_MB=other and other.megabytes,
            naive_times=plain and plain.seconds / mine.seconds,
            peer_times=other and other.seconds / mine.seconds,
        )
        if other:
            report.at_least(f"{rule} B={batch}: speed, in peer's", other.seconds / mine.seconds, 1)
        if plain:
            report.at_most(f"{rule} B={batch}: off naive's value", abs(mine.value / plain.value - 1), 1e-4)
        if plain and batch == 600 and rule == "batch_all":
            report.at_least("batch_all B=600: speed, in naive's", plain.seconds / mine.seconds, 200)
            report.at_most("batch_all B=600: memory, in naive's", mine.megabytes / plain.megabytes, 0.1)
        if batch == LARGEST:
            report.at_most(f"{rule} B={batch}: seconds", mine.seconds, 3)
            report.at_most(f"{rule} B={batch}: GB", mine.megabytes / 1024, 2)


# ==== the distances of a collapsed batch ====


def collapsed_case(version: str, batch: int) -> Callable[[], float]:
    """Distances of rows that are nearly the same, each pair from its difference: "ours" or torch's, "peer"."""
    generator = torch.Generator().manual_seed(0)
    rows = F.normalize(1 + 1e-3 * torch.randn(batch, EMBEDDING, generator=generator))
    exact = {"compute_mode": "donot_use_mm_for_euclid_dist"}
    distances = {"ours": pairwise_distances, "peer": lambda rows: torch.cdist(rows, rows, **exact)}[version]
    return lambda: distances(rows).sum().item()


def compare_collapsed(report: Report, batch: int) -> None:
    """One row, the forward pass alone."""
    mine, other = (measure(collapsed_case, version, batch, seconds=1) for version in ("ours", "peer"))
    times = other.seconds / mine.seconds
    name = "distances, collapsed"
    report.add(
        B=batch,
        rule=name,
        ms=mine.seconds * 1e3,
        MB=mine.megabytes,
        peer_ms=other.seconds * 1e3,
        peer_MB=other.megabytes,
        peer_times=times,
    )
    report.at_least(f"{name} B={batch}: speed, in torch.cdist's", times, 1)
    report.at_most(f"{name} B={batch}: off torch.cdist's sum", abs(mine.value / other.value - 1), 1e-4)


# ==== the sampled head ====


def head_case(classes: int, share: float | None) -> Callable[[], float]:
    """A step of ArcFace with all classes, or with a share of them."""
    head = ArcFaceLoss(EMBEDDING, classes, scale=64, margin=0.5, focal_gamma=2, sample_share=share)
    generator = torch.Generator().manual_seed(0)
    rows = F.normalize(torch.randn(HEAD_BATCH, EMBEDDING, generator=generator))
    labels = torch.randint(classes, (HEAD_BATCH,), generator=generator)

    if classes > 1000:
        head_case(1000, share)()  # so that nothing is lazy later

    def loss(rows: Tensor, labels: Tensor) -> Tensor:
        head.weight.grad = None
        return head(rows, labels)[0]

    return lambda: step(loss, rows, labels)


def compare_heads(report: Report, classes: int) -> None:
    """Memory beyond the class centres themselves, full and sampled."""
    print(f"measuring the heads, {classes:,} classes …", file=sys.stderr, flush=True)
    full = measure(head_case, classes, None, seconds=0)
    sampled = measure(head_case, classes, HEAD_SHARE, seconds=0)
    if full is None:
        report.note(f"full head, {classes:,} classes: not enough memory")
        return
    for name, run in (("full head", full), (f"{HEAD_SHARE:.0%} sampled", sampled)):
        report.add(B=HEAD_BATCH, rule=f"{name}, {classes:,} classes", ms=run.seconds * 1e3, MB=run.megabytes)
    ratio = sampled.megabytes / full.megabytes
    report.at_most(f"sampled head, {classes:,} classes: memory, in the full head's", ratio, 0.1)


def main(options: Options) -> int:
    """Run all cases and print the table."""
    report = Report("losses")
    for batch in [size for size in GROUPS if size <= 600] if options.quick else GROUPS:
        compare_rules(report, batch, seconds=1 if options.quick else 2)
    for batch in [600] if options.quick else [600, 2048]:
        compare_collapsed(report, batch)
    # The full head takes about 12 kB a class at its peak.
    compare_heads(report, 1_000_000 if not options.quick and available_memory() * 2 > 14e9 else 100_000)
    report.note(
        "ms: fastest forward + backward; MB: growth of the resident peak in the first pass; peer: "
        "pytorch-metric-learning, of distances torch.cdist; a dash: would not fit into half of the free memory"
    )
    return report.finish(options)


if __name__ == "__main__":
    run_command(main, Options, __doc__)
