"""Packages beyond the core: imported on request, and reported in one line if they are missing."""

from __future__ import annotations

import contextlib
import importlib
import signal
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

from darknet_bn.errors import DarknetError, Where, one_line

_NAMES = ("SIGINT", "SIGTERM", "SIGBREAK")  # no system has all of them
_SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))


class Extra(NamedTuple):
    """A package beyond the core: the message if it is missing, and how to install it."""

    missing: str
    install: str


def _plain(package: str) -> Extra:
    """Return the message for a package that is installed under its own name."""
    return Extra(f"the package {package} is not installed", f"pip install {package}")


def _part_of(extra: str, package: str) -> Extra:
    """Return the message for a package that an extra has."""
    return Extra(f"the package {package} is not installed", f"pip install 'darknet-bn[{extra}]'")


_TFLITE = "pip install 'darknet-bn[tflite]'"
EXTRAS = {
    "PIL": Extra("Pillow is needed for pictures", "pip install 'darknet-bn[image]'"),
    "ai_edge_litert": Extra("the package ai-edge-litert is not installed", _TFLITE),
    "ai_edge_quantizer": Extra(
        "the package ai-edge-quantizer is not installed", "pip install 'darknet-bn[tflite-int8]'"
    ),
    "av": Extra("PyAV is needed for videos", "pip install 'darknet-bn[video]'"),
    "cv2": _plain("opencv-python-headless"),
    "faster_coco_eval": Extra(
        "the package faster-coco-eval is not installed", "pip install 'darknet-bn[coco]'"
    ),
    "flatbuffers": Extra("the package flatbuffers is not installed", _TFLITE),
    "fsspec": _part_of("parquet", "fsspec"),
    "ncnn": Extra("the package ncnn is not installed", "pip install 'darknet-bn[ncnn]'"),
    "numba": Extra("numba is not installed", "pip install 'darknet-bn[fast]'"),
    "onnx": Extra("the package onnx is not installed", "pip install 'darknet-bn[onnx]'"),
    "onnxruntime": _plain("onnxruntime"),
    "openvino": _plain("openvino"),
    "pyarrow": _part_of("parquet", "pyarrow"),
    "ray": Extra("Ray is not installed", "pip install 'darknet-bn[ray]'"),
    "supervision": _plain("supervision"),
    "sympy": Extra("the package sympy is needed to quantise", "pip install 'darknet-bn[quantize]'"),
    "tensorboardX": Extra(
        "the package tensorboardx is not installed", "pip install 'darknet-bn[tensorboard]'"
    ),
    "torch": Extra("PyTorch is not installed", "pip install 'darknet-bn[torch]'"),
}
"""All optional packages, by the name that is imported."""


def load_extra(
    module: str, *, error: type[DarknetError] = DarknetError, where: Where | None = None
) -> Any:
    """Import a package that may not be there.

    Parameters
    ----------
    module : str
        What to import, such as ``PIL.Image``; ``EXTRAS`` has the message for its package.
    error : type, optional
        Which error is raised.
    where : Where, optional

    Returns
    -------
    module : module

    Raises
    ------
    DarknetError
        It is not installed, or it is and cannot be imported.
    """
    package = module.partition(".")[0]
    try:
        with _interrupted_later():
            importlib.import_module(package)
            return importlib.import_module(module)
    except Exception as cause:  # a package may raise anything while it is imported
        if isinstance(cause, ModuleNotFoundError) and cause.name in (module, package):
            extra = EXTRAS.get(package, _plain(package))
            raise error(extra.missing, where=where, hint=extra.install) from cause
        raise error(
            f"the package {package} is installed, but cannot be imported",
            where=where,
            found=one_line(f"{type(cause).__name__}: {cause}"),
            hint=f"try: python -c 'import {module}'",
        ) from cause


@contextlib.contextmanager
def _interrupted_later() -> Iterator[None]:
    """Delay Ctrl-C and SIGTERM until the end: extension modules may crash on an exception."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread receives signals
        return
    arrived: list[int] = []
    before = {
        each: signal.signal(each, lambda number, _: arrived.append(number))
        for each in _SIGNALS
        if signal.getsignal(each) is not None  # None: not set by Python, and cannot be restored
    }
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        if arrived:
            signal.raise_signal(arrived[0])
