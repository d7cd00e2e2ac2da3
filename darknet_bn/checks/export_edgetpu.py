"""Write a model for Google's Edge TPU: TensorFlow Lite in 8 bits throughout, without heads."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from darknet_bn.arrays import F32
from darknet_bn.checks.agreement import Stage, silent
from darknet_bn.checks.proven import Proving
from darknet_bn.checks.tflite_proof import TfliteProof
from darknet_bn.convert.build import ExportOptions, build_graph
from darknet_bn.convert.compilers.prepare import described, require_operators, require_pictures
from darknet_bn.convert.compilers.rewriting import rewrite
from darknet_bn.convert.compilers.table import EDGETPU
from darknet_bn.convert.prepared import ExportedFiles, PreparedFiles
from darknet_bn.convert.tflite.export import TfliteBytes
from darknet_bn.convert.tflite.lower import lowered
from darknet_bn.convert.tflite.metadata import ENTRY, Layer, format_metadata
from darknet_bn.convert.tflite.quantize import Plan, quantized
from darknet_bn.convert.tflite.ranges import best_range
from darknet_bn.engines.litert import tensor_spreads
from darknet_bn.errors import ExportError
from darknet_bn.formats.writing import require_suffix, require_writable
from darknet_bn.model.model import Model
from darknet_bn.pictures.batches import load_inputs
from darknet_bn.pictures.prepare import own_fit
from darknet_bn.version import __version__

_NAME = "edgetpu"
_PROVEN_ON = 4  # of the pictures


@dataclass
class _Everything(Plan):
    """All operators compute in 8 bits: what does not is left to the host processor."""

    floats: list[str] = field(default_factory=list)
    weights_only: list[str] = field(default_factory=list)


def export_edgetpu(
    model: Model,
    path: str | os.PathLike[str],
    pictures: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    prove: bool = True,
    force: bool = False,
    stage: Stage = silent,
) -> ExportedFiles:
    """Write a model as the compiler of the Edge TPU takes it; complete or not at all.

    Everything is in 8 bits, what goes in and out too, and the heads are not in it: `run_heads`
    computes them from the outputs, once these are floats and have channels first.  The compiler
    itself is not run.

    Parameters
    ----------
    model : Model
    path : path
        The ``.tflite`` to write.
    pictures : sequence of str
        A hundred or so, like those that the model will see: they show the range of values.
    names : sequence of str, optional
        Class names, to be stored in the file.
    prove : bool
        Whether LiteRT runs the file first: in float32, where every layer has to agree, and in 8
        bits, where the loss is measured.
    force : bool
        Whether to overwrite an existing file.
    stage : function, optional
        Called when a part of the work begins, to show progress: ``stage(what, steps)``.

    Returns
    -------
    exported : ExportedFiles
        Its ``proof`` says how much each output loses in 8 bits; its ``notes`` say what was replaced
        and which command comes next.

    Raises
    ------
    ExportError
        A package is not installed, there is no picture, or the Edge TPU has nothing for a layer;
        the message names the layer.
    ProofError
        The file computes something else, or LiteRT rejects it.
    ImageError
        A picture cannot be read.
    DarknetError
        The file already exists and ``force`` is off, or it cannot be written.
    """
    require_suffix(path, EDGETPU.suffix)
    inputs = (model.cfg.file, model.file)
    require_writable([path], force=force, inputs=inputs)
    require_pictures(model)
    if not pictures:
        raise ExportError("there are no pictures to learn the range of values from")
    stage("writing the file in float32", None)
    single, notes = _single(model, names)
    if prove:
        _prove_single(model, single, stage)
    step = stage("calibrating", 2 * len(pictures))
    images = [*_images(model, pictures)]
    spreads = tensor_spreads(single.data, single.model.computed(), images, after_each=step)
    ranges = {name: best_range(each) for name, each in spreads.items()}
    stage("quantising the file", None)
    data = quantized(single.data, _Everything(), ranges, "all")

    def write(stream: BinaryIO) -> None:
        stream.write(data)

    target = Path(path)
    layers = {number: each.tensor for number, each in single.layers.items()}
    command = EDGETPU.calibrated[0].replace("$onnx", shlex.quote(str(target)))
    exported = ExportedFiles(
        "TFLite",
        (target,),
        "int8",
        single.input,
        single.outputs,
        layers,
        (*notes, f"not run here: {command}"),
    )
    prepared = PreparedFiles(exported, {target: write}, inputs)
    if not prove:
        return prepared.write(force=force)
    given = dict(zip(pictures[:_PROVEN_ON], images[:_PROVEN_ON], strict=True))
    proving = Proving(prepared.files, TfliteProof(model, exported, "raw", given, None, stage), None)
    written = prepared.write(proving.writers, force=force)
    return replace(written, proof=proving.report)


def _images(model: Model, pictures: Sequence[str]) -> Iterator[F32]:
    """Yield pictures one by one as inputs (1, c, h, w)."""
    for path in pictures:
        x, _ = load_inputs(model, [path], own_fit(model))
        yield x


def _single(model: Model, names: Sequence[str] | None) -> tuple[TfliteBytes, list[str]]:
    """Return the file in float32, and what was replaced."""
    made = build_graph(model, ExportOptions(EDGETPU.opset, heads=False))
    replaced = rewrite(made, EDGETPU.replacements)
    require_operators(model, made, _NAME, EDGETPU)
    graph = made.graph
    low = lowered(
        graph,
        {graph.images: (1, *model.network.input.dims)},
        {graph.name(value): value for value in graph.outputs},
        lambda layer: model.cfg.where(layer + 1),
    )
    places = {graph.name(value): place for value, place in low.places.items()}
    layers = {
        number: Layer(places[name][0].name, places[name][1])
        for number, name in made.layers.items()
        if name in places
    }
    low.model.metadata[ENTRY] = format_metadata(model, layers, "none", names)
    data = low.model.bytes(f"darknet-bn {__version__}")
    outputs = {key: each.shape for key, each in low.model.outputs.items()}
    return TfliteBytes(data, low.model, outputs, layers), described(replaced)


def _prove_single(model: Model, single: TfliteBytes, stage: Stage) -> None:
    """Run the file in float32, where all layers have to agree."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "single.tflite"
        path.write_bytes(single.data)
        layers = {number: each.tensor for number, each in single.layers.items()}
        exported = ExportedFiles("TFLite", (path,), "float32", single.input, single.outputs, layers)
        TfliteProof(model, exported, "raw", {}, None, stage)({path: path})
