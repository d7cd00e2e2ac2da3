"""What a TFLite file says of the model that it was made from.

It is JSON, in an entry of the file's metadata that is called ``darknet``: the `provenance` of the
model, how pictures become its input, and where the outputs of its layers are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from darknet_bn.convert.tflite.flat_model import read_metadata
from darknet_bn.convert.tflite.lowering import Order
from darknet_bn.errors import ExportError
from darknet_bn.model.model import Model
from darknet_bn.model.provenance import provenance
from darknet_bn.pictures.prepare import preparation

ENTRY = "darknet"
"""The name of the metadata."""


@dataclass(frozen=True)
class Layer:
    """Where the output of a layer is in a file.

    Attributes
    ----------
    tensor : str
    order : str
        ``last`` if it has channels last.
    """

    tensor: str
    order: Order


def format_metadata(
    model: Model, layers: Mapping[int, Layer], head: str, names: Sequence[str] | None
) -> bytes:
    """Return what a file says of itself.

    Parameters
    ----------
    model : Model
    layers : mapping from layer number to Layer
    head : str
        The form of what comes out.
    names : sequence of str, optional
        Of the classes.
    """
    facts: dict[str, Any] = {**provenance(model), **preparation(model), "head": head}
    if names is not None:
        facts["names"] = list(names)
    facts["layers"] = {number: [each.tensor, each.order] for number, each in layers.items()}
    return json.dumps(facts).encode()


def read_layers(data: bytes) -> dict[int, Layer]:
    """Return where a file has the outputs of layers.

    Parameters
    ----------
    data : bytes
        The file.

    Raises
    ------
    ExportError
        ai-edge-litert is not installed, this is not a TFLite file, or none that was written here.
    """
    entry = read_metadata(data).get(ENTRY)
    try:
        if entry is None:
            raise ValueError("absent")
        layers = json.loads(entry)["layers"]
        return {int(number): Layer(*map(str, each)) for number, each in layers.items()}  # type: ignore[arg-type]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExportError(
            "the file does not say where the outputs of layers are",
            expected=f"the metadata {ENTRY}, as export_tflite writes them",
        ) from error
