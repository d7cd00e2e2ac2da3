"""Keep some classes of a model: the filters of all others go, and what is kept does not change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.errors import DarknetError
from darknet_bn.layers.parameters import Params
from darknet_bn.model.model import Model
from darknet_bn.model.network import build_network

Numbers = npt.NDArray[np.intp]

_COUNTS = ("filters", "output")  # the option of a layer that says how many channels it has
_LEAST_SUM = 1e-30  # shares that add up to less have lost digits: float32 begins at 1e-38


@dataclass(frozen=True)
class ClassLayer:
    """A layer of a model with some values for each class, and the layer that computes them.

    Attributes
    ----------
    layer, weights : int
        Their numbers.
    classes : int
        How many classes there are.
    parts, before : int
        The values of a pixel are in this many equal parts, one for each anchor, and each begins
        with this many values that belong to no class.
    shares : bool
        Whether the values of the classes are shares that add up to 1.
    by_cell : bool
        Whether the output is stored pixel by pixel, not plane by plane.
    """

    layer: int
    weights: int
    classes: int
    parts: int = 1
    before: int = 0
    shares: bool = False
    by_cell: bool = False

    def numbers(self, kept: Sequence[int]) -> Numbers:
        """Return the filters that belong to some classes, and those that belong to no class."""
        part = [*range(self.before), *(self.before + each for each in kept)]
        size = self.before + self.classes
        return np.array([at * size + each for at in range(self.parts) for each in part], np.intp)

    def kept(self, y: F32, kept: Sequence[int]) -> F32:
        """Return what a model with some of the classes has to compute.

        Parameters
        ----------
        y : float32 array (n, c, h, w), or (n, classes)
            The output of the layer with all classes.
        kept : sequence of int

        Returns
        -------
        y : float32 array
            The values that are left.  Shares are divided by their sum; see `known`.
        """
        left = self._left(y, kept)
        if self.shares:
            shares = left[:, :, self.before :].astype(np.float64)
            sums = shares.sum(axis=2, keepdims=True)
            left[:, :, self.before :] = shares / np.where(sums < _LEAST_SUM, 1, sums)
        return self._whole(left, y)

    def known(self, y: F32, kept: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Return where `kept` says what a model with some of the classes has to compute.

        That is everywhere but in the shares of classes that all had a share of nearly 0.

        Parameters
        ----------
        y, kept
            As in `kept`.

        Returns
        -------
        known : bool array
            Of the shape of what `kept` returns.
        """
        left = self._left(y, kept)
        known = np.ones(left.shape, np.bool_)
        if self.shares:
            sums = left[:, :, self.before :].sum(axis=2, dtype=np.float64, keepdims=True)
            known[:, :, self.before :] = sums >= _LEAST_SUM
        return self._whole(known, y)

    def _left(self, y: F32, kept: Sequence[int]) -> F32:
        """Return the values that are left, (n, parts, values of a part, pixels)."""
        order = self.numbers(kept)
        if self.by_cell:
            cells = y.reshape(len(y), -1, self.parts * (self.before + self.classes))
            planes = np.moveaxis(cells, 2, 1)
        else:
            planes = y.reshape(len(y), self.parts * (self.before + self.classes), -1)
        return planes[:, order].reshape(len(y), self.parts, -1, planes.shape[2])

    def _whole(self, left: npt.NDArray[Any], y: F32) -> npt.NDArray[Any]:
        """Return the values that are left in the order of the output."""
        whole = left.reshape(len(y), -1, left.shape[3])
        channels = whole.shape[1]
        if self.by_cell:
            whole = np.ascontiguousarray(np.moveaxis(whole, 1, 2))
        return whole.reshape(len(y), channels, *y.shape[2:])


def keep_classes(model: Model, classes: Sequence[int]) -> Model:
    """Return a model that knows only some of the classes.

    Parameters
    ----------
    model : Model
        A detector with ``[yolo]``, ``[Gaussian_yolo]`` or ``[region]``, or a classifier that ends
        with ``[softmax]``.
    classes : sequence of int
        The classes to keep, by number, in the order that they get.

    Returns
    -------
    smaller : Model
        All parameters that it has are equal to the bit.  Boxes, objectness and the probabilities of
        the classes that it keeps are computed from the same numbers; only those of a softmax
        change, because they have to add up to 1 again.  ``filters=`` and ``classes=`` of its cfg
        are other numbers; all other lines stay.

    Raises
    ------
    DarknetError
        A class does not exist or is named twice, or the classes of a layer cannot be told apart.
    """
    found = class_layers(model)
    counts = {each.classes for each in found}
    if len(counts) > 1:
        raise DarknetError(
            "the layers have different numbers of classes",
            where=model.cfg.where(found[1].layer + 1, "classes"),
            expected=f"{found[0].classes}, as in layer {found[0].layer}",
            found=f"{found[1].classes}",
        )
    (count,) = counts
    kept = tuple(classes)
    if not kept or len(set(kept)) < len(kept) or not all(0 <= each < count for each in kept):
        raise DarknetError(
            "the classes to keep are not valid",
            expected=f"different numbers from 0 to {count - 1}",
            found=", ".join(map(str, kept)) or "nothing",
        )
    params: list[Params] = list(model.params)
    edits: dict[tuple[int, str], str | None] = {}
    for each in found:
        order = each.numbers(kept)
        node = model.network.nodes[each.weights]
        params[each.weights] = {
            name: np.ascontiguousarray(array[order]) for name, array in params[each.weights].items()
        }
        for array in params[each.weights].values():
            array.flags.writeable = False
        options = node.layer.declared()
        key = next(key for key in _COUNTS if key in options)
        edits[each.weights + 1, key] = str(len(order))
        if "classes" in model.network.nodes[each.layer].layer.declared():
            edits[each.layer + 1, "classes"] = str(len(kept))
        counters = model.network.nodes[each.layer].layer.value("counters_per_class")
        if counters is not None:
            edits[each.layer + 1, "counters_per_class"] = ",".join(
                str(counters[number]) for number in kept
            )
    cfg = model.cfg.edited(edits)
    network = build_network(cfg, model.dialect, model.network.files)
    return replace(model, cfg=cfg, network=network, params=tuple(params))


def class_layers(model: Model) -> tuple[ClassLayer, ...]:
    """Return the layers that have values for each class: all heads, or the softmax at the end.

    Raises
    ------
    DarknetError
        There is none, or its classes cannot be told apart.
    """
    network = model.network
    found = tuple(_of_head(model, layer) for layer in network.heads)
    if not found:
        last = [
            index
            for index, node in enumerate(network.nodes)
            if node.layer.channels == "shared out" and index in network.outputs
        ]
        found = tuple(_of_softmax(model, layer) for layer in last)
    if not found:
        raise DarknetError(
            "the cfg has no layer for classes",
            where=model.cfg.where(len(network.nodes)),
            expected="[yolo], [Gaussian_yolo] or [region], or [softmax] at the end",
            found=f"[{network.nodes[-1].layer.names[0]}]",
        )
    return found


def _of_head(model: Model, layer: int) -> ClassLayer:
    node, where = model.network.nodes[layer], model.cfg.where(layer + 1)
    head = model.network.heads[layer]
    if not head.filters_per_class():
        raise DarknetError(
            "the classes of this layer cannot be told apart",
            where=where,
            expected="[yolo], [Gaussian_yolo] or [region]",
        )
    _require_unread(model, layer)
    for key in ("tree", "background"):
        if node.layer.value(key):
            raise DarknetError(
                "the classes depend on each other and cannot be told apart",
                where=model.cfg.where(layer + 1, key),
            )
    classes, parts = head.classes, head.filters_per_class()
    weights = _weights_before(model, layer)
    by_cell = head.anchors_in_cells and model.dialect.region_by_cell
    return ClassLayer(
        layer,
        weights,
        classes,
        parts,
        node.xs[0].c // parts - classes,
        shares=bool(node.layer.value("softmax", False)),
        by_cell=by_cell,
    )


def _require_unread(model: Model, layer: int) -> None:
    """Refuse a head whose output other layers read, which have weights for all of its classes."""
    readers = [at for at, node in enumerate(model.network.nodes) if layer in node.sources]
    readers = [at for at in readers if not model.network.nodes[at].layer.is_loss]
    if readers:
        raise DarknetError(
            "another layer reads the classes of the head",
            where=model.cfg.where(layer + 1),
            expected="a head that no layer reads",
            found=f"layer {readers[0]} [{model.network.nodes[readers[0]].layer.names[0]}]",
        )


def _of_softmax(model: Model, layer: int) -> ClassLayer:
    node = model.network.nodes[layer]
    if node.layer.value("tree") is not None or node.layer.value("groups") != 1:
        key = "groups" if node.layer.value("tree") is None else "tree"
        raise DarknetError(
            "the classes depend on each other and cannot be told apart",
            where=model.cfg.where(layer + 1, key),
        )
    weights = _weights_before(model, layer)
    channels = model.network.nodes[weights].y.c
    if node.xs[0].size != channels:
        raise DarknetError(
            "the softmax is over several pixels of each filter",
            where=model.cfg.where(layer + 1),
            expected=f"{channels} values, one for each filter of layer {weights}",
            found=f"{node.xs[0].size}",
        )
    return ClassLayer(layer, weights, channels, shares=True)


def _weights_before(model: Model, layer: int) -> int:
    """Return the layer whose filters a layer reads, and nothing else does."""
    nodes = model.network.nodes
    index = layer
    while True:
        before = index
        (index,) = nodes[before].sources[:1]
        name = "the input" if index < 0 else f"[{nodes[index].layer.names[0]}]"
        readers = [at for at, node in enumerate(nodes) if index in node.sources]
        if index < 0 or len(nodes[before].sources) > 1 or len(readers) > 1:
            found = f"layers {', '.join(map(str, readers))} read {name}"
            break
        if nodes[index].layer.channels == "kept" and nodes[before].layer.channels != "mixed":
            continue
        shared = sum(each.owner == nodes[index].owner for each in nodes) > 1
        whole = all(param.stored_size == param.size for param in nodes[index].params)
        plain = nodes[index].layer.value("groups", 1) == 1 and not shared and whole
        if nodes[index].layer.channels == "weighted" and plain:
            return index
        found = f"{name}, layer {index}"
        break
    raise DarknetError(
        "the layer before the classes cannot be cut",
        where=model.cfg.where(layer + 1),
        expected="a [convolutional] or [connected] of its own, without groups",
        found=found,
    )
