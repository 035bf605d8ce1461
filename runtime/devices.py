"""Devices and precision: the chosen GPUs through DataParallel, the CPU otherwise."""

import os
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from runtime.errors import InputError
from runtime.memory.allocator import keep_freed_memory
from runtime.memory.recompute import recompute_blocks
from runtime.processes.distributed import distribute, local_rank, local_ranks, ranks
from runtime.training.compiled import check_compiler, compile_training


def available_cores() -> int:
    """Cores that this process may run on; at least 1. Not every system can tell them from all cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pick_device(name: str, gpus: Sequence[int] = ()) -> torch.device:
    """The device that holds a run's parameters; ``auto`` takes CUDA where there is one.

    ``gpus`` are the numbers of the GPUs to use, the first of which it is; empty: all that are visible. Of several
    processes on a machine each takes one of them. Raises InputError if there is no such GPU.
    """
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    listed = ", ".join(map(str, gpus))
    if name == "auto":
        name = "cuda" if there else "cpu"
    if name == "cuda" and not there:
        raise InputError("device cuda was asked for, but torch sees no CUDA GPU; set device to cpu or auto")
    if name == "cpu" and gpus:
        raise InputError(f"gpus are {listed}, but the run is on the CPU; leave gpus empty, or set device cuda")
    if len(set(gpus)) < len(gpus) or not set(gpus) <= set(range(there)):
        raise InputError(f"gpus are {listed}, but the GPUs here are 0 to {there - 1}, each to be named once")
    if name == "cpu":
        keep_freed_memory()
    if name == "cuda" and ranks() > 1:
        mine = list(gpus or range(there))[local_rank() :]
        if not mine:
            raise InputError(f"{local_ranks()} processes on this machine need a GPU each: start as many as there are")
        torch.cuda.set_device(mine[0])
        return torch.device(name, mine[0])
    return torch.device(name, gpus[0]) if gpus else torch.device(name)


def to_device(
    model: nn.Module,
    device: torch.device,
    gpus: Sequence[int] = (),
    *,
    compiled: bool = False,
    cuda_graphs: bool = False,
    recompute: bool = False,
) -> nn.Module:
    """Move to the device in channels_last order, split over ``gpus`` (empty: all visible) where there are several;
    with several processes their gradients are summed.

    ``compiled``: torch.compile compiles the training passes; with ``cuda_graphs`` their kernels are launched all at
    once. ``recompute``: the backward pass recomputes the inside of each block. Raises InputError if compiling does not
    work here, if it would have to work with several GPUs in one process, and for a network without blocks to recompute.
    """
    model = model.to(device, memory_format=torch.channels_last)
    several = device.type == "cuda" and gpu_count(gpus) > 1 and ranks() == 1
    if compiled and several:
        raise InputError(
            "compile does not work with several GPUs in one process; start one process per GPU "
            f"(torchrun --nproc-per-node {gpu_count(gpus)}), or choose one GPU with gpus"
        )
    if recompute and not recompute_blocks(model):
        raise InputError("this backbone has no blocks to recompute; set activation_checkpointing off")
    if compiled:
        check_compiler(device)
        compile_training(model, cuda_graphs=cuda_graphs, recompute=recompute)
    return _Replicated(model, device_ids=list(gpus) or None) if several else distribute(model, device)


class _Replicated(nn.DataParallel):
    """DataParallel whose threads compute in the caller's precision: torch's take fp16 for any autocast."""

    def scatter(self, inputs: tuple, kwargs: dict, device_ids: list[int]) -> tuple:
        """A small batch has fewer parts than there are GPUs; options come once a GPU."""
        inputs, kwargs = super().scatter(inputs, kwargs, device_ids)
        parts = sum(map(bool, inputs))
        return inputs[:parts], kwargs[:parts]

    def parallel_apply(self, replicas: Sequence[Callable], *arguments: object) -> list:
        return super().parallel_apply([in_autocast_of_now(replica, "cuda") for replica in replicas], *arguments)


def in_autocast_of_now(function: Callable, device_type: str) -> Callable:
    """The function with the autocast of now, in whichever thread and context it will be called."""
    enabled, dtype = torch.is_autocast_enabled(device_type), torch.get_autocast_dtype(device_type)

    def call(*arguments: object, **options: object) -> object:
        with torch.autocast(device_type, dtype, enabled=enabled):
            return function(*arguments, **options)

    return call


def gpu_count(gpus: Sequence[int]) -> int:
    """How many GPUs ``gpus`` means: all visible ones where it is empty."""
    return len(gpus) or torch.cuda.device_count()


def unwrap(model: nn.Module) -> nn.Module:
    """The model itself, so that checkpoints carry no ``module.`` prefix."""
    return model.module if isinstance(model, nn.DataParallel | DistributedDataParallel) else model


def loader_workers(setting: int, device: torch.device, gpus: Sequence[int] = ()) -> int:
    """Processes that load data; −1 chooses: none beside training on a CPU, up to 8 a GPU otherwise.

    On a CPU the network's threads hold every core; a worker that takes one of them stalls all others. Eight decode
    some 50,000 faces a second, or put masks on 7,000. Processes that torchrun started share the cores.
    """
    if setting >= 0:
        return setting
    if device.type == "cpu":
        return 0
    processes = local_ranks()
    return min(8 if processes > 1 else 8 * gpu_count(gpus), max(1, available_cores() // processes - 1))
