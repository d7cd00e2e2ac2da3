"""Recompute the statistics of every batch norm from given pictures."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.errors import DarknetError, DarknetWarning
from darknet_bn.kernels.batchnorm.moments import Moments, moments
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Inference, InferenceContext
from darknet_bn.model.model import Model
from darknet_bn.run.order import Order
from darknet_bn.run.run import LEVELS, as_input, looks_like_levels
from darknet_bn.values import brief, brief_fields, counted
from darknet_bn.work.memory import require_memory
from darknet_bn.work.threads import workers

Method = Literal["layerwise", "one-pass"]

_CACHE = 1 << 30  # bytes of layer outputs kept from one pass to the next
_AFFORDABLE = 10  # layer by layer is the default up to this multiple of the work of one pass
_STATISTICS = ("rolling_mean", "rolling_variance")

Tell = Callable[[int, int], None]


class Inputs(Protocol):
    """Batches of inputs: a list of arrays, or an object that loads them."""

    def __len__(self) -> int: ...  # noqa: D105

    def __getitem__(self, number: int, /) -> npt.ArrayLike: ...  # noqa: D105


@dataclass(frozen=True)
class CalibratedLayer:
    """What happens to the statistics of one batch norm.

    Attributes
    ----------
    layer, section : int, str
        Number and section of the layer.
    channels : int
    mean_shift : float or None
        How far the means have moved, in units of the old sigma, averaged over the channels.  Like
        the next two, it is None if the statistics are unchanged.
    variance_ratio_min, variance_ratio_max : float or None
        Smallest and largest ratio of a channel's new variance to the old one.
    reason : str or None
        Why the statistics are unchanged.
    """

    layer: int
    section: str
    channels: int
    mean_shift: float | None = None
    variance_ratio_min: float | None = None
    variance_ratio_max: float | None = None
    reason: str | None = None

    __repr__ = brief_fields


@dataclass(frozen=True)
class Calibration:
    """What `calibrate` did.

    Attributes
    ----------
    method : "layerwise" or "one-pass"
    images : int
    work : float
        The work, as a multiple of computing all images once.
    layers : tuple of CalibratedLayer
        One for every batch norm.
    """

    method: Method
    images: int
    work: float
    layers: tuple[CalibratedLayer, ...]

    def __repr__(self) -> str:
        """Return a one-line description."""
        done = sum(row.reason is None for row in self.layers)
        norms = f"{done} of {counted(len(self.layers), 'batch norm')}"
        return brief(self, f"{self.method}: {norms}, with {counted(self.images, 'image')}")


def calibrate(
    model: Model,
    batches: Inputs,
    *,
    method: Method | None = None,
    cache: int = _CACHE,
    tell: Tell = lambda done, of: None,
) -> tuple[Model, Calibration]:
    """Replace the rolling statistics of every batch norm by statistics of the given images.

    Parameters
    ----------
    model : Model
    batches : sequence of float32 arrays (n, c, h, w)
        Inputs as `forward` takes them: a list, or `Batches`.  A batch may be read several times.
    method : "layerwise" or "one-pass", optional
        ``"layerwise"``: each batch norm gets the moments of its input, computed when all earlier
        batch norms have their new statistics; this is exactly its input in inference.
        ``"one-pass"``: every batch norm normalises with the moments of the batch, as in training,
        and gets the moments over all batches.  Both give the same result for a single batch.  The
        default is ``"layerwise"`` if that is not too much work.
    cache : int
        With ``"layerwise"``, how many bytes of layer outputs may be kept, so that a pass can start
        where the last one stopped.
    tell : function, optional
        ``tell(done, of)``, called after every batch of every pass; to show progress.

    Returns
    -------
    calibrated : Model
        The same parameters, except for ``rolling_mean`` and ``rolling_variance``.
    report : Calibration

    Raises
    ------
    DarknetError
        There is no batch norm whose statistics could be replaced, or no image; a channel has only
        one value (in one pass, in one batch), or the input of a batch norm is not finite.
    ShapeError
        An input does not fit the net.

    Warns
    -----
    DarknetWarning
        The first image seems to have levels from 0 to 255, as in `forward`.

    Notes
    -----
    Moments are summed in float64; the variance has the divisor of Darknet's ``variance_cpu``, the
    number of values minus one.  Recurrent layers keep their statistics, because the inputs of their
    own batch norm depend on them, and so do layers that share those statistics or whose file does
    not contain them.
    """
    rows = _rows(model)
    targets = [row.layer for row in rows if row.reason is None]
    if not targets:
        raise DarknetError(
            "no batch norm has statistics that can be replaced",
            found=f"layer {rows[0].layer} [{rows[0].section}]: {rows[0].reason}" if rows else None,
        )
    if not len(batches):
        raise DarknetError("there is no image to calibrate with")
    first = as_input(model.network, batches[0])
    if looks_like_levels(model, first[0]):
        warnings.warn(LEVELS, DarknetWarning, stacklevel=2)
    walk = _Walk(model, targets)
    starts = walk.starts(len(first) * len(batches), cache)
    work = walk.work(starts)
    if method is None:
        method = "layerwise" if work <= _AFFORDABLE else "one-pass"
    if method == "layerwise":
        images = _layerwise(walk, batches, starts, tell)
    elif method == "one-pass":
        images, work = _one_pass(walk, batches, tell), 1.0
    else:
        raise DarknetError(
            "unknown method of calibration", expected="layerwise, one-pass", found=f"{method!r}"
        )
    calibrated = replace(model, params=tuple(walk.params))
    layers = tuple(row if row.reason else _moved(row, model, calibrated) for row in rows)
    return calibrated, Calibration(method, images, work, layers)


def _layerwise(walk: _Walk, batches: Inputs, starts: Sequence[int], tell: Tell) -> int:
    """Settle one layer after the other; return the number of images."""
    kept: dict[int, dict[int, F32]] = {}
    count, images = len(batches), 0
    for number, layer in enumerate(walk.targets):
        images = 0
        for batch in range(count):
            arrays = dict(kept[batch]) if batch in kept else walk.begin(batches[batch])
            walk.run(arrays, starts[number], layer)
            images += len(next(iter(arrays.values())))
            if layer in starts[number + 1 :]:
                kept[batch] = dict(arrays)
            walk.run(arrays, layer, layer + 1)
            tell(number * count + batch + 1, len(starts) * count)
        walk.settle(layer)
    return images


def _one_pass(walk: _Walk, batches: Inputs, tell: Tell) -> int:
    """Settle all layers at the end; return the number of images."""
    walk.normalise_by_batch = True
    images = 0
    for batch in range(len(batches)):
        arrays = walk.begin(batches[batch])
        images += len(arrays[-1])
        walk.run(arrays, -1, walk.targets[-1] + 1)
        tell(batch + 1, len(batches))
    for layer in walk.targets:
        walk.settle(layer)
    return images


class _Walk:
    """Observes the inputs of batch norms that are not settled, while layers are computed.

    Attributes
    ----------
    targets : list of int
        The layers whose statistics are replaced, in order.
    params : list of mappings
        Parameters of each layer; new ones for settled layers.
    normalise_by_batch : bool
        Whether batch norms that are not settled use the moments of their batch.
    """

    def __init__(self, model: Model, targets: list[int]) -> None:
        self.targets = targets
        self.params: list[Params] = list(model.params)
        self.normalise_by_batch = False
        self._model, self._nodes = model, model.network.nodes
        self._order = Order(model.network, tuple(targets))
        self._open = set(targets)
        self._totals: dict[int, Moments] = {}
        self._steps: dict[int, Inference] = {}
        self._states: dict[int, dict[str, F32]] = {}

    # -- how much work there is -----------------------------------------------------------

    def starts(self, images: int, cache: int) -> list[int]:
        """Return, for each target, the layer at which its pass starts.

        This is -1, the input, or the last target before which the outputs for all images fit in
        ``cache`` bytes.
        """
        starts, start = [], -1
        for layer in self.targets:
            starts.append(start)
            if 4 * images * self._order.live(layer) <= cache:
                start = layer
        return starts

    def work(self, starts: Sequence[int]) -> float:
        """Return the work of passes from these starts, relative to one pass through all layers."""
        costs = np.zeros(self.targets[-1] + 2)
        for index in self._order.layers:
            node = self._nodes[index]
            costs[index + 1] = node.layer.cost(node.xs).flops + node.y.size
        total = costs.cumsum()
        passes = sum(
            total[layer + 1] - total[max(start, 0)]
            for layer, start in zip(self.targets, starts, strict=True)
        )
        return float(passes / total[-1])

    # -- one batch -------------------------------------------------------------------------

    def begin(self, x: npt.ArrayLike) -> dict[int, F32]:
        """Return the arrays that exist before the first layer."""
        array, order = as_input(self._model.network, x), self._order
        most = max(order.live(index) + self._nodes[index].y.size for index in order.layers)
        require_memory(4 * len(array) * most, "the outputs of the layers")
        return {-1: array}

    def run(self, arrays: dict[int, F32], start: int, end: int) -> None:
        """Compute layers ``start`` to ``end - 1``: add their outputs, and drop unneeded arrays."""
        with workers().hold_blas(), np.errstate(all="ignore"):
            for _ in self._order.walk(arrays, self._computed, range(start, end)):
                pass

    def _computed(self, index: int, xs: list[F32]) -> F32:
        y = np.empty((len(xs[0]), *self._nodes[index].y.dims), np.float32)
        if index in self._states:
            self._states[index].clear()
        self._step(index)(xs, y)
        return y

    def _step(self, index: int) -> Inference:
        if index not in self._steps:
            model, node = self._model, self._nodes[index]
            context = InferenceContext(model.dialect, True, model.network.time_steps)
            if index in self._open:
                observe = functools.partial(self._observe, index)
                context = replace(context, before_norm=observe)
            self._states[index] = context.state
            self._steps[index] = node.layer.infer(node.xs, self.params[index], context)
        return self._steps[index]

    def _observe(self, layer: int, z: F32, p: Params) -> Params:
        part = moments(z)
        before = self._totals.get(layer)
        self._totals[layer] = part if before is None else before.merged(part)
        if not self.normalise_by_batch:
            return p
        return {**p, **self._statistics(layer, part)}

    # -- statistics ------------------------------------------------------------------------

    def settle(self, layer: int) -> None:
        """Give a layer the statistics of everything that has entered its batch norm."""
        new = self._statistics(layer, self._totals.pop(layer))
        for array in new.values():
            array.flags.writeable = False
        self.params[layer] = {**self.params[layer], **new}
        self._open.remove(layer)
        del self._steps[layer]

    def _statistics(self, layer: int, seen: Moments) -> dict[str, F32]:
        where = self._model.cfg.where(layer + 1)
        if seen.count < 2:
            raise DarknetError(
                "a single value has no variance",
                where=where,
                expected="at least 2 values of each channel"
                + (" in every batch" if self.normalise_by_batch else ""),
                hint="use more images",
            )
        with np.errstate(over="ignore"):
            new = dict(zip(_STATISTICS, (seen.mean, seen.variance), strict=True))
            rounded = {name: array.astype(np.float32) for name, array in new.items()}
        if not all(np.isfinite(array).all() for array in rounded.values()):
            raise DarknetError(
                "the input of batch norm is not finite",
                where=where,
                hint="darknet-bn check shows whether the weights are NaN or infinite",
            )
        return rounded


def _rows(model: Model) -> tuple[CalibratedLayer, ...]:
    """Return a row for each batch norm, with a reason if its statistics are unchanged."""
    network, order = model.network, Order.of_all(model.network)
    return tuple(
        CalibratedLayer(
            index,
            node.layer.names[0],
            sum(
                param.size
                for param in network.nodes[node.owner].params
                if param.name.rpartition(".")[2] == _STATISTICS[0]
            ),
            reason=_reason(order, index),
        )
        for index, node in enumerate(network.nodes)
        if node.layer.norm.batch_norm is not None
    )


def _reason(order: Order, index: int) -> str | None:
    """Say why the statistics of a layer are unchanged; None if they are replaced."""
    node = order.network.nodes[index]
    if node.layer.recurrent:
        return "recurrent: the input of its batch norm depends on its own statistics"
    others = [each for each in order.sharing(index) if each != index]
    if others:
        return f"layer {others[0]} shares the statistics, but has other inputs"
    for param in node.params:
        if param.name in _STATISTICS and param.stored_size < param.size:
            keys = [
                key for key in ("dontload", "dontloadscales", "numload") if node.layer.value(key)
            ]
            return f"{keys[0] if keys else param.name}: the file does not hold its statistics"
    return None


def _moved(row: CalibratedLayer, before: Model, after: Model) -> CalibratedLayer:
    """Return a row that says how far the statistics have moved."""
    old, new = before.params[row.layer], after.params[row.layer]
    sigma = before.dialect.sigma(old["rolling_variance"].astype(np.float64))
    variances = (new["rolling_variance"].astype(np.float64), old["rolling_variance"])
    distance = np.abs(new["rolling_mean"].astype(np.float64) - old["rolling_mean"])
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = distance / sigma
        ratio = np.where(variances[0] == variances[1], 1.0, variances[0] / variances[1])
    return replace(
        row,
        mean_shift=float(shift.mean()),
        variance_ratio_min=float(ratio.min()),
        variance_ratio_max=float(ratio.max()),
    )
