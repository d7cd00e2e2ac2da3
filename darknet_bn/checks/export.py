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

_OTHER_SIZE = 32  # pixels: how much larger the images are that test a file for any size


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
    """Write a model as an ONNX file, if the file computes the same; complete or not at all.

    Before the file gets its name, ONNX Runtime runs it and the model runs here, both on random
    images.  If any output differs by more than the tolerance, nothing is written.

    The input is called ``input``: (n, c, h, w), RGB planes from 0 to 1 as `prepare` makes them.
    The metadata say how to prepare pictures (``darknet_resize``, ``darknet_interpolation``,
    ``darknet_colours`` and ``darknet_range``, in the words of `preparation`), and name the classes
    if ``names`` are given.  If the file holds the arrays as Darknet has them, it holds the cfg and
    the header too, and `load_arrays` can read the model back.

    Parameters
    ----------
    model : Model
    path : path
        The ``.onnx`` to write.  If the file would exceed 2 GB, the arrays go into a second file
        next to it, whose name ends in a hash of the arrays and ``.data``.
    opset : int
        The version of ONNX's operators, 13 or later.
    fold : bool
        Whether to fold batch norm into the weights; if not, it becomes ``BatchNormalization``.
    head : "raw", "decoded", "yolov5", "yolov8" or "nms"
        The form of the outputs.  ``raw``: ``layer_NNN``, what Darknet stores for each output layer.
        Detectors have four more forms, with k boxes in Darknet's order.  ``decoded``: ``boxes`` (n,
        k, 4), left, top, right and bottom relative to the input, and ``confs`` (n, k, classes),
        objectness times class.  ``yolov5``: ``output0`` (n, k, 5 + classes), centre and size in
        pixels, objectness and classes.  ``yolov8``: ``output0`` (n, 4 + classes, k), centre and
        size in pixels, and objectness times class.  ``nms``: ``detections`` (m, 7), image number,
        left, top, right, bottom, score and class of the boxes that non-maximum suppression keeps.
    batch : int or "any", optional
        The number of images the file takes; by default one image, or one sequence.
    any_size : bool
        Whether the file takes images of any size that the layers allow, not only the cfg's size.
    half : bool
        Whether to store weights and compute in float16, except in detection heads; inputs and
        outputs stay float32.
    names : sequence of str, optional
        Class names, to be stored in the file.
    threshold, nms : float
        For ``nms``: the score that a box must exceed, by default as in the dialect's program; and
        how much boxes may overlap.
    prove : bool
        Whether to prove the file before it appears.  This needs ONNX Runtime.
    inputs : mapping from name to float32 array (n, c, h, w), optional
        More inputs to prove the file on, besides random images; a single image is repeated if the
        file takes more.
    layers : bool
        Whether to prove the output of every layer too.
    tolerance : float, optional
        The difference to allow, as in `prove`.
    proof : path, optional
        A ``.json`` to write with the file; it holds ``json()`` of the report.
    force : bool
        Whether to overwrite existing files, though never one that the model was read from.
    stage : function, optional
        Called when a part of the work begins, to show progress: ``stage(what, steps)``.

    Returns
    -------
    exported : Exported
        Its ``proof`` says how well the outputs agree.

    Raises
    ------
    ProofError
        The file computes something else; or it cannot be proven, because ONNX Runtime is not
        installed or rejects the file.
    ExportError
        The package onnx is not installed or does not know the opset; or a layer cannot be
        expressed, or not with these options.
    DarknetError
        The file already exists and ``force`` is off, or it cannot be written.
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
    """Return the inputs for every file, by name: as many images as the file takes."""
    first = exported.input.dims[0]
    count = first if isinstance(first, int) else 2 * model.network.time_steps
    rng = np.random.default_rng(0)
    inputs = {"random": random_input(model.network, rng, images=count)}
    if not isinstance(exported.input.dims[-1], int):
        c, h, w = model.network.input.dims
        larger = (c, h + _OTHER_SIZE, w + 2 * _OTHER_SIZE)
        inputs["random, larger"] = random_input(model.network, rng, images=count, dims=larger)
    return inputs
