"""The table of the engines: how a model is handed to each."""

from __future__ import annotations

from collections.abc import Callable

from darknet_bn.engines import onnxruntime, opencv, openvino
from darknet_bn.engines.base import ENGINES, Session
from darknet_bn.errors import DarknetError
from darknet_bn.model.model import Model

_OPENERS: dict[str, Callable[[Model], Session]] = {
    "onnxruntime": onnxruntime.OnnxRuntimeSession,
    "openvino": openvino.OpenVinoSession,
    "opencv": opencv.open_session,
}


def open_session(model: Model, engine: str = "onnxruntime") -> Session:
    """Hand a model to another program that runs it; its package is only imported now.

    Parameters
    ----------
    model : Model
    engine : "onnxruntime", "openvino" or "opencv"

    Returns
    -------
    session : Session
        ``session.forward(x)`` gives what `darknet_bn.forward` does.

    Raises
    ------
    DarknetError
        There is no such engine, or its package is not installed.
    ExportError
        The model cannot be expressed in the engine's format.
    """
    if engine not in _OPENERS:
        raise DarknetError("unknown engine", expected=", ".join(ENGINES), found=f"{engine!r}")
    return _OPENERS[engine](model)
