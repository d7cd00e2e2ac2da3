"""Loops over arrays, compiled by numba when they first run.

Importing this module does not import numba; only the first call of a loop does.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import threading
from collections.abc import Callable
from types import FunctionType
from typing import Any, Generic, ParamSpec, TypeVar

from darknet_bn.optional import load_extra

P = ParamSpec("P")
R = TypeVar("R")

MESSAGE = "compiling kernels; later runs find them in numba's cache"
"""What the logger of this module says, once per process, before anything is compiled."""

_MAKING = threading.RLock()
_REORDERS = {"reassoc"}  # of LLVM's flags for floats: the only one that sums need
_FUSES = {"contract"}


class Instruction:
    """A function of loops that numba does not compile: it is told what to put there.

    Parameters
    ----------
    meaning : function
        What it does, in Python.
    emit : function
        What `numba.extending.intrinsic` takes: of types, it returns a signature and a function that
        writes LLVM's code.
    """

    def __init__(self, meaning: Callable[..., Any], emit: Callable[..., Any]) -> None:
        self._emit = emit
        self.__doc__ = meaning.__doc__

    def _make(self, *, part: bool) -> Any:
        return load_extra("numba.extending").intrinsic(self._emit)


class Loop(Generic[P, R]):
    """A function of plain loops; it is compiled once for each combination of argument types.

    It runs without Python's lock, so that `darknet_bn.work.threads` may run it on several threads.
    Divisions by zero give what C gives.

    Parameters
    ----------
    function : function
        What numba can compile.  It may call other loops of its module.
    reorders : bool
        Whether sums may be added up in another order than written, which lets them use whole
        vectors.  The order then depends on the processor, not on the number of threads.
    fuses : bool
        Whether products may be added without being rounded first, where the processor can.
    """

    def __init__(self, function: Callable[P, R], *, reorders: bool, fuses: bool) -> None:
        self._function = function
        self._flags = (_REORDERS if reorders else set()) | (_FUSES if fuses else set())
        self._made: Any = None
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the compiled function."""
        if self._made is None:
            with _MAKING:
                self._made = self._made or self._make()
        try:
            result: R = self._made(*args, **kwargs)
        except OSError:  # numba cannot write what it compiled, before it ran: the disk is full
            self._made = self._make(cache=False)
            result = self._made(*args, **kwargs)
        return result

    def _make(self, *, cache: bool = True, part: bool = False) -> Any:
        """Hand the function to numba, which compiles it when it knows the types of arguments.

        A part becomes one of what calls it, in the machine's code and in the cache.
        """
        numba = load_extra("numba")
        _tell_once()
        found = self._function.__globals__
        called = {
            name: found[name]._make(part=True)
            for name in self._function.__code__.co_names
            if isinstance(found.get(name), Loop | Instruction)
        }
        copy = _with_globals(self._function, found | called)
        options: dict[str, Any] = {
            "nogil": True,
            "error_model": "numpy",
            "forceinline": part,
            "fastmath": self._flags or False,
        }
        try:
            made = numba.njit(cache=cache and not part, **options)(copy)
        except RuntimeError:  # there is no folder to keep it in, neither beside it nor the user's
            return numba.njit(**options)(copy)
        _keep_apart(made)
        return made


def loop(*, reorders: bool = False, fuses: bool = False) -> Callable[[Callable[P, R]], Loop[P, R]]:
    """Turn a function into a `Loop`; see there."""
    return lambda function: Loop(function, reorders=reorders, fuses=fuses)


def standing_for(function: Callable[..., Any], template: Callable[..., Any], **names: Any) -> Any:
    """Copy a template that calls a function, so that numba keeps it under the function's name.

    Parameters
    ----------
    function : function
    template : function
    **names
        Other values for names of the template's module.
    """
    copy = _with_globals(template, template.__globals__ | names)
    own = function.__code__
    copy.__code__ = copy.__code__.replace(
        co_filename=own.co_filename, co_firstlineno=own.co_firstlineno
    )
    copy.__module__, copy.__qualname__ = function.__module__, function.__qualname__
    return copy


def _with_globals(function: Any, values: dict[str, Any]) -> FunctionType:
    """Copy a function so that it sees other values under the names of its module."""
    copy = FunctionType(function.__code__, values, function.__name__)
    copy.__module__, copy.__qualname__ = function.__module__, function.__qualname__
    return copy


def _keep_apart(made: Any) -> None:
    """Let the files in numba's cache be named after the types of arguments.

    Numba only numbers them.  If two processes compile a function for different types at the same
    time, both choose the same number, and the code for one may be kept as that for the other.
    """
    file = getattr(getattr(made, "_cache", None), "_cache_file", None)
    pattern = getattr(file, "_data_name_pattern", None)
    if file is None or pattern is None:  # nothing is kept, or in another way
        return
    save = file.save

    def save_apart(key: Any, data: Any) -> None:
        types_and_processor = hashlib.sha256(repr(key[:2]).encode()).hexdigest()[:12]
        number = "{number:d}"
        file._data_name_pattern = pattern.replace(number, f"{types_and_processor}.{number}")
        save(key, data)

    file.save = save_apart


@functools.cache
def _tell_once() -> None:
    """Let numba tell when it really compiles: not if the cache has the result already."""
    event = load_extra("numba.core.event")
    told: list[str] = []

    class Teller(event.Listener):  # type: ignore[misc, name-defined] # its type is not known
        def on_start(self, _: object) -> None:
            if not told:
                told.append(MESSAGE)
                logging.getLogger(__name__).info(MESSAGE)

        def on_end(self, _: object) -> None:
            pass

    event.register("numba:compile", Teller())
