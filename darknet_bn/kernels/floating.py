"""What every kernel requires of its arrays: float32 or float64, checked once on entry."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

from darknet_bn.errors import ShapeError, Where

P = ParamSpec("P")
R = TypeVar("R")

_CHARS = "fd"  # numpy's letters for float32 and float64
_NO_POSITION = 1 << 16  # position of a keyword-only parameter
PICTURE_HINT = (
    "darknet_bn.pictures.images.from_bytes converts a picture of bytes (h, w, c) in RGB order; "
    "OpenCV uses BGR: from_bytes({name}[:, :, ::-1])"
)
"""What to do with an array from OpenCV or Pillow."""


class _Argument(NamedTuple):
    """A parameter that takes one array or several.

    Attributes
    ----------
    at : int
        Its position; beyond all positions if it is keyword-only.
    name : str
    optional : bool
        Whether None is allowed and means no array.
    several : bool
        Whether it takes a mapping or sequence of arrays.
    """

    at: int
    name: str
    optional: bool
    several: bool


def floating(kernel: Callable[P, R]) -> Callable[P, R]:
    """Make a kernel refuse arrays that do not hold floating-point numbers.

    With integers, numpy would continue and return integers: the mean of 1 and 2 would be 1, or 0.
    The annotations say which parameters take arrays.

    Parameters
    ----------
    kernel : function
        A parameter takes arrays if it is annotated with ``F32`` or ``F64``, alone, with None, or
        inside a Mapping or Sequence.

    Returns
    -------
    checked : function
        The same function, which also raises ShapeError.  The check takes less than a microsecond.
    """
    arguments = _arguments(kernel)

    @functools.wraps(kernel)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        count = len(args)
        for each in arguments:
            value = args[each[0]] if each[0] < count else kwargs.get(each[1])
            if type(value) is not np.ndarray or value.dtype.char not in _CHARS:
                if value is None and each.at >= count and each.name not in kwargs:
                    continue  # not passed
                _look_into(kernel.__qualname__, each, value)
        return kernel(*args, **kwargs)

    return checked


def require_floats(place: str, name: str, array: Any) -> None:
    """Check that a value is an array of float32 or float64.

    Parameters
    ----------
    place : str
        The function or class that received it.
    name : str
        Its name there.
    array : anything

    Raises
    ------
    ShapeError
        It is not such an array.
    """
    if isinstance(array, np.ndarray) and array.dtype.char in _CHARS:
        return
    if not isinstance(array, np.ndarray):
        found, hint = type(array).__name__, f"np.asarray({name}, np.float32) converts it"
    else:
        found, hint = f"{array.dtype} {array.shape}", f"{name}.astype(np.float32) converts it"
        if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] in (1, 3, 4):
            hint = PICTURE_HINT.format(name=name)
        elif np.issubdtype(array.dtype, np.complexfloating):
            hint = f"{name}.real is the real part"
    if name == "out":
        hint = "np.empty(shape, np.float32) converts it"
    raise ShapeError(
        f"{name} is not an array of floating-point numbers",
        where=Where(key=place),
        expected="float32 or float64",
        found=found,
        hint=hint,
    )


def _arguments(kernel: Callable[..., object]) -> tuple[_Argument, ...]:
    found = []
    for at, each in enumerate(inspect.signature(kernel).parameters.values()):
        kind = str(each.annotation)
        if ("F32" in kind or "F64" in kind) and "Callable" not in kind:
            place = at if each.kind is each.POSITIONAL_OR_KEYWORD else _NO_POSITION
            several = kind.startswith(("Mapping", "Sequence"))
            found.append(_Argument(place, each.name, "None" in kind, several))
    return tuple(found)


def _look_into(place: str, argument: _Argument, value: Any) -> None:
    """Check values that are not plain arrays: None, several arrays, or a subclass."""
    name = argument.name
    if value is None and argument.optional:
        return
    if argument.several and isinstance(value, Mapping):
        for key, each in value.items():
            require_floats(place, f"{name}[{key!r}]", each)
    elif argument.several and isinstance(value, Sequence):
        for number, each in enumerate(value):
            require_floats(place, f"{name}[{number}]", each)
    else:
        require_floats(place, name, value)
