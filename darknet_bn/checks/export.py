"""Write a model as an ONNX file, once ONNX Runtime has computed the same with it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.checks.agreement import (
    Stage,
    or_unproven,
    require_agreement,
    require_engine,
    silent,
)
from darknet_bn.checks.proof import prove
from darknet_bn.checks.proven import Proving, place_of
from darknet_bn.convert.heads import Form
from darknet_bn.convert.onnx.export import DEFAULT_OPSET, Exported, prepare_onnx
from darknet_bn.formats.writing import require_suffix, require_writable
from darknet_bn.kernels.boxes.nms import DEFAULT_OVERLAP
from darknet_bn.model.model import Model
from darknet_bn.run.differences import Report
from darknet_bn.run.random_input import random_input

_OTHER_SIZE = 32  # pixels: by what another size is proven that a file of any size takes


def export_onnx(
    model: Model,
    path: str | os.PathLike[str],
    *,
    opset: int = DEFAULT_OPSET,
    fold: bool = True,
    head: Form = "raw",
    batch: int | Literal["any"] | None = None,
    any_size: bool = False,
    half: bool = False,
    names: Sequence[str] | None = None,
    threshold: float | None = None,
    nms: float = DEFAULT_OVERLAP,
    prove: bool = True,
    inputs: Mapping[str, F32] | None = None,
    layers: bool = False,
    tolerance: float | None = None,
    proof: str | os.PathLike[str] | None = None,
    force: bool = False,
    stage: Stage = silent,
) -> Exported:
    """Write a model as an ONNX file, if that computes the same; complete or not at all.

    Before the file has its name, ONNX Runtime runs it and the model runs here, both on random
    images; if any output differs by more than the tolerance, nothing is written.

    The input is called ``input``: (n, c, h, w), RGB planes from 0 to 1 as `prepare` makes them.
    The metadata say how pictures become that (``darknet_resize``, ``darknet_interpolation``,
    ``darknet_colours`` and ``darknet_range``, in the words of `preparation`), and name the classes
    if ``names`` are given.  Where the arrays are in the file as Darknet has them, it holds cfg and
    header too, and `load_arrays` makes the model of it again.

    Parameters
    ----------
    model : Model
    path : path
        The ``.onnx`` to write.  If the file would have more than 2 GB, the arrays are in a second
        one beside it, whose name ends in a hash of them and ``.data``.
    opset : int
        Of ONNX's operators, from 13 on.
    fold : bool
        Whether batch norm goes into the weights; else it is ``BatchNormalization``.
    head : "raw", "decoded", "yolov5", "yolov8" or "nms"
        What comes out.  ``raw``: ``layer_NNN``, what Darknet stores of each output layer.  Of a
        detector also, with k boxes in Darknet's order: ``decoded``, ``boxes`` (n, k, 4), left,
        top, right and bottom as parts of the input, and ``confs`` (n, k, classes), objectness
        times class; ``yolov5``, ``output0`` (n, k, 5 + classes), centre, size in pixels,
        objectness and classes; ``yolov8``, ``output0`` (n, 4 + classes, k), centre, size in
        pixels and objectness times class; ``nms``, ``detections`` (m, 7), number of the image,
        left, top, right, bottom, score and class of what non-maximum suppression leaves.
    batch : int or "any", optional
        How many images it takes; by default one, or one sequence.
    any_size : bool
        Whether it takes images of any size that the layers allow, not only of the cfg's.
    half : bool
        Whether it holds weights and computes in float16, but for detection heads; what goes in
        and out is float32.
    names : sequence of str, optional
        Of the classes, to be in the file.
    threshold, nms : float
        Of ``nms``: what a score must exceed, by default as in the dialect's program; and how much
        boxes may overlap.
    prove : bool
        Whether the file has to prove right before it appears.  Without ONNX Runtime it cannot.
    inputs : mapping from name to float32 array (n, c, h, w), optional
        What else to prove it on, besides random images; one image is repeated if the file takes
        more.
    layers : bool
        Whether to prove the output of every layer too.
    tolerance : float, optional
        The difference to allow, as in `prove`.
    proof : path, optional
        A ``.json`` to write with the file: what ``json()`` of the report says.
    force : bool
        Whether to overwrite files that are there, though never one that the model was read from.
    stage : function, optional
        Called when a part of the work begins, to show progress: ``stage(what, steps)``.

    Returns
    -------
    exported : Exported
        Its ``proof`` says how well the outputs agree.

    Raises
    ------
    ProofError
        The file computes something else; or it cannot be proven, as ONNX Runtime is not installed
        or does not take it.
    ExportError
        The package onnx is not there, or does not know the opset; or a layer cannot be expressed,
        or not so.
    DarknetError
        The file exists already and ``force`` is off, or it cannot be written.
    """
    require_suffix(path, ".onnx")
    if proof is not None:
        require_suffix(proof, ".json")
    targets = [path, *([] if proof is None else [proof])]
    require_writable(targets, force=force, inputs=(model.cfg.file, model.file))
    if prove:
        require_engine()
    stage("writing the file", None)
    prepared = prepare_onnx(
        model,
        path,
        opset=opset,
        fold=fold,
        head=head,
        batch=batch,
        any_size=any_size,
        half=half,
        names=names,
        threshold=threshold,
        nms=nms,
    )
    if not prove:
        return prepared.write(force=force)

    def proven(written: Mapping[Path, Path]) -> Report:
        with prepared.unnamed(written) as exported:
            return _proven(model, exported, inputs or {}, layers, tolerance, stage)

    proving = Proving(prepared.files, proven, None if proof is None else Path(proof))
    exported = prepared.write(proving.writers, force=force)
    return replace(exported, proof=proving.report)


def _proven(
    model: Model,
    exported: Exported,
    given: Mapping[str, F32],
    layers: bool,
    tolerance: float | None,
    stage: Stage,
) -> Report:
    """Return the report on a file; a ProofError if anything differs."""
    inputs = _random_inputs(model, exported)
    count = len(inputs["random"])
    for name, x in given.items():
        inputs[name] = np.repeat(x, count, axis=0) if len(x) == 1 else x
    with or_unproven():
        report = prove(model, exported, inputs, layers=layers, tolerance=tolerance, stage=stage)

    require_agreement(report, place_of(model), "the exported file")
    return report


def _random_inputs(model: Model, exported: Exported) -> dict[str, F32]:
    """Return what every file is proven with, by name: as many images as it takes."""
    first = exported.input.dims[0]
    count = first if isinstance(first, int) else 2 * model.network.time_steps
    rng = np.random.default_rng(0)
    inputs = {"random": random_input(model.network, rng, images=count)}
    if not isinstance(exported.input.dims[-1], int):
        c, h, w = model.network.input.dims
        larger = (c, h + _OTHER_SIZE, w + 2 * _OTHER_SIZE)
        inputs["random, larger"] = random_input(model.network, rng, images=count, dims=larger)
    return inputs
