"""Hand-made ONNX graphs of face networks, and what they compute, in numpy."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE, VALUES = 16, 5
WEIGHTS = np.random.default_rng(0).standard_normal((3 * SIZE * SIZE, VALUES)).astype(np.float32)


def constant(name: str, value: object) -> TensorProto:
    return numpy_helper.from_array(np.asarray(value, dtype=np.float32), name)


def network(
    front: list[tuple[str, object]] = (),
    *,
    batch: int | str = "N",
    names: tuple[str, str] = ("data", "fc1"),
    channels_last: bool = False,
    fixed_reshape: bool = False,
    more_nodes: list[onnx.NodeProto] = (),
    more_weights: list[TensorProto] = (),
    more_outputs: list[tuple[str, list]] = (),
) -> onnx.ModelProto:
    """input → ``front`` (operator and constant, each) → flattened × WEIGHTS → output.

    ``fixed_reshape``: only a batch of 1 fits, whatever the input says.
    """
    taken, given = names
    nodes, weights, last = [], [constant("weights", WEIGHTS)], taken
    if channels_last:
        nodes.append(helper.make_node("Transpose", [last], ["turned"], perm=[0, 3, 1, 2]))
        last = "turned"
    for number, (operator, value) in enumerate(front):
        weights.append(constant(f"constant{number}", value))
        nodes.append(helper.make_node(operator, [last, f"constant{number}"], [f"front{number}"]))
        last = f"front{number}"
    if fixed_reshape:
        weights.append(numpy_helper.from_array(np.array([1, WEIGHTS.shape[0]]), "shape"))
        nodes.append(helper.make_node("Reshape", [last, "shape"], ["flat"]))
    else:
        nodes.append(helper.make_node("Flatten", [last], ["flat"]))
    nodes += [*more_nodes, helper.make_node("MatMul", ["flat", "weights"], [given])]
    shape = [batch, SIZE, SIZE, 3] if channels_last else [batch, 3, SIZE, SIZE]
    outputs = [*more_outputs, (given, [batch, VALUES])]
    graph = helper.make_graph(
        nodes,
        "face",
        [helper.make_tensor_value_info(taken, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in outputs],
        [*weights, *more_weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def embeddings_of(pixels: np.ndarray, mean: float = 127.5, std: float = 127.5) -> np.ndarray:
    """What the network is to give for uint8 (B, SIZE, SIZE, 3) RGB, if it is to see (x − mean) / std: (B, VALUES)."""
    images = ((pixels.astype(np.float64) - mean) / std).transpose(0, 3, 1, 2)
    return unit(images.reshape(len(images), -1) @ WEIGHTS.astype(np.float64))
