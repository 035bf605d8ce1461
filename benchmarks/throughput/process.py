"""Arms in a process of their own, so that one that hangs or breaks the GPU takes no other along."""

import contextlib
import functools
import gc
import multiprocessing
import os
import queue
import signal
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.throughput.arms import Arm
from benchmarks.throughput.chip import peak_flops, training_flops
from models import build_model
from runtime.devices import pick_device

_CONTEXT = multiprocessing.get_context("spawn")


def results(arms: list[Arm], device: str, packs: Path, seconds_each: float, deadline: float) -> Iterator[dict]:
    """A row an arm, as each is done; ``deadline`` on the clock of time.monotonic ends it."""
    left = list(arms)
    while left and time.monotonic() < deadline:
        rows = _CONTEXT.Queue()
        process = _CONTEXT.Process(target=_measure_all, args=(left, device, packs, rows))
        process.start()
        try:
            while left and time.monotonic() < deadline:
                row = _next_row(rows, process, min(deadline, time.monotonic() + seconds_each))
                arm = left.pop(0)
                if row is None:
                    row = head(arm) | {"error": "took too long, or its process died"}
                yield row
                if row.get("fatal"):
                    break
        finally:
            _end(process)


def head(arm: Arm) -> dict:
    """The cells that name an arm."""
    return {"network": arm.backbone or "–", "px": arm.size or None, "arm": arm.name}


def _next_row(rows: multiprocessing.Queue, process: multiprocessing.Process, until: float) -> dict | None:
    while time.monotonic() < until:
        with contextlib.suppress(queue.Empty):
            return rows.get(timeout=0.5)
        if not process.is_alive() and rows.empty():
            return None
    return None


def _end(process: multiprocessing.Process) -> None:
    """It and what it started: its loaders' workers are of its group."""
    process.join(timeout=2)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def _measure_all(arms: list[Arm], device_name: str, packs: Path, rows: multiprocessing.Queue) -> None:
    with contextlib.suppress(OSError):
        os.setpgrp()
    device = pick_device(device_name, (0,) if device_name == "cuda" else ())
    for arm in arms:
        if not multiprocessing.parent_process().is_alive():
            return
        rows.put(_measure(arm, device, packs))


def _measure(arm: Arm, device: torch.device, packs: Path) -> dict:
    try:
        _fresh(device)
        row = _row(arm, device, arm.measure(device, packs))
    except Exception as error:
        traceback.print_exc()
        lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        # Such an error stays with the process.
        fatal = "CUDA error" in str(error) or "cudaError" in str(error)
        row = head(arm) | {"error": f"{type(error).__name__}: {lines[0][:200]}", "fatal": fatal}
    return row


def _fresh(device: torch.device) -> None:
    torch.compiler.reset()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _row(arm: Arm, device: torch.device, measured: dict) -> dict:
    batch, seconds = arm.batch(device), measured.pop("seconds")
    peak = peak_flops(device)
    rate = batch / seconds
    work = rate * _flops(arm.backbone, arm.size) if arm.backbone else None
    row = head(arm) | {
        "words": measured.pop("words", None),
        "batch": batch,
        "images_s": rate,
        "mfu": work and peak and work / peak,
    }
    row |= {"waiting": measured.pop("waiting", None), "step_ms": 1000 * seconds}
    row |= {"memory_gib": torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None}
    return row | {f"{name}_ms": value for name, value in measured.items()}


@functools.cache
def _flops(backbone: str, size: int) -> float:
    own = {"embedding_size": 512, "pooling": "backbone", "dropout": 0.0, "pretrained": "none"}
    return training_flops(build_model(backbone, image_size=size, **own), size)
