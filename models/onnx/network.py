"""An ONNX file as a module: images -> unit embeddings, computed by onnxruntime on the CPU."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.embedder import NORM_EPS
from models.onnx.interface import Interface, front_of, interface_of
from models.onnx.read import parse_onnx, read_onnx
from models.onnx.session import open_session
from models.onnx.stated import preprocessing_of, stated_in, threshold_metadata
from runtime.errors import InputError, in_one_line
from runtime.files import write_file

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# float32 values of all results of the faces that run at once: 1 GB.
_VALUES_AT_ONCE = 2**28
_MOST_AT_ONCE = 64


class OnnxNetwork(nn.Module):
    """float (B, 3, size, size), RGB, normalised -> float32 (B, D), rows of length 1, on the images' device.

    ``bgr``: the file takes the channels in the other order. A file whose batch is exactly 1, or that can't compute
    two faces at once whatever it says, sees one face after the other.
    """

    def __init__(self, session: "InferenceSession", interface: Interface, path: Path, *, bgr: bool = False) -> None:
        super().__init__()
        self.interface = interface
        self._session, self._path, self._bgr = session, path, bgr
        most = max(1, min(_MOST_AT_ONCE, _VALUES_AT_ONCE // interface.values))
        self._at_once = most if self._takes_several() else 1

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, size, size) → (B, D)."""
        return F.normalize(self.before_normalising(images), dim=1, eps=NORM_EPS)

    def before_normalising(self, images: Tensor) -> Tensor:
        """(B, 3, size, size) → float32 (B, D): the rows as the file gives them."""
        faces = images.detach().float().cpu().numpy()
        parts = [self._run(faces[i : i + self._at_once]) for i in range(0, len(faces), self._at_once)]
        return torch.from_numpy(np.concatenate(parts)).to(images.device)

    def _run(self, faces: np.ndarray) -> np.ndarray:
        """(B, 3, size, size) → (B, D) as the file gives them. Raises InputError if onnxruntime can't."""
        faces = faces[:, ::-1] if self._bgr else faces
        faces = faces.transpose(0, 2, 3, 1) if self.interface.channels_last else faces
        try:
            (rows,) = self._session.run([self.interface.output], {self.interface.input: np.ascontiguousarray(faces)})
        except Exception as error:  # onnxruntime has a class for each of its states
            raise InputError(f"onnxruntime can't run {self._path} ({in_one_line(error, 200)})") from None
        if rows.shape != (len(faces), self.interface.embedding_size):
            raise InputError(f"{self._path} gives {rows.shape} for {len(faces)} faces; it is no face network")
        return rows.astype(np.float32)

    def _takes_several(self) -> bool:
        """Whether two faces at once give what each gives alone. Raises InputError if that is no number."""
        shape = (2, 3, self.interface.size, self.interface.size)
        faces = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        alone = np.concatenate([self._run(faces[:1]), self._run(faces[1:])])
        if not np.isfinite(alone).all():
            raise InputError(f"{self._path} gives NaN or infinite embeddings; use another file")
        if not self.interface.any_batch:
            return False
        try:
            together = self._run(faces)
        except InputError:
            return False
        return np.allclose(together, alone, atol=1e-3 * np.abs(alone).max())


def open_onnx_file(path: Path) -> tuple[OnnxNetwork, dict, dict]:
    """The network, its preprocessing (values of ``data.transforms.Preprocessing``), and what its metadata state.

    Raises InputError for a file that ``read_onnx`` refuses, that is no face network, or that onnxruntime can't run.
    """
    model = read_onnx(path)
    interface = interface_of(model, path)
    stated = stated_in({entry.key: entry.value for entry in model.metadata_props}, interface.size, path)
    try:
        session = open_session(model.SerializeToString(), torch.get_num_threads())
    except InputError:
        raise
    except Exception as error:  # onnxruntime has a class for each of its states
        raise InputError(f"onnxruntime can't open {path} ({in_one_line(error, 200)})") from None
    network = OnnxNetwork(session, interface, path, bgr=stated.get("channel_order") == "BGR")
    return network, preprocessing_of(stated, front_of(model.graph, interface.input), interface.size), stated


def write_threshold_in(path: Path, chosen: dict, *, mirror: bool) -> None:
    """Write a threshold into the metadata of an ONNX file; everything else stays as it is."""
    model = parse_onnx(path)
    kept = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, kept | threshold_metadata(chosen, mirror=mirror))
    write_file(path, model.SerializeToString())
