"""Write a model as a TFLite file, once LiteRT has computed the same with it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from darknet_bn.arrays import F32
from darknet_bn.checks.agreement import Stage, silent
from darknet_bn.checks.proven import Proving
from darknet_bn.checks.quantized_tflite import calibration_images, quantized_tflite
from darknet_bn.checks.tflite_proof import TfliteProof
from darknet_bn.convert.prepared import ExportedFiles
from darknet_bn.convert.tflite.export import TfliteHead, prepare_tflite, prepared_of
from darknet_bn.convert.tflite.quantize import Integers
from darknet_bn.errors import ExportError
from darknet_bn.formats.writing import require_suffix, require_writable
from darknet_bn.model.model import Model

_PROVEN_ON = 4  # of the images that int8 is given


def export_tflite(
    model: Model,
    path: str | os.PathLike[str],
    *,
    head: TfliteHead = "raw",
    batch: int | None = None,
    half: bool = False,
    int8: F32 | Iterable[F32] | None = None,
    integers: Integers = "none",
    names: Sequence[str] | None = None,
    prove: bool = True,
    inputs: Mapping[str, F32] | None = None,
    tolerance: float | None = None,
    proof: str | os.PathLike[str] | None = None,
    force: bool = False,
    stage: Stage = silent,
) -> ExportedFiles:
    """Write a model as a TFLite file, if that computes the same; complete or not at all.

    Before the file has its name, LiteRT runs it and the model runs here, on a random image; if the
    output of any layer differs by more than the tolerance, nothing is written.  What comes out is
    computed with XNNPACK, as programs do, and the layers inside by LiteRT's own operators.

    The input is called ``input``: float32 (n, h, w, c), RGB from 0 to 1, as TFLite has images;
    `prepare` makes (n, c, h, w), of which it is ``.transpose(0, 2, 3, 1)``.  What comes out of
    four dimensions has channels last too.  The names are those of the signature
    ``serving_default``.  The metadata ``darknet`` say in JSON how pictures become the input, and
    where the output of each layer is.

    Parameters
    ----------
    model : Model
    path : path
        The ``.tflite`` to write.
    head : "raw", "decoded", "yolov5" or "yolov8"
        What comes out, as of `export_onnx`.  ``raw``: ``layer_NNN``, what Darknet stores of each
        output layer.
    batch : int, optional
        How many images it takes; by default one, or one sequence.
    half : bool
        Whether weights and biases are stored in float16, which makes the file half as large; what
        goes in and out and is computed stays float32.
    int8 : float32 array (n, c, h, w), or iterable of these, optional
        What `prepare` makes of a hundred pictures or so, such as the net will see.  With it the
        file computes in 8 bits: weights with a scale for each filter, all else with one for each
        tensor, whose range keeps most of what these pictures make.  What follows the last
        convolution stays float32, and for a detector that convolution's output too, for boxes and
        scores have no scale in common.
    integers : "none", "input" or "all"
        Of a file with ``int8``, what goes in and out in 8 bits: nothing; the input; or all, which
        ``head="decoded"`` makes possible for detectors, where boxes and scores come out apart.
    names : sequence of str, optional
        Of the classes, to be in the metadata.
    prove : bool
        Whether the file has to prove right before it appears.
    inputs : mapping from name to float32 array (n, c, h, w), optional
        What else to prove it on, besides a random image, or those of ``int8``; one image is
        repeated if the file takes more.
    tolerance : float, optional
        The difference to allow, as in `prove`.  With ``int8`` it is that of the outputs; by
        default their cosine with the model's has to be 0.9, which only a broken file fails.
        ``proof`` says how much every layer differs; what that means, only labelled pictures tell.
    proof : path, optional
        A ``.json`` to write with the file: what ``json()`` of the report says.
    force : bool
        Whether to overwrite files that are there, though never one that the model was read from.
    stage : function, optional
        Called when a part of the work begins, to show progress: ``stage(what, steps)``.

    Returns
    -------
    exported : ExportedFiles
        Its ``proof`` says how well the layers agree.

    Raises
    ------
    ProofError
        The file computes something else, or LiteRT does not take it.
    ExportError
        ai-edge-litert is not installed, or a layer cannot be expressed; the message names it.
    DarknetError
        The file exists already and ``force`` is off, or it cannot be written.
    """
    require_suffix(path, ".tflite")
    if proof is not None:
        require_suffix(proof, ".json")
    if half and int8 is not None:
        raise ExportError("half and int8 cannot be used together")
    targets = [path, *([] if proof is None else [proof])]
    require_writable(targets, force=force, inputs=(model.cfg.file, model.file))
    given = dict(inputs or {})
    if int8 is None:
        if integers != "none":
            raise ExportError("integers needs int8", found=f"{integers!r}")
        stage("writing the file", None)
        prepared = prepare_tflite(model, path, head=head, batch=batch, half=half, names=names)
    else:
        images = calibration_images(model, int8)
        given = {"calibration": images[:_PROVEN_ON]} | given
        made = quantized_tflite(
            model, images, integers, head=head, batch=batch, names=names, stage=stage
        )
        prepared = prepared_of(model, path, made, "int8")
    if not prove:
        return prepared.write(force=force)
    check = TfliteProof(model, prepared.exported, head, given, tolerance, stage)
    proving = Proving(prepared.files, check, None if proof is None else Path(proof))
    exported = prepared.write(proving.writers, force=force)
    return replace(exported, proof=proving.report)
