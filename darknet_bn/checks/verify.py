"""Record what a model computes, and verify a model against a recording, layer by layer."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy.typing as npt

from darknet_bn.checks.fixture import Fixture, load_fixture, member_name, save_fixture
from darknet_bn.errors import FixtureError, Where
from darknet_bn.formats.writing import require_suffix, require_writable
from darknet_bn.model.model import Model
from darknet_bn.model.provenance import provenance
from darknet_bn.run.differences import Report, compare_arrays
from darknet_bn.run.run import Layers, as_input, forward


def record(
    model: Model,
    path: str | os.PathLike[str],
    x: npt.ArrayLike,
    layers: Layers = "all",
    *,
    force: bool = False,
    after_layer: Callable[[], None] | None = None,
) -> None:
    """Write a fixture of a model's outputs, computed in Darknet's order of operations.

    Parameters
    ----------
    model : Model
    path : path
        The ``.npz`` to write.
    x : float32 array (n, c, h, w), or (n, inputs)
    layers : "all", "outputs", or layer numbers
    force : bool
        Whether to overwrite an existing file, though never one that the model was read from.
    after_layer : function, optional
        As in `forward`.

    Raises
    ------
    DarknetError
        The file already exists and ``force`` is off, or it cannot be written.
    """
    inputs = (model.cfg.file, model.file)
    require_suffix(path, ".npz")
    require_writable([path], force=force, inputs=inputs)
    array = as_input(model.network, x)
    outputs = forward(model, array, layers, exact=True, after_layer=after_layer)
    save_fixture(path, array, outputs, provenance(model), force=force, inputs=inputs)


def verify(
    model: Model,
    fixture: Fixture | str | os.PathLike[str],
    *,
    tolerance: float = 1e-5,
    exact: bool = True,
    after_layer: Callable[[], None] | None = None,
) -> Report:
    """Run a model on a fixture's input, and compare every layer that the fixture holds.

    Parameters
    ----------
    model : Model
    fixture : Fixture or path
    tolerance : float
        The difference to allow, relative to the layer's largest absolute value.
    exact : bool
        As in `forward`; the fast way differs in the last digits.
    after_layer : function, optional
        As in `forward`.

    Returns
    -------
    report : Report

    Raises
    ------
    FixtureError
        The fixture cannot be read, or belongs to another net.
    """
    if not isinstance(fixture, Fixture):
        fixture = load_fixture(Path(fixture))
    nodes = model.network.nodes
    layers = fixture.layers
    if not layers or layers[-1] >= len(nodes):
        raise FixtureError(
            "the fixture belongs to a different network",
            where=Where(file=fixture.path),
            expected=f"layers from 0 to {len(nodes) - 1}",
            found=f"layer {layers[-1]}" if layers else "no layer",
        )
    expected = {index: fixture.layer(index, nodes[index].y.dims) for index in layers}
    x = fixture.input(model.network.input.dims)
    found = forward(model, x, layers, exact=exact, after_layer=after_layer)
    differences = [
        compare_arrays(
            member_name(index),
            expected[index],
            found[index],
            allowed=tolerance,
            layer=index,
            section=nodes[index].layer.names[0],
        )
        for index in layers
    ]
    return Report(tolerance, tuple(differences), fixture.provenance)
