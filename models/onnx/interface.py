"""What an ONNX network takes and gives, read off its graph."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper

from runtime.errors import InputError, in_one_line

# float32 values of all results together for one face: 2 GB. An iresnet200 has 70 million.
MOST_VALUES = 2**29
# Longer tensors are weights, of which a result's shape depends on the dimensions alone.
_LONGEST_SHAPE = 1024


@dataclass(frozen=True)
class Interface:
    """Names of input and output, and their shapes: (batch, 3, size, size), or with ``channels_last`` (batch, size,
    size, 3), to (batch, ``embedding_size``). ``values``: those of all results for one face together."""

    input: str
    output: str
    size: int
    channels_last: bool
    any_batch: bool
    embedding_size: int
    values: int


@dataclass(frozen=True)
class Front:
    """The arithmetic that a graph does on its input before anything else: ``factor`` · x + ``offset``, by channel or
    one for all, each float64 (1,) or (3,)."""

    factor: np.ndarray
    offset: np.ndarray


def interface_of(model: ModelProto, path: Path) -> Interface:
    """Raises InputError for a network that is no face network: another input or output, or results that are too large
    or whose size can't be told."""
    graph = model.graph
    image = _only_input(graph, path)
    shape = [dim.dim_value if dim.HasField("dim_value") else None for dim in image.type.tensor_type.shape.dim]
    size, channels_last = _size(shape, image.name, path)
    shapes = _shapes_for_one_face(model, image.name, path)
    values = sum(map(math.prod, shapes.values()))
    if values > MOST_VALUES:
        largest = max(shapes, key=lambda name: math.prod(shapes[name]))
        raise InputError(
            f"{path} needs {4 * values / 2**30:,.0f} GB for one face (most of it: {in_one_line(largest, 60)}); "
            "this is no face network"
        )
    outputs = [value.name for value in graph.output if len(shapes.get(value.name, ())) == 2]
    embeddings = next((name for name in outputs if shapes[name][0] == 1 and shapes[name][1] > 1), None)
    if embeddings is None:
        given = ", ".join(str(list(shapes.get(value.name, ()))) for value in graph.output)
        raise InputError(f"{path} gives {in_one_line(given, 80)} for one face, and no embedding (1, D)")
    return Interface(image.name, embeddings, size, channels_last, shape[0] is None, shapes[embeddings][1], values)


def _only_input(graph: GraphProto, path: Path) -> ValueInfoProto:
    weights = {tensor.name for tensor in graph.initializer}  # old files list them among the inputs
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1:
        names = in_one_line(", ".join(value.name for value in inputs), 80) or "none"
        raise InputError(f"{path} has {len(inputs)} inputs ({names}); a face network has one, the faces")
    if inputs[0].type.tensor_type.elem_type != TensorProto.FLOAT:
        raise InputError(f"{path}: its input is not float32; export it with a float32 input")
    return inputs[0]


def _size(shape: list[int | None], name: str, path: Path) -> tuple[int, bool]:
    """Pixels of the square input, and whether the channels come last."""
    if len(shape) != 4 or 3 not in (shape[1], shape[3]):
        raise InputError(f"{path} takes {_shown(shape)}, no images of three channels; give a face network")
    if shape[0] not in (None, 1):
        raise InputError(f"{path} has a fixed batch size of {shape[0]}; export it with batch size 1 or a dynamic batch")
    channels_last = shape[1] != 3
    height, width = shape[1:3] if channels_last else shape[2:4]
    if height is None or width is None:
        raise InputError(
            f"{path} leaves its image size open ({_shown(shape)}); fix it: python -m onnxruntime.tools."
            f"make_dynamic_shape_fixed --input_name {in_one_line(name, 40)} --input_shape 1,3,112,112 {path} NEW.onnx"
        )
    if height != width:
        raise InputError(f"{path} takes images of {height}×{width} pixels; faces are square here")
    return height, channels_last


def _shown(shape: list[int | None]) -> str:
    return "×".join("?" if each is None else str(each) for each in shape[:8]) or "nothing"


def _shapes_for_one_face(model: ModelProto, image: str, path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every result, by the standard's own rules; what the file says of them is left aside."""
    one = ModelProto()
    one.CopyFrom(model)
    del one.graph.value_info[:]
    for tensor in one.graph.initializer:
        if math.prod(tensor.dims) > _LONGEST_SHAPE:
            tensor.ClearField("raw_data")
    for value in one.graph.input:
        if value.name == image:
            value.type.tensor_type.shape.dim[0].dim_value = 1
    for value in one.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(one, data_prop=True).graph
    except Exception as error:  # of several classes
        raise InputError(f"{path}: shape inference failed ({in_one_line(error, 100)})") from None
    shapes = {value.name: _whole_shape(value) for value in (*inferred.value_info, *inferred.output)}
    unknown = [node for node in inferred.node if any(name and shapes.get(name) is None for name in node.output)]
    if unknown:
        raise InputError(
            f"{path}: the output shapes of {len(unknown)} nodes can't be inferred (first: {unknown[0].op_type} "
            f"{in_one_line(unknown[0].name, 60)}); simplify it with onnxsim, or export it again"
        )
    return shapes


def _whole_shape(value: ValueInfoProto) -> tuple[int, ...] | None:
    kind = value.type.tensor_type
    if not kind.HasField("shape") or not all(dim.HasField("dim_value") for dim in kind.shape.dim):
        return None
    return tuple(dim.dim_value for dim in kind.shape.dim)


# ==== normalisation at the front ====


def front_of(graph: GraphProto, name: str) -> Front | None:
    """The chain of additions, subtractions, multiplications and divisions by constants that begins at the input.

    None if there is no such chain, or if it changes nothing.
    """
    constants = _constants(graph)
    front, found = Front(np.ones(1), np.zeros(1)), False
    while True:
        readers = [node for node in graph.node if name in node.input]
        if len(readers) != 1:
            break
        (node,) = readers
        step = _step(node, name, constants, front)
        if step is None:
            break
        found |= node.op_type not in _UNCHANGED
        front, name = step, node.output[0]
    changes = found and not (np.allclose(front.factor, 1) and np.allclose(front.offset, 0))
    return front if changes else None


_UNCHANGED = ("Identity", "Cast", "Transpose")


def _step(node: NodeProto, name: str, constants: dict[str, np.ndarray], front: Front) -> Front | None:
    """The front with one node more; None where the node is no such arithmetic."""
    if node.op_type in _UNCHANGED:
        return front
    if node.op_type not in ("Add", "Sub", "Mul", "Div") or len(node.input) != 2:
        return None
    first = node.input[0] == name
    constant = constants.get(node.input[1] if first else node.input[0])
    if constant is None or constant.size not in (1, 3) or node.input[0] == node.input[1]:
        return None
    value = constant.astype(np.float64).ravel()
    if not np.isfinite(value).all() or (node.op_type in ("Mul", "Div") and not value.all()):
        return None
    match node.op_type:
        case "Add":
            return Front(front.factor, front.offset + value)
        case "Sub":
            sign = 1 if first else -1
            return Front(sign * front.factor, sign * (front.offset - value))
        case "Mul":
            return Front(front.factor * value, front.offset * value)
        case _ if first:
            return Front(front.factor / value, front.offset / value)
    return None


def _constants(graph: GraphProto) -> dict[str, np.ndarray]:
    """Every weight or constant of one or three values, by its name."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            tensors[node.output[0]] = node.attribute[0].t
    small = {name: tensor for name, tensor in tensors.items() if math.prod(tensor.dims) in (1, 3)}
    return {name: numpy_helper.to_array(tensor) for name, tensor in small.items()}
