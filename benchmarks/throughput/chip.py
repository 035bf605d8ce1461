"""What a network asks of a chip, and what the chip could give."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

# Dense bf16 and fp16, by a part of the name that the driver gives.
PEAKS = {"H200": 989e12, "H100 PCIe": 756e12, "H100 NVL": 835e12, "H100": 989e12, "A100": 312e12}


@torch.no_grad()
def training_flops(model: nn.Module, size: int) -> float:
    """Floating-point operations of one image's step: forward, and twice as many backward."""
    with FlopCounterMode(display=False) as counter:
        model.eval()(torch.zeros(1, 3, size, size))
    return 3.0 * counter.get_total_flops()


def peak_flops(device: torch.device) -> float | None:
    """Of the card's matrix units in bf16 a second, None where the card is not known."""
    return next((peak for name, peak in PEAKS.items() if name in device_name(device)), None)


def device_name(device: torch.device) -> str:
    """A GPU's own name, or cpu."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
