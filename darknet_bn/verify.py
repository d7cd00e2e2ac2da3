"""Record what a model computes, and verify a model against a recording, layer by layer."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.errors import FixtureError, Where
from darknet_bn.fixture import Fixture, load_fixture, save_fixture
from darknet_bn.model import Model
from darknet_bn.run import Layers, as_input, forward
from darknet_bn.version import __version__
from darknet_bn.weights import stored_arrays

_OFFENDERS = 3  # of each layer: enough to see a pattern


@dataclass(frozen=True)
class Offender:
    """A value that differs: where it lies, what the fixture says, what the model gives."""

    index: tuple[int, ...]
    expected: float
    found: float


@dataclass(frozen=True)
class LayerReport:
    """How a layer's output compares with the fixture's.

    Attributes
    ----------
    layer, section, shape : int, str, tuple of int
        Which layer; the shape of its output with the batch.
    largest : float
        The largest finite absolute value that the fixture has.
    max_error, mean_error : float
        Of the absolute differences; infinite where one is NaN or infinite and the other not.
    different : int
        How many values differ by more than the tolerance.
    offenders : tuple of Offender
        The first of them.
    """

    layer: int
    section: str
    shape: tuple[int, ...]
    largest: float
    max_error: float
    mean_error: float
    different: int
    offenders: tuple[Offender, ...]

    @property
    def ok(self) -> bool:
        """Whether every value agrees."""
        return self.different == 0


@dataclass(frozen=True)
class Report:
    """How a model compares with a fixture.

    Attributes
    ----------
    tolerance : float
        What was allowed, as a part of each layer's largest value.
    layers : tuple of LayerReport
    provenance : mapping
        Of the fixture.
    """

    tolerance: float
    layers: tuple[LayerReport, ...]
    provenance: Mapping[str, Any]

    @property
    def ok(self) -> bool:
        """Whether every layer agrees."""
        return all(layer.ok for layer in self.layers)

    @property
    def first_wrong(self) -> LayerReport | None:
        """The first layer that does not agree: where the cause lies."""
        return next((layer for layer in self.layers if not layer.ok), None)

    def __str__(self) -> str:
        """Return a table with a line for each layer, and a verdict."""
        lines = [
            f"{'layer':>5} {'section':<16} {'shape':<20} {'largest':>10} {'max error':>10} "
            f"{'mean error':>10} {'differ':>8}"
        ]
        for row in self.layers:
            shape = " x ".join(str(each) for each in row.shape)
            lines.append(
                f"{row.layer:>5} {row.section:<16} {shape:<20} {row.largest:>10.4g} "
                f"{row.max_error:>10.2g} {row.mean_error:>10.2g} {row.different:>8}"
            )
        wrong = self.first_wrong
        if wrong is None:
            count = len(self.layers)
            lines.append(
                f"all {count} layers agree within {self.tolerance:g} of their largest value"
            )
        else:
            lines.append(
                f"layer {wrong.layer} [{wrong.section}] is the first that differs: "
                f"{wrong.different} values by more than {self.tolerance:g} of the largest, "
                f"{wrong.largest:.4g}"
            )
            lines += [
                f"  at {', '.join(str(i) for i in each.index)}: "
                f"expected {each.expected:.9g}, found {each.found:.9g}"
                for each in wrong.offenders
            ]
        return "\n".join(lines)


def record(
    model: Model,
    path: str | os.PathLike[str],
    x: npt.ArrayLike,
    layers: Layers = "all",
    *,
    after_layer: Callable[[], None] | None = None,
) -> None:
    """Write a fixture of what a model computes, in Darknet's order of operations.

    Parameters
    ----------
    model : Model
    path : path
        The ``.npz`` to write; what is there is replaced.
    x : float32 array (n, c, h, w), or (n, inputs)
    layers : "all", "outputs", or layer numbers
    after_layer : function, optional
        As in `forward`.
    """
    array = as_input(model.network, x)
    outputs = forward(model, array, layers, exact=True, after_layer=after_layer)
    save_fixture(path, array, outputs, provenance(model))


def provenance(model: Model) -> dict[str, str]:
    """Return what a fixture says of the program and the model that it was made with."""
    weights = hashlib.sha256(model.header.to_bytes())
    for part in stored_arrays(model.header, model.network, model.params):
        weights.update(part.data)
    return {
        "program": "darknet-bn",
        "version": __version__,
        "dialect": model.dialect.name,
        "cfg_sha256": hashlib.sha256(model.cfg.to_bytes()).hexdigest(),
        "weights_sha256": weights.hexdigest(),
    }


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
        The difference to allow, as a part of the layer's largest absolute value.
    exact : bool
        As in `forward`; the fast way differs in some more digits.
    after_layer : function, optional
        As in `forward`.

    Returns
    -------
    report : Report

    Raises
    ------
    FixtureError
        The fixture cannot be read, or is of another net.
    """
    if not isinstance(fixture, Fixture):
        fixture = load_fixture(Path(fixture))
    nodes = model.network.nodes
    layers = fixture.layers
    if not layers or layers[-1] >= len(nodes):
        raise FixtureError(
            "the fixture is of another net",
            where=Where(file=fixture.path),
            expected=f"layers from 0 to {len(nodes) - 1}",
            found=f"layer {layers[-1]}" if layers else "no layer",
        )
    expected = {index: fixture.layer(index, nodes[index].y.dims) for index in layers}
    x = fixture.input(model.network.input.dims)
    found = forward(model, x, layers, exact=exact, after_layer=after_layer)
    return Report(
        tolerance,
        tuple(
            _compare(index, nodes[index].layer.names[0], expected[index], found[index], tolerance)
            for index in layers
        ),
        fixture.provenance,
    )


def _compare(index: int, section: str, expected: F32, found: F32, tolerance: float) -> LayerReport:
    with np.errstate(invalid="ignore"):
        error = np.abs(expected.astype(np.float64) - found)
    # The same infinity, or NaN in both, is agreement; NaN against anything else is not.
    same = (expected == found) | (np.isnan(expected) & np.isnan(found))
    error[same] = 0
    error[np.isnan(error)] = np.inf
    finite = np.abs(expected[np.isfinite(expected)])
    largest = float(finite.max(initial=0))
    wrong = error > tolerance * (largest or 1.0)
    offenders = tuple(
        Offender(tuple(int(i) for i in at), float(expected[tuple(at)]), float(found[tuple(at)]))
        for at in np.argwhere(wrong)[:_OFFENDERS]
    )
    return LayerReport(
        index,
        section,
        expected.shape,
        largest,
        float(error.max(initial=0)),
        float(error.mean()) if error.size else 0.0,
        int(wrong.sum()),
        offenders,
    )
