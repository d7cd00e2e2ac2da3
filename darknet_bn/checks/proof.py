"""Prove that a file computes what the model does, by running both."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.checks.agreement import Stage, silent
from darknet_bn.checks.fixture import member_name
from darknet_bn.checks.proof_boxes import Limits, all_boxes, of_file, of_model, over_threshold, pair
from darknet_bn.convert.onnx.export import Exported
from darknet_bn.engines.onnx_session import with_layers
from darknet_bn.engines.onnxruntime import OnnxFile, engine_name, open_file
from darknet_bn.errors import DarknetError, ProofError
from darknet_bn.model.model import Model
from darknet_bn.predictions.boxes import heads_of
from darknet_bn.run.differences import Difference, Report, compare_arrays, largest_value
from darknet_bn.run.random_input import random_input
from darknet_bn.run.rounding import FLOAT16, FLOAT32, Precision, rounding, two_other_ways
from darknet_bn.run.run import as_input, forward
from darknet_bn.run.session import BoxSession, Session

Ways: TypeAlias = "Sequence[Mapping[int, F32]]"


def prove(
    model: Model,
    exported: Exported,
    inputs: Mapping[str, F32],
    *,
    layers: bool = False,
    tolerance: float | None = None,
    stage: Stage = silent,
) -> Report:
    """Run an exported file in ONNX Runtime and the model here, and compare the outputs.

    Parameters
    ----------
    model : Model
    exported : Exported
        As `export_onnx` returns it.
    inputs : mapping from name to float32 array (n, c, h, w)
    layers : bool
        Whether to compare the output of every layer too.  Detection heads are always compared if
        ``nms`` may leave no boxes.
    tolerance : float, optional
        The difference to allow, relative to each output's largest absolute value.  By default 1e-5,
        or four times what rounding alone makes in this model if that is more; but never more than
        1e-3.  For a file in float16, 2e-2, or four times what such rounding makes, up to 1e-1.
    stage : function, optional
        Called when a part of the work begins, to show progress.

    Returns
    -------
    report : Report
        Its ``ok`` says whether the proof succeeded.

    Raises
    ------
    ProofError
        ONNX Runtime is not installed or rejects the file, so nothing can be proven.

    Notes
    -----
    The model is computed in float32 in two ways, in Darknet's order of operations and the fast way.
    What rounding makes is how far these two are from the same computation in float64.
    """
    stage("proving: opening the file in onnxruntime", None)
    precision = FLOAT16 if exported.half else FLOAT32
    inner = {name: v for name, v in exported.values.items() if name not in exported.outputs}
    makers: dict[str, int] = {}  # the first layer of those that share a value
    for number, value in exported.layers.items():
        makers.setdefault(value, number)
    if not layers:
        heads = heads_of(model.network) if exported.head == "nms" else ()
        inner = {name: v for name, v in inner.items() if makers[name] in heads}
    rows: list[Difference] = []
    net = model.network.input.dims[1:]
    with needed_for_a_proof():
        engine = engine_name()
        run = open_file(exported.path)
        look = with_layers(exported.path, inner, open_file) if inner else None
    for name, x in inputs.items():
        sized = model if x.shape[2:] == net else model.resized(*x.shape[2:])
        array = as_input(sized.network, x)
        stage("proving: running the file in onnxruntime", None)
        with needed_for_a_proof():
            found, inside = run(array), {} if look is None else look(array)
        case = _Case(sized, exported, name, found, {makers[n]: (n, inside[n]) for n in inner})
        rows += _judged(sized, array, case.rows, case.layers, precision, tolerance, stage)
    hashes = {name: hashlib.sha256(x.data).hexdigest() for name, x in inputs.items()}
    least = precision.least if tolerance is None else tolerance
    return Report(least, tuple(rows), {"program": engine}, precision.name, hashes)


def prove_file(
    model: Model,
    path: str | os.PathLike[str],
    *,
    tolerance: float | None = None,
    stage: Stage = silent,
) -> Report:
    """Run an ONNX file and the model that was read from it, on a random input.

    Parameters
    ----------
    model : Model
    path : path
        An ONNX file: one that was exported, or one that `load_arrays` reads.
    tolerance, stage
        As in `prove`.

    Returns
    -------
    report : Report
        One difference for each layer that the file shows.

    Raises
    ------
    ProofError
        ONNX Runtime is not installed or cannot run the file, so nothing can be proven.
    """
    stage("proving: opening the file in onnxruntime", None)
    with needed_for_a_proof():
        file = OnnxFile(path, model)
    inputs = {"random": random_input(model.network, images=file.batch)}
    return prove_session(model, file, inputs, tolerance=tolerance, stage=stage)


def prove_session(
    model: Model,
    session: Session,
    inputs: Mapping[str, F32],
    *,
    precision: Precision = FLOAT32,
    tolerance: float | None = None,
    stage: Stage = silent,
) -> Report:
    """Run a model in another program and here, and compare every layer that both show.

    If boxes come out there, they are compared too.

    Parameters
    ----------
    model : Model
    session : Session
        The model in the other program.
    inputs : mapping from name to float32 array (n, c, h, w)
    precision : Precision
        What the other program computes in.
    tolerance, stage
        As in `prove`.

    Returns
    -------
    report : Report
        One difference for each input and each layer that the session shows.

    Raises
    ------
    ProofError
        The other program fails: nothing can be proven.
    """
    judged: list[Difference] = []
    for name, x in inputs.items():
        stage(f"proving: running the file in {session.engine.partition(' ')[0]}", None)
        with needed_for_a_proof():
            found = session.forward(x, "all")
            boxes = session.boxes(x) if isinstance(session, BoxSession) else {}
        rows = _rows_of(model, name, found, boxes)
        judged += _judged(model, x, rows, tuple(found), precision, tolerance, stage)
    least = precision.least if tolerance is None else tolerance
    digests = {name: hashlib.sha256(x.data).hexdigest() for name, x in inputs.items()}
    return Report(least, tuple(judged), {"program": session.engine}, precision.name, digests)


def _rows_of(
    model: Model, name: str, found: Mapping[int, F32], boxes: Mapping[str, F32]
) -> Callable[[Mapping[int, F32], Ways, _Limit], list[Difference]]:
    """Return a function that compares all that a session shows, for the input ``name``."""

    def rows(ours: Mapping[int, F32], ways: Ways, limit: _Limit) -> list[Difference]:
        layers = [
            limit.judge(
                *(member_name(each), name, ours[each], y, _of(ways, each)),
                layer=each,
                section=model.network.nodes[each].layer.names[0],
            )
            for each, y in found.items()
        ]
        return layers + _boxes_compared(model, name, boxes, ours, ways, limit)

    return rows


def _boxes_compared(
    model: Model,
    name: str,
    found: Mapping[str, F32],
    ours: Mapping[int, F32],
    ways: Ways,
    limit: _Limit,
) -> list[Difference]:
    if not found:
        return []
    net = model.network.input
    expected, *others = (of_model("decoded", all_boxes(model, each), net) for each in (ours, *ways))
    return [
        limit.judge(key, name, y, found[key], [each[key] for each in others])
        for key, y in expected.items()
    ]


@contextmanager
def needed_for_a_proof() -> Iterator[None]:
    """In the block, a failure of the other program means that nothing is proven."""
    try:
        yield
    except DarknetError as error:
        raise ProofError(
            f"the file cannot be proven: {error.problem}", where=error.where, hint=error.hint
        ) from error


@dataclass(frozen=True)
class _Limit:
    """The tolerance: as given, or from what rounding makes."""

    precision: Precision
    tolerance: float | None

    def rounding(self, exact: F32, others: Sequence[F32], scale: float) -> float | None:
        """Return what rounding makes, if there is anything to measure it on."""
        return self.precision.coarseness * rounding(exact, others, scale) if others else None

    def allowed(self, rounding: float | None) -> float:
        if self.tolerance is not None:
            return self.tolerance
        return self.precision.allowance(rounding or 0.0)

    def judge(
        self,
        name: str,
        x: str,
        expected: F32,
        found: F32,
        others: Sequence[F32],
        *,
        layer: int | None = None,
        section: str | None = None,
    ) -> Difference:
        """Compare an output for the input ``x`` with what is computed here, in all ways."""
        scale = _scale(name, largest_value(expected))
        rounds = self.rounding(expected, others, scale)
        return compare_arrays(
            name,
            expected,
            found.astype(np.float32, copy=False),
            allowed=self.allowed(rounds),
            layer=layer,
            section=section,
            on=x,
            largest=scale,
            rounding=rounds,
        )


def _judged(
    model: Model,
    x: F32,
    rows: Callable[[Mapping[int, F32], Ways, _Limit], list[Difference]],
    layers: tuple[int, ...],
    precision: Precision,
    tolerance: float | None,
    stage: Stage,
) -> list[Difference]:
    """Return rows; if some of them fail, rows that allow for rounding."""
    step = stage("proving: running the model", len(model.network.nodes))
    ours = forward(model, x, layers, exact=True, after_layer=step)
    limit = _Limit(precision, tolerance)
    judged = rows(ours, (), limit)
    if tolerance is not None or all(row.ok for row in judged):
        return judged
    stage("proving: measuring rounding errors in float64", None)
    return rows(ours, two_other_ways(model, x, layers), limit)


@dataclass(frozen=True)
class _Case:
    """A file's results for one input: its outputs, and the inner layers with their names."""

    model: Model
    exported: Exported
    input: str
    found: Mapping[str, F32]
    inside: Mapping[int, tuple[str, F32]]

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that have to be computed here."""
        if self.exported.head != "raw":
            return tuple(sorted({*heads_of(self.model.network), *self.inside}))
        layer_of = {value: number for number, value in self.exported.layers.items()}
        outputs = {layer_of[name] for name in self.exported.outputs}
        return tuple(sorted(outputs | self.inside.keys()))

    def rows(self, ours: Mapping[int, F32], ways: Ways, limit: _Limit) -> list[Difference]:
        """Compare everything."""
        inner = [
            self._of_layer(limit, name, layer, ours, ways, y)
            for layer, (name, y) in self.inside.items()
        ]
        return self._outputs(ours, ways, limit) + [replace(row, is_inner=True) for row in inner]

    def _of_layer(
        self,
        limit: _Limit,
        name: str,
        layer: int,
        ours: Mapping[int, F32],
        ways: Ways,
        found: F32,
    ) -> Difference:
        section = self.model.network.nodes[layer].layer.names[0]
        others = _of(ways, layer)
        return limit.judge(
            name, self.input, ours[layer], found, others, layer=layer, section=section
        )

    def _outputs(self, ours: Mapping[int, F32], ways: Ways, limit: _Limit) -> list[Difference]:
        exported, found = self.exported, self.found
        layer_of = {value: number for number, value in exported.layers.items()}
        if exported.head == "raw":
            return [
                self._of_layer(limit, name, layer_of[name], ours, ways, found[name])
                for name in exported.outputs
            ]
        if exported.head == "nms":
            return [self._detections(ours, ways, limit)]
        net = self.model.network.input
        expected, *others = (
            of_model(exported.head, all_boxes(self.model, each), net) for each in (ours, *ways)
        )
        given = of_file(exported.head, found)
        return [
            limit.judge(name, self.input, y, given[name], [each[name] for each in others])
            for name, y in expected.items()
        ]

    def _detections(self, ours: Mapping[int, F32], ways: Ways, limit: _Limit) -> Difference:
        rows, threshold = self.found["detections"], self.exported.threshold
        images, *others = (all_boxes(self.model, each) for each in (ours, *ways))
        near, *apart = (over_threshold(each, images, threshold) for each in (images, *others))
        scale = _scale("detections", largest_value(near))
        rounds = limit.rounding(near, apart, scale)
        room = limit.allowed(rounds) * scale
        pairing = pair(images, rows, Limits(threshold, self.exported.nms, room, room))
        row = compare_arrays(
            "detections",
            pairing.expected[:, 1:6],
            rows[:, 1:6],
            allowed=limit.allowed(rounds),
            on=self.input,
            largest=scale,
            rounding=rounds,
        )
        return replace(row, shape=rows.shape, problem=next(iter(pairing.problems), None))


def _of(ways: Ways, layer: int) -> list[F32]:
    return [each[layer] for each in ways]


def _scale(name: str, largest: float) -> float:
    """Return the scale of differences: at least 1 for values between 0 and 1."""
    return max(1.0, largest) if name in ("confs", "detections") else largest or 1.0
