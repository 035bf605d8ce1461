"""Several processes, on one machine or many, as torchrun starts them: who is who, and the few collectives in use.

Without torchrun there is one process, and every function here does what it says for one.

How gradients add up: each process calls ``backward`` on its share of the loss, and the gradients of all processes
are summed (not averaged, as DistributedDataParallel does by itself). A share is either the loss of the process's
own images, divided by what all processes have, or a loss that all compute alike from gathered embeddings, of which
each process sends back what belongs to its own images. The sum is the gradient of one process with the whole batch.
"""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")
# The first process may draw faces, evaluate or write a large checkpoint while the others wait.
PATIENCE = timedelta(hours=2)

# ==== who is who ====


@contextmanager
def joined() -> Iterator[None]:
    """Around a command's main(): joins the processes that torchrun started, gloo on CPUs and NCCL between GPUs.

    Processes other than the first keep silent on stdout. An error leaves at once, without waiting for the others:
    torchrun ends them. A stop with a message is no failure, which torchrun would answer with a new start.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    store, number, processes = next(dist.rendezvous("env://"))
    if processes == local_ranks():
        # After a restart the agent's store still has the addresses of the processes that ended. (On several machines
        # the count of restarts differs; there torchrun's TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 gives a new store.)
        store = dist.PrefixStore(f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    dist.init_process_group(backend, store=store, rank=number, world_size=processes, timeout=PATIENCE)
    stdout = sys.stdout
    with open(os.devnull, "w") as silence:
        try:
            sys.stdout = stdout if is_first() else silence
            yield
        except SystemExit as stop:
            # Training that stopped for a reason would be started again by torchrun, to stop for the same one.
            if not isinstance(stop.code, str):
                raise
            print(stop.code)
        finally:
            sys.stdout = stdout
    dist.destroy_process_group()


def rank() -> int:
    """This process's number, 0 … ``ranks()`` − 1."""
    return dist.get_rank() if dist.is_initialized() else 0


def ranks() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def local_rank() -> int:
    """This process's number on its own machine: which of its GPUs it takes."""
    return int(os.environ.get("LOCAL_RANK", 0))


def local_ranks() -> int:
    """How many processes train on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return rank() == 0


@contextmanager
def first_goes_ahead() -> Iterator[None]:
    """The first process runs the body alone, then the others theirs: for what need be made only once."""
    if not is_first():
        dist.barrier()
    yield
    if is_first() and ranks() > 1:
        dist.barrier()


def part_of(items: int) -> slice:
    """This process's share of a list: contiguous, in the order of the processes, sizes differing by at most 1."""
    return slice(items * rank() // ranks(), items * (rank() + 1) // ranks())


# ==== collectives ====


def from_first(value: T) -> T:
    """The first process's ``value`` (anything that pickles) in all of them."""
    if ranks() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def from_all(value: T) -> list[T]:
    """Every process's ``value`` (anything that pickles), in the order of the processes."""
    if ranks() == 1:
        return [value]
    values: list = [None] * ranks()
    dist.all_gather_object(values, value)
    return values


@contextmanager
def failing_together(kind: type[Exception]) -> Iterator[None]:
    """An exception of this ``kind`` (it pickles) in one process's body is raised in all of them, behind the body."""
    own = None
    try:
        yield
    except kind as error:
        own = error
    for failure in filter(None, from_all(own)):
        raise failure


def most_over_ranks(*values: int) -> list[int]:
    """Each value's maximum over the processes: what one of them wants, all do."""
    return max_over_ranks(torch.tensor(values)).tolist()


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Sum of a tensor that has the same shape in all processes; no gradient."""
    return _reduced(tensor.detach(), dist.ReduceOp.SUM)


def max_over_ranks(tensor: Tensor) -> Tensor:
    """Elementwise maximum of a tensor that has the same shape in all processes; no gradient."""
    return _reduced(tensor.detach(), dist.ReduceOp.MAX)


def sum_shares(share: Tensor) -> Tensor:
    """Sum over the processes; the gradient goes to this process's share alone, as the others send theirs."""
    return share if ranks() == 1 else _SumShares.apply(share)


def sum_gradients(tensor: Tensor) -> Tensor:
    """The same tensor; its gradient is summed over the processes, each of which uses it for another part."""
    return tensor if ranks() == 1 else _SumGradients.apply(tensor)


def gather_rows(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Rows of all processes, in their order: tensors (n, …) → (Σ n, …); n may differ from process to process.

    All ``tensors`` have the same n. The gradient of a floating tensor is its own rows' part: what the processes
    compute from gathered rows must either be the same in all, or go through ``sum_gradients``.
    """
    if ranks() == 1:
        return tensors
    sizes = sizes_of_all(len(tensors[0]))
    return tuple(_GatherRows.apply(tensor, sizes) for tensor in tensors)


def sizes_of_all(size: int) -> list[int]:
    """Every process's ``size``, exchanged between the CPUs, so that no process waits for its GPU."""
    sizes = torch.zeros(ranks(), dtype=torch.int64)
    sizes[rank()] = size
    return _reduced(sizes, dist.ReduceOp.SUM).tolist()


def _reduced(tensor: Tensor, operation: dist.ReduceOp) -> Tensor:
    if ranks() == 1:
        return tensor
    tensor = tensor.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(tensor, operation)
    return tensor


class _SumShares(torch.autograd.Function):
    @staticmethod
    def forward(ctx, share: Tensor) -> Tensor:
        return sum_over_ranks(share)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient


class _SumGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor: Tensor) -> Tensor:
        return tensor.view_as(tensor)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> Tensor:
        return sum_over_ranks(gradient)


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows: Tensor, sizes: list[int]) -> Tensor:
        ctx.own = slice(sum(sizes[: rank()]), sum(sizes[: rank() + 1]))
        # The collectives want equal shapes: shorter parts are padded, and cut again.
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: len(rows)] = rows.detach()
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient[ctx.own], None


# ==== modules ====


def distribute(model: nn.Module, device: torch.device) -> nn.Module:
    """DistributedDataParallel that sums gradients (see above); the model itself where there is one process.

    BatchNorm's running statistics stay each process's own until ``equal_buffers``. From here on every process draws
    its own random numbers, so that dropout differs.
    """
    if ranks() == 1:
        return model
    gpu = [device] if device.type == "cuda" else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the argument has another name from torch 2.15 on
        wrapped = DistributedDataParallel(
            model,
            device_ids=gpu,
            broadcast_buffers=False,
            # Some of timm's networks have a bias that their features don't use. And buckets then stay as they are,
            # so that a run that was started again adds up in the same order.
            find_unused_parameters=True,
        )
    warnings.filterwarnings("ignore", message="find_unused_parameters=True was specified")
    wrapped.register_comm_hook(None, _summed_bucket)
    torch.manual_seed(torch.initial_seed() + rank())
    return wrapped


@contextmanager
def summed_afterwards(model: nn.Module) -> Iterator[None]:
    """Around forward and backward passes in several parts: gradients are summed once, at the end."""
    if not isinstance(model, DistributedDataParallel):
        yield
        return
    with model.no_sync():
        yield
    for parameter in model.parameters():
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)


def sum_parameter_gradients(criterion: nn.Module) -> nn.Module:
    """A criterion of whose parameters the gradients are from now on summed over the processes as they arise.

    For parameters that every process has whole; rows of a shared one (``runtime/shards.py``) are left alone.
    """
    for parameter in criterion.parameters():
        if ranks() > 1 and not hasattr(parameter, "shard"):
            parameter.register_hook(sum_over_ranks)
    return criterion


def equal_buffers(model: nn.Module) -> None:
    """Give all processes the first one's BatchNorm statistics, as they are what is evaluated and saved."""
    if ranks() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def _summed_bucket(state: None, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    return work.get_future().then(lambda done: done.value()[0])
