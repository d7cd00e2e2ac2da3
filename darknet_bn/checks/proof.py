"""Prove that a file computes what the model does, by running both."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.checks.differences import compare_layer
from darknet_bn.checks.proof_boxes import Limits, all_boxes, of_file, of_model, over_threshold, pair
from darknet_bn.convert.onnx.export import Exported
from darknet_bn.engines.onnx_session import with_layers
from darknet_bn.engines.onnxruntime import OnnxFile, engine_name, open_file
from darknet_bn.errors import DarknetError, ProofError
from darknet_bn.model.model import Model
from darknet_bn.predictions.boxes import heads_of
from darknet_bn.run.rounding import FLOAT16, FLOAT32, Precision, rounding, two_other_ways
from darknet_bn.run.run import as_input, forward
from darknet_bn.values import brief, brief_fields, counted

Stage: TypeAlias = "Callable[[str, int | None], Callable[[], None] | None]"
"""``stage(what, steps)``: called when a part of the work begins, with None if it does not tell how
far it is; returns what to call after each of its steps, or None."""

Ways: TypeAlias = "Sequence[Mapping[int, F32]]"


@dataclass(frozen=True)
class ProofRow:
    """How an output of a file agrees with what is computed here, on one input.

    Attributes
    ----------
    name : str
        Of the output in the file.
    layer : int or None
        The layer that it is the output of.
    input : str
        Which input it was.
    shape : tuple of int
    largest, max_error : float
        The largest absolute value, but at least 1 of scores and of ``detections``, which are parts
        of that; and the largest absolute difference.
    relative : float
        The one as a part of the other.
    cosine : float
    rounding : float or None
        What rounding alone makes, as the same part.  None where it was not looked for: the
        tolerance was given, or all differences are so small that they need no excuse.
    allowed : float
        The most that ``relative`` may be.
    ok : bool
    is_inner : bool
        Whether it is the output of a layer inside.
    problem : str or None
        Of ``detections``: a box that is there or not, and no rounding explains it.
    """

    name: str
    layer: int | None
    input: str
    shape: tuple[int, ...]
    largest: float
    max_error: float
    relative: float
    cosine: float
    rounding: float | None
    allowed: float
    ok: bool
    is_inner: bool = False
    problem: str | None = None

    __repr__ = brief_fields


@dataclass(frozen=True)
class Proof:
    """What was found when a file ran beside the model.

    Attributes
    ----------
    engine : str
        What ran the file.
    precision : str
        ``float32``, or ``float16``: what the file computes in.
    tolerance : float
        What was allowed of every output at least, as a part of its largest value.
    inputs : mapping from name to str
        The SHA-256 of each input.
    rows : tuple of ProofRow
    """

    engine: str
    precision: str
    tolerance: float
    inputs: Mapping[str, str]
    rows: tuple[ProofRow, ...]

    def __repr__(self) -> str:
        """Return one line about it."""
        verdict = "agrees" if self.ok else "differs"
        rows = counted(len(self.rows), "row")
        return brief(self, f"{self.engine} {verdict}: {rows}, allowed {self.tolerance:g}")

    @property
    def ok(self) -> bool:
        """Whether every output agrees."""
        return all(row.ok for row in self.rows)

    @property
    def worst(self) -> ProofRow:
        """The output, or layer inside, that agrees least."""
        return max(self.rows, key=lambda row: (not row.ok, row.relative))


def _silent(what: str, steps: int | None) -> None:
    """Show no progress."""


def prove(
    model: Model,
    exported: Exported,
    inputs: Mapping[str, F32],
    *,
    layers: bool = False,
    tolerance: float | None = None,
    stage: Stage = _silent,
) -> Proof:
    """Run an exported file in ONNX Runtime and the model here, and compare what comes out.

    Parameters
    ----------
    model : Model
    exported : Exported
        As `export_onnx` returns it, or hands it to its ``check``.
    inputs : mapping from name to float32 array (n, c, h, w)
    layers : bool
        Whether to compare the output of every layer too.  Where ``nms`` may leave no box, the
        detection heads always are.
    tolerance : float, optional
        The difference to allow, as a part of each output's largest absolute value.  By default
        1e-5, or where rounding alone makes more of it in this model, four times that; but not above
        1e-3.  Of a file in float16 2e-2, four times what such rounding makes, and 1e-1.
    stage : function, optional
        Called when a part of the work begins, to show progress.

    Returns
    -------
    proof : Proof
        Whether it is one, ``proof.ok`` says.

    Raises
    ------
    ProofError
        ONNX Runtime is not installed, or does not take the file: nothing can be proven.

    Notes
    -----
    What rounding makes is how far two ways to compute the model in float32, Darknet's order of
    operations and the fast one, lie from the same in float64.
    """
    stage("proving: onnxruntime opens the file", None)
    precision = FLOAT16 if exported.half else FLOAT32
    inner = {name: v for name, v in exported.values.items() if name not in exported.outputs}
    makers: dict[str, int] = {}  # the first layer of those that share a value
    for number, value in exported.layers.items():
        makers.setdefault(value, number)
    if not layers:
        heads = heads_of(model.network) if exported.head == "nms" else ()
        inner = {name: v for name, v in inner.items() if makers[name] in heads}
    rows: list[ProofRow] = []
    net = model.network.input.dims[1:]
    with _needed_for_a_proof():
        engine = engine_name()
        run = open_file(exported.path)
        look = with_layers(exported.path, inner, open_file) if inner else None
    for name, x in inputs.items():
        sized = model if x.shape[2:] == net else model.resized(*x.shape[2:])
        array = as_input(sized.network, x)
        stage("proving: onnxruntime runs the file", None)
        with _needed_for_a_proof():
            found, inside = run(array), {} if look is None else look(array)
        case = _Case(sized, exported, name, found, {makers[n]: (n, inside[n]) for n in inner})
        rows += _judged(sized, array, case.rows, case.layers, precision, tolerance, stage)
    hashes = {name: hashlib.sha256(x.data).hexdigest() for name, x in inputs.items()}
    least = precision.least if tolerance is None else tolerance
    return Proof(engine, precision.name, least, hashes, tuple(rows))


def prove_file(
    model: Model,
    path: str | os.PathLike[str],
    *,
    tolerance: float | None = None,
    stage: Stage = _silent,
) -> Proof:
    """Run an ONNX file that a model was read from beside it, on a random input.

    Parameters
    ----------
    model : Model
    path : path
        An ONNX file: one that was exported, or one that `load_arrays` reads.
    tolerance, stage
        As of `prove`.

    Returns
    -------
    proof : Proof
        A row for each layer that the file shows.

    Raises
    ------
    ProofError
        ONNX Runtime is not installed, or does not run the file: nothing can be proven.
    """
    stage("proving: onnxruntime opens the file", None)
    with _needed_for_a_proof():
        file = OnnxFile(path, model)
        stage("proving: onnxruntime runs the file", None)
        x = np.random.default_rng(0).random((file.batch, *model.network.input.dims), np.float32)
        found = file.forward(x, "all")

    def rows(ours: Mapping[int, F32], ways: Ways, limit: _Limit) -> list[ProofRow]:
        return [
            _row(f"layer_{each:03d}", each, "random", ours[each], y, _of(ways, each), limit)
            for each, y in found.items()
        ]

    judged = _judged(model, x, rows, tuple(found), FLOAT32, tolerance, stage)
    least = FLOAT32.least if tolerance is None else tolerance
    digest = {"random": hashlib.sha256(x.data).hexdigest()}
    return Proof(file.engine, FLOAT32.name, least, digest, tuple(judged))


@contextmanager
def _needed_for_a_proof() -> Iterator[None]:
    """Within, what fails in the other program leaves nothing proven."""
    try:
        yield
    except DarknetError as error:
        raise ProofError(
            f"nothing can be proven: {error.problem}", where=error.where, hint=error.hint
        ) from error


@dataclass(frozen=True)
class _Limit:
    """What is allowed: as given, or by what rounding makes."""

    precision: Precision
    tolerance: float | None

    def rounding(self, exact: F32, others: Sequence[F32], scale: float) -> float | None:
        """Return what rounding makes, if there is anything to tell it from."""
        return self.precision.coarseness * rounding(exact, others, scale) if others else None

    def allowed(self, rounding: float | None) -> float:
        if self.tolerance is not None:
            return self.tolerance
        return self.precision.allowance(rounding or 0.0)


def _judged(
    model: Model,
    x: F32,
    rows: Callable[[Mapping[int, F32], Ways, _Limit], list[ProofRow]],
    layers: tuple[int, ...],
    precision: Precision,
    tolerance: float | None,
    stage: Stage,
) -> list[ProofRow]:
    """Return rows; where they are not all right, those that know what rounding makes."""
    step = stage("proving: the model runs here", len(model.network.nodes))
    ours = forward(model, x, layers, exact=True, after_layer=step)
    limit = _Limit(precision, tolerance)
    judged = rows(ours, (), limit)
    if tolerance is not None or all(row.ok for row in judged):
        return judged
    stage("proving: how much rounding makes, in float64", None)
    return rows(ours, two_other_ways(model, x, layers), limit)


@dataclass(frozen=True)
class _Case:
    """What an exported file gave for one input: its outputs, and layers inside with their names."""

    model: Model
    exported: Exported
    input: str
    found: Mapping[str, F32]
    inside: Mapping[int, tuple[str, F32]]

    @property
    def layers(self) -> tuple[int, ...]:
        """What has to be computed here."""
        network = self.model.network
        outputs = network.outputs if self.exported.head == "raw" else heads_of(network)
        return tuple(sorted({*outputs, *self.inside}))

    def rows(self, ours: Mapping[int, F32], ways: Ways, limit: _Limit) -> list[ProofRow]:
        """Compare everything."""
        inner = [
            _row(name, layer, self.input, ours[layer], y, _of(ways, layer), limit)
            for layer, (name, y) in self.inside.items()
        ]
        return self._outputs(ours, ways, limit) + [replace(row, is_inner=True) for row in inner]

    def _outputs(self, ours: Mapping[int, F32], ways: Ways, limit: _Limit) -> list[ProofRow]:
        exported, found = self.exported, self.found
        layer_of = {value: number for number, value in exported.layers.items()}
        if exported.head == "raw":
            return [
                _row(name, layer, self.input, ours[layer], found[name], _of(ways, layer), limit)
                for name, layer in ((each, layer_of[each]) for each in exported.outputs)
            ]
        if exported.head == "nms":
            return [self._detections(ours, ways, limit)]
        net = self.model.network.input
        expected, *others = (
            of_model(exported.head, all_boxes(self.model, each), net) for each in (ours, *ways)
        )
        given = of_file(exported.head, found)
        return [
            _row(name, None, self.input, y, given[name], [each[name] for each in others], limit)
            for name, y in expected.items()
        ]

    def _detections(self, ours: Mapping[int, F32], ways: Ways, limit: _Limit) -> ProofRow:
        rows, threshold = self.found["detections"], self.exported.threshold
        images, *others = (all_boxes(self.model, each) for each in (ours, *ways))
        near, *apart = (over_threshold(each, images, threshold) for each in (images, *others))
        scale = _scale("detections", float(np.abs(near[np.isfinite(near)]).max(initial=0)))
        rounds = limit.rounding(near, apart, scale)
        room = limit.allowed(rounds) * scale
        pairing = pair(images, rows, Limits(threshold, self.exported.nms, room, room))
        row = _row(
            "detections", None, self.input, pairing.expected[:, 1:6], rows[:, 1:6], (), limit
        )
        problem = next(iter(pairing.problems), None)
        error = row.max_error / scale
        return replace(
            row,
            shape=rows.shape,
            largest=scale,
            relative=error,
            rounding=rounds,
            allowed=limit.allowed(rounds),
            ok=error <= limit.allowed(rounds) and problem is None,
            problem=problem,
        )


def _of(ways: Ways, layer: int) -> list[F32]:
    return [each[layer] for each in ways]


def _scale(name: str, largest: float) -> float:
    """Return what differences are a part of: at least 1 of what lies between 0 and 1."""
    return max(1.0, largest) if name in ("confs", "detections") else largest or 1.0


def _row(
    name: str,
    layer: int | None,
    x: str,
    expected: F32,
    found: F32,
    others: Sequence[F32],
    limit: _Limit,
) -> ProofRow:
    report = compare_layer(0, "", expected, found.astype(np.float32, copy=False), math.inf)
    scale = _scale(name, report.largest)
    error = report.max_error / scale
    rounds = limit.rounding(expected, others, scale)
    return ProofRow(
        name,
        layer,
        x,
        report.shape,
        scale,
        report.max_error,
        error,
        report.cosine,
        rounds,
        limit.allowed(rounds),
        ok=error <= limit.allowed(rounds),
    )
