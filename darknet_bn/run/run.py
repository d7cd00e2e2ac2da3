"""Run a model forward."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Literal
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.errors import DarknetWarning, ShapeError, Where
from darknet_bn.kernels.floating import PICTURE_HINT
from darknet_bn.model.model import Model
from darknet_bn.model.network import Network
from darknet_bn.pictures.images import CHANNELS
from darknet_bn.run.plan import Plans
from darknet_bn.values import brief

LEVELS = (
    "the input looks like levels from 0 to 255, but networks expect values from 0 to 1: "
    "divide it by 255"
)
_WHITE = 255
_FAR = 32  # values above this are levels, even if not all are whole: white would be 1

Layers = Literal["outputs", "all"] | Iterable[int]

_PLANS: WeakKeyDictionary[Model, Plans] = WeakKeyDictionary()  # the plans of `forward`


def forward(
    model: Model,
    x: npt.ArrayLike,
    layers: Layers = "outputs",
    *,
    exact: bool | None = None,
    after_layer: Callable[[], None] | None = None,
) -> dict[int, F32]:
    """Compute the outputs of layers; sequences begin with the call.

    Parameters
    ----------
    model : Model
    x : float32 array (n, c, h, w), or (n, inputs) if the net does not take images
        Images as Darknet takes them: RGB planes with values from 0 to 1, as returned by `prepare`.
        n may be any number.  If layers are recurrent, n is the number of sequences times
        ``time_steps`` of ``[net]``: the first step of every sequence, then the second of every
        sequence, and so on.
    layers : "outputs", "all", or layer numbers
        Which outputs to return; a negative number counts from the last layer.  ``"outputs"`` means
        the layers that no other layer reads: the detection heads, or the last layer.
    exact : bool, optional
        Whether to keep Darknet's order of operations: batch norm after the convolution instead of
        folded into it, and no fast convolution algorithms.  The default is True if layers are
        requested by number or with ``"all"``, to look into them, and False for ``"outputs"``.  The
        results differ in the last digits (about 1e-6 of a layer's largest value).
    after_layer : function, optional
        Called after each layer; to show progress.

    Returns
    -------
    outputs : dict from layer number to float32 array
        (n, c, h, w), or (n, outputs) if a layer's output is not an image.

    Raises
    ------
    ShapeError
        The input does not fit the net or ends within a sequence, or a layer number does not exist.

    Warns
    -----
    DarknetWarning
        The input seems to have levels from 0 to 255: see `looks_like_levels`.

    Notes
    -----
    C: ``forward_network`` in ``src/network.c`` with ``train`` off.  Planes in BGR order, as in
    OpenCV's arrays, cannot be distinguished from RGB by their values: their effect on the first
    batch norm is no larger than that of a different picture.  For that reason `load_image` and
    `prepare` refuse OpenCV's arrays.

    What is prepared in the first call, such as folded weights, is kept as long as the model.  Any
    number of threads may share one model.  A `Runner` continues sequences from call to call.
    """
    return _outputs(plans_of(model), model, x, layers, exact, after_layer, keep_state=False)


def plans_of(model: Model) -> Plans:
    """Return what `forward` keeps of a model, which goes with it."""
    plans = _PLANS.get(model)
    if plans is None:
        plans = _PLANS.setdefault(model, Plans(model))  # another thread may have been faster
    return plans


class Runner:
    """A model with the results of running it: prepared weights, and the state of sequences.

    Parameters
    ----------
    model : Model

    Attributes
    ----------
    model : Model

    Notes
    -----
    Each runner has its own, separate from `forward`'s.  Several threads may share one; they take
    turns.  A copy starts with new sequences.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._plans = Plans(model)

    def __repr__(self) -> str:
        """Return a one-line description."""
        return brief(self, f"of {self.model!r}")

    def __reduce__(self) -> tuple[type[Runner], tuple[Model]]:
        """Pickle only the model."""
        return type(self), (self.model,)

    def forward(
        self,
        x: npt.ArrayLike,
        layers: Layers = "outputs",
        *,
        exact: bool | None = None,
        after_layer: Callable[[], None] | None = None,
    ) -> dict[int, F32]:
        """Compute the outputs of layers; sequences continue where the last call ended.

        In Darknet they always do.  A layer that a call did not compute keeps its state.  A batch of
        a different size starts new sequences, and so does the call after one that failed.
        Everything else is as in `darknet_bn.forward`, which has the same arguments.

        Parameters
        ----------
        x : float32 array (n, c, h, w), or (n, inputs) if the net does not take images
        layers : "outputs", "all", or layer numbers
        exact : bool, optional
        after_layer : function, optional

        Returns
        -------
        outputs : dict from layer number to float32 array
            (n, c, h, w), or (n, outputs) if a layer's output is not an image.

        Raises
        ------
        ShapeError
            As in `darknet_bn.forward`.
        """
        return _outputs(self._plans, self.model, x, layers, exact, after_layer, keep_state=True)

    def reset(self) -> None:
        """Let the next call start new sequences."""
        self._plans.forget()


def _outputs(
    plans: Plans,
    model: Model,
    x: npt.ArrayLike,
    layers: Layers,
    exact: bool | None,
    after_layer: Callable[[], None] | None,
    *,
    keep_state: bool,
) -> dict[int, F32]:
    if exact is None:
        exact = not (isinstance(layers, str) and layers == "outputs")
    wanted = layer_numbers(model.network, layers)
    array = as_input(model.network, x)
    if looks_like_levels(model, array[0]):
        warnings.warn(LEVELS, DarknetWarning, stacklevel=3)
    return plans.of(exact=exact).run(array, wanted, after_layer, keep_state=keep_state)


def looks_like_levels(model: Model, image: F32) -> bool:
    """Return whether an image has values from 0 to 255, for a net that takes 0 to 1.

    The image does if the net has parameters, its input is an image of 1, 3 or 4 channels, no value
    is below 0 or above 255, and either all values are whole numbers and some are above 1, or some
    are above 32.  A net may have been trained on such values nevertheless: if its first layer has
    batch norm, the rolling mean must also be closer to the result for the values divided by 255.

    Parameters
    ----------
    model : Model
    image : float32 array (c, h, w), or (inputs,)
    """
    net = model.network
    if net.input.flat or net.input.c not in CHANNELS or not any(each.params for each in net.nodes):
        return False
    largest = image.max()
    if not 1 < largest <= _WHITE or not image.min() >= 0:
        return False
    if largest <= _FAR and not (image == np.rint(image)).all():
        return False
    expected = _nearer_scale(model, image)
    return expected is None or expected < 1


def _nearer_scale(model: Model, image: F32) -> float | None:
    """Return which of two factors for an image fits the first batch norm; None without one.

    Except at the border, the mean of a convolution's output follows from the channel means.
    """
    node, p = model.network.nodes[0], model.params[0]
    weights, variance = p.get("weights"), p.get("rolling_variance")
    if node.layer.norm.batch_norm != "inside" or weights is None or variance is None:
        return None
    if weights.ndim != 4 or weights.shape[1] != len(image) or not variance.any():
        return None
    means = weights.sum((2, 3), dtype=np.float64) @ image.mean((1, 2), dtype=np.float64)
    with np.errstate(all="ignore"):
        sigma = model.dialect.sigma(variance.astype(np.float64))
        off = [
            np.nanmedian(np.abs(means * scale - p["rolling_mean"]) / sigma)
            for scale in (1, 1 / _WHITE)
        ]
    return 1 if off[0] < off[1] else 1 / _WHITE


def as_input(network: Network, x: npt.ArrayLike) -> F32:
    """Return an input as float32 (n, *shape), and refuse arrays that do not fit."""
    array = np.asarray(x)
    shape = network.input
    if not np.issubdtype(array.dtype, np.floating):
        raise ShapeError(
            "the input does not hold floating-point numbers",
            expected="float32 values from 0 to 1",
            found=f"{array.dtype}",
            hint=_levels_hint(array) if array.dtype == np.uint8 else None,
        )
    if array.ndim < 2 or array.shape[1:] not in (shape.dims, (shape.size,)) or not len(array):
        dims = ", ".join(str(each) for each in shape.dims)
        raise ShapeError(
            "the input does not fit the network",
            expected=f"(n, {dims})",
            found=f"{array.shape}",
            hint=_turned(array.shape, shape.dims),
        )
    if len(array) % network.time_steps:
        raise ShapeError(
            "the input ends inside a sequence",
            where=Where(section="net", key="time_steps"),
            expected=f"a multiple of {network.time_steps}",
            found=f"{len(array)}",
            hint="Model.with_time_steps makes a model for sequences of a different length",
        )
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(array, np.float32)
    if array.dtype != np.float32 and np.isinf(single).any() and not np.isinf(array).any():
        raise ShapeError("the input has values that are too large for float32")
    return single.reshape(len(array), *shape.dims)


def _levels_hint(array: npt.NDArray[np.uint8]) -> str:
    """Say how to turn levels from 0 to 255 into an input."""
    if array.ndim == 3 and array.shape[2] in CHANNELS:
        return PICTURE_HINT.format(name="x")
    return "numpy.float32(x) / 255 goes from 0 to 1"


def _turned(found: tuple[int, ...], dims: tuple[int, ...]) -> str | None:
    """Say how to turn an array of a different shape into an input, if that is obvious."""
    if found == dims:
        return "x[None] is a batch of one"
    last = (*dims[1:], dims[0])
    if found == last:
        return "the channels come first: x.transpose(2, 0, 1)[None]"
    if found[1:] == last:
        return "the channels come first: x.transpose(0, 3, 1, 2)"
    return None


def layer_numbers(network: Network, layers: Layers) -> tuple[int, ...]:
    """Return the numbers of the requested layers, in order, each once."""
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
