"""Loops that numba compiles: when, where it keeps them, and what they compute."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.dialect import dialect_named
from darknet_bn.kernels import choice, compiling
from darknet_bn.kernels.batchnorm import compiled
from darknet_bn.kernels.compiling import loop
from darknet_bn.work import measured, threads

needs_numba = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="numba is absent"
)

USED = """
import sys
import numpy as np
import darknet_bn as dn

assert "numba" not in sys.modules
x = np.random.default_rng(0).standard_normal((2, 3, 4), np.float32)
p = dn.kernels.make_batchnorm_layer(3)
assert "numba" not in sys.modules  # making a layer runs no loop
done = dn.kernels.forward_batchnorm_layer(x, p, train=True, dialect="alexeyab")
print("numba" in sys.modules, done.y.tobytes().hex())
"""


@loop()
def halved(x: np.ndarray) -> None:
    for i in range(len(x)):
        x[i] = half(x[i]) / zero_or(i)


@loop()
def half(value: float) -> float:
    return value / 2


@loop(reorders=True)
def zero_or(value: int) -> int:
    return value


@needs_numba
def test_loops_call_each_other_and_divide_by_zero_as_c_does() -> None:
    x = np.array([2, 2, 8], np.float32)
    halved(x)
    np.testing.assert_array_equal(x, np.array([np.inf, 1, 2], np.float32))


@needs_numba
def test_a_full_disk_only_means_that_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from numba.core import caching

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(caching.IndexDataCacheFile, "save", full)
    monkeypatch.setattr(caching.IndexDataCacheFile, "load", lambda *_: None)
    again = loop()(halved._function)
    x = np.array([2, 4], np.float32)
    again(x)
    assert x[1] == 2


@needs_numba
def test_processes_that_compile_for_other_types_do_not_mix_up_their_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both find the cache empty; one lists what it made last, the other stores it last."""
    numba = importlib.import_module("numba")
    last_listed, last_stored = tmp_path / "listed", tmp_path / "stored"
    for folder, step in ((last_listed, 2), (last_stored, 1)):
        monkeypatch.setattr(numba.config, "CACHE_DIR", str(folder))
        loop()(halved._function)(np.ones(8, np.float32)[::step])
    for path in last_stored.rglob("*.nbc"):
        shutil.copy(path, last_listed / path.relative_to(last_stored))
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(last_listed))
    again, x = loop()(halved._function), np.arange(8, dtype=np.float32)
    again(x[2::2])
    np.testing.assert_array_equal(x, np.array([0, 1, np.inf, 3, 2, 5, 1.5, 7], np.float32))
    assert sum(again._made.stats.cache_hits.values()) == 1


def run(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", USED],
        capture_output=True,
        text=True,
        env=os.environ | {"NUMBA_CACHE_DIR": str(folder)} | variables,
        check=False,
    )


@needs_numba
def test_numba_is_imported_when_a_twin_first_runs_and_keeps_it(tmp_path: Path) -> None:
    done = run(tmp_path, DARKNET_BN_KERNELS="compiled")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("True")
    kept = sorted(path.name for path in tmp_path.rglob("*.nbi"))
    assert [name.partition("-")[0] for name in kept] == ["compiled._train"]
    assert run(tmp_path, DARKNET_BN_KERNELS="auto").stdout == done.stdout
    assert run(tmp_path, DARKNET_BN_KERNELS="numpy").stdout.startswith("False")


@needs_numba
def test_a_folder_that_cannot_be_written_only_means_that_nothing_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()  # no folder can be below it, not even for root
    done = run(
        file / "folder", DARKNET_BN_KERNELS="compiled", HOME=str(file), XDG_CACHE_HOME=str(file)
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("True")


@pytest.fixture
def compiled_kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(choice.VARIABLE, choice.COMPILED)
    choice.compiled_wanted.cache_clear()
    yield
    choice.compiled_wanted.cache_clear()


def passes(x: np.ndarray, dialect: dn.Dialect) -> list[np.ndarray]:
    """Both passes of batch norm: all arrays that they give."""
    rng = np.random.default_rng(1)
    f = x.shape[1]
    p = {**dn.kernels.make_batchnorm_layer(f), "scales": rng.uniform(-2, 2, f).astype(np.float32)}
    delta = rng.standard_normal(x.shape).astype(np.float32)
    forward = dn.kernels.forward_batchnorm_layer(x, p, train=True, dialect=dialect)
    saved = forward.saved
    back = dn.kernels.backward_batchnorm_layer(delta, p, saved, dialect=dialect)
    return [forward.y, forward.rolling_variance, *vars(back).values()]


@needs_numba
@pytest.mark.parametrize("dialect", [dn.PJREDDIE, dn.ALEXEYAB.sound], ids=["coded", "exact"])
def test_the_bits_depend_neither_on_threads_nor_on_parts(
    dialect: dn.Dialect, compiled_kernels: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(0).standard_normal((3, 10, 5, 7), np.float32)
    whole = passes(x, dialect)
    x.flags.writeable = False
    monkeypatch.setattr(measured, "NORM_COMPILED", 0)
    for count, size in ((1, 1), (2, 1000), (3, 1 << 20), (7, 1)):
        monkeypatch.setattr(measured, "NORM_COMPILED_FILTERS", size)
        monkeypatch.setitem(threads._OF_PROCESS, os.getpid(), threads.Workers(count))
        for one, other in zip(passes(x, dialect), whole, strict=True):
            np.testing.assert_array_equal(one, other)


@needs_numba
@pytest.mark.parametrize("name", ["pjreddie", "pjreddie-gpu", "alexeyab", "hank-ai", "opencv"])
def test_eps_enters_as_the_dialect_says(name: str) -> None:
    dialect = dialect_named(name)
    variances = np.array(
        [0, 1e-40, -7e-44, -1e-3, 1e-12, 1e-5, 0.3, 1e6, np.inf, np.nan], np.float32
    )
    found = [
        compiled._sigma(v, float(np.float32(dialect.eps)), dialect.eps_inside_sqrt)
        for v in variances
    ]
    np.testing.assert_array_equal(found, dialect.sigma(variances.astype(np.float64)))


@needs_numba
def test_it_is_said_once_that_something_is_compiled(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="darknet_bn")
    compiling._tell_once.cache_clear()
    for _ in range(2):
        loop()(zero_or._function)._make(part=True)(3)
    assert caplog.messages == [compiling.MESSAGE]
