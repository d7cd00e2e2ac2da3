"""Remove channels whose batch norm has a small scale: what is left is a smaller Darknet model.

A channel with the scale 0 is constant: its value is the activation of its bias, whatever the
picture.  What reads it can do without: the constant, times the sum of its weights, goes into the
next means or biases.  So pruning has two steps: scales below a threshold become 0, which changes
what is computed, and the constant channels are removed, which does not.

It does not but for one place: a layer that pads its input pads with 0, not with the constant.
Where that happens the outermost pixels of its output differ, unless the constant is 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.errors import DarknetError
from darknet_bn.layers.parameters import Params
from darknet_bn.model.model import Model
from darknet_bn.model.network import build_network
from darknet_bn.run.random_input import random_input, small
from darknet_bn.run.run import forward
from darknet_bn.transforms.tied import Groups, Tied, padded_border, readers_of, tied_channels
from darknet_bn.values import brief, brief_fields, counted

_ROUNDED = 1e-5  # of a constant: its average over a window is rounded by as many steps as pixels
_BY_FILTER = ("weights", "biases", "scales", "rolling_mean", "rolling_variance")


@dataclass(frozen=True)
class PrunedLayer:
    """What happens to the channels of one layer with batch norm.

    Attributes
    ----------
    layer, section : int, str
    channels, kept : int
        How many it has before and after.
    fixed : int
        How many may not be removed.
    reason : str or None
        Why not, if there are such channels.
    """

    layer: int
    section: str
    channels: int
    kept: int
    fixed: int = 0
    reason: str | None = None

    __repr__ = brief_fields


@dataclass(frozen=True, eq=False)
class Pruning:
    """What `prune_channels` did.

    Attributes
    ----------
    model : Model
        The smaller model.
    silenced : Model
        The original, with the scales of all removed channels set to 0: the smaller model computes
        the same, but at the border.
    layers : tuple of PrunedLayer
        One for each layer whose batch norm has scales.
    threshold : float
        The largest absolute scale among the channels that were removed; 0 if there are none.
    constant : int
        How many of the removed channels had the scale 0 from the start.
    at_the_border : tuple of int
        The layers that pad an input of which a constant channel was removed, so that the outermost
        pixels of their output differ.
    kept : mapping from layer number to int array
        Which channels of each output, and of the input (-1), are left.
    """

    model: Model
    silenced: Model
    layers: tuple[PrunedLayer, ...]
    threshold: float
    constant: int
    at_the_border: tuple[int, ...]
    kept: Mapping[int, Groups]

    def __repr__(self) -> str:
        """Return a one-line description."""
        return brief(self, f"{self.removed} of {counted(self.channels, 'channel')} removed")

    @property
    def channels(self) -> int:
        """How many channels the layers had."""
        return sum(row.channels for row in self.layers)

    @property
    def removed(self) -> int:
        """How many of them are removed."""
        return self.channels - sum(row.kept for row in self.layers)


def prune_channels(
    model: Model,
    *,
    keep: float | None = None,
    scale_below: float | None = None,
    exact: bool = False,
) -> Pruning:
    """Remove the channels with the smallest scales in batch norm.

    Parameters
    ----------
    model : Model
    keep : float, optional
        The share of removable channels to keep, from 0 to 1.
    scale_below : float, optional
        Remove each channel whose absolute scale is not larger; with 0, only constant ones.
    exact : bool
        Whether to keep channels whose constant would make the border differ.

    Returns
    -------
    pruning : Pruning

    Raises
    ------
    DarknetError
        Neither or both of ``keep`` and ``scale_below`` are given, one is not valid, or no layer
        has channels that may be removed.

    Notes
    -----
    Channels that are added by ``[shortcut]``, or read by a convolution with a group for each, are
    removed together or not at all; the largest scale among them decides.  Each layer keeps one
    channel at least.  Nothing is removed where the number of channels is given: from outputs,
    before detection heads and recurrent layers, and where layers share weights.
    """
    if (keep is None) == (scale_below is None):
        raise DarknetError("expected keep or scale_below, and not both")
    if keep is not None and not 0 < keep <= 1:
        raise DarknetError("keep is not valid", expected="above 0, at most 1", found=f"{keep}")
    if scale_below is not None and not 0 <= scale_below < np.inf:
        raise DarknetError(
            "scale_below is not valid", expected="a number of at least 0", found=f"{scale_below}"
        )
    tied = tied_channels(model.network)
    scores = _scores(model, tied)
    free = [group for group in sorted(scores) if group not in tied.fixed]
    if not free:
        reasons = sorted(set(tied.fixed.values()))
        raise DarknetError(
            "no channel may be removed",
            where=model.cfg.where(0),
            found="; ".join(reasons[:3]) or "no layer has batch norm",
        )
    chosen = _chosen(tied, scores, free, keep, scale_below)
    if exact:
        while True:
            silenced = _silenced(model, tied, chosen)
            _, bad = _constants(silenced, tied, chosen)
            if not bad:
                break
            chosen -= set().union(*bad.values())
    silenced = _silenced(model, tied, chosen)
    constants, bad = _constants(silenced, tied, chosen)
    smaller = _without(silenced, tied, chosen, constants)
    rows = tuple(_rows(model, tied, chosen))
    dead = [scores[group] for group in chosen]
    constant = sum(
        int(np.isin(tied.of[layer], [group for group in chosen if scores[group] == 0]).sum())
        for layer in tied.makers
    )
    threshold = max(dead, default=0.0)
    kept = {
        layer: np.flatnonzero(~np.isin(groups, np.array(sorted(chosen), np.intp)))
        for layer, groups in tied.of.items()
    }
    return Pruning(smaller, silenced, rows, threshold, constant, tuple(sorted(bad)), kept)


def _scores(model: Model, tied: Tied) -> dict[int, float]:
    """Return the largest absolute scale of each group of tied channels; NaN is large."""
    scores: dict[int, float] = {}
    for layer in tied.makers:
        scales = np.nan_to_num(np.abs(model.params[layer]["scales"]), nan=np.inf, posinf=np.inf)
        for group, scale in zip(tied.of[layer].tolist(), scales.tolist(), strict=True):
            scores[group] = max(scores.get(group, 0.0), scale)
    return scores


def _chosen(
    tied: Tied,
    scores: dict[int, float],
    free: Sequence[int],
    keep: float | None,
    scale_below: float | None,
) -> set[int]:
    """Return the groups to remove, the smallest scales first, one of each layer at least stays."""
    ordered = sorted(free, key=lambda group: (scores[group], group))
    left = {layer: len(tied.of[layer]) for layer in tied.makers}
    of_layers: dict[int, Counter[int]] = {group: Counter() for group in free}
    for layer in tied.makers:
        for group in tied.of[layer].tolist():
            if group in of_layers:
                of_layers[group][layer] += 1
    counts = {group: each.total() for group, each in of_layers.items()}
    total, removed = sum(counts.values()), 0
    chosen: set[int] = set()
    for group in ordered:
        if scale_below is not None and not scores[group] <= scale_below:
            break
        if keep is not None and removed + counts[group] > (1 - keep) * total + 1e-9:
            break
        if any(left[layer] <= count for layer, count in of_layers[group].items()):
            continue
        for layer, count in of_layers[group].items():
            left[layer] -= count
        removed += counts[group]
        chosen.add(group)
    return chosen


def _silenced(model: Model, tied: Tied, chosen: Iterable[int]) -> Model:
    """Return the model with the scales of some channels set to 0."""
    numbers = np.array(sorted(chosen), np.intp)
    params: list[Params] = list(model.params)
    for layer in tied.makers:
        dead = np.isin(tied.of[layer], numbers)
        if dead.any():
            scales = params[layer]["scales"].copy()
            scales[dead] = 0
            scales.flags.writeable = False
            params[layer] = {**params[layer], "scales": scales}
    return replace(model, params=tuple(params))


def _constants(
    silenced: Model, tied: Tied, chosen: Iterable[int]
) -> tuple[dict[int, F64], dict[int, set[int]]]:
    """Return the constant of each removed channel of each layer, and where padding meets one.

    Returns
    -------
    constants : dict from layer number to float64 array (c,)
        0 for channels that are not removed.
    bad : dict from layer number to set of int
        The layers that pad an input with other constants than 0, and the groups of these.
    """
    numbers = np.array(sorted(chosen), np.intp)
    read = sorted({source for layer in readers_of(silenced.network) for source in layer[1]} - {-1})
    run = small(silenced)  # a constant is the same at any size
    x = random_input(run.network)
    outputs = forward(run, x, tuple(read), exact=True) if len(numbers) and read else {}
    constants: dict[int, F64] = {}
    for layer, y in outputs.items():
        dead = np.isin(tied.of[layer], numbers)
        values = y.reshape(len(y), len(tied.of[layer]), -1)
        spread = values.max(axis=(0, 2)) - values.min(axis=(0, 2))
        varies = dead & ~(spread <= _ROUNDED * np.abs(values[0, :, 0]))
        if varies.any():
            raise DarknetError(
                "a channel without a scale is not constant",
                where=silenced.cfg.where(layer + 1),
                found=f"channel {np.flatnonzero(varies)[0]}",
                hint=None
                if np.isfinite(y).all()
                else "darknet-bn check shows whether the weights are NaN or infinite",
            )
        constants[layer] = np.where(dead, values[0, :, 0], 0).astype(np.float64)
    bad: dict[int, set[int]] = {}
    for index, sources in readers_of(silenced.network):
        pads = any(padded_border(silenced.network.nodes[index]))
        groups = np.concatenate([tied.of[source] for source in sources])
        given = np.concatenate(
            [constants.get(source, np.zeros(len(tied.of[source]))) for source in sources]
        )
        if pads and given.any() and index not in tied.by_channel:
            bad[index] = set(groups[given != 0].tolist())
    return constants, bad


def _without(
    silenced: Model, tied: Tied, chosen: Iterable[int], constants: dict[int, F64]
) -> Model:
    """Return the model without the channels, whose constants go into means and biases."""
    numbers = np.array(sorted(chosen), np.intp)
    params: list[Params] = list(silenced.params)
    edits: dict[tuple[int, str], str | None] = {}
    nodes = silenced.network.nodes
    for index, sources in readers_of(silenced.network):
        (source,) = sources
        dead = np.isin(tied.of[source], numbers)
        if not dead.any() or index in tied.by_channel:
            continue
        p = params[index]
        weights = p["weights"].reshape(len(p["weights"]), len(dead), -1).astype(np.float64)
        added = weights.sum(axis=2) @ constants.get(source, np.zeros(len(dead)))
        left = np.ascontiguousarray(p["weights"].reshape(weights.shape)[:, ~dead])
        shape = (
            (len(left), -1)
            if p["weights"].ndim == 2
            else (len(left), left.shape[1], *p["weights"].shape[2:])
        )
        changed: dict[str, F32] = {"weights": left.reshape(shape)}
        key, sign = ("rolling_mean", -1) if "rolling_mean" in p else ("biases", 1)
        changed[key] = (p[key].astype(np.float64) + sign * added).astype(np.float32)
        params[index] = {**p, **changed}
    for index in tied.makers:
        dead = np.isin(tied.of[index], numbers)
        if not dead.any():
            continue
        params[index] = {
            name: np.ascontiguousarray(array[~dead]) if name in _BY_FILTER else array
            for name, array in params[index].items()
        }
        count = str(int((~dead).sum()))
        options = nodes[index].layer.declared()
        edits[index + 1, "filters" if "filters" in options else "output"] = count
        if index in tied.by_channel:
            edits[index + 1, "groups"] = count
    for before, after in zip(silenced.params, params, strict=True):
        for array in after.values() if after is not before else ():
            array.flags.writeable = False
    cfg = silenced.cfg.edited(edits)
    network = build_network(cfg, silenced.dialect, silenced.network.files)
    return replace(silenced, cfg=cfg, network=network, params=tuple(params))


def _rows(model: Model, tied: Tied, chosen: set[int]) -> Iterable[PrunedLayer]:
    numbers = np.array(sorted(chosen), np.intp)
    for index, node in enumerate(model.network.nodes):
        if "scales" not in model.params[index]:
            continue
        section, groups = node.layer.names[0], tied.of[index]
        dead = int(np.isin(groups, numbers).sum()) if index in tied.makers else 0
        reasons = [tied.fixed[group] for group in groups.tolist() if group in tied.fixed]
        yield PrunedLayer(
            index, section, len(groups), len(groups) - dead, len(reasons), next(iter(reasons), None)
        )
