"""What has to stay the same in each kind of edit."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32, F64
from darknet_bn.checks.edit import Claim, same_outputs
from darknet_bn.model.model import Model
from darknet_bn.run.random_input import small
from darknet_bn.transforms.classes import class_layers
from darknet_bn.transforms.tied import padded_border, readers_of


def of_swapped_colours(model: Model) -> Claim:
    """Return what `swap_red_blue` promises: the same outputs for exchanged planes."""
    order = [2, 1, 0, 3][: model.network.input.c]
    same = same_outputs(model, "all outputs, for pictures whose red and blue are exchanged")
    return Claim(words=same.words, layers=same.layers, given=lambda x: x[:, order])


def of_rescaled_input(
    model: Model, scale: float | Sequence[float], shift: float | Sequence[float]
) -> Claim:
    """Return what `rescale_input` promises.

    That is the same outputs for ``x * scale + shift``.  If a layer pads the input with zeros, which
    mean another value after a shift, only its pixels that no padding reaches are promised, before
    anything mixes them with others.
    """
    factors, terms = (
        np.asarray(each, np.float32).reshape(-1, *(1,) * (len(model.network.input.dims) - 1))
        for each in (scale, shift)
    )

    def given(x: F32) -> F32:
        scaled: F32 = (x * factors + terms).astype(np.float32)
        return scaled

    padded = [
        layer
        for layer, sources in readers_of(model.network)
        if -1 in sources and any(padded_border(model.network.nodes[layer])) and terms.any()
    ]
    if not padded:
        words = "all outputs, for values that are scaled and shifted before"
        return Claim(words=words, layers=same_outputs(model, words).layers, given=given)
    inner = {layer: _inside(model, layer) for layer in padded}
    return Claim(
        words="the layers that read the input, away from the border, for values that are scaled "
        "and shifted before",
        layers={layer: layer for layer in padded},
        given=given,
        expected=inner,
        found=inner,
    )


def _inside(model: Model, layer: int) -> Callable[[F32], F32]:
    """Return what takes the pixels that padding does not reach."""
    borders = [padded_border(each.network.nodes[layer]) for each in (model, small(model))]
    down, across = (max(each) for each in zip(*borders, strict=True))

    def inside(y: F32) -> F32:
        return y[
            :, :, down : max(down, y.shape[2] - down), across : max(across, y.shape[3] - across)
        ]

    return inside


def of_resized_input(model: Model) -> Claim:
    """Return what another image size promises: the same outputs at the old one."""
    same = same_outputs(model, "all outputs at the old size", to_the_bit=True)
    return Claim(words=same.words, layers=same.layers, to_the_bit=True, at_the_old_size=True)


def of_another_header(model: Model) -> Claim:
    """Return what another header promises: everything stays."""
    return same_outputs(model, "all outputs", to_the_bit=True)


def of_first_layers(layers: int) -> Claim:
    """Return what a file of the first layers promises: their outputs."""
    return Claim(
        words=f"the outputs of layers 0 to {layers - 1}",
        layers={layer: layer for layer in range(layers)},
        to_the_bit=True,
    )


def of_kept_classes(model: Model, kept: Sequence[int]) -> Claim:
    """Return what `keep_classes` promises: the weights and values of the classes that are kept.

    Outputs are equal to the bit too if a product of matrices has the same bits with fewer rows,
    which is for the processor to say.
    """
    found = class_layers(model)
    words = "boxes, objectness and the classes that are kept"
    shares = [each for each in found if each.shares]
    if shares:
        words += ", whose probabilities are divided by their sum"
    params: list[dict[str, F64]] = [{} for _ in model.params]
    expected = {each.layer: functools.partial(each.kept, kept=tuple(kept)) for each in found}
    for each in found:
        order = each.numbers(kept)
        params[each.weights] = {
            name: array[order].astype(np.float64)
            for name, array in model.params[each.weights].items()
        }
        if each.shares:  # what the shares are made of: it says more than shares of nearly 0
            (source,) = model.network.nodes[each.layer].sources
            expected[source] = functools.partial(_filters, order=order)
    return Claim(
        words=words,
        layers={layer: layer for layer in sorted(expected)},
        expected=expected,
        known={each.layer: functools.partial(each.known, kept=tuple(kept)) for each in shares},
        parameters=params,
    )


def _filters(y: F32, order: npt.NDArray[np.intp]) -> F32:
    """Return some channels of an output, or some of its values if it is flat."""
    return y[:, order]


def of_another_dialect(model: Model, rewritten: Model) -> Claim:
    """Return what `to_dialect` promises: the same outputs.

    Programs store the output of ``[region]`` in different orders, so what it reads is compared.
    """
    cells = {layer for layer, head in model.network.heads.items() if head.anchors_in_cells}
    differ = model.dialect.region_by_cell != rewritten.dialect.region_by_cell
    layers = {
        node.sources[0] if differ and layer in cells else layer
        for layer, node in enumerate(model.network.nodes)
        if layer in model.network.outputs
    }
    return Claim(
        words=f"all outputs, computed as {model.dialect.name} and as {rewritten.dialect.name}",
        layers={layer: layer for layer in sorted(layers)},
        hint=f"an option or an activation means something else to {rewritten.dialect.name}",
    )


def of_a_mean(models: Sequence[Model], besides: Sequence[str] = ()) -> Claim:
    """Return what `average_models` promises: the mean of all parameters, but for some by name."""
    params = [
        {
            name: np.mean([each.params[index][name].astype(np.float64) for each in models], axis=0)
            for name in p
            if name.rpartition(".")[2] not in besides
        }
        for index, p in enumerate(models[0].params)
    ]
    words = "every parameter is the mean of those in the files"
    if besides:
        words += f", but for {' and '.join(besides)}"
    return Claim(words=words, layers={}, parameters=params, rounded=True)
