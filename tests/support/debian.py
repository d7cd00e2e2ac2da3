"""The functions of Debian's package darknet, which is pjreddie's program."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

LIBRARY = Path("/usr/lib/darknet/libdarknet.so")


class Image(ctypes.Structure):
    """A picture; of an array it shares the values."""

    _fields_ = (
        ("w", ctypes.c_int),
        ("h", ctypes.c_int),
        ("c", ctypes.c_int),
        ("data", ctypes.POINTER(ctypes.c_float)),
    )

    @classmethod
    def of(cls, im: npt.NDArray[np.float32]) -> Image:
        c, h, w = im.shape
        return cls(w, h, c, floats(im))


def floats(array: npt.NDArray[np.float32]) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_float))


def program(name: str, *kinds: Any, returns: Any = None) -> Callable[..., Any]:
    """A function by its C name; skips if the package is not installed."""
    if not LIBRARY.exists():
        pytest.skip("Debian's package darknet is not installed")
    function: Callable[..., Any] = getattr(_library(), name)
    function.argtypes, function.restype = kinds, returns  # type: ignore[attr-defined]
    return function


@functools.cache
def _library() -> ctypes.CDLL:
    """The library, loaded in a thread that ends.

    It turns subnormal numbers off in the thread that loads it, and other tests need them.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(ctypes.CDLL, str(LIBRARY)).result()
