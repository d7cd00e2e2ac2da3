"""What the cfg alone says: heads and the layers before them, sizes, names of classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from darknet_bn.checks.doctor.diagnosis import Diagnosis
from darknet_bn.layers.shared.head import Head
from darknet_bn.model.model import Model
from darknet_bn.predictions.boxes import heads_of

_HUGE = 8  # times the input's side that an anchor may have; published ones reach 5


def options(model: Model, names: Sequence[str] | None) -> Iterator[Diagnosis]:
    """Yield what is unusual in the cfg.

    Parameters
    ----------
    model : Model
    names : sequence of str, optional
        The names of the classes.
    """
    for oddity in model.oddities:
        yield Diagnosis(verdict="note", kind="cfg", what=oddity)
    heads = heads_of(model.network) if model.network.is_detector else {}
    for index, head in heads.items():
        section = model.network.nodes[index].layer.names[0]
        yield from _before(model, index, section)
        yield from _grid(model, index, section)
        yield from _anchors(model, index, head, section)
        if names is not None and len(names) != head.classes:
            yield Diagnosis(
                verdict="wrong" if len(names) < head.classes else "note",
                kind="names",
                what=f"the head has {head.classes} classes, the list of names has {len(names)}",
                do="give the names of the data set that the network was trained on",
                layer=index,
                section=section,
                figure=float(len(names)),
            )


def _before(model: Model, index: int, section: str) -> Iterator[Diagnosis]:
    """Yield whether the layer before a head has the activation function that the head expects."""
    node = model.network.nodes[index]
    source = node.sources[0]
    used = None if source < 0 else model.network.nodes[source].layer.value("activation")
    if used is None:
        return
    new = bool(node.layer.value("new_coords"))
    wanted = "logistic" if new else "linear"
    if used != wanted:
        because = "new_coords=1 takes values from 0 to 1" if new else "the head has its own sigmoid"
        yield Diagnosis(
            verdict="wrong",
            kind="head",
            what=f"activation={used} right before [{section}]: {because}",
            do=f"set activation={wanted} in layer {source}",
            layer=index,
            section=section,
        )


def _grid(model: Model, index: int, section: str) -> Iterator[Diagnosis]:
    """Yield whether the size of the input is a multiple of a head's cells."""
    node, net = model.network.nodes[index], model.network.input
    if not node.xs[0].h or not node.xs[0].w or net.flat:
        return
    down, across = round(net.h / node.xs[0].h), round(net.w / node.xs[0].w)
    if net.h % max(1, down) or net.w % max(1, across):
        yield Diagnosis(
            verdict="note",
            kind="size",
            what=f"the input, {net.w}x{net.h}, is not a multiple of the head's cells of "
            f"{across}x{down} pixels: boxes near the right and lower border are moved",
            do=f"set width and height to multiples of {across} and {down}",
            layer=index,
            section=section,
        )


def _anchors(model: Model, index: int, head: Head, section: str) -> Iterator[Diagnosis]:
    """Yield whether no anchor can be an object: all below a pixel, or far larger than the input."""
    net, x = model.network.input, model.network.nodes[index].xs[0]
    cells = head.anchors_in_cells
    largest = max((max(pair) for pair in head.anchor_sizes), default=0.0)
    whole = max(x.h, x.w) if cells else max(net.h, net.w)
    unit = "cells" if cells else "pixels"
    tiny = not cells and 0 < largest < 1
    if not tiny and largest <= _HUGE * whole:
        return
    yield Diagnosis(
        verdict="note",
        kind="anchors",
        what=f"the largest side of an anchor is {largest:g}: anchors of [{section}] are in {unit}, "
        f"and the whole input is {whole}",
        do=f"give anchors in {unit}; darknet-bn anchors fits them to a data set",
        layer=index,
        section=section,
        figure=largest,
    )
