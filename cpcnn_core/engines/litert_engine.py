"""LiteRT (once TensorFlow Lite) as an engine: on CPUs, in float32, by Google's XNNPACK.

LiteRT reads the network from its flat file format, which is written here: the same weights and
operations. Tensors are (n, h, w, c) there, kernels (out, kh, kw, in), depthwise ones
(1, kh, kw, c). LiteRT's "same" padding is TensorFlow's, which the network has
(docs/method.md#network).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, cast

import flatbuffers
import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.schema_py_generated import BuiltinOperator as Operator
from ai_edge_litert.schema_py_generated import BuiltinOptions
from torch import nn

from cpcnn_core.engines.torch_engine import TorchEngine
from cpcnn_core.models.efficientnet import TappedEfficientNet

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

# Enough that a pass is worth its overhead, few enough to stay in a core's cache.
CROPS = 4


class LiteRTEngine:
    """A network made from PyTorch's, one interpreter for every thread.

    Parameters
    ----------
    reference : TorchEngine
        On the CPU, in float32.
    crop_shape : (channels, height, width)
    batch_size : int, optional
        Default: what fits a core's cache.

    Examples
    --------
    >>> from cpcnn_core.engines.torch_engine import fold_batch_norms
    >>> network = TappedEfficientNet(5, "block6a_activation").to_empty(device="cpu").eval()
    >>> reference = TorchEngine(fold_batch_norms(network), torch.device("cpu"))
    >>> LiteRTEngine(reference, (5, 32, 32))(np.zeros((1, 5, 32, 32), np.float32)).shape
    (1, 672)
    """

    name = "litert"
    precision = "float32"

    def __init__(
        self,
        reference: TorchEngine,
        crop_shape: tuple[int, int, int],
        batch_size: int | None = None,
    ) -> None:
        self.batch_size = batch_size or CROPS
        count = torch.get_num_threads()
        self.threads = ThreadPoolExecutor(count)
        model = litert_model(reference.network, self.batch_size, crop_shape)
        self._free: SimpleQueue[Interpreter] = SimpleQueue()
        with _without_greeting():
            for _ in range(count):
                interpreter = Interpreter(model_content=model, num_threads=1)
                interpreter.allocate_tensors()
                self._free.put(interpreter)
        self._input = interpreter.get_input_details()[0]["index"]
        self._output = interpreter.get_output_details()[0]["index"]

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Return the features of one pass."""
        count = len(crops)
        if count < self.batch_size:
            # What is filled up changes nothing in the features of the others.
            crops = np.concatenate([crops, np.zeros_like(crops, shape=self._missing(crops))])
        interpreter = self._free.get()
        try:
            interpreter.set_tensor(self._input, crops)
            interpreter.invoke()
            result: np.ndarray = interpreter.get_tensor(self._output)[:count]
            return result
        finally:
            self._free.put(interpreter)

    def _missing(self, crops: np.ndarray) -> tuple[int, ...]:
        return (self.batch_size - len(crops), *crops.shape[1:])


@contextlib.contextmanager
def _without_greeting() -> Iterator[None]:
    """Keep LiteRT from telling stderr that it has started; errors come as exceptions."""
    sys.stderr.flush()
    stderr = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


FILE_IDENTIFIER, FORMAT_VERSION = b"TFL3", 3
_TYPES: dict[np.dtype, int] = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int32): schema.TensorType.INT32,
}


def litert_model(
    network: TappedEfficientNet, batch_size: int, crop_shape: tuple[int, int, int]
) -> bytes:
    """Write a network as a LiteRT model.

    Parameters
    ----------
    network : TappedEfficientNet
        On the CPU, float32, its batch norms folded by `fold_batch_norms`.
    batch_size : int
        Crops of one pass; the model takes neither more nor fewer.
    crop_shape : (channels, height, width)

    Returns
    -------
    bytes
        Input (batch_size, c, h, w), output (batch_size, d), float32.

    Examples
    --------
    >>> from cpcnn_core.engines.torch_engine import fold_batch_norms
    >>> network = TappedEfficientNet(5, "block6a_activation").to_empty(device="cpu").eval()
    >>> litert_model(fold_batch_norms(network), 4, (5, 32, 32))[4:8]
    b'TFL3'
    """
    net, graph = network.net, _Graph()
    crops = graph.tensor((batch_size, *crop_shape))
    x = graph.transpose(crops, (0, 2, 3, 1))
    x = graph.swish(_convolve(graph, x, net.conv_stem))
    to_top = network.tap != "block6a_activation"
    for stage in net.blocks if to_top else net.blocks[:5]:
        for block in stage:
            x = _block(graph, x, block)
    if not to_top:
        # The tap is within the block, after its depthwise convolution.
        last = net.blocks[5][0]
        x = graph.swish(_convolve(graph, x, last.conv_pw))
        x = graph.swish(_convolve(graph, x, last.conv_dw))
        return graph.packed(crops, graph.mean(x))
    x = graph.mean(graph.swish(_convolve(graph, x, net.conv_head)))
    if network.tap == "ClassProb":
        head = net.classifier
        x = graph.softmax(graph.dense(x, _values(head.weight), _values(head.bias)))
    return graph.packed(crops, x)


def _block(graph: _Graph, x: int, block: Any) -> int:  # noqa: ANN401  (a class of timm's)
    """One of timm's blocks; only the first stage's lack an expansion."""
    inner = x
    if hasattr(block, "conv_pwl"):
        inner = graph.swish(_convolve(graph, inner, block.conv_pw))
    inner = graph.swish(_convolve(graph, inner, block.conv_dw))
    squeezed = graph.mean(inner, keep_axes=True)
    squeezed = graph.swish(_convolve(graph, squeezed, block.se.conv_reduce))
    gate = graph.sigmoid(_convolve(graph, squeezed, block.se.conv_expand))
    inner = graph.multiply(inner, gate)
    inner = _convolve(graph, inner, getattr(block, "conv_pwl", block.conv_pw))
    return graph.add(inner, x) if block.has_skip else inner


def _convolve(graph: _Graph, x: int, conv: nn.Conv2d) -> int:
    kernel, bias = _values(conv.weight), _values(cast("torch.Tensor", conv.bias))
    if conv.groups == 1:
        return graph.convolve(x, kernel.transpose(0, 2, 3, 1), bias, conv.stride[0])
    return graph.convolve_by_channel(x, kernel.transpose(1, 2, 3, 0), bias, conv.stride[0])


def _values(parameter: torch.Tensor) -> np.ndarray:
    return parameter.detach().numpy()


class _Graph:
    """Operations one after the other; a tensor is named by its number."""

    def __init__(self) -> None:
        self._tensors: list[schema.TensorT] = []
        self._operations: list[schema.OperatorT] = []
        # The first buffer is empty by definition: that of all tensors without values.
        self._buffers = [schema.BufferT()]
        self._codes: dict[int, int] = {}

    def tensor(self, shape: Sequence[int], dtype: npt.DTypeLike = np.float32) -> int:
        tensor = schema.TensorT()
        tensor.name = f"tensor_{len(self._tensors)}"
        tensor.shape, tensor.type, tensor.buffer = list(shape), _TYPES[np.dtype(dtype)], 0
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def constant(self, values: np.ndarray) -> int:
        number = self.tensor(values.shape, values.dtype)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self._tensors[number].buffer = len(self._buffers)
        self._buffers.append(buffer)
        return number

    def shape(self, tensor: int) -> list[int]:
        result: list[int] = self._tensors[tensor].shape
        return result

    def transpose(self, x: int, axes: tuple[int, ...]) -> int:
        shape = [self.shape(x)[axis] for axis in axes]
        order = self.constant(np.array(axes, np.int32))
        return self._add(Operator.TRANSPOSE, [x, order], shape, schema.TransposeOptionsT())

    def convolve(self, x: int, kernel: np.ndarray, bias: np.ndarray, stride: int) -> int:
        options = schema.Conv2DOptionsT()
        return self._window(Operator.CONV_2D, x, kernel, bias, stride, options)

    def convolve_by_channel(self, x: int, kernel: np.ndarray, bias: np.ndarray, stride: int) -> int:
        options = schema.DepthwiseConv2DOptionsT()
        options.depthMultiplier = 1
        return self._window(Operator.DEPTHWISE_CONV_2D, x, kernel, bias, stride, options)

    def dense(self, x: int, weights: np.ndarray, bias: np.ndarray) -> int:
        inputs = [x, self.constant(weights), self.constant(bias)]
        shape = (self.shape(x)[0], len(bias))
        return self._add(Operator.FULLY_CONNECTED, inputs, shape, schema.FullyConnectedOptionsT())

    def sigmoid(self, x: int) -> int:
        return self._add(Operator.LOGISTIC, [x], self.shape(x))

    def softmax(self, x: int) -> int:
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        return self._add(Operator.SOFTMAX, [x], self.shape(x), options)

    def swish(self, x: int) -> int:
        return self.multiply(x, self.sigmoid(x))

    def multiply(self, x: int, y: int) -> int:
        return self._add(Operator.MUL, [x, y], self.shape(x), schema.MulOptionsT())

    def add(self, x: int, y: int) -> int:
        return self._add(Operator.ADD, [x, y], self.shape(x), schema.AddOptionsT())

    def mean(self, x: int, *, keep_axes: bool = False) -> int:
        """Average over width, then over height.

        Both at once would be one long sum, whose rounding is seven times as large.
        """
        n, height, _, c = self.shape(x)
        x = self._mean(x, 2, (n, height, 1, c), keep_axes=True)
        shape = (n, 1, 1, c) if keep_axes else (n, c)
        return self._mean(x, 1 if keep_axes else (1, 2), shape, keep_axes=keep_axes)

    def _mean(
        self, x: int, axes: int | tuple[int, int], shape: Sequence[int], *, keep_axes: bool
    ) -> int:
        options = schema.ReducerOptionsT()
        options.keepDims = keep_axes
        over = self.constant(np.atleast_1d(np.array(axes, np.int32)))
        return self._add(Operator.MEAN, [x, over], shape, options)

    def packed(self, given: int, result: int) -> bytes:
        """Return the whole model as a file's bytes."""
        part = schema.SubGraphT()
        part.tensors, part.operators = self._tensors, self._operations
        part.inputs, part.outputs = [given], [result]
        model = schema.ModelT()
        model.version, model.subgraphs, model.buffers = FORMAT_VERSION, [part], self._buffers
        model.operatorCodes = []
        for code in self._codes:
            kind = schema.OperatorCodeT()
            kind.builtinCode = kind.deprecatedBuiltinCode = code
            kind.version = 1
            model.operatorCodes.append(kind)
        builder = flatbuffers.Builder()
        builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
        return bytes(builder.Output())

    def _window(
        self,
        code: int,
        x: int,
        kernel: np.ndarray,
        bias: np.ndarray,
        stride: int,
        options: schema.Conv2DOptionsT | schema.DepthwiseConv2DOptionsT,
    ) -> int:
        options.padding = schema.Padding.SAME
        options.strideH = options.strideW = stride
        options.dilationHFactor = options.dilationWFactor = 1
        n, height, width, _ = self.shape(x)
        # Rounded up: -(-a // b).
        shape = (n, -(-height // stride), -(-width // stride), len(bias))
        inputs = [x, self.constant(kernel), self.constant(bias)]
        return self._add(code, inputs, shape, options)

    def _add(
        self, code: int, inputs: list[int], shape: Sequence[int], options: object = None
    ) -> int:
        result = self.tensor(shape)
        operation = schema.OperatorT()
        operation.opcodeIndex = self._codes.setdefault(code, len(self._codes))
        operation.inputs, operation.outputs = inputs, [result]
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            operation.builtinOptionsType = getattr(BuiltinOptions, kind)
            operation.builtinOptions = options
        self._operations.append(operation)
        return result
