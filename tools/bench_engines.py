"""A model in one engine: through a session, and by hand.  ``tools/bench.py engines`` calls it.

Run as a program it first answers with a line of JSON: how long the start took.  Then it answers
every line of input, a number of images, with the seconds of each through the session and of each by
hand, which take turns.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import darknet_bn as dn
from darknet_bn.run.outputs import compute_outputs
from darknet_bn.run.random_input import random_input

Run = Callable[[np.ndarray], object]


def _numpy(model: dn.Model, folder: Path) -> Run:
    return lambda x: dn.forward(model, x)


def _onnx(model: dn.Model, folder: Path, batch: int | str) -> str:
    path = folder / "model.onnx"
    dn.export_onnx(model, path, batch=batch, prove=False)
    return str(path)


def _onnxruntime(model: dn.Model, folder: Path) -> Run:
    import onnxruntime

    path = _onnx(model, folder, "any")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})


def _openvino(model: dn.Model, folder: Path) -> Run:
    import openvino

    options = {"INFERENCE_PRECISION_HINT": "f32"}
    return openvino.Core().compile_model(_onnx(model, folder, 1), "CPU", options)


def _opencv(model: dn.Model, folder: Path) -> Run:
    import cv2

    if hasattr(cv2.dnn, "readNetFromDarknet"):
        files = folder / "model.cfg", folder / "model.weights"
        dn.save(dn.fold_batchnorm(model), *files)
        net = cv2.dnn.readNetFromDarknet(*map(str, files))
    else:
        net = cv2.dnn.readNetFromONNX(_onnx(model, folder, 1))
    names = net.getUnconnectedOutLayersNames()

    def run(x: np.ndarray) -> object:
        net.setInput(x)
        return net.forward(names)

    return run


def _litert(model: dn.Model, folder: Path) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    path = folder / "model.tflite"
    dn.export_tflite(model, path, prove=False)
    interpreter = Interpreter(model_path=str(path), num_threads=os.cpu_count())
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    outputs = [each["index"] for each in interpreter.get_output_details()]

    def run(x: np.ndarray) -> object:
        interpreter.set_tensor(given["index"], x.transpose(0, 2, 3, 1))
        interpreter.invoke()
        return [interpreter.get_tensor(each) for each in outputs]

    return run


def _ncnn(model: dn.Model, folder: Path) -> Run:
    import ncnn

    path = folder / "model.param"
    outputs = dn.export_ncnn(model, path, prove=False).outputs
    net = ncnn.Net()
    for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"):
        setattr(net.opt, f"use_{name}", False)  # float32, as the session
    net.load_param(str(path))
    net.load_model(str(path.with_suffix(".bin")))
    (name,) = net.input_names()

    def run(x: np.ndarray) -> object:
        extractor = net.create_extractor()
        extractor.input(name, ncnn.Mat(x[0]).clone())
        return [np.array(extractor.extract(each)[1]) for each in outputs]

    return run


def _torch(model: dn.Model, folder: Path) -> Run:
    import torch

    module = dn.to_torch(model)

    def run(x: np.ndarray) -> object:
        with torch.inference_mode():
            return module(torch.tensor(x))

    return run


BY_HAND = {
    "numpy": _numpy,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "opencv": _opencv,
    "litert": _litert,
    "ncnn": _ncnn,
    "torch": _torch,
}


def main(engine: str, cfg: str, weights: str) -> None:
    """Answer until there are no more lines."""
    started = time.perf_counter()
    model = dn.load(cfg, weights)
    x = random_input(model.network)
    try:
        session = dn.open_session(model, engine)
    except dn.DarknetError as error:
        sys.exit(str(error))

    def through_session() -> object:
        return compute_outputs(model, x, "outputs", session=session)

    through_session()
    print(json.dumps([session.engine, time.perf_counter() - started]), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        made = BY_HAND[engine](model, Path(folder)) if engine in BY_HAND else None
        ways = [through_session, *([] if made is None else [lambda: made(x)])]
        for line in sys.stdin:
            seconds: list[list[float]] = [[] for _ in ways]
            pairs = list(zip(ways, seconds, strict=True))
            for count in range(-1, int(line)):
                pairs.reverse()  # who comes second may find the image in the processor's cache
                for way, times in pairs:
                    begin = time.perf_counter()
                    way()
                    if count >= 0:  # before that, caches are warmed up
                        times.append(time.perf_counter() - begin)
            print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
