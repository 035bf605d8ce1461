"""Run a function in several processes that form a gloo group, as torchrun's would."""

import io
import multiprocessing
import os
import socket
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist


def in_processes(ranks: int, function: Callable[..., Any], *arguments: Any) -> list:
    """What ``function(*arguments)`` gives in each of ``ranks`` processes; functions of a test module's top level."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["losses", "runtime.distributed"])  # torch is imported once for all
    pipes = [context.Pipe(duplex=False) for _ in range(ranks)]
    port = _free_port()
    packed = _pack(arguments)
    children = [
        context.Process(target=_child, args=(sender, rank, ranks, port, function, packed))
        for rank, (_, sender) in enumerate(pipes)
    ]
    for child in children:
        child.start()
    for _, sender in pipes:
        sender.close()
    try:
        return [_unpack(receiver.recv_bytes()) for receiver, _ in pipes]
    finally:
        for child in children:
            child.join(timeout=20)
            child.kill()


def _child(sender, rank: int, ranks: int, port: int, function: Callable[..., Any], packed: bytes) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=ranks)
    sender.send_bytes(_pack(function(*_unpack(packed))))
    dist.barrier()
    dist.destroy_process_group()


def _pack(value: Any) -> bytes:
    """Bytes that are copied: tensors sent as such would lie in memory that the processes share."""
    with io.BytesIO() as file:
        torch.save(value, file)
        return file.getvalue()


def _unpack(packed: bytes) -> Any:
    return torch.load(io.BytesIO(packed), weights_only=False)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
