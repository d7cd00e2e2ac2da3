"""The commands of compilers, and the files that these read, with places for names.

The places: ``$onnx``, the model's file; ``$name``, its name without folder and suffix; ``$stem``,
without suffix; ``$folder``; ``$nodes``, the end nodes; ``$outputs``, what they are called;
``$zeros`` and ``$levels``, 0 and 255 for each channel; ``$dims``; ``$calibration``, the file of
pictures; ``$pictures``, a line for each picture's file; ``$quantize``, whether there are pictures.
"""

from __future__ import annotations

HAILO_SCRIPT = "normalization1 = normalization($zeros, $levels)\n"
_HAILO = "hailo parser onnx $onnx --net-name $name --hw-arch hailo8 --end-node-names $nodes -y"
_HAILO_OPTIMIZE = "hailo optimize $name.har --hw-arch hailo8 --model-script $stem.alls"
_HAILO_OPTIMIZED = "--output-har-path ${name}_optimized.har"
_HAILO_COMPILE = "hailo compiler ${name}_optimized.har --hw-arch hailo8"
HAILO = (
    _HAILO,
    f"{_HAILO_OPTIMIZE} --calib-set-path $calibration {_HAILO_OPTIMIZED}",
    _HAILO_COMPILE,
)
HAILO_RANDOM = (
    _HAILO,
    f"{_HAILO_OPTIMIZE} --use-random-calib-set {_HAILO_OPTIMIZED}",
    _HAILO_COMPILE,
)

RKNN_CONFIG = """\
models:
    name: $name
    platform: onnx
    model_file_path: ./$name.onnx
    subgraphs:
      input_size_list:
        - $dims
      inputs:
        - input
      outputs:
$outputs
    quantize: $quantize
    configs:
      quantized_dtype: asymmetric_quantized-8
      mean_values: $zeros
      std_values: $levels
      quant_img_RGB2BGR: false
      quantized_algorithm: normal
      quantized_method: channel
"""
RKNN_DATASET = "$pictures\n"
RKNN = ("python -m rknn.api.rknn_convert -t rk3588 -i $stem.yml -o $folder",)

DPU_PROGRAM = '''\
"""Quantise $name.onnx for the DPU with Vitis AI's vai_q_onnx."""

import numpy as np
import vai_q_onnx
from onnxruntime.quantization import CalibrationDataReader


class Pictures(CalibrationDataReader):
    """One picture after the other, as the net takes them."""

    def __init__(self):
        self.rows = iter(np.load("$name.calibration.npy", mmap_mode="r"))

    def get_next(self):
        x = next(self.rows, None)
        return None if x is None else {"input": np.array(x[None])}


vai_q_onnx.quantize_static(
    "$name.onnx",
    "${name}_dpu.onnx",
    Pictures(),
    quant_format=vai_q_onnx.QuantFormat.QDQ,
    calibrate_method=vai_q_onnx.PowerOfTwoMethod.MinMSE,
    activation_type=vai_q_onnx.QuantType.QInt8,
    weight_type=vai_q_onnx.QuantType.QInt8,
    enable_dpu=True,
    extra_options={"ActivationSymmetric": True},
)
'''
DPU = ("cd $folder && python $name.quantize.py",)
DPU_NONE: tuple[str, ...] = ()

_ENGINE = "--saveEngine=$stem.engine"
TENSORRT = (
    f"trtexec --onnx=$onnx {_ENGINE} --fp16  # TensorRT up to 10",
    "python -m modelopt.onnx.autocast --onnx_path $onnx --output_path ${stem}_fp16.onnx"
    "  # from TensorRT 11 on, with the next line",
    f"trtexec --onnx=${{stem}}_fp16.onnx {_ENGINE}",
)
TENSORRT_INT8 = (
    "python -m modelopt.onnx.quantization --onnx_path=$onnx --quantize_mode=int8 "
    "--calibration_data=$calibration --output_path=${stem}_int8.onnx",
    f"trtexec --onnx=${{stem}}_int8.onnx {_ENGINE} --fp16 --int8  # TensorRT up to 10",
    f"trtexec --onnx=${{stem}}_int8.onnx {_ENGINE}  # from TensorRT 11 on",
)
