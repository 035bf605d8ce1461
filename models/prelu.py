"""PReLU (He et al. 2015, arXiv:1502.01852) whose backward pass is fast on a CPU."""

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F


class PReLU(nn.PReLU):
    """``nn.PReLU`` with the same values and gradients, to the bit.

    PyTorch's backward pass on a CPU goes element by element; this one uses vector instructions (benchmarks/prelu.py).
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, …) → the same shape."""
        if x.device.type != "cpu" or not self.training or torch.compiler.is_compiling():
            return super().forward(x)
        return _PReLU.apply(x, self.weight.to(x.dtype))


class _PReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, slopes: Tensor) -> Tensor:
        ctx.save_for_backward(x, slopes)
        return F.prelu(x, slopes)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, slopes = ctx.saved_tensors
        of_positive = torch.ops.aten.threshold_backward(gradient, x, 0)
        of_others = gradient - of_positive
        to_x, to_slopes = ctx.needs_input_grad
        per_channel = slopes.view(1, -1, *(1,) * (x.ndim - 2))
        return (
            torch.addcmul(of_positive, of_others, per_channel) if to_x else None,
            (of_others * x).sum_to_size(per_channel.shape).view_as(slopes) if to_slopes else None,
        )
