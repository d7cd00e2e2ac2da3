"""Arguments in the forms that ``cv2.dnn`` accepts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32, F64
from darknet_bn.errors import DarknetError

Scalar: TypeAlias = "float | Sequence[float] | npt.NDArray[Any] | None"


def scalar(value: Scalar, what: str) -> F64:
    """Return the four numbers of an OpenCV ``Scalar``; missing numbers are 0.

    A single number is the first of the four.

    Raises
    ------
    DarknetError
        It is not up to four numbers.
    """
    try:
        numbers = np.atleast_1d(np.array(() if value is None else value, np.float64))
    except (TypeError, ValueError) as error:
        raise DarknetError(f"the {what} is not a number", found=f"{value!r}") from error
    if numbers.ndim != 1 or len(numbers) > 4:
        raise DarknetError(f"the {what} has too many numbers", expected="up to 4")
    return np.concatenate([numbers, np.zeros(4 - len(numbers))])


def forward_arguments(
    args: Sequence[Any], kwargs: dict[str, Any]
) -> tuple[list[str], bool, Sequence[Any]]:
    """Sort out the arguments of `Net.forward`.

    Returns
    -------
    names : list of str
        Empty for the last output.
    single : bool
        Whether an array is to be returned, not a tuple.
    blobs : sequence
        Arrays to fill.

    Raises
    ------
    DarknetError
        They are in none of OpenCV's forms.
    """
    unknown = set(kwargs) - {"outputName", "outputBlobs", "outBlobNames"}
    if unknown or len(args) > 2 or not all(map(_is_usual, (*args, *kwargs.values()))):
        raise DarknetError(
            "forward does not take these arguments",
            expected="nothing, a name, a list of names, or arrays to fill and a name",
        )
    first, second = (*args, None, None)[:2]
    names = kwargs.get("outBlobNames", first)
    if not isinstance(names, str) and names is not None and _are_names(names):
        blobs = kwargs.get("outputBlobs", second)
        return list(names), False, () if blobs is None else blobs
    if isinstance(first, str):
        return [first] if first else [], True, ()
    name = kwargs.get("outputName", second)
    single = first is None and len(args) < 2 and "outputBlobs" not in kwargs
    return [name] if name else [], single, ()


def _is_usual(value: Any) -> bool:
    return value is None or isinstance(value, (str, list, tuple, np.ndarray))


def _are_names(value: Any) -> bool:
    return len(value) > 0 and all(isinstance(each, str) for each in value)


def filled(given: Sequence[Any], found: Sequence[F32]) -> Iterator[F32]:
    """Yield the outputs, in the caller's arrays if they fit."""
    for place, blob in enumerate(found):
        array = given[place] if place < len(given) else None
        if (
            isinstance(array, np.ndarray)
            and array.shape == blob.shape
            and array.dtype == blob.dtype
        ):
            array[...] = blob
            yield array
        else:
            yield blob
