"""Parameters of which every process holds some rows: marking, initial values, norm, and whole again for checkpoints.

A checkpoint always holds the whole parameter, so that another number of processes, or a single one, can load it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from runtime.processes.distributed import is_first, rank, ranks, sizes_of_all, sum_over_ranks

ROWS_AT_ONCE = 65_536  # of initial values: 128 MB at 512 values a row


@dataclass(frozen=True)
class Shard:
    """Rows ``start`` to before ``stop`` of ``total``; the parameter's attribute ``shard`` where it is one."""

    start: int
    stop: int
    total: int


def sharded_parameter(rows: slice, total: int, columns: int) -> nn.Parameter:
    """This process's ``rows`` of a (total, columns) parameter with Xavier's uniform values.

    They are the rows that ``nn.init.xavier_uniform_`` would give the whole one, and the generator ends where it
    would: nothing depends on how many processes there are. The whole is never in memory.
    """
    bound = math.sqrt(6 / (total + columns))
    parameter = nn.Parameter(torch.empty(rows.stop - rows.start, columns))
    for start in range(0, total, ROWS_AT_ONCE):
        drawn = torch.empty(min(ROWS_AT_ONCE, total - start), columns).uniform_(-bound, bound)
        first, last = max(start, rows.start), min(start + len(drawn), rows.stop)
        if first < last:
            parameter.data[first - rows.start : last - rows.start] = drawn[first - start : last - start]
    parameter.shard = Shard(rows.start, rows.stop, total)
    return parameter


def clip_gradients(parameters: Iterable[nn.Parameter], largest: float) -> Tensor:
    """Scale all gradients down to an L2 norm of ``largest`` where it is above; returns the norm as it was.

    Other processes' rows are part of the norm, which is the same in every process. Sparse gradients may be among them.
    """
    parameters = [p for p in parameters if p.grad is not None]
    norm = _norm([_values(p.grad) for p in parameters if not hasattr(p, "shard")])
    own = [_values(p.grad) for p in parameters if hasattr(p, "shard")]
    if own:
        norm = (norm.to(own[0].device).square() + sum_over_ranks(_norm(own).square())).sqrt()
    if math.isfinite(largest):
        # As torch's own clip_grad_norm_, a little room for rounding.
        scale = (largest / (norm + 1e-6)).clamp(max=1)
        torch._foreach_mul_([_values(p.grad) for p in parameters], scale)
    return norm


def _norm(gradients: list[Tensor]) -> Tensor:
    return nn.utils.get_total_norm(gradients)


def _values(gradient: Tensor) -> Tensor:
    """The stored values of a gradient; its rows must be there once each where it is sparse."""
    return gradient._values() if gradient.is_sparse else gradient


# ==== checkpoints ====


def whole_state(module: nn.Module) -> dict[str, Tensor]:
    """``module.state_dict()`` with every shared parameter whole. All processes must call it; only the first one's
    answer is whole, on the CPU where it was put together."""
    state = module.state_dict()
    for name, parameter in module.named_parameters():
        if hasattr(parameter, "shard"):
            state[name] = _whole(state[name])
    return state


def own_state(module: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The other way: of a whole state what ``module`` holds in this process. Another number of rows stays as it
    is, for the loading to refuse."""
    state = dict(state)
    for name, parameter in module.named_parameters():
        shard = getattr(parameter, "shard", None)
        if shard and name in state and len(state[name]) == shard.total:
            state[name] = state[name][shard.start : shard.stop]
    return state


def whole_optimiser_state(optimiser: Optimizer) -> dict:
    """``optimiser.state_dict()`` with the state of every shared parameter whole; as ``whole_state``."""
    state = optimiser.state_dict()
    for number, parameter in _numbered(optimiser):
        if hasattr(parameter, "shard") and number in state["state"]:
            state["state"][number] = {
                name: _whole(value) if _is_rowwise(value, len(parameter)) else value
                for name, value in state["state"][number].items()
            }
    return state


def own_optimiser_state(optimiser: Optimizer, state: dict) -> dict:
    """The other way, as ``own_state``."""
    entries = dict(state["state"])
    for number, parameter in _numbered(optimiser):
        shard = getattr(parameter, "shard", None)
        if shard and number in entries:
            entries[number] = {
                # A copy: a view would keep the whole in memory.
                name: value[shard.start : shard.stop].clone() if _is_rowwise(value, shard.total) else value
                for name, value in entries[number].items()
            }
    return {**state, "state": entries}


def _numbered(optimiser: Optimizer) -> Iterable[tuple[int, nn.Parameter]]:
    """Parameters with their numbers in the optimiser's state dict."""
    return enumerate(p for group in optimiser.param_groups for p in group["params"])


def _is_rowwise(value: object, rows: int) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0 and len(value) == rows


def _whole(part: Tensor) -> Tensor:
    """All processes' rows one after the other, on the first process's CPU; elsewhere the part as it is.

    One part travels at a time, so that no GPU ever holds the whole.
    """
    if ranks() == 1:
        return part
    sizes = sizes_of_all(len(part))
    if not is_first():
        dist.send(part.contiguous(), dst=0)
        return part
    parts = [part.cpu()]
    for source in range(rank() + 1, ranks()):
        received = part.new_empty(sizes[source], *part.shape[1:])
        dist.recv(received, src=source)
        parts.append(received.cpu())
    return torch.cat(parts)
