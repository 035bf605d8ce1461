"""torch.compile of a network's training passes, in place."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from runtime.errors import InputError

# torch's name for kernels that are recorded and launched together.
CUDA_GRAPHS = "reduce-overhead"


def compile_training(network: nn.Module, *, cuda_graphs: bool, recompute: bool) -> None:
    """Compile the network's passes in training mode; in evaluation mode it runs as ever, and nothing is compiled.

    ``cuda_graphs``: on a GPU the kernels of a pass are recorded and launched at once. One training pass must then end
    with its backward pass before the next begins. ``recompute``: whether blocks of it are recomputed. Names and weights
    stay as they are. DistributedDataParallel comes around a compiled network, not into it.

    Each size of batch is compiled for itself: with one for all sizes, which kernels a batch gets would depend on the
    batches before it, and a resumed run would end otherwise.
    """
    # As DistributedDataParallel exchanges gradients during the backward pass, torch cuts what it wraps into parts.
    # Neither recomputed blocks nor graphs are known to survive that: they are exchanged after the backward pass.
    torch._dynamo.config.optimize_ddp = not (recompute or cuda_graphs)
    kind = type(network)
    compiled = torch.compile(kind.forward, mode=CUDA_GRAPHS if cuda_graphs else None, dynamic=False)
    forward = replayed(compiled) if cuda_graphs else compiled
    # A subclass, not a wrapper, so that state dicts keep their keys.
    network.__class__ = type(kind.__name__, (_CompiledInTraining, kind), {"_compiled_forward": staticmethod(forward)})


def check_compiler(device: torch.device) -> None:
    """Compiles a sum, before a network's minutes. Raises InputError if there is no compiler that works."""
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(3, device=device))
    except Exception as error:  # of the compiler's many layers, each has its own
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(
            f"torch.compile does not work here ({reason[:150]}); install a C++ compiler, or set compile off"
        ) from None


def replayed(compiled: Callable) -> Callable:
    """The function, whose graph writes each result into the same memory: what it gives is copied out of it."""

    def forward(*arguments: object, **options: object) -> Tensor | tuple[Tensor, ...]:
        torch.compiler.cudagraph_mark_step_begin()
        output = compiled(*arguments, **options)
        return output.clone() if isinstance(output, Tensor) else tuple(part.clone() for part in output)

    return forward


class _CompiledInTraining:
    def forward(self, *arguments: object, **options: object) -> Tensor | tuple[Tensor, ...]:
        if self.training:
            return self._compiled_forward(self, *arguments, **options)
        return super().forward(*arguments, **options)
