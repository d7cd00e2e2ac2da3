"""Edit what a model expects: the order of colours, the range of values; its header; its beginning.

These are the verbs ``rgbgr``, ``rescale`` and ``partial`` of Darknet's program, and what its users
do to a header with a hex editor.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32, F64
from darknet_bn.errors import DarknetError, DarknetWarning
from darknet_bn.formats.writing import require_writable, write_files
from darknet_bn.layers.parameters import Params
from darknet_bn.model.model import Model
from darknet_bn.model.network import Node
from darknet_bn.model.weights import Header, write_weights
from darknet_bn.transforms.tied import padded_border

_WEIGHTS = "weights"
_BY_FILTER = ("biases", "scales", "rolling_mean", "rolling_variance")
_LARGEST = 999  # a larger number is read as a float of an old header


def swap_red_blue(model: Model) -> Model:
    """Return a model for BGR that computes what a model for RGB does, or the reverse.

    Parameters
    ----------
    model : Model

    Returns
    -------
    swapped : Model
        Gives for ``x[:, [2, 1, 0]]`` what the model gives for ``x``, up to the order in which sums
        are rounded.  Doing it twice is the identity.

    Raises
    ------
    DarknetError
        The input does not have 3 or 4 channels, or a layer that reads it has no weights for each
        channel.

    Notes
    -----
    C: ``rgbgr_net`` in ``examples/darknet.c``.  Unlike there, every layer that reads the input is
    changed, ``[connected]`` too.  As there, ``[crop]`` and other layers that keep the channels
    apart may be before it.  If a first layer has a group for each channel, its filters are
    exchanged, and so are the channels of the layers that read it.
    """
    channels = model.network.input.c
    if model.network.input.flat or channels not in (3, 4):
        raise DarknetError(
            "the input has no colours to exchange",
            where=model.cfg.where(0),
            expected="3 or 4 channels",
            found=f"{model.network.input}",
        )
    order = np.array([2, 1, 0, 3][:channels])
    params: list[Params] = list(model.params)
    for layer in _readers(model, -1, through=True):
        p, groups = params[layer], _groups(model, layer, channels)
        if groups == 1:
            params[layer] = _with_channels(p, channels, order)
            continue
        filters = len(p[_WEIGHTS])
        if groups != channels:
            raise DarknetError(
                "the groups of the layer divide the colours",
                where=model.cfg.where(layer + 1, "groups"),
                expected=f"1 or {channels}",
                found=f"{groups}",
            )
        moved = np.arange(filters).reshape(groups, -1)[order].ravel()
        named = (_WEIGHTS, *_BY_FILTER)
        params[layer] = {
            name: array[moved] if name in named else array for name, array in p.items()
        }
        if layer in model.network.outputs:
            raise DarknetError(
                "the outputs of the model would change places", where=model.cfg.where(layer + 1)
            )
        for reader in _readers(model, layer):
            if _groups(model, reader, filters) != 1:
                raise DarknetError(
                    f"the layer has groups, and reads layer {layer}, whose filters are exchanged",
                    where=model.cfg.where(reader + 1, "groups"),
                )
            params[reader] = _with_channels(params[reader], filters, moved)
    return _with_params(model, params)


def rescale_input(
    model: Model, scale: float | Sequence[float] = 2.0, shift: float | Sequence[float] = -1.0
) -> Model:
    """Return a model that takes ``x`` and computes what a model does with ``x * scale + shift``.

    Parameters
    ----------
    model : Model
    scale, shift : float, or sequence of float
        One number, or one for each channel of the input.  The defaults are for a model that
        expects values from -1 to 1, and is to take values from 0 to 1.

    Returns
    -------
    rescaled : Model
        Its weights and biases, or the means of batch norm, are computed in float64, and each is
        rounded once.

    Raises
    ------
    DarknetError
        A scale is 0, a layer that reads the input has no weights for each channel, or binary ones,
        or a new value does not fit float32.

    Warns
    -----
    DarknetWarning
        A layer pads the input with zeros, which now mean other values: outputs near the border
        differ.

    Notes
    -----
    C: ``rescale_net`` in ``examples/darknet.c``, which changes the biases even if there is batch
    norm before them; that is not the same.
    """
    channels = model.network.input.c
    factors, terms = (_per_channel(model, each, channels) for each in (scale, shift))
    if not factors.all():
        raise DarknetError(
            "with a scale of 0 the model would not see the input",
            where=model.cfg.where(0),
            expected="another number",
            found=f"{scale}",
        )
    params: list[Params] = list(model.params)
    for layer in _readers(model, -1):
        node, p = model.network.nodes[layer], params[layer]
        if node.layer.value("xnor") or node.layer.value("binary"):
            raise DarknetError(
                "the weights are binary and cannot take a scale",
                where=model.cfg.where(layer + 1),
            )
        groups = _groups(model, layer, channels)
        weights = p[_WEIGHTS].astype(np.float64)
        parts = weights.reshape(groups, len(weights) // groups, channels // groups, -1)
        by_group = (terms.reshape(groups, 1, -1), factors.reshape(groups, 1, -1, 1))
        added = (parts.sum(axis=3) * by_group[0]).sum(axis=2).ravel()
        new: dict[str, F64] = {_WEIGHTS: (parts * by_group[1]).reshape(weights.shape)}
        if "rolling_mean" in p:
            new["rolling_mean"] = p["rolling_mean"] - added
        else:
            new["biases"] = p["biases"] + added
        with np.errstate(over="ignore"):
            narrow = {name: array.astype(np.float32) for name, array in new.items()}
        for name, array in narrow.items():
            if not np.isfinite(array[np.isfinite(p[name])]).all():
                raise DarknetError(
                    f"the new {name} do not fit float32", where=model.cfg.where(layer + 1)
                )
        params[layer] = {**p, **narrow}
        if any(padded_border(node)) and terms.any():
            text = "pads the input with zeros, so outputs near the border differ"
            warnings.warn(f"{model.cfg.where(layer + 1)}: {text}", DarknetWarning, stacklevel=2)
    return _with_params(model, params)


def with_header(
    model: Model, *, version: tuple[int, int, int] | None = None, seen: int | None = None
) -> Model:
    """Return a model whose weights file has another header.

    Parameters
    ----------
    model : Model
    version : (major, minor, revision), optional
        From version 0.2 on the counter has 64 bits, before that 32.  `load` takes revision 5 as a
        sign of AlexeyAB's arithmetic if the dialect is not given.
    seen : int, optional
        How many images were seen in training; with 0 training begins at its first step.

    Raises
    ------
    DarknetError
        A number does not fit its place in the header.
    """
    header = model.header
    count = header.seen if seen is None else seen
    if version is None:
        header = replace(header, seen=count)
    else:
        if not all(0 <= each <= _LARGEST for each in version):
            raise DarknetError(
                "the version does not fit the header",
                expected=f"three numbers from 0 to {_LARGEST}",
                found=".".join(map(str, version)),
            )
        header = Header(*version, count, 8 if version[0] * 10 + version[1] >= 2 else 4)
    if not 0 <= count < 1 << 8 * header.seen_bytes:
        raise DarknetError(
            "the number of images does not fit the header",
            expected=f"0 to {(1 << 8 * header.seen_bytes) - 1}",
            found=f"{count}",
        )
    return replace(model, header=header)


def save_first_layers(
    model: Model, weights: str | os.PathLike[str], layers: int, *, force: bool = False
) -> None:
    """Write the weights of the first layers, to start other trainings from: a backbone file.

    Parameters
    ----------
    model : Model
    weights : path
        Usually called ``NAME.conv.LAYERS``.
    layers : int
        How many layers; those without weights count too.
    force : bool
        Whether to overwrite an existing file.

    Raises
    ------
    DarknetError
        There are not that many layers, none of them has weights, or the file must not or cannot be
        written.

    Notes
    -----
    C: ``partial`` in ``examples/darknet.c``.  As there, the number of images seen becomes 0.
    """
    network = model.network
    require_first_layers(model, layers)
    require_writable([weights], force=force, inputs=[model.cfg.file, model.file])
    first = replace(network, nodes=network.nodes[:layers])

    def write(stream: BinaryIO) -> None:
        write_weights(stream, replace(model.header, seen=0), first, model.params)

    write_files({Path(weights): write}, force=force)


def require_first_layers(model: Model, layers: int) -> None:
    """Refuse to write so many layers, if the model has fewer, or if none of them has weights.

    Raises
    ------
    DarknetError
        There are not that many layers, or a file of them would be empty.
    """
    nodes = model.network.nodes
    if not 1 <= layers <= len(nodes):
        raise DarknetError(
            "there are not that many layers", expected=f"1 to {len(nodes)}", found=f"{layers}"
        )
    first = next((index for index, _ in model.network.stored()), len(nodes))
    if layers <= first:
        raise DarknetError(
            "none of these layers has weights",
            where=model.cfg.where(layers),
            expected=f"at least {first + 1} layers" if first < len(nodes) else None,
            found=f"{layers}",
        )


def _readers(model: Model, source: int, *, through: bool = False) -> list[int]:
    """Return the layers that read a layer, all of which have weights of their own by channel.

    With ``through``, those that read it after layers that keep its channels apart, too.

    Raises
    ------
    DarknetError
        One of them has no such weights, or shares them.
    """
    nodes = model.network.nodes
    same, found = {source}, []
    for index, node in enumerate(nodes):
        if same.isdisjoint(node.sources):
            continue
        if through and _keeps_channels(node) and index not in model.network.outputs:
            same.add(index)
        else:
            found.append(index)
    for index in found:
        node = nodes[index]
        by_channel = any(each.name == _WEIGHTS and each.by_channel for each in node.params)
        shared = sum(each.owner == node.owner for each in nodes) > 1
        if not by_channel or shared or len(node.sources) != 1:
            what = "the input" if source < 0 else f"layer {source}"
            reason = "shares its weights" if shared else "has no weights for each channel"
            raise DarknetError(
                f"the layer reads {what}, and {reason}", where=model.cfg.where(index + 1)
            )
    return found


def _keeps_channels(node: Node) -> bool:
    """Whether each channel of an output is made from the same channel of the one input."""
    mixes = node.layer.value("maxpool_depth") or node.layer.value("groups", 1) != 1
    kept = node.layer.channels in ("kept", "joined") and node.y.c == node.xs[0].c
    return kept and len(node.sources) == 1 and not mixes


def _groups(model: Model, layer: int, channels: int) -> int:
    """Return in how many groups the weights of a layer divide the channels of its input."""
    weights = model.params[layer][_WEIGHTS]
    return 1 if weights.ndim == 2 else channels // weights.shape[1]


def _with_channels(p: Params, channels: int, order: npt.NDArray[np.intp]) -> dict[str, F32]:
    """Return parameters whose weights take the channels of the input in another order."""
    weights = p[_WEIGHTS]
    parts = weights.reshape(len(weights), channels, -1)
    return {**p, _WEIGHTS: parts[:, order].reshape(weights.shape)}


def _with_params(model: Model, params: Sequence[Params]) -> Model:
    for before, after in zip(model.params, params, strict=True):
        if after is not before:
            for array in after.values():
                array.flags.writeable = False
    return replace(model, params=tuple(params))


def _per_channel(model: Model, values: float | Sequence[float], channels: int) -> F64:
    """Return one number for each channel."""
    numbers = np.asarray(values, np.float64)
    if numbers.ndim == 0:
        numbers = np.full(channels, numbers)
    if numbers.shape != (channels,) or not np.isfinite(numbers).all():
        raise DarknetError(
            "the numbers do not fit the input",
            where=model.cfg.where(0),
            expected=f"one finite number, or {channels}",
            found=f"{values}",
        )
    return numbers
