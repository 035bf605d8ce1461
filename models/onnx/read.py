"""Anybody's ONNX file, read with suspicion: what comes out holds all of its data and can be given to onnxruntime.

Nothing here runs a network. What is refused, each in one line: what is no ONNX file; operators that are not of the
ONNX standard (they are other people's code); functions, branches and loops (a few lines of them run for years); data
in files outside the folder; tensors whose data are not as large as they say.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import AttributeProto, ModelProto, TensorProto

from runtime.errors import InputError, in_one_line

LARGEST_FILE = 2**31 - 1  # bytes, protobuf's own limit
STANDARD = ("", "ai.onnx")
_NUMBERS = {
    TensorProto.FLOAT: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.INT64: "int64_data",
    TensorProto.UINT64: "uint64_data",
    TensorProto.UINT32: "uint64_data",
    **dict.fromkeys(
        (
            TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT32, TensorProto.INT16, TensorProto.INT8,
            TensorProto.UINT16, TensorProto.UINT8, TensorProto.BOOL,
        ),
        "int32_data",
    ),
}  # fmt: skip
_WITH_GRAPHS = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
_SPARSE = (AttributeProto.SPARSE_TENSOR, AttributeProto.SPARSE_TENSORS)


def read_onnx(path: Path) -> ModelProto:
    """The file's network, checked, with the data of its neighbouring files in it. Raises InputError."""
    model = parse_onnx(path)
    _refuse_strange_parts(model, path)
    _take_in_external_data(model, path)
    for tensor in _tensors(model):
        _check_length(tensor, path)
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # the checker has several classes of its own
        raise InputError(f"{path} is no valid ONNX network ({_reason(error)}); get it, or export it, again") from None
    return model


def parse_onnx(path: Path) -> ModelProto:
    """The file as it is, nothing checked and no other file read. Raises InputError for what is no ONNX file."""
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    if path.stat().st_size > LARGEST_FILE:
        raise InputError(f"{path} has more than 2 GB, the limit of ONNX files; this is no face network")
    try:
        return onnx.load_model_from_string(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror})") from None
    except Exception:  # protobuf's own, a package that onnx brings
        raise InputError(f"{path} is damaged or no ONNX file; get it, or export it, again") from None


def external_files(path: Path) -> list[Path]:
    """The other files that hold data of an ONNX file, in the order of their names. Raises InputError."""
    model = parse_onnx(path)
    return sorted({_place(tensor, path) for tensor in _tensors(model) if _is_external(tensor)})


def _refuse_strange_parts(model: ModelProto, path: Path) -> None:
    foreign = [f"{node.domain}.{node.op_type}" for node in model.graph.node if node.domain not in STANDARD]
    if foreign:
        raise InputError(
            f"{path} has {len(foreign)} custom operators (first: {in_one_line(foreign[0], 80)}); export it with "
            "operators of the ONNX standard alone"
        )
    kinds = {attribute.type for node in model.graph.node for attribute in node.attribute}
    strange = {
        "functions of its own": bool(model.functions),
        "branches or loops": not kinds.isdisjoint(_WITH_GRAPHS),
        "sparse tensors": bool(model.graph.sparse_initializer) or not kinds.isdisjoint(_SPARSE),
    }
    for what, found in strange.items():
        if found:
            raise InputError(f"{path} has {what}, which no face network needs; export it without")


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every tensor that holds data: weights, and constants of nodes."""
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _take_in_external_data(model: ModelProto, path: Path) -> None:
    external = [tensor for tensor in _tensors(model) if _is_external(tensor)]
    if sum(_bytes(tensor, path) for tensor in external) + path.stat().st_size > LARGEST_FILE:
        raise InputError(f"{path} has weights of more than 2 GB; this is no face network")
    for tensor in external:
        tensor.raw_data = _external_bytes(tensor, path)
        tensor.data_location = TensorProto.DEFAULT
        tensor.ClearField("external_data")


def _is_external(tensor: TensorProto) -> bool:
    return tensor.data_location == TensorProto.EXTERNAL or bool(tensor.external_data)


def _place(tensor: TensorProto, path: Path) -> Path:
    """The file of a tensor's data, which must lie in or under the folder of the ONNX file, links followed."""
    location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    try:
        place = (path.parent / location).resolve()
        inside = place.is_relative_to(path.parent.resolve()) and "\\" not in location
    except (OSError, ValueError, RuntimeError):  # names that no file can have; links in a circle
        inside = False
    if not inside:
        raise InputError(f"{path} keeps data in {location!r}, outside its own folder; refused")
    if not place.is_file():
        raise InputError(f"{path} keeps data in {location!r}, which is not there; put it beside {path.name}")
    return place


def _external_bytes(tensor: TensorProto, path: Path) -> bytes:
    place, expected = _place(tensor, path), _bytes(tensor, path)
    stated = {entry.key: entry.value for entry in tensor.external_data}
    offset, length = (stated.get(key, default) for key, default in (("offset", "0"), ("length", str(expected))))
    whole = offset.isascii() and offset.isdigit() and len(offset) < 20
    if not whole or length != str(expected) or int(offset) + expected > place.stat().st_size:
        raise InputError(
            f"{path}: {_name(tensor)} needs {expected:,} bytes of {place.name}, which does not hold them at the place "
            "that is stated; get both files again"
        )
    with place.open("rb") as file:
        file.seek(int(offset))
        return file.read(expected)


def _check_length(tensor: TensorProto, path: Path) -> None:
    """Raise InputError where a tensor has more or fewer values than its dimensions say."""
    values, size = math.prod(tensor.dims), _bytes(tensor, path)
    if tensor.HasField("raw_data"):
        fits = len(tensor.raw_data) == size
    else:
        fits = len(getattr(tensor, _NUMBERS[tensor.data_type])) == values
    if not fits:
        raise InputError(f"{path}: {_name(tensor)} should have {values:,} values but does not; the file is damaged")


def _bytes(tensor: TensorProto, path: Path) -> int:
    """Bytes of a tensor's values. Raises InputError for dimensions or types that no weights have."""
    if tensor.data_type not in _NUMBERS or min(tensor.dims, default=1) < 0:
        raise InputError(f"{path}: {_name(tensor)} is no tensor of numbers; get the file, or export it, again")
    return math.prod(tensor.dims) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def _name(tensor: TensorProto) -> str:
    return in_one_line(tensor.name, 60) or "a constant"


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return in_one_line(lines[0], 160) if lines else type(error).__name__
