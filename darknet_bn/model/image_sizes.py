"""Which input sizes give equal sizes to images that one layer reads together.

Layers with a stride round sizes that they do not divide, and enlarging later does not undo that: 40
pixels become 20, 10, 5 and 3, and twice 3 is not 5.  With a multiple of all strides nothing is
rounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from darknet_bn.errors import ShapeError
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.shape import Shape

_LARGE = 2**10 * 3**2 * 5 * 7  # pixels; the usual strides divide it
_NEAR = 0.01  # windows without padding leave a little less than their share
_MOST = 1024  # the largest stride that is searched for


class Linked(Protocol):
    """A layer, and the numbers of the layers that it reads; -1 is the network's input."""

    @property
    def layer(self) -> Layer:
        """The layer."""

    @property
    def sources(self) -> tuple[int, ...]:
        """The layers that it reads."""


def equal_sizes(nodes: Sequence[Linked], net: Shape, pair: tuple[int, int]) -> str | None:
    """Say which numbers should divide width and height to make two images the same size.

    Parameters
    ----------
    nodes : sequence of Linked
        The layers of a network, up to the pair.
    net : Shape
        Shape of the network's input.
    pair : (int, int)
        The layers whose images should have the same size; -1 is the input.

    Returns
    -------
    hint : str or None
        None if no multiple helps, or the input is not an image.
    """
    return _hint(nodes, net, pair, lambda sides: sides[pair[0]] == sides[pair[1]])


def divisible_sizes(nodes: Sequence[Linked], net: Shape, layer: int, divisor: int) -> str | None:
    """Say, like `equal_sizes`, when a number divides the sides of a layer's image."""
    return _hint(nodes, net, (layer,), lambda sides: sides[layer] % divisor == 0, divisor)


def _hint(
    nodes: Sequence[Linked],
    net: Shape,
    layers: tuple[int, ...],
    fits: Callable[[Mapping[int, int]], bool],
    divisor: int = 1,
) -> str | None:
    if net.flat:
        return None
    needed = ancestors(nodes, layers)

    def width(w: int) -> Mapping[int, int]:
        return {index: shape.w for index, shape in _shapes(nodes, needed, net.c, net.h, w).items()}

    def height(h: int) -> Mapping[int, int]:
        return {index: shape.h for index, shape in _shapes(nodes, needed, net.c, h, net.w).items()}

    multiples = []
    for name, size, sides in (("width", net.w, width), ("height", net.h, height)):
        strides = _strides(sides)
        if strides is None:
            return None
        own = [strides[layer] for layer in layers]
        if max(own) - min(own) > _NEAR * max(own):
            if not all(1 <= stride <= _MOST for stride in own):
                return None
            parts = " and ".join(f"1/{round(stride)}" for stride in own)
            return f"no {name} makes them equal: they are {parts} of the input's"
        multiple = _smallest(sides, strides, fits, size, divisor)
        if multiple is None:
            return None
        multiples.append(multiple)
    across, down = multiples
    if across == down:
        return f"width and height should be multiples of {across} here, not {net.w} and {net.h}"
    return (
        f"the width should be a multiple of {across} and the height of {down} here, "
        f"not {net.w} and {net.h}"
    )


def ancestors(nodes: Sequence[Linked], wanted: Iterable[int]) -> tuple[int, ...]:
    """Return the given layers and all layers that they need, in order."""
    needed: set[int] = set()
    todo = list(wanted)
    while todo:
        index = todo.pop()
        if index >= 0 and index not in needed:
            needed.add(index)
            todo.extend(nodes[index].sources)
    return tuple(sorted(needed))


def _shapes(
    nodes: Sequence[Linked], needed: Sequence[int], c: int, h: int, w: int
) -> Mapping[int, Shape]:
    """Return the shapes of some layers for a given input size; none if it does not fit."""
    shapes = {-1: Shape(c, h, w)}
    try:
        for index in needed:
            xs = tuple(shapes[source] for source in nodes[index].sources)
            shapes[index] = nodes[index].layer.out_shape(xs)
    except ShapeError:
        return {}
    return shapes


def _strides(sides: Callable[[int], Mapping[int, int]]) -> Mapping[int, float] | None:
    """Return, for each layer, how many pixels of the input correspond to one of its own."""
    large = sides(_LARGE)
    return {index: _LARGE / side for index, side in large.items()} if large else None


def _smallest(
    sides: Callable[[int], Mapping[int, int]],
    strides: Mapping[int, float],
    fits: Callable[[Mapping[int, int]], bool],
    size: int,
    divisor: int,
) -> int | None:
    """Return the smallest number whose multiples all fit; None if there is no such number."""
    whole = divisor * math.lcm(*(max(1, round(stride)) for stride in strides.values()))
    if whole > _MOST:
        return None
    for number in range(2, whole + 1):
        if whole % number == 0:
            first = -(-size // number) * number
            tried = map(sides, range(first, first + whole, number))
            if all(each and fits(each) for each in tried):
                return number
    return None
