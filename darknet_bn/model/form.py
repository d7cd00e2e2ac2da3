"""What the size of a weights file shows of a network, and what else tells networks apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

from darknet_bn.formats.cfg import Cfg
from darknet_bn.layers.shared.per_class import per_class
from darknet_bn.model.network import Network
from darknet_bn.values import brief, counted, fields_of


class ClassLayer(NamedTuple):
    """A layer whose outputs grow with the number of classes.

    Attributes
    ----------
    layer : int
    outputs : int
        How many more filters or values it has for one more class.
    floats : int
        How many floats one of them takes in the file.
    """

    layer: int
    outputs: int
    floats: int

    def __str__(self) -> str:
        """``layer:outputs x floats``, without blanks."""
        return f"{self.layer}:{self.outputs}x{self.floats}"


@dataclass(frozen=True)
class Form:
    """What is known of a network without its cfg.

    Attributes
    ----------
    names : tuple of str
        The names of cfgs that have this form, or the path of one cfg.
    programs : tuple of str
        Who published them; empty for a cfg of the user's.
    input : str
        Width, height and channels, or the number of values.
    classes : int or None
        None if no part of the file depends on a number of classes.
    per_class : tuple of ClassLayer
        Where the number of classes enters.
    activations : str
        How many layers with parameters have which activation, and how many are binary (``xnor``).
    heads : str
        What makes boxes or shares at the end.
    sizes : tuple of int
        How many floats of the file each layer has; one for each layer.
    """

    names: tuple[str, ...]
    programs: tuple[str, ...]
    input: str
    classes: int | None
    per_class: tuple[ClassLayer, ...]
    activations: str
    heads: str
    sizes: tuple[int, ...]

    def __repr__(self) -> str:
        """Return a one-line description."""
        return brief(self, f"{', '.join(self.names)}: {counted(len(self.sizes), 'layer')}")

    def __getstate__(self) -> dict[str, object]:
        """Return the state to pickle."""
        return fields_of(self)

    @cached_property
    def floats(self) -> int:
        """How many floats a complete file holds after its header."""
        return sum(self.sizes)

    @cached_property
    def floats_per_class(self) -> int:
        """How many more floats there are for one more class."""
        return sum(each.outputs * each.floats for each in self.per_class)

    @cached_property
    def ends(self) -> dict[int, int]:
        """How many layers a file holds that ends early, by its floats.

        Only layers before the first that depends on the number of classes are considered, and of
        several layers without floats the first counts.
        """
        last = min((each.layer for each in self.per_class), default=len(self.sizes) - 1)
        ends: dict[int, int] = {}
        for held, floats in enumerate(accumulate(self.sizes[:last]), start=1):
            if floats:
                ends.setdefault(floats, held)
        return ends

    def holds(self, layers: int) -> int:
        """Return how many floats the first layers have."""
        return sum(self.sizes[:layers])


def form_of(network: Network, name: str, programs: tuple[str, ...] = ()) -> Form:
    """Return what is known of a network without its cfg.

    Parameters
    ----------
    network : Network
    name : str
        What the cfg is called.
    programs : tuple of str
        Who published it.
    """
    sizes = [0] * len(network.nodes)
    for index, param in network.stored():
        sizes[index] += param.stored_size
    classes, layers = _classes(network, sizes)
    activations = Counter(
        str(activation)
        for node in network.nodes
        if (activation := node.layer.value("activation")) is not None and node.params
    )
    binary = sum(bool(node.layer.value("xnor")) for node in network.nodes)
    if binary:
        activations["xnor"] = binary
    return Form(
        names=(name,),
        programs=programs,
        input=str(network.input),
        classes=classes,
        per_class=layers,
        activations=", ".join(f"{each} {n}" for each, n in sorted(activations.items())),
        heads=_heads(network),
        sizes=tuple(sizes),
    )


def with_classes(cfg: Cfg, network: Network, form: Form, classes: int) -> Cfg:
    """Return a cfg for another number of classes: in the heads, and in the layers before them.

    Parameters
    ----------
    cfg, network, form : Cfg, Network, Form
        The same net in three ways.
    classes : int
    """
    edits: dict[tuple[int, str], str | None] = {
        (index + 1, "classes"): str(classes)
        for index, node in enumerate(network.nodes)
        if per_class(node.layer) is not None
    }
    for each in form.per_class:
        node = network.nodes[each.layer]
        key = "filters" if "filters" in node.layer.declared() else "output"
        count = node.y.c + each.outputs * (classes - (form.classes or 0))
        edits[each.layer + 1, key] = str(count)
    return cfg.edited(edits)


def _classes(network: Network, sizes: list[int]) -> tuple[int | None, tuple[ClassLayer, ...]]:
    """Return the number of classes, and the layers whose outputs grow with it."""
    layers = ((index, per_class(node.layer)) for index, node in enumerate(network.nodes))
    heads = {index: each for index, each in layers if each is not None}
    found: list[ClassLayer] = []
    for index, head in heads.items():
        grid = network.heads[index].grid if index in network.heads else None
        outputs = head.filters_per_class() if grid is None else grid**2
        layer = _with_floats(network, sizes, network.nodes[index].sources[0])
        if outputs and layer is not None:
            found.append(_class_layer(network, sizes, layer, outputs))
    counts = {each.classes for each in heads.values()}
    if heads:
        return (counts.pop(), tuple(found)) if len(counts) == 1 and found else (None, ())
    if network.recurrent:
        return None, ()
    last = len(network.nodes) - 1
    layer = _with_floats(network, sizes, last)
    if layer is None or not any(node.layer.is_end for node in network.nodes[layer:]):
        return None, ()
    count = network.nodes[layer].y.c
    if network.nodes[last].y.size != count:  # the outputs are not only classes
        return None, ()
    return count, (_class_layer(network, sizes, layer, 1),)


def _with_floats(network: Network, sizes: list[int], layer: int) -> int | None:
    """Return the layer itself, or the nearest before it in a line that has floats."""
    while layer >= 0 and not sizes[layer]:
        node = network.nodes[layer]
        if len(node.sources) != 1:
            return None
        layer = node.sources[0]
    return layer if layer >= 0 else None


def _class_layer(network: Network, sizes: list[int], layer: int, outputs: int) -> ClassLayer:
    return ClassLayer(layer, outputs, sizes[layer] // network.nodes[layer].y.c)


def _heads(network: Network) -> str:
    """Return what makes boxes or shares, with the options that files cannot show."""
    told: list[str] = []
    for index, node in enumerate(network.nodes):
        if not node.layer.is_end:
            continue
        head = network.heads.get(index)
        text = node.layer.names[0]
        if head is not None and head.anchor_sizes:
            text += f" of {len(head.anchor_sizes)}"
        told.append(text + (" new_coords" if node.layer.value("new_coords") else ""))
    return ", ".join(f"{n} x {each}" for each, n in Counter(told).items())
