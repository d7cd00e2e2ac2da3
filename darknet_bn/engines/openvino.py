"""OpenVINO."""

from __future__ import annotations

import threading
from pathlib import Path

from darknet_bn.arrays import F32
from darknet_bn.engines.onnx_session import OnnxSession, Runner
from darknet_bn.errors import DarknetError, one_line
from darknet_bn.model.model import Model
from darknet_bn.optional import load_extra
from darknet_bn.work.threads import threads_given


class OpenVinoSession(OnnxSession):
    """A model in OpenVINO, on the CPU and in float32."""

    any_batch = False  # a fixed size is faster

    def __init__(self, model: Model) -> None:
        self.engine = f"openvino {load_extra('openvino').__version__}"
        super().__init__(model)

    def open(self, path: Path) -> Runner:
        """Open a file."""
        ov = load_extra("openvino")
        options: dict[str, object] = {"INFERENCE_PRECISION_HINT": "f32"}
        threads = threads_given()
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            read = ov.Core().read_model(path)
            compiled = ov.compile_model(read, "CPU", options)
        except RuntimeError as error:
            raise DarknetError(f"openvino cannot load the file: {one_line(error)}") from error
        names = [each.get_any_name() for each in compiled.outputs]
        lock = threading.Lock()  # its request takes one input at a time

        def run(x: F32) -> dict[str, F32]:
            try:
                with lock:
                    found = compiled(x)
            except RuntimeError as error:
                raise DarknetError(f"openvino cannot run the file: {one_line(error)}") from error
            return {name: found[index] for index, name in enumerate(names)}

        return run
