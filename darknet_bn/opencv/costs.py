"""The cost of a network's layers in OpenCV: shapes, operations and memory, counted as it does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from darknet_bn.convert.opencv_parts import CvPart, Dims, output_dims
from darknet_bn.layers.layer import Layer
from darknet_bn.model.network import Network

_EACH = {  # operations per value of the output
    "BatchNorm": 3,
    "ReLU": 1,
    "TanH": 1,
    "Swish": 3,
    "Mish": 3,
    "Sigmoid": 3,
    "Softmax": 4,
    "Reorg": 21,
}


@dataclass(frozen=True)
class PartCost:
    """The cost of one part for a batch.

    Attributes
    ----------
    inputs, outputs : tuples of shapes
        A maxpool that no layer reads has two outputs in OpenCV: the second says where the maxima
        are.
    flops : int
        The number of operations, as OpenCV counts them.
    """

    inputs: tuple[Dims, ...]
    outputs: tuple[Dims, ...]
    flops: int

    @property
    def output_bytes(self) -> int:
        """The memory of the outputs."""
        return 4 * sum(map(math.prod, self.outputs))


def costs_of(network: Network, parts: Sequence[CvPart], batch: int) -> tuple[PartCost, ...]:
    """Return the cost of the network's input, and of each of its parts, in order.

    Parameters
    ----------
    network : Network
    parts : sequence of CvPart
        The result of `parts_of` for the network.
    batch : int
        The number of images.
    """
    image = (batch, *network.input.dims)
    costs = [PartCost((image,), (image,), 0)]
    read = {each for part in parts for each in part.inputs}
    for part in parts:
        inputs = tuple(costs[1 + each].outputs[0] for each in part.inputs)
        output = _output(network, part, inputs, batch)
        maximum = _window(network.nodes[part.layer].layer) is not None
        outputs = (output, output) if maximum and len(costs) - 1 not in read else (output,)
        costs.append(PartCost(inputs, outputs, _flops(network, part, inputs, output)))
    return tuple(costs)


def _output(network: Network, part: CvPart, inputs: tuple[Dims, ...], batch: int) -> Dims:
    node = network.nodes[part.layer]
    if part.role == "planes":
        n, c, h, w = inputs[0]
        return n, h, w, c
    if part.role == "slice":
        n, c, *pixels = inputs[0]
        return (n, c // node.layer.value("groups"), *pixels)
    head = network.heads.get(part.layer)
    if head is not None:
        row, boxes = 5 + head.classes, head.box_count(node.y)
        return (boxes, row) if batch == 1 else (batch, boxes, row)
    return (batch, *output_dims(network, part.layer))


def _window(layer: Layer) -> int | None:
    """Return the size of a maxpool's windows; None for other layers."""
    if layer.names[0] != "maxpool":
        return None
    return int(layer.value("size") or layer.value("stride"))


def _flops(network: Network, part: CvPart, inputs: tuple[Dims, ...], output: Dims) -> int:
    layer, size = network.nodes[part.layer].layer, math.prod(output)
    if part.type == "Convolution":
        return size * (2 * int(layer.value("size")) ** 2 * inputs[0][1] + 1)
    if part.type == "InnerProduct":
        return 3 * math.prod(inputs[0][1:]) * size
    if part.type == "Pooling":
        window = _window(layer)
        return size * (window**2 if window else math.prod(inputs[0][2:]) + 1)
    if part.type == "Eltwise":
        return len(inputs) * size
    if part.type == "Scale":
        return 2 * sum(map(math.prod, inputs))
    if part.type == "Region":
        return 60 * sum(map(math.prod, inputs))
    return _EACH.get(part.type, 0) * size
