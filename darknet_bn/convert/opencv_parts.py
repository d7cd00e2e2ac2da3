"""A network in OpenCV's layers: names and types, inputs, contents and cost.

OpenCV turns one section into several layers: a convolution, its batch norm and its activation, each
with a name that programs may ask for.  Here such a layer is called a part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import InferenceContext
from darknet_bn.model.model import Model
from darknet_bn.model.network import Network

Dims = tuple[int, ...]
Role = Literal["whole", "weights", "norm", "activation", "planes", "slice", "cut"]

# What OpenCV calls the layer of each section, and its type; `{}` is a number.  Sections that it
# does not have use the section's own name for both.
_KINDS = {
    "convolutional": ("conv_{}", "Convolution"),
    "connected": ("fullyConnected_{}", "InnerProduct"),
    "maxpool": ("pool_{}", "Pooling"),
    "avgpool": ("avgpool_{}", "Pooling"),
    "softmax": ("softmax_{}", "Softmax"),
    "dropout": ("identity_{}", "Identity"),
    "cost": ("identity_{}", "Identity"),
    "crop": ("crop_{}", "Slice"),
    "reorg": ("reorg_{}", "Reorg"),
    "upsample": ("upsample_{}", "Resize"),
    "shortcut": ("shortcut_{}", "Eltwise"),
    "sam": ("sam_{}", "Eltwise"),
    "scale_channels": ("scale_channels_{}", "Scale"),
    "region": ("detection_out", "Region"),
}
_ACTIVATIONS = {
    "leaky": "ReLU",
    "relu": "ReLU",
    "swish": "Swish",
    "mish": "Mish",
    "logistic": "Sigmoid",
    "tanh": "TanH",
}


@dataclass(frozen=True)
class CvPart:
    """One of OpenCV's layers.

    Attributes
    ----------
    name, type : str
        As in OpenCV.
    layer : int
        The Darknet layer that it is a part of.
    role : str
        Its role in the layer: ``whole``; ``weights``, ``norm`` and ``activation``; the ``planes``
        of a head in OpenCV's order; a ``slice`` of one source of several; the ``cut`` of a crop.
    inputs : tuple of int
        The indices of the parts that it reads; -1 is the network's input.
    sources : tuple of int
        The layers whose outputs it is computed from; -1 is the network's input.
    """

    name: str
    type: str
    layer: int
    role: Role
    inputs: tuple[int, ...]
    sources: tuple[int, ...]


def parts_of(network: Network) -> tuple[CvPart, ...]:
    """Return OpenCV's layers of a network, in order; the last part of each layer is its output."""
    parts: list[CvPart] = []
    last = {-1: -1}  # for each layer, the part that gives its output
    number = 0  # OpenCV counts sections, and some of the layers that it makes from one
    for index, node in enumerate(network.nodes):
        layer, sources = node.layer, node.sources
        kind = layer.names[0]
        pattern, type_ = _KINDS.get(kind, (f"{kind}_{{}}", kind))
        inputs = tuple(last[source] for source in sources)
        if kind == "scale_channels":
            inputs = inputs[::-1]
        if kind == "route":
            groups = layer.value("groups")
            pattern, type_ = _route(len(sources), groups)
            if len(sources) > 1 and groups > 1:
                for source in sources:
                    name = f"slice_{number}"
                    parts.append(CvPart(name, "Slice", index, "slice", (last[source],), (source,)))
                    number += 1
                inputs = tuple(range(len(parts) - len(sources), len(parts)))
        elif index in network.heads:
            type_ = "Region"
            if kind != "detection":
                parts.append(
                    CvPart(f"permute_{number}", "Permute", index, "planes", inputs, sources)
                )
                inputs = (len(parts) - 1,)
            if kind != "region":
                inputs = (*inputs, -1)  # for the size of the net's input
        after = tuple(_after(layer, kind, number))
        role: Role = "whole" if not after else "cut" if kind == "crop" else "weights"
        parts.append(CvPart(pattern.format(number), type_, index, role, inputs, sources))
        for name, its_type, its_role in after:
            parts.append(CvPart(name, its_type, index, its_role, (len(parts) - 1,), sources))
        last[index] = len(parts) - 1
        number += 2 if role == "cut" else 1
    return tuple(parts)


def output_names(network: Network) -> tuple[str, ...]:
    """Return OpenCV's name for the output of each layer."""
    names = {part.layer: part.name for part in parts_of(network)}
    return tuple(names.values())


def output_dims(network: Network, index: int) -> Dims:
    """Return the shape that OpenCV gives to one image's output, for layers that make no boxes.

    It is flat after ``[connected]`` only.
    """
    node = network.nodes[index]
    if node.layer.names[0] == "connected":
        return (node.y.size,)
    keeps = node.layer.is_alias(node.xs) or node.y.flat
    if keeps and len(node.sources) == 1 and node.sources[0] >= 0:
        return output_dims(network, node.sources[0])
    return node.y.dims


def _route(sources: int, groups: int) -> tuple[str, str]:
    if sources > 1:
        return "concat_{}", "Concat"
    return ("slice_{}", "Slice") if groups > 1 else ("identity_{}", "Identity")


def _after(layer: Layer, kind: str, number: int) -> Iterator[tuple[str, str, Role]]:
    """Yield name, type and role of OpenCV's further layers for a section."""
    if kind not in _KINDS:
        return
    if layer.norm.batch_norm == "inside":
        yield f"bn_{number}", "BatchNorm", "norm"
    if kind == "crop" and not layer.value("noadjust"):
        yield f"adjust_crop_{number + 1}", "Scale", "activation"  # OpenCV has counted on
    activation = layer.value("activation", "linear")
    if activation != "linear":
        yield f"{activation}_{number + 1}", _ACTIVATIONS.get(activation, activation), "activation"


def blobs_of(model: Model, part: CvPart) -> tuple[F32, ...]:
    """Return the parameters of a part in OpenCV's order and shapes; none without weights."""
    layer, p = model.network.nodes[part.layer].layer, model.params[part.layer]
    if part.type == "Region":
        head = model.network.heads.get(part.layer)
        anchors = () if head is None else head.anchor_sizes
        return (np.array(anchors, np.float32).reshape(1, -1),)
    if layer.names[0] == "crop" and part.role == "activation":
        return np.full((1, 1), 2, np.float32), np.full((1, 1), -1, np.float32)
    names: tuple[str, ...] = ()
    if part.role == "norm":
        names = ("rolling_mean", "rolling_variance", "scales", "biases")
    elif part.type in ("Convolution", "InnerProduct"):
        names = ("weights",) if layer.norm.batch_norm else ("weights", "biases")
    arrays = (p[name] for name in names if name in p)
    return tuple(array if array.ndim > 1 else array.reshape(1, -1) for array in arrays)


def inner_output(model: Model, part: CvPart, xs: Sequence[F32]) -> F32:
    """Compute the output of a part that is not the output of its layer.

    Parameters
    ----------
    model : Model
    part : CvPart
    xs : sequence of float32 arrays (n, c, h, w) or (n, values)
        The outputs of its ``sources``.

    Returns
    -------
    y : float32 array (n, ...)
    """
    node = model.network.nodes[part.layer]
    kind = node.layer.names[0]
    if part.role == "planes":
        return np.ascontiguousarray(xs[0].transpose(0, 2, 3, 1))
    if kind == "route":
        size = xs[0].shape[1] // node.layer.value("groups")
        start = size * node.layer.value("group_id")
        return np.ascontiguousarray(xs[0][:, start : start + size])
    layer, params = _bare(node.layer, part.role, model.params[part.layer])
    y = np.empty((len(xs[0]), *node.y.dims), np.float32)
    with np.errstate(all="ignore"):
        layer.infer(node.xs, params, InferenceContext(model.dialect, exact=True))(xs, y)
    return y.reshape(len(y), *output_dims(model.network, part.layer))


def _bare(layer: Layer, role: Role, p: Params) -> tuple[Layer, Params]:
    """Return a layer without the steps after one of its parts, and its parameters."""
    if role == "cut":
        return replace(layer, **{"noadjust": True}), p
    changes: dict[str, Any] = {"activation": "linear"}
    if role == "weights" and layer.norm.batch_norm:
        p = {"weights": p["weights"], "biases": np.zeros_like(p["biases"])}
        options = ("batch_normalize", "cbn")
        changes.update({name: 0 for name in options if name in layer.declared()})
    return replace(layer, **changes), p
