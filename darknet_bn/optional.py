"""Packages beyond the core: imported when they are asked for, and missed with one line."""

from __future__ import annotations

import contextlib
import importlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

from darknet_bn.errors import DarknetError, Where, one_line

_NAMES = ("SIGINT", "SIGTERM", "SIGBREAK")  # no system has all of them
_SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))


def load_extra(
    module: str,
    missing: str,
    *,
    hint: str,
    error: type[DarknetError] = DarknetError,
    where: Where | None = None,
) -> Any:
    """Import a package that may not be there.

    Parameters
    ----------
    module : str
        What to import, such as ``PIL.Image``.
    missing : str
        What is said if it is not installed.
    hint : str
        What to type then.
    error : type, optional
        What is raised.
    where : Where, optional

    Returns
    -------
    module : module

    Raises
    ------
    DarknetError
        It is not installed, or is and cannot be imported.
    """
    package = module.partition(".")[0]
    try:
        with _interrupted_later():
            importlib.import_module(package)
            return importlib.import_module(module)
    except Exception as cause:  # a package may raise anything while it is imported
        if isinstance(cause, ModuleNotFoundError) and cause.name in (module, package):
            raise error(missing, where=where, hint=hint) from cause
        raise error(
            f"the package {package} is installed, but cannot be imported",
            where=where,
            found=one_line(f"{type(cause).__name__}: {cause}"),
            hint=f"try: python -c 'import {module}'",
        ) from cause


@contextlib.contextmanager
def _interrupted_later() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until the end: extension modules may crash on an exception."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals go to the main thread alone
        return
    arrived: list[int] = []
    before = {
        each: signal.signal(each, lambda number, _: arrived.append(number))
        for each in _SIGNALS
        if signal.getsignal(each) is not None  # None: not set by Python, and not to be put back
    }
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        if arrived:
            signal.raise_signal(arrived[0])
