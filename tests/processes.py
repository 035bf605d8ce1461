"""Run a function, or a script, in several processes that form a gloo group, as torchrun's would."""

import contextlib
import io
import multiprocessing
import os
import runpy
import socket
import sys
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from runtime.processes.distributed import joined

ROOT = Path(__file__).parents[1]


def start_script(patch: pytest.MonkeyPatch, script: str, *options: object) -> None:
    """A script in this process, in the working folder; ``patch`` gives it its options."""
    patch.setattr(sys, "argv", [script, *map(str, options)])
    runpy.run_path(str(ROOT / script), run_name="__main__")


def in_processes(ranks: int, function: Callable[..., Any], *arguments: Any) -> list:
    """What ``function(*arguments)`` gives in each of ``ranks`` processes; functions of a test module's top level."""
    return _run(ranks, _in_group, function, arguments)


def script_in_processes(ranks: int, script: Path, *options: object) -> str:
    """What the script's processes said on stdout, in the working folder; they come to an end without an error."""
    return "".join(_run(ranks, _script, script, options))


def fresh_processes() -> ForkServerContext:
    """Processes without what earlier tests left: in a fork of this one, torch may be unable to compute gradients."""
    context = multiprocessing.get_context("forkserver")
    # Imported once, for every process; optimisers bring torch._dynamo, which takes as long as torch itself.
    context.set_forkserver_preload(["main_arcface", "torch._dynamo", "timm"])
    with contextlib.chdir(ROOT):
        forkserver.ensure_running()
    return context


def _run(ranks: int, body: Callable[..., Any], *arguments: Any) -> list:
    context = fresh_processes()
    pipes = [context.Pipe(duplex=False) for _ in range(ranks)]
    port = _free_port()
    packed = _pack(arguments)
    children = [
        context.Process(target=_child, args=(sender, rank, ranks, port, body, packed))
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


def _child(sender, rank: int, ranks: int, port: int, body: Callable[..., Any], packed: bytes) -> None:
    torch.set_num_threads(1)
    names = {"RANK": rank, "WORLD_SIZE": ranks, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": ranks}
    os.environ |= {name: str(value) for name, value in names.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"}
    sender.send_bytes(_pack(body(*_unpack(packed))))


def _in_group(function: Callable[..., Any], arguments: tuple) -> Any:
    with joined():
        result = function(*arguments)
        dist.barrier()
    return result


def _script(script: Path, options: tuple) -> str:
    sys.argv = [str(script), *map(str, options)]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        runpy.run_path(str(script), run_name="__main__")
    return said.getvalue()


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
