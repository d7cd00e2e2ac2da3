"""The two files: what stands in them, byte by byte."""

from __future__ import annotations

import io

import numpy as np
import pytest

from darknet_bn.convert.ncnn.net import NcnnLayer, NcnnNet, Weights, net_of


def content(*arrays: Weights) -> bytes:
    stream = io.BytesIO()
    NcnnNet((NcnnLayer("X", "x", (), ("x",), {}, arrays),)).write_bin(stream)
    assert len(stream.getvalue()) == sum(each.size for each in arrays)
    return stream.getvalue()


def test_lines_of_the_text() -> None:
    net = NcnnNet(
        (
            NcnnLayer("Input", "x", (), ("x",), {0: 4, 1: 6, 2: 3}),
            NcnnLayer("Convolution", "y", ("x",), ("y",), {10: [0.1], 9: 2, 0: 8}),
        )
    )
    assert net.param().decode().splitlines() == [
        "7767517",
        "2 2",
        "Input x 0 1 x 0=4 1=6 2=3",
        "Convolution y 1 1 x y 0=8 9=2 -23310=1,0.1",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(2, "2"), (2.0, "2.0"), (1e-12, "1e-12"), (np.float32(0.1), "0.1"), (-3e38, "-3e+38")],
)
def test_integers_have_no_point_and_floats_have_one(value: float, text: str) -> None:
    line = NcnnLayer("X", "x", (), ("x",), {0: value}).line()
    assert line == f"X x 0 1 x 0={text}"


def test_a_blob_that_several_read_is_split() -> None:
    layers = [
        NcnnLayer("Input", "x", (), ("x",)),
        NcnnLayer("A", "a", ("x", "x"), ("a",)),
        NcnnLayer("B", "b", ("x", "a"), ("b",)),
    ]
    lines = net_of(layers).param().decode().splitlines()[1:]
    assert lines == [
        "4 6",
        "Input x 0 1 x",
        "Split x_splitncnn 1 3 x x_splitncnn_0 x_splitncnn_1 x_splitncnn_2",
        "A a 2 1 x_splitncnn_0 x_splitncnn_1 a",
        "B b 2 1 x_splitncnn_2 a b",
    ]


def test_weights_say_how_they_are_stored_and_end_at_a_word() -> None:
    values = np.array([1, 2, 3])
    single = content(Weights(values.astype(np.float32), tagged=True))
    assert single == bytes(4) + values.astype("<f4").tobytes()
    half = content(Weights(values.astype(np.float16), tagged=True))
    assert half == bytes.fromhex("476b3001") + values.astype("<f2").tobytes() + bytes(2)
    whole = content(Weights(values.astype(np.int8), tagged=True))
    assert whole == bytes.fromhex("384b0d00") + bytes([1, 2, 3, 0])
    assert content(Weights(values.astype(np.float32))) == values.astype("<f4").tobytes()
