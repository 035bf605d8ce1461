"""A network with all that trains it, and one bare step of it."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmarks.harness.fresh_network import fresh_network
from data.transforms import make_preprocessing
from losses import ArcFaceLoss
from main_arcface import SETTINGS
from runtime.devices import to_device
from runtime.precision import make_precision
from runtime.seeds import seed_everything
from runtime.training.compiled import CUDA_GRAPHS
from runtime.training.optim import optimiser_for, scheduler_for
from runtime.training.state import TrainingState

IDENTITIES = 10_572  # of CASIA-WebFace
EMBEDDING = 512
TRAINED = replace(
    SETTINGS,
    epochs=10_000,
    optimiser="sgd",
    lr=0.01,
    momentum=0.9,
    weight_decay=5e-4,
    schedule="constant",
    warmup_epochs=0.0,
    checkpoint_minutes=1e6,
    on_collapse="warn",
)


@dataclass(frozen=True)
class Way:
    """How a step is computed; the defaults are the 2021 original's: float32, eager, channels first, without TF32."""

    precision: str = "float32"
    tf32: bool = False
    channels_last: bool = False
    autotuned: bool = False  # cuDNN tries its kernels and keeps the fastest
    fused: bool = False  # the optimiser's step as one kernel
    compiled: str = ""  # mode of torch.compile, such as "default" or reduce-overhead (CUDA graphs); empty: not compiled
    graphs: bool = False  # without compiling: forward and backward pass each recorded and replayed as one CUDA graph
    figures: bool = True  # whether the loss computes figures for the log
    deterministic: bool = False


def assemble(backbone: str, size: int, way: Way, device: torch.device) -> TrainingState:
    """A network from scratch with its ArcFace head and SGD."""
    seed_everything(0, way.deterministic)
    torch.backends.cudnn.benchmark = way.autotuned
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = way.tf32
    model = fresh_network(backbone, size, EMBEDDING)
    compiling = {"compiled": bool(way.compiled), "cuda_graphs": way.compiled == CUDA_GRAPHS}
    model = to_device(model, device, one_gpu(device), **compiling)
    if not way.channels_last:
        model = model.to(memory_format=torch.contiguous_format)
    criterion = ArcFaceLoss(EMBEDDING, IDENTITIES, scale=64, margin=0.5, focal_gamma=0).to(device)
    optimiser = optimiser_for(TRAINED, [model, criterion])
    for group in optimiser.param_groups:
        group["fused"] = group["fused"] and way.fused
    scheduler = scheduler_for(TRAINED, optimiser, steps_per_epoch=1_000)
    precision = make_precision(way.precision, device, backbone)
    preprocessing = make_preprocessing(size=size, crop="arcface5", normalisation="symmetric", weights=None)
    people = [str(i) for i in range(IDENTITIES)]
    return TrainingState(model, criterion, optimiser, scheduler, precision, TRAINED, preprocessing, people)


def one_gpu(device: torch.device) -> tuple[int, ...]:
    """The first of several; nothing on a CPU."""
    return (0,) if device.type == "cuda" else ()


def bare_step(state: TrainingState, images: Tensor, labels: Tensor) -> None:
    """Forward, backward, step on images float (B, 3, H, W)."""
    with state.precision.autocast():
        embeddings = state.model(images)
    loss, _ = state.criterion(embeddings, labels)
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    state.optimiser.step()


def random_batch(batch: int, size: int, way: Way, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images float (B, 3, size, size) and labels (B,), ready on the device."""
    order = torch.channels_last if way.channels_last else torch.contiguous_format
    images = torch.randn(batch, 3, size, size, device=device).contiguous(memory_format=order)
    return images, torch.randint(IDENTITIES, (batch,), device=device)
