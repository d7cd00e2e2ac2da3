"""Compute the last layers here, from what another device computed before them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.errors import ShapeError
from darknet_bn.layers.passes import InferenceContext
from darknet_bn.model.model import Model
from darknet_bn.model.network import Network
from darknet_bn.work.threads import workers


def run_heads(model: Model, outputs: Mapping[int, npt.ArrayLike]) -> dict[int, F32]:
    """Compute the outputs of a network from the outputs of the layers before its heads.

    This is the second half of a network whose first half ran somewhere else, such as in a file of
    `export_for`.  `detections` and `classify` take such outputs instead of pictures, and call this.

    Parameters
    ----------
    model : Model
    outputs : mapping from layer number to float array (n, c, h, w), or (n, outputs)
        The output of each layer that `layers_before_heads` names, or of others that are enough.

    Returns
    -------
    outputs : dict from layer number to float32 array
        What `forward` returns for the layers ``"outputs"``.

    Raises
    ------
    ShapeError
        The output of a layer is missing, or has another shape.

    Examples
    --------
    >>> heads = dn.run_heads(model, {15: y15, 22: y22})  # doctest: +SKIP
    >>> found = dn.detections(model, {15: y15, 22: y22}, image_sizes=size)  # doctest: +SKIP
    """
    return run_from(model, outputs, model.network.outputs)


def layers_before_heads(network: Network) -> tuple[int, ...]:
    """Return the layers whose outputs the heads read, in order.

    They are the last layers with weights, as a rule: before a detection head, a softmax or a
    logistic layer that the network ends with.  -1 is the network's input.
    """
    found = set()
    for index in network.outputs:
        at = index
        while at >= 0:
            node = network.nodes[at]
            if not (node.layer.is_end or node.layer.is_alias(node.xs)):
                break
            at = node.sources[0]
        found.add(at)
    return tuple(sorted(found))


def run_from(
    model: Model, given: Mapping[int, npt.ArrayLike], wanted: Iterable[int]
) -> dict[int, F32]:
    """Compute layers from the outputs of other layers.

    Parameters
    ----------
    model : Model
    given : mapping from layer number to float array (n, *shape)
        -1 is the network's input.
    wanted : iterable of int
        The layers to compute; those that are given already stay as they are.

    Returns
    -------
    outputs : dict from layer number to float32 array

    Raises
    ------
    ShapeError
        A layer that is needed is missing, or has another shape.
    """
    nodes = model.network.nodes
    count = len(next((np.asarray(each) for each in given.values()), ()))
    arrays = {layer: _checked(model.network, layer, y, count) for layer, y in given.items()}
    asked = tuple(wanted)
    needed = _needed(model.network, arrays, asked)
    with workers().hold_blas(), np.errstate(all="ignore"):
        for index in needed:
            node = nodes[index]
            context = InferenceContext(model.dialect, time_steps=model.network.time_steps)
            step = node.layer.infer(node.xs, model.params[index], context)
            y = np.empty((count, *node.y.dims), np.float32)
            step([arrays[source] for source in node.sources], y)
            arrays[index] = y
    return {index: arrays[index] for index in asked}


def _needed(network: Network, given: Mapping[int, F32], wanted: Iterable[int]) -> list[int]:
    """Return the layers that have to be computed, in order."""
    waiting, needed = list(wanted), set()
    while waiting:
        index = waiting.pop()
        if index in given or index in needed:
            continue
        if index < 0:
            before = ", ".join(map(str, layers_before_heads(network)))
            found = ", ".join(map(str, sorted(given))) or "none"
            raise ShapeError(
                "outputs of layers are missing",
                expected=f"layers {before}",
                found=f"layers {found}",
            )
        needed.add(index)
        waiting += network.nodes[index].sources
    return sorted(needed)


def _checked(network: Network, layer: int, y: npt.ArrayLike, count: int) -> F32:
    """Return the output of a layer as float32, and refuse arrays that are none."""
    nodes = network.nodes
    if not -1 <= layer < len(nodes):
        raise ShapeError(
            "there is no such layer", expected=f"0 to {len(nodes) - 1}", found=f"{layer}"
        )
    array = np.asarray(y)
    dims = (network.input if layer < 0 else nodes[layer].y).dims
    if not np.issubdtype(array.dtype, np.floating):
        raise ShapeError(
            f"the output of layer {layer} does not hold floating-point numbers",
            expected="float32",
            found=f"{array.dtype}",
            hint="convert the device's integers to floats with its scale and zero point",
        )
    if array.shape != (count, *dims) or not count:
        last = (*dims[1:], dims[0])
        raise ShapeError(
            f"this is not an output of layer {layer}",
            expected=f"({count or 'n'}, {', '.join(map(str, dims))})",
            found=f"{array.shape}",
            hint="the channels come first: y.transpose(0, 3, 1, 2)"
            if array.shape == (count, *last)
            else None,
        )
    return np.ascontiguousarray(array, np.float32)
