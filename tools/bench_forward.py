"""One image through a model, in one engine.  ``tools/bench.py forward`` and ``all`` call it.

Run as a program it is one engine: for every line of input it times some forward passes, and answers
with a line of JSON.  When there are no more lines it saves its outputs, to be compared.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from bench_asked import THREADS, Asked, Rounds, in_turn, passes, started

import darknet_bn as dn
from darknet_bn.kernels.choice import compiled_wanted

Run = Callable[[], list[np.ndarray]]

OURS = ("numpy", "compiled")
DARKNET = "/usr/lib/darknet/libdarknet.so"


def measured(
    cfg: Path, weights: Path, folder: Path, engines: tuple[str, ...], rounds: int
) -> tuple[dict[str, Rounds], list[str]]:
    """Time an image in several engines; return the times, and lines on how outputs differ."""

    def make(name: str) -> Callable[[], Asked]:
        kernels = {"DARKNET_BN_KERNELS": name} if name in OURS else {}
        return lambda: Asked(__file__, name, str(cfg), str(weights), str(folder), **kernels)

    asked = started({name: make(name) for name in engines})
    times = in_turn(asked, rounds)
    for process in asked.values():
        process.close()
    return times, list(differences({name: _saved(folder, name) for name in asked}))


def differences(outputs: Mapping[str, list[np.ndarray]]) -> Iterator[str]:
    """Say how far outputs are from those of the first engine, as far as they are the same arrays.

    Darknet hands out those of the last layer only; an OpenCV 4 decodes those of ``[yolo]``.
    """
    base = next(iter(outputs), "")
    for name, theirs in outputs.items():
        ours = outputs[base][-len(theirs) :]
        if name == base:
            continue
        if [each.shape for each in ours] != [each.shape for each in theirs]:
            yield f"{name} gives decoded boxes, which are not compared here"
            continue
        error = max(
            np.abs(a - b).max() / np.abs(a).max() for a, b in zip(ours, theirs, strict=True)
        )
        yield f"{name} differs from {base} by {error:.1e} of the largest value"


def _saved(folder: Path, name: str) -> list[np.ndarray]:
    with np.load(folder / f"{name}.npz") as archive:
        return [archive[key] for key in archive.files]


def _ours(cfg: Path, weights: Path, folder: Path, x: np.ndarray) -> Run:
    compiled_wanted()  # an error if there is no numba
    model = dn.load(cfg, weights)
    return lambda: list(dn.forward(model, x).values())


def _session(engine: str) -> Callable[[Path, Path, Path, np.ndarray], Run]:
    def prepare(cfg: Path, weights: Path, folder: Path, x: np.ndarray) -> Run:
        session = dn.open_session(dn.load(cfg, weights), engine)
        return lambda: list(session.forward(x).values())

    return prepare


def _opencv(cfg: Path, weights: Path, folder: Path, x: np.ndarray) -> Run:
    import cv2

    cv2.setNumThreads(THREADS)
    net = cv2.dnn.readNetFromDarknet(str(cfg), str(weights))
    names = net.getUnconnectedOutLayersNames()

    def run() -> list[np.ndarray]:
        net.setInput(x)
        return list(net.forward(names))

    return run


def _onnxruntime(cfg: Path, weights: Path, folder: Path, x: np.ndarray) -> Run:
    import onnxruntime
    from bench_onnx import write_onnx

    path = folder / "model.onnx"
    write_onnx(dn.load(cfg, weights), path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})


def _darknet(cfg: Path, weights: Path, folder: Path, x: np.ndarray) -> Run:
    """Debian's library of 2018, which has one thread and reads pjreddie's sections only."""
    darknet = ctypes.CDLL(DARKNET)
    darknet.load_network.restype = ctypes.c_void_p
    predict, floats = darknet.network_predict, ctypes.POINTER(ctypes.c_float)
    predict.argtypes, predict.restype = [ctypes.c_void_p, floats], floats
    net = ctypes.c_void_p(darknet.load_network(bytes(cfg), bytes(weights), 0))
    darknet.set_batch_network(net, 1)
    *_, last = dn.build_network(dn.load_cfg(cfg), dn.PJREDDIE).nodes
    shape = (1, *last.y.dims)

    def run() -> list[np.ndarray]:
        y = predict(net, x.ctypes.data_as(floats))
        return [np.ctypeslib.as_array(y, shape).copy()]

    return run


ENGINES = {
    "numpy": _ours,
    "compiled": _ours,
    "onnxruntime": _onnxruntime,
    "session": _session("onnxruntime"),
    "openvino": _session("openvino"),
    "opencv": _opencv,
    "torch": _session("torch"),
    "darknet": _darknet,
}


def main(name: str, *given: str) -> None:
    """Be an engine."""
    cfg, weights, folder = map(Path, given)
    dims = dn.build_network(dn.load_cfg(cfg), dn.ALEXEYAB).input.dims
    x = np.random.default_rng(0).random((1, *dims), np.float32)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # programs print
    try:
        run = ENGINES[name](cfg, weights, folder, x)
        outputs = run()
    except (dn.DarknetError, ImportError, OSError, AttributeError) as error:
        sys.exit(f"{error}")
    print(json.dumps("ready"), file=answers, flush=True)
    for _ in sys.stdin:
        print(json.dumps(passes(run)), file=answers, flush=True)
    np.savez(folder / f"{name}.npz", *outputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
