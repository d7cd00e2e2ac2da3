"""Run a model forward."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.errors import ShapeError, Where
from darknet_bn.model import Model
from darknet_bn.network import Network
from darknet_bn.plan import Memory, exact_plan, fast_plan

Layers = Literal["outputs", "all"] | Iterable[int]


def forward(
    model: Model,
    x: npt.ArrayLike,
    layers: Layers = "outputs",
    *,
    exact: bool | None = None,
    keep_state: bool = False,
    after_layer: Callable[[], None] | None = None,
) -> dict[int, F32]:
    """Compute the outputs of layers.

    Parameters
    ----------
    model : Model
    x : float32 array (n, c, h, w), or (n, inputs) where the net has no image input
        Images as Darknet takes them: RGB planes with values from 0 to 1.  n may be any number.
        Where layers are recurrent it is sequences times ``time_steps`` of ``[net]``: the first
        step of every sequence, then the second of every sequence, and so on.
    layers : "outputs", "all", or layer numbers
        Which outputs to return; a negative number counts from the last layer.  ``"outputs"`` are
        the layers that no other reads: the detection heads, or the last layer.
    exact : bool, optional
        Whether to keep to Darknet's order of operations: batch norm behind the convolution rather
        than folded into it, and no fast convolution algorithms.  By default so where layers are
        asked for by number or all, to look into them, and not where only the outputs are.  The
        results differ in the last digits (about 1e-6 of a layer's largest value).
    keep_state : bool
        Whether recurrent layers go on from where they were at the end of the last call of this
        model, as Darknet's always do; else they begin anew.  A batch of another size begins anew.
        A layer that a call did not compute stays where it was.
    after_layer : function, optional
        Called behind every layer that has been computed; to show progress.

    Returns
    -------
    outputs : dict from layer number to float32 array
        (n, c, h, w), or (n, outputs) where a layer has no image shape.

    Raises
    ------
    ShapeError
        The input does not fit the net or ends inside a sequence, or a layer number does not
        exist.

    Notes
    -----
    C: ``forward_network`` in ``src/network.c`` with ``train`` off.
    """
    if exact is None:
        exact = not (isinstance(layers, str) and layers == "outputs")
    plan = model.derived(exact_plan if exact else fast_plan)
    wanted = layer_numbers(model.network, layers)
    return plan.run(as_input(model.network, x), wanted, after_layer, keep_state=keep_state)


def reset_state(model: Model) -> None:
    """Let the recurrent layers of a model forget what ``forward`` has left in them.

    The next call begins anew even with ``keep_state``.
    """
    model.derived(Memory).forget()


def as_input(network: Network, x: npt.ArrayLike) -> F32:
    """Return an input as float32 (n, *shape), refusing what does not fit."""
    array = np.asarray(x)
    shape = network.input
    if not np.issubdtype(array.dtype, np.floating):
        raise ShapeError(
            "the input holds no floating-point numbers",
            expected="float32 values from 0 to 1",
            found=f"{array.dtype}",
        )
    if array.ndim < 2 or array.shape[1:] not in (shape.dims, (shape.size,)) or not len(array):
        dims = ", ".join(str(each) for each in shape.dims)
        raise ShapeError(
            "the input does not fit the net", expected=f"(n, {dims})", found=f"{array.shape}"
        )
    if len(array) % network.time_steps:
        raise ShapeError(
            "the input ends inside a sequence",
            where=Where(section="net", key="time_steps"),
            expected=f"a multiple of {network.time_steps}",
            found=f"{len(array)}",
            hint="Model.with_time_steps makes a model for sequences of another length",
        )
    return np.ascontiguousarray(array, np.float32).reshape(len(array), *shape.dims)


def layer_numbers(network: Network, layers: Layers) -> tuple[int, ...]:
    """Return the numbers of the layers that are meant, in order, each once."""
    count = len(network.nodes)
    if isinstance(layers, str):
        if layers == "all":
            return tuple(range(count))
        if layers == "outputs":
            return network.outputs
        raise ShapeError("unknown choice of layers", expected="outputs, all", found=f"{layers!r}")
    numbers = []
    for layer in layers:
        if not -count <= layer < count:
            raise ShapeError(
                "there is no such layer", expected=f"0 to {count - 1}", found=f"{layer}"
            )
        numbers.append(int(layer) % count)
    return tuple(dict.fromkeys(numbers))
