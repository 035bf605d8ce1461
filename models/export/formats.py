"""A network as a file's content for other programs, and back: ONNX, safetensors, torch.export's pt2.

Every file carries ``metadata``, names and texts: how an image becomes the input and what the output means. Nothing is
written here: on a full disk the libraries' own writers abort the program or raise classes of their own.
"""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from models.onnx.session import open_session
from runtime.extras import extra

# What the metadata say of a threshold that nobody has chosen.
NO_THRESHOLD = "none stored"
INPUT, OUTPUT = "images", "embeddings"
_PT2_METADATA = "metadata.json"

Runner = Callable[[np.ndarray], np.ndarray]  # float32 (B, 3, H, W) → float32 (B, D)


def as_onnx(model: nn.Module, size: int, metadata: dict[str, str]) -> bytes:
    """The network with a free batch axis as one ONNX file.

    Raises InputError if the package onnx or onnxscript is not installed.
    """
    onnx = extra("onnx")
    extra("onnxscript")
    with quiet():
        program = torch.onnx.export(
            _exported(model, size), input_names=[INPUT], output_names=[OUTPUT], external_data=False, verbose=False
        )
    proto = program.model_proto
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.helper.set_model_props(proto, metadata)
    return proto.SerializeToString()


def as_pt2(model: nn.Module, size: int, metadata: dict[str, str]) -> bytes:
    """The network with a free batch axis, for ``torch.export.load`` in Python and C++."""
    file = io.BytesIO()
    with quiet():
        torch.export.save(_exported(model, size), file, extra_files={_PT2_METADATA: json.dumps(metadata, indent=1)})
    return file.getvalue()


def as_safetensors(model: nn.Module, metadata: dict[str, str]) -> bytes:
    """The weights alone, under this project's names."""
    state = {name: value.contiguous().clone() for name, value in model.state_dict().items()}
    return save(state, metadata)


def open_onnx(content: bytes, threads: int = 0) -> Runner:
    """onnxruntime's session on the CPU. ``threads`` 0: all cores."""
    session = open_session(content, threads)
    return lambda images: session.run([OUTPUT], {INPUT: images})[0]


def open_pt2(content: bytes) -> Runner:
    """The exported program."""
    with quiet():
        return torch_runner(torch.export.load(io.BytesIO(content)).module())


def open_safetensors(content: bytes, fresh: nn.Module) -> Runner:
    """``fresh``, a network of the same architecture, with the file's weights."""
    fresh.load_state_dict(load(content))
    return torch_runner(fresh.eval())


def torch_runner(model: nn.Module) -> Runner:
    """A module as a function on arrays."""

    @torch.inference_mode()
    def run(images: np.ndarray) -> np.ndarray:
        return model(torch.from_numpy(images)).numpy()

    return run


class RunnerModule(nn.Module):
    """A runner where a module is wanted, as in an evaluation."""

    def __init__(self, runner: Runner) -> None:
        super().__init__()
        self._runner = runner

    def forward(self, images: Tensor) -> Tensor:
        """float32 (B, 3, H, W) → float32 (B, D)."""
        return torch.from_numpy(self._runner(images.contiguous().numpy()))


def _exported(model: nn.Module, size: int) -> torch.export.ExportedProgram:
    # Two images: a batch of one would be taken for fixed.
    example = torch.zeros(2, 3, size, size)
    model = model.eval().to(memory_format=torch.contiguous_format)
    return torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))


@contextmanager
def quiet() -> Iterator[None]:
    """Without the exporters' warnings, which are for those who write networks, not for those who export one."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
