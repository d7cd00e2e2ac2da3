"""Packages that may be absent: one line, and Ctrl-C that waits until one is whole."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import darknet_bn as dn
from darknet_bn.optional import EXTRAS, load_extra
from tests.support.paths import PROJECT


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that ``import heavy`` runs."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "heavy", raising=False)
    return tmp_path / "heavy.py"


def load() -> object:
    return load_extra("heavy")


def test_what_is_there_is_imported(package: Path) -> None:
    package.write_text("x = 1")
    assert load().x == 1  # type: ignore[attr-defined]


def test_what_is_not_there_is_missed_with_one_line() -> None:
    for name in ("no_such_package", "no_such_package.part"):
        with pytest.raises(dn.ExportError) as caught:
            load_extra(name, error=dn.ExportError)
        message = "the package no_such_package is not installed; pip install no_such_package"
        assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "ai_edge_litert",
            "the package ai-edge-litert is not installed; pip install 'darknet-bn[tflite]'",
        ),
        ("PIL", "Pillow is needed for pictures; pip install 'darknet-bn[image]'"),
        (
            "cv2",
            "the package opencv-python-headless is not installed; "
            "pip install opencv-python-headless",
        ),
        ("av", "PyAV is needed for videos; pip install 'darknet-bn[video]'"),
        ("onnx", "the package onnx is not installed; pip install 'darknet-bn[onnx]'"),
        ("onnxruntime", "the package onnxruntime is not installed; pip install onnxruntime"),
        ("openvino", "the package openvino is not installed; pip install openvino"),
        (
            "tensorboardX",
            "the package tensorboardx is not installed; pip install 'darknet-bn[tensorboard]'",
        ),
        ("torch", "PyTorch is not installed; pip install 'darknet-bn[torch]'"),
        (
            "faster_coco_eval",
            "the package faster-coco-eval is not installed; pip install 'darknet-bn[coco]'",
        ),
        ("numba", "numba is not installed; pip install 'darknet-bn[fast]'"),
        ("ncnn", "the package ncnn is not installed; pip install 'darknet-bn[ncnn]'"),
        (
            "pyarrow",
            "the package pyarrow is not installed; pip install 'darknet-bn[parquet]'",
        ),
        ("fsspec", "the package fsspec is not installed; pip install 'darknet-bn[parquet]'"),
        ("ray", "Ray is not installed; pip install 'darknet-bn[ray]'"),
        (
            "sympy",
            "the package sympy is needed to quantise; pip install 'darknet-bn[quantize]'",
        ),
    ],
)
def test_what_to_type_is_said_of_each(
    name: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(dn.DarknetError) as caught:
        load_extra(name)
    assert str(caught.value) == message


def test_what_is_to_be_installed_with_the_package_is_declared_by_it() -> None:
    parts = {part for each in EXTRAS.values() for part in re.findall(r"\[([\w-]+)\]", each.install)}
    declared = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    assert parts == {
        "coco",
        "fast",
        "image",
        "ncnn",
        "onnx",
        "parquet",
        "quantize",
        "ray",
        "tensorboard",
        "tflite",
        "tflite-int8",
        "torch",
        "video",
    }
    for part in parts:
        assert f"\n{part} = [" in declared


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("raise ImportError('libGL.so.1: no such file\\nat all')", "ImportError: libGL.so.1: no"),
        ("raise AttributeError('numpy')", "AttributeError: numpy"),
        ("raise RuntimeError('two copies')", "RuntimeError: two copies"),
    ],
)
def test_what_is_there_and_broken_is_not_called_absent(
    package: Path, source: str, found: str
) -> None:
    package.write_text(source)
    with pytest.raises(dn.DarknetError) as caught:
        load()
    message = str(caught.value)
    assert message.startswith("the package heavy is installed, but cannot be imported (found ")
    assert found in message
    assert "\n" not in message


# In a process of its own: engines that other tests load may leave no room for a signal's frame on
# the stack that pytest has set up for them.
SIGNALLED = """
import signal
from darknet_bn.optional import load_extra

number = signal.{name}
arrived = []
signal.signal(number, lambda which, _: arrived.append(which))
heavy = load_extra("heavy")
assert heavy.whole
assert arrived == [number]
"""
HEAVY = """
import signal
try:
    signal.raise_signal(signal.{name})
except BaseException as error:
    raise ImportError("not installed") from error
whole = True
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_waits_until_the_import_is_over(name: str, package: Path) -> None:
    package.write_text(HEAVY.format(name=name))
    places = os.pathsep.join([str(package.parent), str(Path(dn.__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED.format(name=name)],
        env=os.environ | {"PYTHONPATH": places},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_so_does_one_that_only_windows_has(package: Path) -> None:
    package.write_text(HEAVY.format(name="SIGBREAK"))
    places = os.pathsep.join([str(package.parent), str(Path(dn.__file__).parents[1])])
    program = "import signal; signal.SIGBREAK = signal.SIGUSR1\n" + SIGNALLED.format(
        name="SIGBREAK"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": places},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_another_thread_imports_too(package: Path) -> None:
    package.write_text("x = 1")
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(load()))
    thread.start()
    thread.join()
    assert len(found) == 1
