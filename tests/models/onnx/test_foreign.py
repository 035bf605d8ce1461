"""Anybody's ONNX files give the embeddings that numpy computes, whatever their form."""

import json

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from data.transforms import Preprocessing
from models.onnx import session as onnx_session
from models.trained_model import TrainedModel, network_digest, open_model, write_threshold
from runtime.errors import InputError
from tests.models.onnx.graphs import SIZE, VALUES, WEIGHTS, constant, embeddings_of, network, unit, write

PIXELS = np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
USUAL = [("Sub", 127.5), ("Mul", 1 / 128)]
OF_IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def by_channel(values: list[float]) -> np.ndarray:
    return np.array(values).reshape(1, 3, 1, 1)


def embed(opened: TrainedModel, pixels: np.ndarray = PIXELS) -> np.ndarray:
    images = Preprocessing.from_dict(opened.preprocessing).normalise(torch.from_numpy(pixels))
    with torch.inference_mode():
        return opened.model.eval()(images).numpy()


@pytest.mark.parametrize(
    ("model", "mean", "std"),
    [
        (network(), 127.5, 127.5),
        (network(USUAL), 127.5, 128),
        (network([("Mul", 1 / 128), ("Sub", 127.5 / 128)]), 127.5, 128),
        (network([("Sub", 127.5), ("Div", 127.5)]), 127.5, 127.5),
        (network([("Add", -127.5), ("Mul", 1 / 128)], batch=1), 127.5, 128),
        (network([("Div", 255)]), 0, 255),
        (network([("Sub", 0.5), ("Div", 0.5)]), 127.5, 127.5),  # which takes 0 … 1
        (network([("Sub", 127.5)]), 127.5, 1),
        (network(USUAL, batch=1, names=("input.1", "683")), 127.5, 128),
        (network(batch=1), 127.5, 127.5),
        (network(names=("x:0", "embeddings/normalised")), 127.5, 127.5),
        (network(USUAL, channels_last=True), 127.5, 128),
        (network(channels_last=True, batch=1), 127.5, 127.5),
        (network(fixed_reshape=True), 127.5, 127.5),  # says any batch, can one
        (network([("Mul", 1.0)]), 127.5, 127.5),  # changes nothing
    ],
)
def test_every_form_gives_the_embeddings_that_numpy_computes(tmp_path, model, mean, std):
    opened = open_model(str(write(model, tmp_path / "theirs.onnx")))
    found = embed(opened)
    np.testing.assert_allclose(found, embeddings_of(PIXELS, mean, std), atol=1e-5)
    assert found.dtype == np.float32 and opened.preprocessing["size"] == SIZE
    assert (opened.preprocessing["crop"], opened.threshold, opened.mirror) == ("arcface5", None, False)


def test_lengths_are_those_of_the_rows_as_the_file_gives_them(tmp_path):
    opened = open_model(str(write(network(), tmp_path / "theirs.onnx")))
    images = torch.from_numpy((PIXELS.transpose(0, 3, 1, 2) - np.float32(127.5)) / np.float32(127.5))
    rows, lengths = opened.model(images, lengths=True)
    np.testing.assert_allclose((rows * lengths[:, None]).numpy(), images.flatten(1).numpy() @ WEIGHTS, atol=1e-4)


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_imagenets_normalisation_by_channel_on_either_scale(tmp_path, scale):
    mean, std = (by_channel(values) for values in OF_IMAGENET)
    model = network([("Sub", scale * mean), ("Div", scale * std)])
    found = embed(open_model(str(write(model, tmp_path / "theirs.onnx"))))
    images = (PIXELS.transpose(0, 3, 1, 2) / 255 - mean) / std
    np.testing.assert_allclose(found, unit(images.reshape(3, -1) @ WEIGHTS), atol=1e-5)


def test_a_constant_node_and_weights_among_the_inputs_are_read_too(tmp_path):
    """As old exporters write them; a subtraction may stand the other way round."""
    model = network()
    graph = model.graph
    graph.node.insert(0, helper.make_node("Constant", [], ["half"], value=constant("", 127.5)))
    graph.node.insert(1, helper.make_node("Sub", ["half", "data"], ["turned"]))
    graph.node.insert(2, helper.make_node("Mul", ["turned", "scale"], ["normalised"]))
    graph.initializer.append(constant("scale", [[[[-1 / 128]]]]))
    graph.node[3].input[0] = "normalised"
    graph.input.append(helper.make_tensor_value_info("weights", onnx.TensorProto.FLOAT, WEIGHTS.shape))
    found = embed(open_model(str(write(model, tmp_path / "theirs.onnx"))))
    np.testing.assert_allclose(found, embeddings_of(PIXELS, 127.5, 128), atol=1e-5)


def test_arithmetic_deeper_in_the_network_is_no_normalisation(tmp_path):
    """Sub and Mul among the first nodes, but behind the first layer: a PReLU of an old exporter."""
    model = network()
    model.graph.node.insert(0, helper.make_node("Relu", ["data"], ["positive"]))
    model.graph.node.insert(1, helper.make_node("Sub", ["data", "positive"], ["negative"]))
    model.graph.node.insert(2, helper.make_node("Mul", ["negative", "slope"], ["leak"]))
    model.graph.node.insert(3, helper.make_node("Add", ["positive", "leak"], ["leaky"]))
    model.graph.node[4].input[0] = "leaky"
    model.graph.initializer.append(constant("slope", 0.25))
    images = ((PIXELS / 127.5) - 1).transpose(0, 3, 1, 2).reshape(3, -1)
    found = embed(open_model(str(write(model, tmp_path / "theirs.onnx"))))
    np.testing.assert_allclose(found, unit(np.where(images > 0, images, 0.25 * images) @ WEIGHTS), atol=1e-5)


def test_the_embedding_is_found_among_other_outputs(tmp_path):
    """AdaFace's exports give the length beside it."""
    norm = helper.make_node("ReduceL2", ["flat"], ["norm"], axes=[1], keepdims=1)
    model = network(more_nodes=[norm], more_outputs=[("norm", ["N", 1])])
    np.testing.assert_allclose(
        embed(open_model(str(write(model, tmp_path / "theirs.onnx")))), embeddings_of(PIXELS), atol=1e-5
    )


def test_what_the_metadata_state_comes_before_the_habits_of_the_field(tmp_path):
    model = network(USUAL)
    stated = {
        "size": str(SIZE), "channel_order": "BGR", "crop": "mtcnn_box", "mean": "[0.25, 0.5, 0.75]",
        "std": "[0.5, 0.5, 0.25]", "threshold": "1.25", "threshold_source": "a paper", "mirror": "true",
        "thresholds": json.dumps({"all pairs": {"1e-1": 1.5}}), "alignment": json.dumps({"detector": "yunet"}),
    }  # fmt: skip
    helper.set_model_props(model, stated)
    opened = open_model(str(write(model, tmp_path / "theirs.onnx")))
    assert (opened.threshold, opened.threshold_source, opened.mirror) == (1.25, "a paper", True)
    assert opened.thresholds == {"all pairs": {"1e-1": 1.5}}
    needed = Preprocessing.from_dict(opened.preprocessing)
    assert (needed.crop, needed.alignment.detector) == ("mtcnn_box", "yunet")
    images = ((PIXELS / 255 - [0.25, 0.5, 0.75]) / [0.5, 0.5, 0.25]).transpose(0, 3, 1, 2)[:, ::-1]
    images = (images - 127.5) / 128
    np.testing.assert_allclose(embed(opened), unit(images.reshape(3, -1) @ WEIGHTS), atol=1e-5)


def test_a_threshold_is_kept_in_the_file_and_nothing_else_changes(tmp_path):
    path = write(network(USUAL), tmp_path / "theirs.onnx")
    before, opened = onnx.load(path), open_model(str(path))
    thresholds = {"all pairs": {"balanced": 1.0625}}
    chosen = {"threshold": 1.0625, "threshold_metric": "balanced_accuracy", "thresholds": thresholds, "least_face": 40}
    write_threshold(opened, chosen)
    again = open_model(str(path))
    assert (
        again.least_face == 40 and again.threshold == 1.0625 and again.threshold_source.startswith("balanced_accuracy")
    )
    assert again.thresholds == {"all pairs": {"balanced": 1.0625}}
    after = onnx.load(path)
    del after.metadata_props[:]
    assert after == before


def test_data_beside_the_file_are_taken_in_and_belong_to_its_digest(tmp_path):
    model = network()
    (weights,) = model.graph.initializer
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w.bin").write_bytes(b"head" + weights.raw_data)
    move_out(weights, location="data/w.bin", offset="4")
    path = write(model, tmp_path / "theirs.onnx")
    np.testing.assert_allclose(embed(open_model(str(path))), embeddings_of(PIXELS), atol=1e-5)
    digest = network_digest(str(path))
    (tmp_path / "data" / "w.bin").write_bytes(b"HEAD" + WEIGHTS.tobytes())
    assert network_digest(str(path)) != digest


def move_out(tensor: onnx.TensorProto, **entries: str) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)


# ==== what is refused ====


def shape_tensor(*dims: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(dims, dtype=np.int64), "wanted")


def growing(operator: str, *dims: int, **options: object) -> onnx.ModelProto:
    """A network with a result of these dimensions on the way."""
    made = ["wanted"] if operator == "ConstantOfShape" else ["flat", "wanted"]
    nodes = [helper.make_node(operator, made, ["large"], **options), helper.make_node("Shape", ["large"], ["ignored"])]
    return network(more_nodes=nodes, more_weights=[shape_tensor(*dims)])


def with_weights(change) -> onnx.ModelProto:
    model = network()
    change(model.graph.initializer[0])
    return model


def truncated(tensor: onnx.TensorProto) -> None:
    tensor.raw_data = tensor.raw_data[:-8]


def with_nodes(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    return network(more_nodes=list(nodes))


def own_functions() -> onnx.ModelProto:
    model = network()
    node = helper.make_node("Relu", ["a"], ["b"])
    model.functions.append(helper.make_function("own", "F", ["a"], ["b"], [node], model.opset_import))
    return model


def loop() -> onnx.NodeProto:
    body = helper.make_graph([], "body", [], [])
    return helper.make_node("Loop", ["", ""], ["never"], body=body)


def sparse() -> onnx.ModelProto:
    model = network()
    values, indices = constant("sparse", [1.0]), shape_tensor(0)
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [10**9]))
    return model


def with_input(kind: int, shape: list) -> onnx.ModelProto:
    model = network()
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("data", kind, shape))
    return model


def with_metadata(**values: str) -> onnx.ModelProto:
    model = network()
    helper.set_model_props(model, values)
    return model


def two_inputs() -> onnx.ModelProto:
    model = network()
    model.graph.input.append(helper.make_tensor_value_info("other", onnx.TensorProto.FLOAT, [1]))
    return model


def no_number() -> onnx.ModelProto:
    return with_weights(lambda tensor: tensor.CopyFrom(constant("weights", WEIGHTS * np.nan)))


FLOAT = onnx.TensorProto.FLOAT
HOSTILE = {
    "custom operator": (with_nodes(helper.make_node("Steal", ["flat"], ["x"], domain="evil")), "custom operators"),
    "onnxruntime's own operator": (
        with_nodes(helper.make_node("EPContext", ["flat"], ["x"], domain="com.microsoft")),
        "custom operators .first: com.microsoft.EPContext",
    ),
    "functions": (own_functions(), "functions of its own"),
    "loop": (with_nodes(loop()), "branches or loops"),
    "sparse tensor": (sparse(), "sparse tensors"),
    "unknown operator": (with_nodes(helper.make_node("Frobnicate", ["flat"], ["x"])), "no valid ONNX network"),
    "operator of a future version": (with_nodes(helper.make_node("Swish", ["flat"], ["x"])), "no valid ONNX network"),
    "reads what is nowhere": (with_nodes(helper.make_node("Relu", ["nowhere"], ["x"])), "no valid ONNX network"),
    "circle": (with_nodes(helper.make_node("Relu", ["fc1"], ["x"])), "no valid ONNX network"),
    "giant dimensions": (with_weights(lambda t: t.dims.__setitem__(0, 2**40)), "should have"),
    "negative dimensions": (with_weights(lambda t: t.dims.__setitem__(0, -3)), "no tensor of numbers"),
    "cut weights": (with_weights(truncated), "should have 3,840 values but does not"),
    "texts for weights": (with_weights(lambda t: setattr(t, "data_type", 8)), "no tensor of numbers"),
    "unknown type": (with_weights(lambda t: setattr(t, "data_type", 99)), "no tensor of numbers"),
    "giant fill": (growing("ConstantOfShape", 2**20, 2**20), "GB for one face"),
    "giant copies": (growing("Tile", 2**16, 2**16), "GB for one face"),
    "giant broadcast": (growing("Expand", 2**33, 768), "GB for one face"),
    "size known when it runs": (with_nodes(helper.make_node("NonZero", ["flat"], ["x"])), "can't be inferred"),
    "weights of another shape": (
        with_weights(lambda t: t.CopyFrom(constant("weights", np.eye(7)))),
        "nodes can't be inferred",
    ),
    "two inputs": (two_inputs(), "2 inputs"),
    "bytes for an input": (with_input(onnx.TensorProto.UINT8, ["N", 3, SIZE, SIZE]), "its input is not float32"),
    "batch of seven": (with_input(FLOAT, [7, 3, SIZE, SIZE]), "a fixed batch size of 7"),
    "open size": (with_input(FLOAT, ["N", 3, "h", "w"]), "leaves its image size open"),
    "not square": (with_input(FLOAT, ["N", 3, 6, SIZE]), "6×16 pixels"),
    "grey": (with_input(FLOAT, ["N", 1, SIZE, SIZE]), "no images of three channels"),
    "vectors": (with_input(FLOAT, ["N", 3]), "no images of three channels"),
    "no embedding": (network(names=("data", "fc1"), more_nodes=[]), None),
    "no number": (no_number(), "NaN or infinite embeddings"),
    "another size in the metadata": (with_metadata(size="112"), "the metadata say 112 pixels, the graph 16"),
    "no JSON in the metadata": (with_metadata(mean="[0.5, "), "no valid JSON"),
    "no std": (with_metadata(std="[0, 1, 1]"), "above 0"),
    "threshold of no number": (with_metadata(threshold="NaN"), "metadata: threshold is"),
    "strange alignment": (with_metadata(alignment='{"__class__": "x"}'), "metadata: alignment is"),
    "strange order": (with_metadata(channel_order="GBR"), "channel_order is neither RGB nor BGR"),
}
HOSTILE["no embedding"][0].graph.node[-1].output[0] = "hidden"
HOSTILE["no embedding"][0].graph.node.append(helper.make_node("ReduceSum", ["hidden"], ["fc1"], keepdims=0))
HOSTILE["no embedding"] = HOSTILE["no embedding"][0], "and no embedding"


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_hostile_or_no_face_network_is_one_line(tmp_path, kind, monkeypatch):
    model, words = HOSTILE[kind]
    if kind != "no number":
        monkeypatch.setattr(onnx_session, "extra", lambda name: pytest.fail("onnxruntime was touched"))
    path = write(model, tmp_path / "theirs.onnx")
    with pytest.raises(InputError, match=words) as error:
        opened = open_model(str(path))
        Preprocessing.from_dict(opened.preprocessing)
    assert "\n" not in str(error.value) and "theirs.onnx" in str(error.value)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"location": "/etc/hostname"}, "outside its own folder"),
        ({"location": "../outside.bin"}, "outside its own folder"),
        ({"location": "inside/../../outside.bin"}, "outside its own folder"),
        ({"location": "..\\outside.bin"}, "outside its own folder"),
        ({"location": "link.bin"}, "outside its own folder"),
        ({"location": "a\0b"}, "outside its own folder"),
        ({"location": "circle"}, "outside its own folder|not there"),
        ({"location": "nowhere.bin"}, "not there; put it beside"),
        ({"location": "."}, "not there"),
        ({}, "not there"),
        ({"location": "here.bin", "offset": "99999999999999"}, "does not hold them"),
        ({"location": "here.bin", "offset": "-1"}, "does not hold them"),
        ({"location": "here.bin", "offset": "9" * 5000}, "does not hold them"),
        ({"location": "here.bin", "length": "3"}, "does not hold them"),
    ],
)
def test_data_elsewhere_are_refused(tmp_path, entries, words, monkeypatch):
    monkeypatch.setattr(onnx_session, "extra", lambda name: pytest.fail("onnxruntime was touched"))
    folder = tmp_path / "folder"
    (folder / "inside").mkdir(parents=True)
    for place in (tmp_path / "outside.bin", folder / "here.bin"):
        place.write_bytes(WEIGHTS.tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "outside.bin")
    (folder / "circle").symlink_to(folder / "circle")
    path = write(with_weights(lambda tensor: move_out(tensor, **entries)), folder / "theirs.onnx")
    with pytest.raises(InputError, match=words) as error:
        open_model(str(path))
    assert "\n" not in str(error.value)


def test_a_giant_kept_elsewhere_is_refused_before_it_is_read(tmp_path):
    (tmp_path / "here.bin").write_bytes(b"")

    def giant(tensor: onnx.TensorProto) -> None:
        move_out(tensor, location="here.bin")
        tensor.dims[:] = [2**20, 2**20]

    with pytest.raises(InputError, match="more than 2 GB"):
        open_model(str(write(with_weights(giant), tmp_path / "theirs.onnx")))


def test_files_that_are_no_onnx_and_a_backbone_beside_one(tmp_path):
    path = tmp_path / "theirs.onnx"
    with pytest.raises(InputError, match="there is no file"):
        open_model(str(path))
    whole = network().SerializeToString()
    for content in (b"", bytes(300), b"<html>", whole[:-100], np.random.default_rng(0).bytes(500)):
        path.write_bytes(content)
        with pytest.raises(InputError, match="theirs.onnx"):
            open_model(str(path))
    path.write_bytes(whole)
    with pytest.raises(InputError, match="omit --backbone mobilefacenet"):
        open_model(str(path), "mobilefacenet")


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named(tmp_path, monkeypatch, package):
    path = write(network(), tmp_path / "theirs.onnx")
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(InputError, match=f"package {package}: pip install -r requirements-extras.txt"):
        open_model(str(path))


def test_the_batch_is_computed_in_parts_of_bounded_memory(tmp_path, monkeypatch):
    from models.onnx import network as module

    monkeypatch.setattr(module, "_MOST_AT_ONCE", 2)
    opened = open_model(str(write(network(), tmp_path / "theirs.onnx")))
    pixels = np.random.default_rng(3).integers(0, 256, (VALUES, SIZE, SIZE, 3), dtype=np.uint8)
    np.testing.assert_allclose(embed(opened, pixels), embeddings_of(pixels), atol=1e-5)


def test_files_with_a_flipped_bit_serve_or_are_one_line(tmp_path):
    """Names, numbers and lengths changed at random: nothing but embeddings or an InputError comes of it."""
    whole = bytearray(network(USUAL, channels_last=True).SerializeToString())
    graph = whole.rindex(WEIGHTS.tobytes()) + WEIGHTS.nbytes  # bits of weights change nothing but embeddings
    places = [*range(graph - WEIGHTS.nbytes), *range(graph, len(whole))]
    path, served = tmp_path / "theirs.onnx", 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        content = bytearray(whole)
        content[rng.choice(places)] ^= 1 << rng.integers(8)
        path.write_bytes(content)
        try:
            embed(open_model(str(path)))
            served += 1
        except InputError as error:
            assert "\n" not in str(error)
    assert 5 < served < 195
