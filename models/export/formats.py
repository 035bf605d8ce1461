"""A network written for other programs, and read back from there: ONNX, safetensors, torch.export's pt2.

Every file carries ``metadata``, names and texts: how an image becomes the input and what the output means.
"""

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from runtime.errors import InputError

FORMATS = ("onnx", "safetensors", "pt2")
INPUT, OUTPUT = "images", "embeddings"
_PT2_METADATA = "metadata.json"

Runner = Callable[[np.ndarray], np.ndarray]  # float32 (B, 3, H, W) → float32 (B, D)


def write_onnx(model: nn.Module, size: int, metadata: dict[str, str], path: Path) -> None:
    """The network with a free batch axis as one ONNX file.

    Raises InputError where the package onnx or onnxscript is not installed.
    """
    onnx = _extra("onnx")
    _extra("onnxscript")
    with quiet():
        program = torch.onnx.export(
            _exported(model, size), input_names=[INPUT], output_names=[OUTPUT], external_data=False, verbose=False
        )
    proto = program.model_proto
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.helper.set_model_props(proto, metadata)
    onnx.save_model(proto, str(path))


def write_pt2(model: nn.Module, size: int, metadata: dict[str, str], path: Path) -> None:
    """The network with a free batch axis, for ``torch.export.load`` in Python and C++."""
    with quiet(), path.open("wb") as file:
        torch.export.save(_exported(model, size), file, extra_files={_PT2_METADATA: json.dumps(metadata, indent=1)})


def write_safetensors(model: nn.Module, metadata: dict[str, str], path: Path) -> None:
    """The weights alone, under this project's names."""
    state = {name: value.contiguous().clone() for name, value in model.state_dict().items()}
    save_file(state, str(path), metadata=metadata)


def open_onnx(path: Path, threads: int = 0) -> tuple[Runner, dict[str, str]]:
    """onnxruntime's session on the CPU and the file's metadata. ``threads`` 0: all cores."""
    onnxruntime = _extra("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    return lambda images: session.run([OUTPUT], {INPUT: images})[0], dict(metadata)


def open_pt2(path: Path) -> tuple[Runner, dict[str, str]]:
    """The exported program and the file's metadata."""
    extra = {_PT2_METADATA: ""}
    with quiet(), path.open("rb") as file:
        program = torch.export.load(file, extra_files=extra).module()
    return torch_runner(program), json.loads(extra[_PT2_METADATA])


def open_safetensors(path: Path, fresh: nn.Module) -> tuple[Runner, dict[str, str]]:
    """``fresh``, a network of the same architecture, with the file's weights, and the file's metadata."""
    with safe_open(str(path), framework="pt") as file:
        fresh.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118  no mapping
        metadata = file.metadata()
    return torch_runner(fresh.eval()), metadata


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


def _extra(name: str) -> object:
    try:
        return __import__(name)
    except ImportError:
        raise InputError(f"this needs the package {name}: pip install -r requirements-extras.txt") from None


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
