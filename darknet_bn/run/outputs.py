"""The outputs of layers, whichever program computes them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.errors import DarknetWarning
from darknet_bn.model.model import Model
from darknet_bn.run.heads import run_from
from darknet_bn.run.run import (
    LEVELS,
    Layers,
    as_input,
    forward,
    layer_numbers,
    looks_like_levels,
)
from darknet_bn.run.session import Session


def compute_outputs(
    model: Model,
    x: npt.ArrayLike | Mapping[int, npt.ArrayLike],
    layers: Layers,
    *,
    session: Session | None = None,
    exact: bool = False,
) -> dict[int, F32]:
    """Compute the outputs of layers, here or in another program.

    Parameters
    ----------
    model : Model
    x : float32 array (n, c, h, w), or (n, inputs); or a mapping from layer number to array
        The input; or outputs of layers, from which the rest is computed here, as in `run_heads`.
    layers : "outputs", "all", or layer numbers
        As in `forward`; ``"all"`` are those that the session shows.
    session : Session, optional
        What runs the model.  A detection head that it does not show is computed here, from what the
        head reads: OpenCV's reader makes boxes of it at once.
    exact : bool
        As in `forward`, without a session.

    Returns
    -------
    outputs : dict from layer number to float32 array (n, *shape)

    Raises
    ------
    ShapeError, DarknetError
        As `forward` and `Session.forward`.

    Warns
    -----
    DarknetWarning
        The input looks like levels from 0 to 255.
    """
    if isinstance(x, Mapping):
        return run_from(model, x, layer_numbers(model.network, layers))
    if session is None:
        return forward(model, x, layers, exact=exact)
    x = as_input(model.network, x)
    if looks_like_levels(model, x[0]):
        warnings.warn(LEVELS, DarknetWarning, stacklevel=3)
    if isinstance(layers, str) and layers == "all":
        return session.forward(x, "all")
    wanted = layer_numbers(model.network, layers)
    ours = [each for each in wanted if _is_left_to_us(session, model, each)]
    if not ours:
        return session.forward(x, wanted)
    nodes = model.network.nodes
    theirs = dict.fromkeys(each for each in wanted if each not in ours)
    theirs.update(dict.fromkeys(source for each in ours for source in nodes[each].sources))
    found = session.forward(x, theirs)
    found |= run_from(model, found, ours)
    return {each: found[each] for each in wanted}


def _is_left_to_us(session: Session, model: Model, layer: int) -> bool:
    """Tell whether a layer is a head that the session does not show, but what it reads."""
    if layer in session.layers or layer not in model.network.heads:
        return False
    return set(model.network.nodes[layer].sources) <= set(session.layers)
