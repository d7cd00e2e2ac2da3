"""Which kernels run: those in numpy, or their compiled twins.  Nothing else chooses."""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from darknet_bn.errors import DarknetError, Where
from darknet_bn.optional import load_extra

P = ParamSpec("P")
R = TypeVar("R")

VARIABLE = "DARKNET_BN_KERNELS"
AUTO, NUMPY, COMPILED = KINDS = ("auto", "numpy", "compiled")


@functools.cache
def compiled_wanted() -> bool:
    """Return whether compiled kernels run where there are any; numba is imported if they do.

    The environment variable ``DARKNET_BN_KERNELS`` is read once: ``numpy``, ``compiled``, or
    ``auto``, the default, which means ``compiled`` if numba is installed and can be imported.

    Raises
    ------
    DarknetError
        The variable has another value, or asks for compiled kernels and there is no numba.
    """
    wanted = os.environ.get(VARIABLE) or AUTO
    if wanted not in KINDS:
        raise DarknetError(
            "unknown kernels",
            where=Where(key=f"the environment variable {VARIABLE}"),
            expected=", ".join(KINDS),
            found=f"{wanted!r}",
        )
    if wanted == NUMPY or (wanted == AUTO and importlib.util.find_spec("numba") is None):
        return False
    try:
        load_extra("numba", where=Where(key=f"{VARIABLE}={COMPILED}"))
    except DarknetError:
        if wanted == COMPILED:
            raise
        return False  # such as a numba that does not know this numpy yet
    return True


def twin(
    compiled: Callable[P, R], *, when: Callable[P, bool]
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a compiled kernel run instead of the decorated one, where that is wanted.

    Parameters
    ----------
    compiled : function
        With the same parameters.
    when : function
        With the same parameters; whether the compiled kernel is for arrays of these types, and
        faster.
    """

    def paired(plain: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(plain)
        def chosen(*args: P.args, **kwargs: P.kwargs) -> R:
            if when(*args, **kwargs) and compiled_wanted():
                return compiled(*args, **kwargs)
            return plain(*args, **kwargs)

        return chosen

    return paired
