"""The effect of rounding alone: how much two correct ways to compute a net differ.

Two programs that add in different orders differ in the last digits, and a net may amplify the
difference: by subtracting nearly equal numbers, or by a variance that is small compared with a
mean.  The effect depends on the net, so it is measured: the model runs in Darknet's order of
operations and in the fast order, both in float32, and in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.layers.passes import InferenceContext
from darknet_bn.model.model import Model
from darknet_bn.run.order import Order
from darknet_bn.run.plan import make_schedule
from darknet_bn.run.run import Layers, as_input, forward, layer_numbers
from darknet_bn.work.threads import workers

ROOM = 4
"""How many times the effect of rounding is allowed.

Two programs with the same rounding differ by up to twice the difference of each from the exact
result; the other factor of two is for orders of operations that round worse.  Up to 2.0 was
observed.
"""


@dataclass(frozen=True)
class Precision:
    """How numbers are rounded, and the tolerances that follow from it.

    Attributes
    ----------
    name : str
    coarseness : float
        How much coarser its rounding is than in float32.
    least : float
        Difference that is always allowed, relative to the largest value of a layer.
    most : float
        Difference that is never allowed by default.
    """

    name: str
    coarseness: float
    least: float
    most: float

    def allowance(self, rounding: float) -> float:
        """Return the difference to allow for a given effect of rounding alone."""
        return min(max(self.least, ROOM * rounding), self.most)


# A scale that is off by a thousandth moves outputs by up to a thousandth: a larger tolerance could
# not distinguish a wrong file from rounding.
FLOAT32 = Precision("float32", 1, 1e-5, 1e-3)
# 11 bits instead of 24; a difference of a tenth would change what scores mean.
FLOAT16 = Precision("float16", 2**13, 2e-2, 1e-1)


def two_other_ways(
    model: Model, x: F32, layers: Layers = "outputs"
) -> tuple[dict[int, F32], dict[int, F32]]:
    """Compute outputs in the fast order of operations, and in float64.

    Parameters
    ----------
    model : Model
    x : float32 array (n, c, h, w), or (n, inputs)
    layers : "outputs", "all", or layer numbers

    Returns
    -------
    fast, double : dicts from layer number to float32 array
        The latter are rounded once, at the end.
    """
    return forward(model, x, layers, exact=False), double_forward(model, x, layers)


def double_forward(
    model: Model,
    x: F32,
    layers: Layers = "outputs",
    *,
    after_layer: Callable[[], None] | None = None,
) -> dict[int, F32]:
    """Compute outputs in float64, in Darknet's order of operations, and round them once.

    Parameters
    ----------
    model : Model
    x : float32 array (n, c, h, w), or (n, inputs)
    layers : "outputs", "all", or layer numbers
    after_layer : function, optional
        As in `forward`.

    Returns
    -------
    outputs : dict from layer number to float32 array
    """
    nodes, wanted = model.network.nodes, layer_numbers(model.network, layers)
    array = as_input(model.network, x)
    order = make_schedule(Order(model.network, wanted), len(array)).order  # checks the memory
    values: dict[int, F64] = {-1: array.astype(np.float64)}
    outputs: dict[int, F32] = {}

    def compute(index: int, xs: list[F64]) -> F64:
        node = nodes[index]
        params = {k: v.astype(np.float64) for k, v in model.params[index].items()}
        context = InferenceContext(model.dialect, exact=True, time_steps=model.network.time_steps)
        y = np.empty((len(array), *node.y.dims))
        # A step also accepts float64, if all its arrays are float64.
        step = node.layer.infer(node.xs, params, context)  # type: ignore[arg-type]
        step(xs, y)  # type: ignore[arg-type]
        return y

    with workers().hold_blas(), np.errstate(all="ignore"):
        for index in order.walk(values, compute):
            if index in wanted:
                outputs[index] = values[order.roots[index]].astype(np.float32)
            if after_layer is not None:
                after_layer()
    return {index: outputs[index] for index in wanted}


def rounding(exact: F32, others: Sequence[F32], scale: float) -> float:
    """Return the effect of rounding alone on an output.

    Parameters
    ----------
    exact : float32 array
        The output in Darknet's order of operations.
    others : fast, double : float32 arrays of the same shape
        As returned by `two_other_ways`.
    scale : float
        What differences are relative to.

    Returns
    -------
    part : float
        The larger of the distances of ``exact`` and ``fast`` from ``double``, over the values that
        are finite in all of them.
    """
    fast, double = others
    finite = np.isfinite(exact) & np.isfinite(fast) & np.isfinite(double)
    truth = double[finite].astype(np.float64)
    distances = (np.abs(each[finite] - truth).max(initial=0) for each in (exact, fast))
    return float(max(distances)) / scale
