"""What each batch norm sees: the moments of its input, against the stored ones.

In the usual way of looking, every batch norm then normalises with the moments of the batch, as in
training.  So a fault shows in the batch norms right after it, and not in all later ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32, F64
from darknet_bn.kernels.batchnorm.moments import Moments, moments
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import InferenceContext
from darknet_bn.model.model import Model
from darknet_bn.model.network import Network
from darknet_bn.run.order import Order
from darknet_bn.work.memory import require_memory
from darknet_bn.work.threads import workers

STRANGE = 0.25  # nats, the median over the layers: healthy models stay below 0.1
MOST = 20.0  # nats that one channel may count: one that is far off must not outweigh all others
_SMALLEST = 1e-30  # in place of a variance of 0
_DEAD = 1e-6  # of a layer's median variance: less is a channel that is constant


@dataclass(frozen=True)
class Seen:
    """The moments of what one batch norm sees, and the stored ones.

    Attributes
    ----------
    moments : Moments
    mean, variance : float64 arrays (f,)
        The stored ones.
    sigma : float64 array (f,)
        What the dialect divides by.
    """

    moments: Moments
    mean: F64
    variance: F64
    sigma: F64

    @cached_property
    def shifts(self) -> F64:
        """How far each mean has moved, in units of the stored sigma."""
        with np.errstate(all="ignore"):
            moved: F64 = (self.moments.mean - self.mean) / np.maximum(self.sigma, _SMALLEST)
        return moved

    @cached_property
    def parts(self) -> tuple[F64, F64]:
        """Kullback and Leibler's divergence of each channel: of the means, and of the variances.

        Channels that were constant in training are left out: any change is infinite for them.
        """
        with np.errstate(all="ignore"):
            alive, ratio = self._ratios
            return _bounded(self.shifts[alive] ** 2 / 2), _bounded((ratio - 1 - np.log(ratio)) / 2)

    @cached_property
    def spread(self) -> float:
        """The logarithm of the variances against the stored ones, the mean over the channels."""
        ratio = np.nan_to_num(self._ratios[1], nan=_SMALLEST)
        return float(np.log(ratio).mean()) if ratio.size else 0.0

    @property
    def _ratios(self) -> tuple[npt.NDArray[np.bool_], F64]:
        """Which channels were not constant in training, and the ratios of their variances."""
        alive = self.variance > _DEAD * np.median(self.variance)
        with np.errstate(all="ignore"):
            ratio = np.maximum(self.moments.variance[alive] / self.variance[alive], _SMALLEST)
        return alive, ratio

    @cached_property
    def divergence(self) -> float:
        """The mean over the channels of both parts together, at most `MOST` each."""
        of_means, of_variances = self.parts
        return float(np.minimum(of_means + of_variances, MOST).mean()) if of_means.size else 0.0


def _bounded(nats: F64) -> F64:
    bounded: F64 = np.minimum(np.nan_to_num(nats, nan=MOST, posinf=MOST), MOST)
    return bounded


def norms_of(network: Network) -> tuple[int, ...]:
    """Return the layers with a batch norm whose input can be compared with its statistics."""
    return tuple(
        index
        for index, node in enumerate(network.nodes)
        if node.layer.norm.batch_norm is not None
        and not node.layer.recurrent
        and "rolling_mean" in {param.name for param in network.nodes[node.owner].params}
    )


def readers_of(network: Network) -> dict[int, tuple[int, ...]]:
    """Return for each layer the batch norms that see its output, with no other one in between."""
    users: dict[int, list[int]] = {}
    for index, node in enumerate(network.nodes):
        for source in node.sources:
            users.setdefault(source, []).append(index)
    found: dict[int, set[int]] = {}
    norms = frozenset(norms_of(network))
    for index in range(len(network.nodes) - 1, -2, -1):
        found[index] = set()
        for user in users.get(index, ()):
            found[index] |= {user} if user in norms else found[user]
    return {index: tuple(sorted(each)) for index, each in found.items()}


def look(
    model: Model,
    batches: Sequence[F32],
    *,
    layers: Sequence[int] | None = None,
    activations: Mapping[int, str] | None = None,
    normalise_by_batch: bool = True,
) -> dict[int, Seen]:
    """Return what batch norms see in some inputs.

    Parameters
    ----------
    model : Model
    batches : sequence of float32 arrays (n, c, h, w)
    layers : sequence of int, optional
        Which batch norms; by default all that `norms_of` names.
    activations : mapping from layer to str, optional
        Other activation functions than the cfg's.
    normalise_by_batch : bool
        Whether each batch norm normalises with the moments of the batch, or with the stored ones.
    """
    network = model.network
    wanted = norms_of(network) if layers is None else tuple(layers)
    order = Order(network, wanted)
    totals: dict[int, Moments] = {}

    def observe(index: int, z: F32, p: Params) -> Params:
        part = moments(z)
        before = totals.get(index)
        totals[index] = part if before is None else before.merged(part)
        if not normalise_by_batch or part.count < 2:
            return p
        now = {"rolling_mean": part.mean, "rolling_variance": part.variance}
        return {**p, **{name: each.astype(np.float32) for name, each in now.items()}}

    def computed(index: int, xs: list[F32]) -> F32:
        node = network.nodes[index]
        context = InferenceContext(model.dialect, True, network.time_steps)
        if index in wanted:
            context = replace(context, before_norm=lambda z, p: observe(index, z, p))
        layer = node.layer
        if activations and index in activations:
            layer = replace(layer, activation=activations[index])  # type: ignore[call-arg]
        y = np.empty((len(xs[0]), *node.y.dims), np.float32)
        layer.infer(node.xs, model.params[index], context)(xs, y)
        return y

    most = max(order.live(index) + network.nodes[index].y.size for index in order.layers)
    for x in batches:
        require_memory(4 * len(x) * most, "the outputs of the layers")
        arrays = {-1: x}
        with workers().hold_blas(), np.errstate(all="ignore"):
            for _ in order.walk(arrays, computed):
                pass
    return {index: _against(model, index, totals[index]) for index in wanted}


def _against(model: Model, index: int, total: Moments) -> Seen:
    stored = model.params[index]
    mean, variance = (
        stored[name].astype(np.float64) for name in ("rolling_mean", "rolling_variance")
    )
    with np.errstate(all="ignore"):
        return Seen(total, mean, variance, model.dialect.sigma(variance))
