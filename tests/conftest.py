"""What all tests share: the path of the golden data, both kinds of kernels, and who waits how."""

from __future__ import annotations

import atexit
import gc
import importlib.util
import os
import pathlib
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from darknet_bn.kernels import choice


def shared_folder() -> Path | None:
    """The folder of golden data, models, cfgs and pictures, or None if it is absent."""
    named = os.environ.get("DARKNET_BN_SHARED")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared"
    return folder if folder.is_dir() else None


if "PYTEST_XDIST_WORKER" in os.environ:
    # Several processes test side by side: BLAS in each is not to take the processors of all, as
    # its threads spin too.  Our own threads and the tests of BLAS's are as they are.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

if sys.dont_write_bytecode and "PYTHONPYCACHEPREFIX" not in os.environ:
    # Hundreds of programs that tests start would compile all that they import, each anew.
    _compiled = tempfile.mkdtemp(prefix="pycache-")
    atexit.register(shutil.rmtree, _compiled, ignore_errors=True)
    os.environ["PYTHONPYCACHEPREFIX"] = _compiled
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell ignores it for what it runs in the background; what is ignored, programs leave alone.
    signal.signal(signal.SIGINT, signal.default_int_handler)

if sys.version_info < (3, 11):
    # There a Path has functions of its own from os, taken when pathlib was imported: those that
    # tests put in their place would not be called.
    for _name in ("rename", "replace", "unlink"):

        def _now(*names: Any, _name: str = _name, **options: Any) -> Any:
            return getattr(os, _name)(*names, **options)

        setattr(pathlib._NormalAccessor, _name, staticmethod(_now))

SHARED = shared_folder()
needs_shared = pytest.mark.skipif(SHARED is None, reason="the shared golden data is absent")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without looking for garbage, a third of the time: all that is made then stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()  # nor does any look later on find it there


@pytest.fixture(scope="session")
def shared_or_none() -> Path | None:
    """The folder of golden data, or None if it is absent."""
    return SHARED


@pytest.fixture
def shared() -> Path:
    """The folder of golden data; skips if it is absent."""
    if SHARED is None:
        pytest.skip("the shared golden data is absent")
    return SHARED


@pytest.fixture(params=["numpy", "compiled"] if importlib.util.find_spec("numba") else ["numpy"])
def each_kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Let kernels with a compiled twin be each of both; without numba there is only one."""
    monkeypatch.setenv(choice.VARIABLE, request.param)
    choice.compiled_wanted.cache_clear()
    yield request.param
    choice.compiled_wanted.cache_clear()


@pytest.fixture(scope="session", autouse=True)
def real_fsync() -> Iterator[Callable[[int], None]]:
    """What waits for the disk; tests do not, since files that are gone after them need not.

    Programs that tests start wait, as users' do.
    """

    def ask(handle: int) -> None:
        os.fstat(handle)  # fails as the real one does if this is no open file

    real = os.fsync
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", ask)
        yield real


@pytest.fixture(scope="session", autouse=True)
def idle_engines_sleep() -> Iterator[None]:
    """Let idle threads of ONNX Runtime sleep: spinning takes processors from other tests."""
    runtime = sys.modules.get("onnxruntime")
    if runtime is None:  # no module that was collected has imported it
        yield
        return

    def options() -> Any:
        made = kind()
        made.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return made

    kind = runtime.SessionOptions
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "SessionOptions", options)
        yield
