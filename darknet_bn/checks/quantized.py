"""What is measured of a file in 8 bits: the error of each layer, of the outputs, and the speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.checks.loss import Loss
from darknet_bn.convert.build import Tensor
from darknet_bn.convert.onnx.ranges import CalibrationMethod
from darknet_bn.formats.columns import aligned
from darknet_bn.model.model import Model
from darknet_bn.run.run import forward
from darknet_bn.run.session import Session
from darknet_bn.values import brief, brief_fields, file_name

_COLUMNS = ("layer", "section", "in", "max error", "error", "cosine")
_RUNS = 7  # of which the median counts
INT8, FLOAT32 = "int8", "float32"


@dataclass(frozen=True)
class LayerLoss:
    """How the output of a layer differs from the model's.

    Attributes
    ----------
    layer, section : int, str
    numbers : str
        What the layer is computed in: ``int8`` or ``float32``.
    relative : float
        The largest difference, relative to the largest value of the layer.
    error : float
        The root of the mean square of the differences, relative to that of the values.
    cosine : float
        Cosine of the angle between the two, as vectors.
    """

    layer: int
    section: str
    numbers: str
    relative: float
    error: float
    cosine: float

    __repr__ = brief_fields


@dataclass(frozen=True)
class Try:
    """A method that was tried, and how much the outputs of the file differ from the model's.

    Attributes
    ----------
    method : str
    error : float
        As in `LayerLoss`, over all outputs.
    """

    method: CalibrationMethod
    error: float


@dataclass(frozen=True)
class Block:
    """Neighbouring layers with weights, and the error of the outputs if these are in float32."""

    layers: tuple[int, ...]
    error: float


@dataclass(frozen=True)
class Choice:
    """Layers that were left in float32, and what was lost then."""

    kept: tuple[int, ...]
    loss: Loss


@dataclass(frozen=True)
class Quantized:
    """An ONNX file in 8 bits that has been written.

    Attributes
    ----------
    path : Path
    method : str
        How the ranges were chosen.
    tries : tuple of Try
        The methods that were tried.
    blocks : tuple of Block
        The net in parts, the one first whose 8 bits cost most.
    images : int
        How many images the ranges are from.
    kept : tuple of int
        The layers with weights before the last convolution that are in float32.
    choices : tuple of Choice
        The choices of such layers that were tried, in order.
    layers : tuple of LayerLoss
        One for each layer that the file shows.
    loss : Loss
    bytes, float_bytes : int
        The size of the file, and of the same in float32.
    seconds, float_seconds : float
        How long an image takes in ONNX Runtime here, and in float32.
    input : Tensor
    outputs : mapping from name to Tensor
    notes : tuple of str
        The ways in which the file differs from the program, besides its precision.
    """

    path: Path
    method: CalibrationMethod
    tries: tuple[Try, ...]
    blocks: tuple[Block, ...]
    images: int
    kept: tuple[int, ...]
    choices: tuple[Choice, ...]
    layers: tuple[LayerLoss, ...]
    loss: Loss
    bytes: int
    float_bytes: int
    seconds: float
    float_seconds: float
    input: Tensor
    outputs: Mapping[str, Tensor]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        """Return one line about it."""
        loss = f"{self.loss.points:.2f} points of {self.loss.measure} lost"
        return brief(self, f"{file_name(self.path)}: {self.method}, {loss}, {self.bytes} bytes")

    @property
    def error(self) -> float:
        """How much the outputs differ from the model's by the method that was taken."""
        return min(each.error for each in self.tries)

    def table(self, width: int | None = None) -> list[str]:
        """Return the headings and a line for each layer, of at most ``width`` characters."""
        rows = [
            (
                f"{row.layer}",
                row.section,
                row.numbers,
                f"{row.relative:.2g}",
                f"{row.error:.2g}",
                f"{row.cosine:.7f}",
            )
            for row in self.layers
        ]
        return aligned([_COLUMNS, *rows], "><<>>>", width=width, spare=(3, 1))

    def json(self) -> dict[str, Any]:
        """Return the fields of the JSON form; ``docs/json.md`` describes it."""
        return {
            "method": self.method,
            "methods": [{"method": each.method, "error": each.error} for each in self.tries],
            "images": self.images,
            "kept": list(self.kept),
            "choices": [
                {"kept": list(each.kept), "loss": each.loss.json()} for each in self.choices
            ],
            "layers": [vars(each) for each in self.layers],
            "blocks": [{"layers": list(each.layers), "error": each.error} for each in self.blocks],
            "loss": self.loss.json(),
            INT8: {"bytes": self.bytes, "seconds": self.seconds},
            FLOAT32: {"bytes": self.float_bytes, "seconds": self.float_seconds},
            "input_shape": self.input.dims,
            "output_shapes": {name: tensor.dims for name, tensor in self.outputs.items()},
            "notes": self.notes,
        }


@dataclass
class _Sums:
    """What is summed of a layer, over images, in float64."""

    error: float = 0.0  # squares of differences
    ours: float = 0.0  # squares
    theirs: float = 0.0
    both: float = 0.0  # products
    most: float = 0.0  # the largest difference
    largest: float = 0.0  # the largest value

    def add(self, expected: F32, found: F32) -> None:
        a, b = (each.reshape(-1).astype(np.float64) for each in (expected, found))
        apart: F64 = a - b
        self.error += float(apart @ apart)
        self.ours += float(a @ a)
        self.theirs += float(b @ b)
        self.both += float(a @ b)
        self.most = max(self.most, float(np.abs(apart).max(initial=0)))
        self.largest = max(self.largest, float(np.abs(a).max(initial=0)))

    @property
    def relative_error(self) -> float:
        return float(np.sqrt(self.error / (self.ours or 1.0)))

    @property
    def cosine(self) -> float:
        lengths = float(np.sqrt(self.ours * self.theirs))
        return self.both / lengths if lengths else float(self.ours == self.theirs)


def output_error(expected: Session, found: Session, images: Iterable[F32]) -> float:
    """Return how much the outputs of two sessions differ, relative to the first's.

    It is the mean over the outputs, so that one with large values does not count for more.
    """
    sums: dict[int, _Sums] = {}
    for x in images:
        theirs = found.forward(x)
        for layer, array in expected.forward(x).items():
            sums.setdefault(layer, _Sums()).add(array, theirs[layer])
    return float(np.mean([each.relative_error for each in sums.values()]))


def layer_losses(
    model: Model,
    session: Session,
    images: Iterable[F32],
    rounded: Mapping[int, bool],
) -> tuple[LayerLoss, ...]:
    """Return how the output of each layer that a session shows differs from the model's.

    Parameters
    ----------
    model : Model
    session : Session
        The file in 8 bits.
    images : iterable of float32 arrays (n, c, h, w)
    rounded : mapping from layer number to bool
        Whether a layer is in 8 bits.  A layer that is not in it passes on what it reads.
    """
    sums = {layer: _Sums() for layer in session.layers}
    for x in images:
        theirs = session.forward(x, "all")
        for layer, array in forward(model, x, session.layers, exact=False).items():
            sums[layer].add(array, theirs[layer])
    nodes = model.network.nodes

    def in_8_bits(layer: int) -> bool:
        return rounded[layer] if layer in rounded else in_8_bits(nodes[layer].sources[0])

    return tuple(
        LayerLoss(
            layer=layer,
            section=nodes[layer].layer.names[0],
            numbers=INT8 if in_8_bits(layer) else FLOAT32,
            relative=each.most / (each.largest or 1.0),
            error=each.relative_error,
            cosine=each.cosine,
        )
        for layer, each in sums.items()
    )


def seconds_per_image(runs: Sequence[Callable[[], object]], images: int) -> list[float]:
    """Return how long each of some functions takes for an image, as a median of a few runs.

    They take turns, so that whatever else the machine does slows all of them down.
    """
    times: list[list[float]] = [[] for _ in runs]
    for number in range(_RUNS + 1):
        for run, taken in zip(runs, times, strict=True):
            began = time.perf_counter()
            run()
            if number:  # the first run still prepares
                taken.append(time.perf_counter() - began)
    return [float(np.median(taken)) / images for taken in times]
