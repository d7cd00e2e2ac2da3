"""Limit BLAS to one thread per calling thread, and restore the old limit afterwards."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from threadpoolctl import ThreadpoolController

_SWITCH = 2e-5  # seconds after which a thread that waits for Python asks for it


class BlasLimit:
    """One limit that any number of threads hold, with any overlap.

    OpenBLAS with its own threads, as in numpy's wheels, has one limit per process, and
    threadpoolctl lets only one thread at a time set it: from its first setting until it leaves a
    context.  Settings by other threads in between have no effect.  If holders overlap, any of them
    may leave last.  So the first holder sets the limit and leaves a context at once, which releases
    the right and keeps the limit; the last holder, whichever it is, enters and leaves the context
    that restores the old limit.

    OpenBLAS on OpenMP has a limit for each thread: every holder, and every thread that helps one,
    sets its own.  So does a holder whose thread already has the right, because it is inside such a
    context of the program.
    """

    def __init__(self) -> None:
        self._all: list[ThreadpoolController] = []
        self._by_thread: list[ThreadpoolController] = []
        self._modules = 0
        self._found: list[Any] = []  # limiters with the limits from before the first holder
        self._interval = 0.0
        self._holders = 0
        self._lock = threading.Lock()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep every BLAS call inside this context on the thread that makes it.

        Threads also hand Python over to each other sooner than usual, because their calls are
        short.
        """
        with self._lock:
            if self._holders == 0:
                self._begin()
            self._holders += 1
        try:
            with _own(self._all):
                yield
        finally:
            with self._lock:
                self._holders -= 1
                if self._holders == 0:
                    self._end()

    def help(self) -> AbstractContextManager[object]:
        """Do the same in a thread that works for a possible holder of the limit."""
        return _own(self._by_thread if self._holders else [])

    def _look(self) -> None:
        """Find the libraries, again if others may have been loaded, most likely with a module."""
        if len(sys.modules) != self._modules:
            self._modules = len(sys.modules)
            blas = ThreadpoolController().select(user_api="blas")
            self._all = [blas.select(filepath=each.filepath) for each in blas.lib_controllers]
            self._by_thread = [each for each in self._all if _is_by_thread(each)]

    def _begin(self) -> None:
        self._look()
        self._interval = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH)
        for library in self._all:
            limiter = None if library in self._by_thread else _limited(library)
            if limiter is not None:
                self._found.append(limiter)
                with library.limit(limits=None):
                    pass  # releases the right to set limits, and keeps this limit

    def _end(self) -> None:
        while self._found:
            with self._found.pop():
                pass  # restores what the limiter found
        sys.setswitchinterval(self._interval)


def _own(libraries: list[ThreadpoolController]) -> ExitStack:
    """Limit libraries that still have several threads, for as long as the calling thread may."""
    own = ExitStack()
    for library in libraries:
        limiter = _limited(library)
        if limiter is not None:
            own.enter_context(limiter)
    return own


def _limited(library: ThreadpoolController) -> Any:
    """Limit a library to one thread; None if it has one, or another thread has the right."""
    if _threads(library) == 1:
        return None
    limiter = library.limit(limits=1)
    return limiter if _threads(library) == 1 else None


def _threads(library: ThreadpoolController) -> int:
    (each,) = library.lib_controllers
    return each.num_threads or 1  # None: the library does not report it


def _is_by_thread(library: ThreadpoolController) -> bool:
    (each,) = library.lib_controllers
    layer = getattr(each, "threading_layer", None)
    return (each.internal_api, layer) == ("openblas", "openmp")
