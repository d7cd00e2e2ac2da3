"""The table of the engines: how a model is handed to each."""

from __future__ import annotations

from collections.abc import Callable

from darknet_bn.engines.base import ENGINES, VARIABLE, default_engine
from darknet_bn.errors import DarknetError, Where
from darknet_bn.model.model import Model
from darknet_bn.run.session import Session


def _numpy(model: Model) -> Session:
    from darknet_bn.engines.numpy import NumpySession

    return NumpySession(model)


def _onnxruntime(model: Model) -> Session:
    from darknet_bn.engines.onnxruntime import OnnxRuntimeSession

    return OnnxRuntimeSession(model)


def _opencv(model: Model) -> Session:
    from darknet_bn.engines import opencv

    return opencv.open_session(model)


def _openvino(model: Model) -> Session:
    from darknet_bn.engines.openvino import OpenVinoSession

    return OpenVinoSession(model)


def _litert(model: Model) -> Session:
    from darknet_bn.engines.litert import LiteRtSession

    return LiteRtSession(model)


def _torch(model: Model) -> Session:
    from darknet_bn.engines.pytorch import TorchSession

    return TorchSession(model)


def _ncnn(model: Model) -> Session:
    from darknet_bn.engines.ncnn import NcnnSession

    return NcnnSession(model)


# Each imports its own: whoever computes here waits for no code that exports.
_OPENERS: dict[str, Callable[[Model], Session]] = {
    "numpy": _numpy,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "opencv": _opencv,
    "litert": _litert,
    "torch": _torch,
    "ncnn": _ncnn,
}


def open_session(model: Model, engine: str | None = None) -> Session:
    """Hand a model to an engine that runs it; its package is only imported now.

    Parameters
    ----------
    model : Model
    engine : str, optional
        One of ``ENGINES``; ``"numpy"`` is this package itself.  By default what the environment
        variable ``DARKNET_BN_ENGINE`` says, or ``"numpy"``.

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
    return _OPENERS[require_engine(engine)](model)


def require_engine(engine: str | None) -> str:
    """Return the name of an engine, that of the default for None.

    Raises
    ------
    DarknetError
        There is no such engine.
    """
    name = default_engine() if engine is None else engine
    if name not in _OPENERS:
        where = Where(key=f"the environment variable {VARIABLE}") if engine is None else None
        raise DarknetError(
            "unknown engine", where=where, expected=", ".join(ENGINES), found=f"{name!r}"
        )
    return name
