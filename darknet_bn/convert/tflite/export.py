"""Make a TFLite file of a model.

`export_tflite` in `checks` runs it before it has its name; nothing here could.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias

from darknet_bn.convert.build import ExportOptions, build_graph
from darknet_bn.convert.prepared import ExportedFiles, NumberFormat, PreparedFiles
from darknet_bn.convert.tflite.flat_model import FlatModel
from darknet_bn.convert.tflite.halves import stored_as_halves
from darknet_bn.convert.tflite.lower import lowered
from darknet_bn.convert.tflite.metadata import ENTRY, Layer, format_metadata
from darknet_bn.errors import ExportError
from darknet_bn.formats.writing import require_suffix
from darknet_bn.graph.dims import Size
from darknet_bn.model.model import Model
from darknet_bn.version import __version__

TfliteHead: TypeAlias = Literal["raw", "decoded", "yolov5", "yolov8"]

HEADS: tuple[TfliteHead, ...] = ("raw", "decoded", "yolov5", "yolov8")
_OPSET = 18  # in which layers are expressed


@dataclass(frozen=True)
class TfliteBytes:
    """A TFLite file that is nowhere yet.

    Attributes
    ----------
    data : bytes
    model : FlatModel
        What the bytes are of.
    outputs : mapping from name to tuple of int
        The dimensions of what comes out.
    layers : mapping from layer number to Layer
    """

    data: bytes
    model: FlatModel
    outputs: dict[str, Size]
    layers: dict[int, Layer]

    @property
    def input(self) -> Size:
        """The dimensions of what goes in."""
        (given,) = self.model.inputs.values()
        return given.shape


def tflite_bytes(
    model: Model,
    *,
    fold: bool = True,
    head: TfliteHead = "raw",
    batch: int | None = None,
    half: bool = False,
    names: Sequence[str] | None = None,
) -> TfliteBytes:
    """Express a model as a TFLite file.

    Parameters
    ----------
    model, head, batch, half, names
        As of `export_tflite`.
    fold : bool
        Whether batch norm goes into the weights.

    Returns
    -------
    made : TfliteBytes

    Raises
    ------
    ExportError
        ai-edge-litert is not installed, or a layer cannot be expressed; the message names it.
    """
    if head not in HEADS:
        raise ExportError(
            "unknown head format for TFLite", expected=", ".join(HEADS), found=f"{head!r}"
        )
    if batch is not None and batch < 1:
        raise ExportError("the batch is too small", expected="1 or more", found=f"{batch}")
    count = batch or model.network.time_steps
    made = build_graph(model, ExportOptions(_OPSET, fold=fold, head=head, batch=count))
    graph = made.graph
    dims = (count, *made.model.network.input.dims)
    outputs = {graph.name(value): value for value in graph.outputs}
    low = lowered(
        graph,
        {graph.images: dims},
        outputs,
        lambda layer: model.cfg.where(layer + 1),
        shown=() if fold else graph.names,
    )
    places = {graph.name(value): place for value, place in low.places.items()}
    layers = {
        number: Layer(places[name][0].name, places[name][1])
        for number, name in made.layers.items()
        if name in places
    }
    low.model.metadata[ENTRY] = format_metadata(model, layers, head, names)
    if half:
        stored_as_halves(low.model)
    data = low.model.bytes(f"darknet-bn {__version__}")
    shapes = {key: each.shape for key, each in low.model.outputs.items()}
    return TfliteBytes(data, low.model, shapes, layers)


def prepare_tflite(
    model: Model,
    path: str | os.PathLike[str],
    *,
    head: TfliteHead = "raw",
    batch: int | None = None,
    half: bool = False,
    names: Sequence[str] | None = None,
) -> PreparedFiles:
    """Make a TFLite file of a model, all but the writing.  Nothing has run it: it is unproven.

    Parameters
    ----------
    model, path, head, batch, half, names
        As of `export_tflite`, which proves the file.

    Returns
    -------
    prepared : PreparedFiles

    Raises
    ------
    ExportError
        ai-edge-litert is not installed, or a layer cannot be expressed; the message names it.
    DarknetError
        The suffix is not ``.tflite``.
    """
    require_suffix(path, ".tflite")
    made = tflite_bytes(model, head=head, batch=batch, half=half, names=names)
    return prepared_of(model, path, made, "float16" if half else "float32")


def prepared_of(
    model: Model, path: str | os.PathLike[str], made: TfliteBytes, numbers: NumberFormat
) -> PreparedFiles:
    """Return what writes a file that is nowhere yet.

    Parameters
    ----------
    model : Model
    path : path
    made : TfliteBytes
    numbers : str
        What the file computes in.
    """
    target = Path(path)

    def write(stream: BinaryIO) -> None:
        stream.write(made.data)

    layers = {number: each.tensor for number, each in made.layers.items()}
    exported = ExportedFiles("TFLite", (target,), numbers, made.input, made.outputs, layers)
    return PreparedFiles(exported, {target: write}, (model.cfg.file, model.file))
