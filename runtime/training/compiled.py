"""torch.compile of a network's training passes, in place."""

from collections.abc import Callable

import torch
import torch._functorch.config
from torch import Tensor, nn

from runtime.errors import InputError

# torch's name for the mode in which kernels are recorded and launched together.
CUDA_GRAPHS = "reduce-overhead"


def compile_training(network: nn.Module, *, cuda_graphs: bool, recompute: bool) -> None:
    """Compile the network's passes in training mode; in evaluation mode it runs uncompiled.

    ``cuda_graphs``: on a GPU the kernels of a pass are recorded and launched all at once. Each training pass must then
    finish its backward pass before the next begins. ``recompute``: whether some of its blocks are recomputed. Names and
    weights do not change. Compile first, then wrap in DistributedDataParallel.

    Each batch size is compiled separately. If one compiled version served all sizes, a batch's kernels would depend on
    the batches before it, and a resumed run would differ from an uninterrupted one.
    """
    # DistributedDataParallel exchanges gradients during the backward pass; for that, torch cuts the network into parts.
    # Neither recomputed blocks nor graphs are known to survive this: with them, it exchanges after the backward pass.
    torch._dynamo.config.optimize_ddp = not (recompute or cuda_graphs)
    # As without a compiler: what is computed in float32 has gradients in float32, also in a network under autocast.
    torch._functorch.config.backward_pass_autocast = "off"
    kind = type(network)
    compiled = torch.compile(kind.forward, mode=CUDA_GRAPHS if cuda_graphs else None, dynamic=False)
    forward = replayed(compiled) if cuda_graphs else compiled
    # A subclass, not a wrapper, so that state dicts keep their keys.
    network.__class__ = type(kind.__name__, (_CompiledInTraining, kind), {"_compiled_forward": staticmethod(forward)})


def check_compiler(device: torch.device) -> None:
    """Compile a sum, as a network would take minutes. Raises InputError if no compiler works."""
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(3, device=device))
    except Exception as error:  # each of the compiler's many layers has its own kind
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(
            f"torch.compile does not work here ({reason[:150]}); install a C++ compiler, or set compile off"
        ) from None


def replayed(compiled: Callable) -> Callable:
    """The function with its results copied: a graph writes all its results into the same memory."""

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
