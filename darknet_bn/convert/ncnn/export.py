"""Make the two files of ncnn of a model.

`export_ncnn` in `checks` runs them before they have their names; what is here knows no program that
could.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from darknet_bn.convert.build import ExportOptions, build_graph
from darknet_bn.convert.ncnn.build import lower
from darknet_bn.convert.ncnn.int8 import Int8, Quantized, input_scales, layer_of
from darknet_bn.convert.ncnn.net import NcnnNet
from darknet_bn.convert.prepared import ExportedFiles, PreparedFiles
from darknet_bn.errors import ExportError
from darknet_bn.formats.writing import require_suffix
from darknet_bn.graph.dims import Size
from darknet_bn.graph.steps import apart
from darknet_bn.model.model import Model

NcnnHead = Literal["raw", "decoded"]
HEADS: tuple[NcnnHead, ...] = ("raw", "decoded")

_OPSET = 18  # whose operators are translated


@dataclass(frozen=True)
class NcnnModel:
    """A model as ncnn has it.

    Attributes
    ----------
    net : NcnnNet
    inputs : tuple of str
        The blobs that it reads: one for each time step.
    input : tuple of int
        The shape of each of them.
    layers : mapping from layer number to tuple of str
        The blobs that the output of each layer is in: one for each time step.
    outputs : mapping from name to tuple of int
        The blobs that come out, with their shapes.
    notes : tuple of str
        How it differs from the program.
    folded : Model
        The model with batch norm folded.
    quantized : mapping from layer number to Quantized
        The weights of layers that compute in int8.
    """

    net: NcnnNet
    inputs: tuple[str, ...]
    input: Size
    layers: Mapping[int, tuple[str, ...]]
    outputs: Mapping[str, Size]
    notes: tuple[str, ...]
    folded: Model
    quantized: Mapping[int, Quantized]


def ncnn_model(
    model: Model, *, half: bool = False, head: NcnnHead = "raw", int8: Int8 | None = None
) -> NcnnModel:
    """Express a model in the layers of ncnn.

    Parameters
    ----------
    model, half, head
        As of `export_ncnn`.
    int8 : Int8, optional
        How it is computed in int8, if it is to be.

    Returns
    -------
    made : NcnnModel

    Raises
    ------
    ExportError
        A layer cannot be expressed; the message names it.
    """
    if head not in HEADS:
        raise ExportError("unknown head format", expected=", ".join(HEADS), found=f"{head!r}")
    steps = model.network.time_steps
    if int8 is not None and steps > 1:
        raise ExportError("sequences cannot be exported in int8")
    made = build_graph(model, ExportOptions(_OPSET, head=head, batch=steps))
    graph, (images, *_) = made.graph, made.graph.inputs
    single, values = apart(graph, steps) if steps > 1 else (graph, {})
    inputs = values[images] if steps > 1 else (images,)
    dims = (1, *model.network.input.dims)
    scales = {} if int8 is None else input_scales(made, int8)
    try:
        lowered = lower(single, dict.fromkeys(inputs, dims), half=half, scales=scales)
    except ExportError as error:
        layer = layer_of(error.where.key or "")
        where = model.cfg.where(layer + 1) if layer is not None else None
        raise ExportError(error.problem, where=where, hint=error.hint) from error
    named = {graph.name(value): value for value in (*graph.names, *graph.inputs)}
    places = {name: values[value] if steps > 1 else (value,) for name, value in named.items()}
    layers = {
        number: tuple(single.name(each) for each in places[name])
        for number, name in made.layers.items()
    }
    outputs = {single.name(each): lowered.shapes[single.name(each)] for each in single.outputs}
    notes = made.notes
    if steps > 1:
        notes += (f"the weights are stored once for each of the {steps} time steps",)
    names = tuple(single.name(each) for each in inputs)
    quantized = {layer_of(op.name): each for op, each in lowered.quantized.items()}
    return NcnnModel(
        lowered.net,
        names,
        lowered.shapes[names[0]],
        layers,
        outputs,
        notes,
        made.model,
        {layer: each for layer, each in quantized.items() if layer is not None},
    )


def prepare_ncnn(
    model: Model,
    path: str | os.PathLike[str],
    *,
    half: bool = False,
    head: NcnnHead = "raw",
    int8: Int8 | None = None,
) -> PreparedFiles:
    """Make the files of a model, all but the writing.  Nothing has run them: they are unproven.

    Parameters
    ----------
    model, path, half, head
        As of `export_ncnn`, which proves the files.
    int8 : Int8, optional
        How they compute in int8, if they are to.

    Returns
    -------
    prepared : PreparedFiles

    Raises
    ------
    ExportError
        A layer cannot be expressed; the message names it.
    DarknetError
        The suffix is not ``.param``.
    """
    require_suffix(path, ".param")
    made = ncnn_model(model, half=half, head=head, int8=int8)
    param = Path(path)
    weights = param.with_suffix(".bin")
    exported = ExportedFiles(
        target="ncnn",
        paths=(param, weights),
        numbers="int8" if int8 is not None else "float16" if half else "float32",
        input=made.input,
        outputs=made.outputs,
        layers={number: names[-1] for number, names in made.layers.items()},
        notes=made.notes,
    )
    files = {param: made.net.write_param, weights: made.net.write_bin}
    return PreparedFiles(exported, files, (model.cfg.file, model.file))
