"""The bytes of a TFLite file."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.convert.tflite import flat_model
from darknet_bn.convert.tflite.flat_model import FlatModel, Operator, Tensor, read_metadata

pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")


def small_model(count: int = 3) -> FlatModel:
    """A net that adds numbers to its input, and says so."""
    x, y = Tensor("x", (1, count)), Tensor("y", (1, count))
    numbers = Tensor("numbers", (count,), np.float32, np.arange(count, dtype=np.float32))
    adds = Operator("ADD", (x, numbers), (y,))
    return FlatModel({"x": x}, {"sum": y}, [adds], {"odd": b"\x01\x02\x03", "darknet": b"{}"})


def parsed(data: bytes) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    return schema.Model.GetRootAs(data)


def test_litert_runs_the_bytes() -> None:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=small_model().bytes("a test")).get_signature_runner()
    x = np.array([[5, 6, 7]], np.float32)
    assert np.array_equal(runner(x=x)["sum"], [[5, 7, 9]])


def test_all_arrays_begin_where_the_schema_wants_them() -> None:
    for count in (1, 2, 3, 5, 17):
        data = small_model(count).bytes("a test")
        model = parsed(data)
        whole = np.frombuffer(data, np.uint8)
        starts = []
        for number in range(model.BuffersLength()):
            array = model.Buffers(number).DataAsNumpy()
            if isinstance(array, np.ndarray):
                starts.append(array.ctypes.data - whole.ctypes.data)
        assert len(starts) == 3
        assert [each % 16 for each in starts] == [0, 0, 0]


def test_the_bytes_are_the_same_each_time() -> None:
    assert small_model().bytes("a test") == small_model().bytes("a test")


def test_what_a_file_says_of_itself_is_read() -> None:
    data = small_model().bytes("a test")
    assert read_metadata(data) == {"odd": b"\x01\x02\x03", "darknet": b"{}"}
    assert parsed(data).Description() == b"a test"


@pytest.mark.parametrize("data", [b"", b"no such file at all", b"\xff" * 100])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(dn.ExportError, match="not a TFLite file"):
        read_metadata(data)


def test_damaged_files_are_refused() -> None:
    data = small_model().bytes("a test")
    broken = b"\xff\xff\xff\x7f" + data[4:]
    with pytest.raises(dn.ExportError, match="damaged"):
        read_metadata(broken)
    with pytest.raises(dn.ExportError, match="damaged"):
        read_metadata(data[:60])


def test_what_no_flatbuffer_can_hold_is_refused_before_memory_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flat_model, "_MOST_BYTES", 70_000)
    assert small_model(1000).bytes("a test")
    with pytest.raises(dn.ExportError, match=r"less than 70000 bytes, found 80000"):
        small_model(20_000).bytes("a test")


def test_without_the_package_one_line_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(
        dn.ExportError,
        match=r"^the package ai-edge-litert is not installed; pip install 'darknet-bn\[tflite\]'$",
    ):
        small_model().bytes("a test")
