"""How two models differ as files: lines of the cfg, options of layers, and values."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.model.model import Model
from darknet_bn.model.network import Node
from darknet_bn.model.weights import release
from darknet_bn.values import brief, brief_fields, counted


@dataclass(frozen=True)
class ArrayChange:
    """How an array of one model differs from the same array of the other.

    Attributes
    ----------
    layer, other_layer : int
        The layer in each model.
    section, name : str
    values, changed : int
        How many values there are, and how many differ; a NaN differs from all but a NaN.
    largest : float
        The largest absolute difference; infinite if one of two values is NaN or infinite.
    relative : float
        The root of the mean square of the differences, relative to the root of the mean square of
        the first model's values; infinite as ``largest``.
    mean, other_mean : float
        The mean of each.
    """

    layer: int
    other_layer: int
    section: str
    name: str
    values: int
    changed: int
    largest: float
    relative: float
    mean: float
    other_mean: float

    __repr__ = brief_fields


@dataclass(frozen=True)
class LayerChange:
    """A layer whose options or shapes differ, or that only one model has.

    Attributes
    ----------
    layer, other_layer : int or None
        The layer in each model; None in the model that lacks it.
    section : str
    what : str
        Each option that differs with both values, as in ``activation: leaky -> relu``, and each
        array whose shape differs, as in ``weights: 255 x 512 x 1 x 1 -> 18 x 512 x 1 x 1`` or
        ``scales: 16 -> absent``; or ``removed`` or ``added``.
    """

    layer: int | None
    other_layer: int | None
    section: str
    what: str

    __repr__ = brief_fields


@dataclass(frozen=True)
class ModelDiff:
    """How two models differ.

    Attributes
    ----------
    header : tuple of str
        What differs in the headers of the weights, and in the dialect.
    cfg : tuple of str
        The lines of the cfg that differ, the first model's with a minus, the other's with a plus.
    layers : tuple of LayerChange
    arrays : tuple of ArrayChange
        Those that differ; arrays of different shapes are among the layers.
    compared : int
        How many arrays were compared.
    """

    header: tuple[str, ...]
    cfg: tuple[str, ...]
    layers: tuple[LayerChange, ...]
    arrays: tuple[ArrayChange, ...]
    compared: int

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not (self.header or self.cfg or self.layers or self.arrays)

    def __repr__(self) -> str:
        """Return one line about it."""
        lines = counted(len(self.cfg), "line")
        return brief(self, f"{lines}, {len(self.arrays)} of {self.compared} arrays")


def diff_models(model: Model, other: Model) -> ModelDiff:
    """Compare two models as files: headers, cfgs and values; nothing is run.

    Layers are matched in order: those with the same section and the same shapes of arrays first,
    and between them those in the same place.  Arrays that layers share are compared once.

    Parameters
    ----------
    model, other : Model

    Returns
    -------
    difference : ModelDiff
        Its ``same`` is True if nothing differs.

    Examples
    --------
    >>> import darknet_bn as dn
    >>> before = dn.load("before.cfg", "before.weights")  # doctest: +SKIP
    >>> after = dn.load("before.cfg", "after.weights")  # doctest: +SKIP
    >>> for change in dn.diff_models(before, after).arrays:  # doctest: +SKIP
    ...     print(change.layer, change.name, change.relative)
    """
    layers: list[LayerChange] = []
    arrays: list[ArrayChange] = []
    compared = 0
    for one, two in _matched(model, other):
        if one is None or two is None:
            index, of, what = (one, model, "removed") if two is None else (two, other, "added")
            section = of.network.nodes[index or 0].layer.names[0]
            layers.append(LayerChange(one, two, section, what))
            continue
        node, now = model.network.nodes[one], other.network.nodes[two]
        section = node.layer.names[0]
        what = "; ".join([*_options(model, other, one, two), *_shapes(node, now)])
        if what:
            layers.append(LayerChange(one, two, section, what))
        if node.owner != one or now.owner != two:
            continue
        mine, theirs = model.params[one], other.params[two]
        for name in mine:
            if name in theirs and mine[name].shape == theirs[name].shape:
                compared += 1
                change = _array(one, two, section, name, mine[name], theirs[name])
                if change.changed:
                    arrays.append(change)
        release(model.params)
        release(other.params)
    header, cfg = tuple(_header(model, other)), tuple(_cfg(model, other))
    return ModelDiff(header, cfg, tuple(layers), tuple(arrays), compared)


def _header(model: Model, other: Model) -> Iterator[str]:
    one, two = model.header, other.header
    for what, before, after in (
        ("version", one.version, two.version),
        ("images seen", one.seen, two.seen),
        ("header bytes", one.size, two.size),
        ("dialect", model.dialect.name, other.dialect.name),
        ("layers in the file", model.loaded, other.loaded),
    ):
        if before != after:
            yield f"{what}: {before} -> {after}"


def _cfg(model: Model, other: Model) -> Iterator[str]:
    one, two = (
        each.cfg.to_bytes().decode("utf-8", "replace").splitlines() for each in (model, other)
    )
    for line in difflib.unified_diff(one, two, n=0, lineterm=""):
        if not line.startswith(("---", "+++", "@@")):
            yield line


def _matched(model: Model, other: Model) -> Iterator[tuple[int | None, int | None]]:
    """Yield pairs of layers; None where the other model has no such layer."""
    mine, theirs = ([_form(node) for node in each.network.nodes] for each in (model, other))
    matcher = difflib.SequenceMatcher(None, mine, theirs, autojunk=False)
    for _, start, end, other_start, other_end in matcher.get_opcodes():
        for step in range(max(end - start, other_end - other_start)):
            one, two = start + step, other_start + step
            both = one < end and two < other_end
            if both and mine[one][0] == theirs[two][0]:
                yield one, two
                continue
            if one < end:
                yield one, None
            if two < other_end:
                yield None, two


def _form(node: Node) -> tuple[str, tuple[tuple[str, tuple[int, ...]], ...]]:
    return node.layer.names[0], tuple((each.name, each.shape) for each in node.params)


def _options(model: Model, other: Model, one: int, two: int) -> Iterator[str]:
    """Yield the options of a layer that differ, by what the cfgs say."""
    mine, theirs = model.cfg.sections[one + 1], other.cfg.sections[two + 1]
    keys = dict.fromkeys(each.key for each in (*mine.options, *theirs.options))
    for key in keys:
        before, after = mine.find(key), theirs.find(key)
        values = [None if each is None else each.value for each in (before, after)]
        if values[0] != values[1]:
            yield f"{key}: {' -> '.join('absent' if each is None else each for each in values)}"


def _shapes(node: Node, now: Node) -> Iterator[str]:
    """Yield the arrays that only one layer has, or that have other shapes."""
    mine, theirs = ({each.name: each.shape for each in which.params} for which in (node, now))
    for name in dict.fromkeys((*mine, *theirs)):
        before, after = (
            " x ".join(map(str, shapes[name])) if name in shapes else "absent"
            for shapes in (mine, theirs)
        )
        if before != after:
            yield f"{name}: {before} -> {after}"


def _array(
    layer: int, other_layer: int, section: str, name: str, mine: F32, theirs: F32
) -> ArrayChange:
    same = (mine == theirs) | (np.isnan(mine) & np.isnan(theirs))
    changed = int(mine.size - np.count_nonzero(same))
    largest = relative = 0.0
    with np.errstate(all="ignore"):
        if changed:
            apart = np.where(same, 0, mine.astype(np.float64) - theirs)
            largest = _finite(float(np.abs(apart).max()))
            size = float(np.sqrt(np.mean(np.square(mine, dtype=np.float64))))
            relative = _finite(float(np.sqrt(np.mean(np.square(apart)))) / size)
        means = [float(each.mean(dtype=np.float64)) for each in (mine, theirs)]
    return ArrayChange(
        layer, other_layer, section, name, mine.size, changed, largest, relative, *means
    )


def _finite(value: float) -> float:
    return value if np.isfinite(value) else float("inf")
