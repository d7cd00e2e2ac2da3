"""Every engine is told on how many threads it may compute, if that was said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import darknet_bn as dn
from darknet_bn.optional import load_extra
from darknet_bn.work.threads import usable_cores
from tests.support.builders import cfg_text, random_model
from tests.support.engines import installed

Recorded = list[dict[str, Any]]
CONV = "[convolutional] filters=6 size=3 stride=1 pad=1 activation=leaky batch_normalize=1"
MODEL = random_model(cfg_text(CONV, width=16, height=16), "opencv")


def needs(engine: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not installed(engine), reason=f"{engine} is not installed")


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """A function that sets a number of threads, or none."""

    def set_threads(threads: int | None) -> None:
        if threads is None:
            monkeypatch.delenv("DARKNET_BN_THREADS", raising=False)
        else:
            monkeypatch.setenv("DARKNET_BN_THREADS", f"{threads}")

    return set_threads


def recorded(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> Recorded:
    """A list that gets the named arguments of each call of a function."""
    calls: Recorded = []
    original = getattr(module, name)

    def record(*args: Any, **named: Any) -> Any:
        calls.append(named | {"args": args})
        return original(*args, **named)

    monkeypatch.setattr(module, name, record)
    return calls


@needs("onnxruntime")
def test_onnxruntime(give: Callable[[int | None], None], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = recorded(monkeypatch, load_extra("onnxruntime"), "InferenceSession")
    for threads in (None, 1, 3):
        give(threads)
        dn.open_session(MODEL, "onnxruntime")
    assert [each["args"][1].intra_op_num_threads for each in calls] == [0, 1, 3]


@needs("openvino")
def test_openvino(give: Callable[[int | None], None], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = recorded(monkeypatch, load_extra("openvino"), "compile_model")
    for threads in (None, 1, 3):
        give(threads)
        dn.open_session(MODEL, "openvino")
    options = [each["args"][2] for each in calls]
    assert [each.get("INFERENCE_NUM_THREADS") for each in options] == [None, 1, 3]


@needs("litert")
def test_litert(give: Callable[[int | None], None], monkeypatch: pytest.MonkeyPatch) -> None:
    module = load_extra("ai_edge_litert.interpreter")
    calls = recorded(monkeypatch, module, "Interpreter")
    for threads in (None, 1, 3):
        give(threads)
        dn.open_session(MODEL, "litert")
    assert [each["num_threads"] for each in calls] == [usable_cores(), 1, 3]


@needs("ncnn")
def test_ncnn(give: Callable[[int | None], None], monkeypatch: pytest.MonkeyPatch) -> None:
    ncnn, nets = load_extra("ncnn"), []
    kind = ncnn.Net

    def make() -> Any:
        nets.append(kind())
        return nets[-1]

    monkeypatch.setattr(ncnn, "Net", make)
    for threads in (None, 1, 3):
        give(threads)
        dn.open_session(MODEL, "ncnn")
    assert [each.opt.num_threads for each in nets] == [kind().opt.num_threads, 1, 3]


@needs("opencv")
def test_opencv(give: Callable[[int | None], None]) -> None:
    cv2 = load_extra("cv2")
    before = cv2.getNumThreads()
    try:
        for threads, expected in ((None, before), (1, 1), (3, 3), (None, 3)):
            give(threads)
            dn.open_session(MODEL, "opencv")
            assert cv2.getNumThreads() == expected
    finally:
        cv2.setNumThreads(before)


@needs("torch")
def test_torch(give: Callable[[int | None], None]) -> None:
    torch = load_extra("torch")
    before = torch.get_num_threads()
    try:
        for threads, expected in ((None, before), (1, 1), (3, 3), (None, 3)):
            give(threads)
            dn.open_session(MODEL, "torch")
            assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)
