"""A network as an ONNX file.

The graph is put together from the network's steps by the library's own helpers. A tracer would find
the same graph: in a minute instead of at once, with names of folders of the machine in it, and for
a version of ONNX that fewer programs read.
"""

import json
from collections.abc import Callable, Sequence

import numpy as np
import torch

from unetcore import __version__, geometry
from unetcore.errors import InputError
from unetcore.export.heads import Head, steps_of
from unetcore.model import EPSILON, UNet
from unetcore.normalised import LEAST_STD

try:
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper
except ModuleNotFoundError as error:
    if error.name not in ("onnx", "onnxruntime"):
        raise
    onnx = None

OPSET, IR_VERSION = 17, 8  # of 2022: later ones have nothing that is needed here
CARD = "unetcore"  # name of the model card among the metadata
INPUT, OUTPUT = "image", "probability"


def to_onnx(network: UNet, head: Head, card: dict) -> bytes:
    """Content of an ONNX file of a head, with the model card among its metadata.

    Parameters
    ----------
    network : UNet in evaluation mode on the CPU.
    head : "padded" or "valid".
    card : plain JSON values.

    Raises
    ------
    InputError : the library is not installed.
    """
    _check_installed()
    graph = _Graph()
    tiles = _mirrored(graph, network.depth) if head == "padded" else INPUT
    probability = graph.add("Softmax", _scores(graph, network, tiles), axis=1)
    if head == "padded":
        sides = graph.add("Shape", INPUT, start=2)
        axes = graph.constant(np.array([2, 3]))
        probability = graph.add("Slice", probability, graph.constant(np.zeros(2, int)), sides, axes)
    graph.add("Identity", probability, name=OUTPUT)
    lost = "" if head == "padded" else f" - {2 * geometry.halo(network.depth)}"
    settings = network.settings
    body = helper.make_graph(
        graph.nodes,
        f"unet_{head}",
        [_value(INPUT, settings["in_channels"], "")],
        [_value(OUTPUT, settings["n_classes"], lost)],
        graph.constants,
    )
    model = helper.make_model(
        body,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="unetcore",
        producer_version=__version__,
    )
    helper.set_model_props(model, {CARD: json.dumps(card)})
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def open_onnx(
    content: bytes, on_gpu: bool = False
) -> tuple[Callable[[np.ndarray], np.ndarray], dict | None]:
    """Read what `to_onnx` made.

    Parameters
    ----------
    content : of the file.
    on_gpu : whether to compute on a GPU.

    Returns
    -------
    function of an array (B, C, H, W) float32; the model card, None if the file has none.

    Raises
    ------
    InputError : the libraries are not installed, or this build of ONNX Runtime knows no GPU.
    RuntimeError : the content is no ONNX.
    """
    _check_installed()
    provider = "CUDAExecutionProvider" if on_gpu else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise InputError(f"this build of ONNX Runtime computes on no GPU ({provider} is missing)")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors alone, and these are raised
    try:
        session = onnxruntime.InferenceSession(content, options, providers=[provider])
    except Exception as error:  # it has a dozen types, with no parent of their own
        raise RuntimeError(str(error)) from error
    card = session.get_modelmeta().custom_metadata_map.get(CARD)

    def run(image):
        return session.run([OUTPUT], {INPUT: image})[0]

    return run, json.loads(card) if card else None


def _check_installed():
    if onnx is None:
        raise InputError(
            "ONNX needs the packages onnx and onnxruntime: pip install 'unetcore[export]'"
        )


class _Graph:
    """Nodes and constants of a graph, named by their numbers."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def add(self, operator: str, *inputs: str, name: str | None = None, **attributes) -> str:
        """Append a node; its output's name is returned."""
        name = name or f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def constant(self, values) -> str:
        """Append a constant, a tensor or an array."""
        name = f"constant_{len(self.constants)}"
        array = np.ascontiguousarray(getattr(values, "detach", lambda: values)())
        self.constants.append(numpy_helper.from_array(array, name))
        return name


def _value(name: str, channels: int, lost: str):
    """Description of the input or the output."""
    shape: Sequence[str | int] = ("batch", channels, f"height{lost}", f"width{lost}")
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def _scores(graph: _Graph, network: UNet, tiles: str) -> str:
    """Append the network; see `unetcore.export.heads.Graph`."""
    tells = _tells(graph, tiles) if network.settings["normalised"] else None
    x, kept = tiles, []
    for step in steps_of(network):
        layer = step.layer
        match step.kind:
            case "convolve" | "up":
                weights = [graph.constant(w) for w in (layer.weight, layer.bias) if w is not None]
                operator = "Conv" if step.kind == "convolve" else "ConvTranspose"
                x = graph.add(operator, x, *weights, strides=layer.stride)
            case "normalise":
                x = _normalised(graph, x, layer, tells)
            case "relu":
                x = graph.add("Relu", x)
            case "pool":
                x = graph.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
            case "keep":
                kept.append(x)
            case "join":
                begin, end = (graph.constant(np.full(2, m)) for m in (step.margin, -step.margin))
                axes = graph.constant(np.array([2, 3]))
                x = graph.add("Concat", x, graph.add("Slice", kept.pop(), begin, end, axes), axis=1)
    return x


def _normalised(graph: _Graph, x: str, layer, tells: str) -> str:
    """Append a normalisation; see `unetcore.export.heads`.

    ONNX has an operator for it, whose sums ONNX Runtime takes in float32 pixel by pixel: for images
    of 1500 px a side probabilities were 0.0001 off.
    """
    apart = graph.add("Sub", x, _mean(graph, x))
    variance = _mean(graph, graph.add("Mul", apart, apart))
    above = graph.add("Add", variance, graph.constant(np.float32(EPSILON)))
    gain, shift = (graph.constant(w[:, None, None]) for w in (layer.weight, layer.bias))
    normal = graph.add("Mul", apart, graph.add("Div", gain, graph.add("Sqrt", above)))
    return graph.add("Where", tells, graph.add("Add", normal, shift), shift)


def _mean(graph: _Graph, x: str) -> str:
    """Append the mean over the pixels: of rows first, so that no sum is of many terms."""
    return graph.add("ReduceMean", graph.add("ReduceMean", x, axes=[3]), axes=[2])


def _tells(graph: _Graph, tiles: str) -> str:
    """Append the question whether a tile is not the same everywhere, (B, 1, 1, 1)."""
    # From a pixel first: the mean of equal values is not that value, but that of zeros is zero.
    first, one = graph.constant(np.zeros(2, int)), graph.constant(np.ones(2, int))
    corner = graph.add("Slice", tiles, first, one, graph.constant(np.array([2, 3])))
    above = graph.add("Sub", tiles, corner)
    apart = graph.add("Sub", above, _mean(graph, above))
    variance = _mean(graph, graph.add("Mul", apart, apart))
    largest = graph.add("ReduceMax", variance, axes=[1])
    return graph.add("Greater", largest, graph.constant(np.float32(LEAST_STD**2)))


def _mirrored(graph: _Graph, depth: int) -> str:
    """Append the mirrored context; see `unetcore.export.heads.PaddedHead`."""
    x = INPUT
    for axis in (2, 3):
        x = graph.add("Gather", x, _index(graph, axis, depth), axis=axis)
    return x


def _index(graph: _Graph, axis: int, depth: int) -> str:
    number = {n: graph.constant(np.int64(n)) for n in (0, 1, 2, 4)}
    period, halo = (
        graph.constant(np.int64(n)) for n in (geometry.phase(depth), geometry.halo(depth))
    )
    side = graph.add("Squeeze", graph.add("Shape", INPUT, start=axis, end=axis + 1))
    missing = graph.add("Max", graph.add("Sub", side, number[4]), number[0])
    periods = graph.add(
        "Div", graph.add("Sub", graph.add("Add", missing, period), number[1]), period
    )
    tile = graph.add("Add", graph.add("Mul", periods, period), number[4])
    stop = graph.add("Add", tile, halo)
    there_and_back = graph.add("Mul", graph.add("Sub", side, number[1]), number[2])
    there_and_back = graph.add("Max", there_and_back, number[1])
    places = graph.add("Range", graph.add("Neg", halo), stop, number[1])
    index = graph.add("Mod", places, there_and_back)
    return graph.add("Min", index, graph.add("Sub", there_and_back, index))
