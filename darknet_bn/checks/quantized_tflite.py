"""Make a TFLite file of 8 bits: LiteRT runs the one in float32 first, to see its ranges."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.checks.agreement import Stage
from darknet_bn.convert.tflite.export import TfliteBytes, TfliteHead, tflite_bytes
from darknet_bn.convert.tflite.quantize import INTEGERS, Integers, Plan, quantized
from darknet_bn.convert.tflite.ranges import best_range, slopes_below_zero
from darknet_bn.engines.litert import tensor_spreads
from darknet_bn.errors import ExportError
from darknet_bn.model.model import Model
from darknet_bn.optional import load_extra
from darknet_bn.run.run import as_input


def calibration_images(model: Model, int8: F32 | Iterable[F32]) -> F32:
    """Return all images to calibrate with, as one array.

    Parameters
    ----------
    model : Model
    int8 : float32 array (n, c, h, w), or iterable of these

    Raises
    ------
    ExportError
        There is none.
    ShapeError
        One does not fit the net.
    """
    batches = [int8] if isinstance(int8, np.ndarray) else list(int8)
    arrays = [as_input(model.network, each) for each in batches]
    if not sum(map(len, arrays)):
        raise ExportError("int8 needs images to measure ranges", expected="a few hundred")
    return np.concatenate(arrays)


def quantized_tflite(
    model: Model,
    images: F32,
    integers: Integers,
    *,
    head: TfliteHead,
    batch: int | None,
    names: Sequence[str] | None,
    stage: Stage,
) -> TfliteBytes:
    """Express a model as a TFLite file of 8 bits.

    Parameters
    ----------
    model : Model
    images : float32 array (n, c, h, w)
        To see the ranges of.
    integers, head, batch, names, stage
        As of `export_tflite`.

    Raises
    ------
    ExportError
        A package is not installed, a layer cannot be expressed, or not so.
    DarknetError
        A value is not finite.
    """
    if integers not in INTEGERS:
        raise ExportError(
            "unknown choice of integers", expected=", ".join(INTEGERS), found=f"{integers!r}"
        )
    if integers == "all" and head != "decoded" and model.network.is_detector:
        raise ExportError(
            "boxes and scores cannot share an 8-bit scale in one tensor",
            found=f"head={head!r}",
            hint="use head='decoded', or integers='input'",
        )
    if model.network.time_steps > 1:
        raise ExportError("sequences cannot be exported in int8")
    load_extra("ai_edge_quantizer", error=ExportError)
    stage("writing the file in float32", None)
    single = tflite_bytes(model, head=head)
    step = stage("calibrating", 2 * len(images))
    inputs = [images[index : index + 1] for index in range(len(images))]
    spreads = tensor_spreads(single.data, single.model.computed(), inputs, after_each=step)
    slopes = slopes_below_zero(single.model)
    ranges = {name: best_range(each, slopes.get(name, 1.0)) for name, each in spreads.items()}
    stage("quantising the file", None)
    made = (
        single
        if batch in (None, 1) and names is None
        else tflite_bytes(model, head=head, batch=batch, names=names)
    )
    plan = Plan(made.model, is_detector=model.network.is_detector)
    return replace(made, data=quantized(made.data, plan, ranges, integers))
