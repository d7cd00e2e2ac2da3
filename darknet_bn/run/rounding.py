"""What rounding alone does to a net: how far apart two right ways to compute it lie.

Two programs that add up in different orders differ in the last digits, and a net may make these
many: by subtracting numbers that are nearly alike, or by a variance that is small beside a mean.
How much that is depends on the net, so it is measured: the model runs in Darknet's order of
operations and in the fast one, both in float32, and in float64.
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
"""How many times what rounding makes is allowed.

Two programs that round alike differ by up to twice what each differs from the truth; the other
factor of two is for orders of operations that round worse.  Seen were up to 2.0.
"""


@dataclass(frozen=True)
class Precision:
    """How numbers are rounded, and what follows for a tolerance.

    Attributes
    ----------
    name : str
    coarseness : float
        How much larger its roundings are than those of float32.
    least : float
        What is always allowed, as a part of the largest value of a layer.
    most : float
        What is never allowed unasked.
    """

    name: str
    coarseness: float
    least: float
    most: float

    def allowance(self, rounding: float) -> float:
        """Return the difference to allow where rounding alone makes so much."""
        return min(max(self.least, ROOM * rounding), self.most)


# A scale that is wrong by a thousandth moves outputs by up to a thousandth: a tolerance above that
# could no longer tell a wrong file from rounding.
FLOAT32 = Precision("float32", 1, 1e-5, 1e-3)
# 11 bits rather than 24; with a tenth, scores begin to mean something else.
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
    order = make_schedule(Order(model.network, wanted), len(array)).order  # if there is memory
    values: dict[int, F64] = {-1: array.astype(np.float64)}
    outputs: dict[int, F32] = {}

    def compute(index: int, xs: list[F64]) -> F64:
        node = nodes[index]
        params = {k: v.astype(np.float64) for k, v in model.params[index].items()}
        context = InferenceContext(model.dialect, exact=True, time_steps=model.network.time_steps)
        y = np.empty((len(array), *node.y.dims))
        # A step takes float64 as well, if all its arrays are that.
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
    """Return what rounding alone makes of an output.

    Parameters
    ----------
    exact : float32 array
        In Darknet's order of operations.
    others : fast, double : float32 arrays of the same shape
        As `two_other_ways` returns them.
    scale : float
        What differences are a part of.

    Returns
    -------
    part : float
        The larger of the distances of ``exact`` and ``fast`` from ``double``, among what is finite
        in all of them.
    """
    fast, double = others
    finite = np.isfinite(exact) & np.isfinite(fast) & np.isfinite(double)
    truth = double[finite].astype(np.float64)
    distances = (np.abs(each[finite] - truth).max(initial=0) for each in (exact, fast))
    return float(max(distances)) / scale
