"""Which kernels run, by the environment and by what is installed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.kernels import choice

HAS_NUMBA = importlib.util.find_spec("numba") is not None


@pytest.fixture(autouse=True)
def read_again() -> Iterator[None]:
    """The variable is read once; here it is read in each test."""
    choice.compiled_wanted.cache_clear()
    yield
    choice.compiled_wanted.cache_clear()


@choice.twin(lambda x: "compiled", when=lambda x: x.dtype == np.float32)
def kernel(x: np.ndarray) -> str:
    return "numpy"


X = np.zeros(1, np.float32)


@pytest.mark.parametrize("said", [None, "", "auto"])
def test_compiled_kernels_run_if_numba_is_there(
    said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(choice.VARIABLE, raising=False)
    if said is not None:
        monkeypatch.setenv(choice.VARIABLE, said)
    assert kernel(X) == ("compiled" if HAS_NUMBA else "numpy")
    assert kernel(X.astype(np.float64)) == "numpy"
    assert kernel(X.astype(">f4")) == "numpy"


def test_numpy_is_what_runs_if_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(choice.VARIABLE, "numpy")
    assert kernel(X) == "numpy"


@pytest.mark.parametrize("broken", [False, True])
def test_without_numba_only_who_asks_for_it_hears_of_it(
    broken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)  # its import fails
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: "there" if broken else None)
    monkeypatch.setenv(choice.VARIABLE, "auto")
    assert kernel(X) == "numpy"
    choice.compiled_wanted.cache_clear()
    monkeypatch.setenv(choice.VARIABLE, "compiled")
    with pytest.raises(dn.DarknetError) as caught:
        kernel(X)
    assert str(caught.value) == (
        "DARKNET_BN_KERNELS=compiled: numba is not installed; pip install 'darknet-bn[fast]'"
    )


def test_another_word_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(choice.VARIABLE, "fast")
    with pytest.raises(dn.DarknetError) as caught:
        kernel(X)
    assert str(caught.value) == (
        "the environment variable DARKNET_BN_KERNELS: unknown kernels "
        "(expected auto, numpy, compiled, found 'fast')"
    )


def test_neither_the_package_nor_help_imports_numba() -> None:
    code = (
        "import sys; sys.argv = ['darknet-bn', '--help']\n"
        "from darknet_bn.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert not {'numba', 'llvmlite'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
