"""Prove that an exported file computes what the model does, by running both."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.detection.boxes import heads_of
from darknet_bn.differences import compare_layer
from darknet_bn.engines.onnx_session import with_layers
from darknet_bn.engines.onnxruntime import engine_name, open_file
from darknet_bn.export_heads import Form
from darknet_bn.kernels.box import Boxes, join_boxes
from darknet_bn.kernels.nms import do_nms_sort
from darknet_bn.model import Model
from darknet_bn.onnx_export import Exported
from darknet_bn.run import as_input, forward
from darknet_bn.values import brief, brief_fields, counted

LAYER_ROOM = 10  # how much more than an output a layer inside may differ: not all of it gets out


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
        The largest absolute value, but at least 1 of scores, which are parts of that; and the
        largest absolute difference.
    relative : float
        The one as a part of the other.
    cosine : float
    ok : bool
    is_inner : bool
        Whether it is the output of a layer inside.
    """

    name: str
    layer: int | None
    input: str
    shape: tuple[int, ...]
    largest: float
    max_error: float
    relative: float
    cosine: float
    ok: bool
    is_inner: bool = False

    __repr__ = brief_fields


@dataclass(frozen=True)
class Proof:
    """What was found when an exported file ran beside the model.

    Attributes
    ----------
    engine : str
        What ran the file.
    tolerance : float
        What was allowed, as a part of each output's largest value.
    inputs : mapping from name to str
        The SHA-256 of each input.
    rows : tuple of ProofRow
    """

    engine: str
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
        return max(self.rows, key=lambda row: row.relative)


def prove(
    model: Model,
    exported: Exported,
    inputs: Mapping[str, F32],
    *,
    layers: bool = False,
    tolerance: float = 1e-5,
) -> Proof:
    """Run a file in ONNX Runtime and the model here, and compare what comes out.

    Parameters
    ----------
    model : Model
    exported : Exported
        As `export_onnx` returns it, or hands it to its ``check``.
    inputs : mapping from name to float32 array (n, c, h, w)
    layers : bool
        Whether to compare the output of every layer too.
    tolerance : float
        The difference to allow, as a part of the output's largest absolute value; ten times that in
        layers inside.

    Returns
    -------
    proof : Proof
        Whether it is one, ``proof.ok`` says.

    Raises
    ------
    DarknetError
        ONNX Runtime is not installed, or does not take the file.
    """
    engine = engine_name()
    run = open_file(exported.path)
    room = LAYER_ROOM * tolerance
    inner = {name: v for name, v in exported.values.items() if name not in exported.outputs}
    look = with_layers(exported.path, inner, open_file) if layers else None
    rows: list[ProofRow] = []
    net = model.network.input.dims[1:]
    for name, x in inputs.items():
        sized = model if x.shape[2:] == net else model.resized(*x.shape[2:])
        array = as_input(sized.network, x)
        ours = forward(sized, array, "all" if layers else "outputs", exact=True)
        rows += _output_rows(sized, exported, name, ours, run(array), tolerance)
        if look is not None:
            found = look(array)
            makers: dict[str, int] = {}  # the first layer of those that share a value
            for number, value in exported.layers.items():
                makers.setdefault(value, number)
            rows += (
                replace(_row(value, number, name, ours[number], found[value], room), is_inner=True)
                for value, number in makers.items()
                if value in inner
            )
    hashes = {name: hashlib.sha256(x.data).hexdigest() for name, x in inputs.items()}
    return Proof(engine, tolerance, hashes, tuple(rows))


def _output_rows(
    model: Model,
    exported: Exported,
    name: str,
    ours: Mapping[int, F32],
    found: Mapping[str, F32],
    tolerance: float,
) -> list[ProofRow]:
    layer_of = {value: number for number, value in exported.layers.items()}
    if exported.head == "raw":
        return [
            _row(each, layer_of[each], name, ours[layer_of[each]], found[each], tolerance)
            for each in exported.outputs
        ]
    expected = _expected(model, exported, ours)
    given = _comparable(exported.head, found)
    return [_row(each, None, name, expected[each], given[each], tolerance) for each in expected]


def _expected(model: Model, exported: Exported, ours: Mapping[int, F32]) -> dict[str, F32]:
    """Return what is computed here of what a form has, as `_comparable` makes it of a file."""
    threshold = exported.threshold if exported.head == "nms" else -math.inf
    count = len(next(iter(ours.values())))
    images = [_boxes(model, ours, image, threshold) for image in range(count)]
    if exported.head == "nms":
        return {"detections": _suppressed(images, exported.nms)}
    xywh = np.stack([boxes.xywh for boxes in images])
    scores = np.stack([boxes.probabilities for boxes in images])
    if exported.head == "decoded":
        return {"boxes": _corners(xywh), "confs": scores}
    net = model.network.input
    return {"boxes": xywh * np.array((net.w, net.h) * 2, np.float32), "confs": scores}


def _comparable(head: Form, found: Mapping[str, F32]) -> dict[str, F32]:
    """Return the boxes and scores of a file's outputs apart, the scores with the objectness."""
    if head == "nms":
        rows = found["detections"]
        return {"detections": rows[np.lexsort((-rows[:, 5], rows[:, 6], rows[:, 0]))]}
    if head == "decoded":
        return dict(found)
    rows = found["output0"]
    if head == "yolov5":
        return {"boxes": rows[:, :, :4], "confs": rows[:, :, 4:5] * rows[:, :, 5:]}
    return {"boxes": rows[:, :4].transpose(0, 2, 1), "confs": rows[:, 4:].transpose(0, 2, 1)}


def _boxes(model: Model, ours: Mapping[int, F32], image: int, threshold: float) -> Boxes:
    heads, net = heads_of(model.network), model.network.input
    return join_boxes(
        [head.boxes(ours[i][image], net, threshold, model.dialect) for i, head in heads.items()]
    )


def _suppressed(images: Sequence[Boxes], nms: float) -> F32:
    """Return number of the image, corners, score and class of each box that is left."""
    rows = [np.empty((0, 7), np.float32)]
    for image, boxes in enumerate(images):
        left = do_nms_sort(boxes, nms)
        kind, box = np.nonzero(left.probabilities.T)
        columns = (
            np.full((len(kind), 1), image),
            _corners(left.xywh[box]),
            left.probabilities[box, kind, None],
            kind[:, None],
        )
        each = np.concatenate(columns, axis=1).astype(np.float32)
        rows.append(each[np.lexsort((-each[:, 5], each[:, 6]))])
    return np.concatenate(rows)


def _corners(xywh: F32) -> F32:
    half = xywh[..., 2:] * np.float32(0.5)
    centre = xywh[..., :2]
    return np.concatenate((centre - half, centre + half), axis=-1)


def _row(
    name: str, layer: int | None, x: str, expected: F32, found: F32, tolerance: float
) -> ProofRow:
    report = compare_layer(0, "", expected, found.astype(np.float32, copy=False), tolerance)
    scale = max(1.0, report.largest) if name == "confs" else report.largest or 1.0
    error = report.max_error / scale
    return ProofRow(
        name,
        layer,
        x,
        report.shape,
        scale,
        report.max_error,
        error,
        report.cosine,
        ok=error <= tolerance,
    )
