"""Weights in float16, each turned into float32 before it is used."""

from __future__ import annotations

import numpy as np

from darknet_bn.convert.tflite.flat_model import FlatModel, Operator, Tensor
from darknet_bn.errors import ExportError

_WEIGHED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL")
_HALF = 3  # the version of DEQUANTIZE that reads float16


def stored_as_halves(model: FlatModel) -> None:
    """Store weights and biases in float16; what goes in and out and is computed stays float32.

    An operator ``DEQUANTIZE`` makes float32 of each; programs do that once.

    Parameters
    ----------
    model : FlatModel
        Changed in place.

    Raises
    ------
    ExportError
        A value is too large for float16.
    """
    halves: dict[Tensor, Tensor] = {}
    added: list[Operator] = []
    for operator in model.operators:
        if operator.kind not in _WEIGHED:
            continue
        inputs = list(operator.inputs)
        for index, tensor in enumerate(inputs):
            array = None if tensor is None else tensor.array
            if tensor is None or array is None or array.dtype != np.float32:
                continue
            if tensor not in halves:
                halves[tensor] = Tensor(f"{tensor.name}/float32", tensor.shape)
                half = Tensor(tensor.name, tensor.shape, np.float16, _rounded(tensor))
                added.append(Operator("DEQUANTIZE", (half,), (halves[tensor],), version=_HALF))
            inputs[index] = halves[tensor]
        operator.inputs = tuple(inputs)
    model.operators[:0] = added


def _rounded(tensor: Tensor) -> np.ndarray:
    array = np.asarray(tensor.array)
    with np.errstate(over="ignore"):
        half: np.ndarray = array.astype(np.float16)
    if np.any(np.isinf(half) & np.isfinite(array)):
        raise ExportError(
            f"{tensor.name} does not fit into float16",
            expected=f"at most {np.finfo(np.float16).max:.0f}",
            found=f"{np.abs(array[np.isfinite(array)]).max():.6g}",
        )
    return half
