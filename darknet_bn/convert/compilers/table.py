"""The compilers: what each takes, and the commands that it is called with.

Sources, read in November 2026; none of these programs can be run where this is tested.

- Hailo Dataflow Compiler: user guide 3.30, chapter "Supported layers"; the forum of Hailo.
- RKNN-Toolkit2: ``doc/RKNNToolKit2_OP_Support`` 2.1, user guide of the SDK 2.3, chapter 3.1.
- Vitis AI 3.5: UG1414, "Currently supported operators", and what its quantiser prints (0.1 becomes
  26/256); windows of maximum pooling reach 8 pixels.
- TensorRT: ``docs/operators.md`` of onnx-tensorrt for 8.4; the pages on going from 10 to 11.
- Edge TPU: coral.ai, "TensorFlow models on the Edge TPU".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from darknet_bn.convert.compilers import replacements as put
from darknet_bn.convert.compilers import templates
from darknet_bn.convert.compilers.limits import (
    Operators,
    clips_to,
    operators,
    slope_of,
    up_to_four,
    window_up_to,
)
from darknet_bn.convert.compilers.rewriting import Replacement


@dataclass(frozen=True)
class Calibration:
    """The form of the pictures that a compiler takes to find the range of values.

    Attributes
    ----------
    layout : "NHWC" or "NCHW"
    levels : bool
        Whether values are whole levels from 0 to 255, in uint8; else float32 from 0 to 1.
    apart : bool
        Whether each picture has a file of its own, without the first axis.
    """

    layout: Literal["NHWC", "NCHW"]
    levels: bool
    apart: bool = False


@dataclass(frozen=True)
class Compiler:
    """What a compiler takes.

    Attributes
    ----------
    title : str
        Its full name, for people.
    opset : int
        The version of ONNX's operators that it is given.
    operators : mapping from str to function
        Those that it has, with its limits.
    replacements : tuple of Replacement
        For those that it does not have.
    calibration : Calibration
    commands, calibrated : tuple of str
        Templates of the commands, without pictures to calibrate with and with them.
    files : mapping from str to str
        Templates of files that the commands read, by the end of their names.
    calibration_files : mapping from str to str
        More of them, only with pictures to calibrate with.
    suffix : str
        The end of the name of the model's file.
    """

    title: str
    opset: int
    operators: Operators
    replacements: tuple[Replacement, ...]
    calibration: Calibration
    commands: tuple[str, ...]
    calibrated: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    calibration_files: Mapping[str, str] = field(default_factory=dict)
    suffix: str = ".onnx"


_COMMON = (
    "Conv ConvTranspose Gemm BatchNormalization MaxPool AveragePool GlobalAveragePool Add Mul "
    "Concat Split Slice Resize Pad Flatten Identity Relu LeakyRelu Clip"
)
COMPILERS: Mapping[str, Compiler] = {
    "hailo": Compiler(
        title="Hailo Dataflow Compiler",
        opset=17,
        operators=operators(
            f"{_COMMON} Sub Div Max MatMul Elu Sigmoid Tanh Softplus Exp Sqrt Softmax "
            "DepthToSpace SpaceToDepth ReduceMax ReduceSum ReduceL2",
            MaxPool=window_up_to(5),
        ),
        replacements=(put.MISH, put.SELU, put.NEGATIVE, put.SUM, put.LARGE_POOLS),
        calibration=Calibration("NHWC", levels=True),
        files={".alls": templates.HAILO_SCRIPT},
        commands=templates.HAILO_RANDOM,
        calibrated=templates.HAILO,
    ),
    "rknn": Compiler(
        title="RKNN-Toolkit2",
        opset=18,
        operators=operators(
            f"{_COMMON} Sub Div Max MatMul Mish Elu Sigmoid Tanh Softplus Exp Sqrt Pow Floor "
            "Softmax DepthToSpace SpaceToDepth ReduceMax ReduceSum Greater Equal Where Unsqueeze",
            MaxPool=window_up_to(7),
            Reshape=up_to_four,
            Transpose=up_to_four,
        ),
        replacements=(put.SELU, put.NEGATIVE, put.SUM, put.ROOT, put.LARGE_POOLS, put.REORG),
        calibration=Calibration("NHWC", levels=True, apart=True),
        files={".yml": templates.RKNN_CONFIG},
        calibration_files={".dataset.txt": templates.RKNN_DATASET},
        commands=templates.RKNN,
        calibrated=templates.RKNN,
    ),
    "dpu": Compiler(
        title="Vitis AI for the DPU",
        opset=17,
        operators=operators(
            "Gemm BatchNormalization GlobalAveragePool Add Mul Concat Split Slice Resize Pad "
            "Flatten Identity Relu",
            Conv=window_up_to(16),
            ConvTranspose=window_up_to(16),
            MaxPool=window_up_to(8),
            AveragePool=window_up_to(8),
            LeakyRelu=slope_of(26 / 256),
            Clip=clips_to((0, 6)),
        ),
        replacements=(put.SUM, put.LARGE_POOLS, put.DPU_LEAKY),
        calibration=Calibration("NCHW", levels=False),
        calibration_files={".quantize.py": templates.DPU_PROGRAM},
        commands=templates.DPU_NONE,
        calibrated=templates.DPU,
    ),
    "tensorrt": Compiler(
        title="TensorRT",
        opset=13,
        operators=operators(
            f"{_COMMON} Sub Div Max MatMul Sum Neg Elu Selu Sigmoid Tanh Softplus Exp Sqrt Pow "
            "Floor Softmax DepthToSpace SpaceToDepth ReduceMax ReduceSum ReduceL2 Greater Equal "
            "Where Unsqueeze Reshape Transpose GatherND Cast"
        ),
        replacements=(put.MISH,),
        calibration=Calibration("NCHW", levels=False),
        commands=templates.TENSORRT,
        calibrated=templates.TENSORRT_INT8,
    ),
}
"""The compilers that `export_for` writes files for."""

EDGETPU = Compiler(
    title="Edge TPU compiler",
    opset=18,
    operators=operators(
        "Conv ConvTranspose Gemm MaxPool AveragePool GlobalAveragePool Add Sub Mul Max Concat "
        "Split Slice Resize Pad Flatten Reshape Identity Relu Sigmoid Tanh Softmax SpaceToDepth "
        "ReduceMax ReduceSum",
        Clip=clips_to((0, 6), (-1, 1)),
    ),
    replacements=(put.SUM, put.LEAKY_AS_LARGEST),
    calibration=Calibration("NHWC", levels=False),
    commands=(),
    calibrated=("edgetpu_compiler -s $onnx",),
    suffix=".tflite",
)
"""The one that takes TensorFlow Lite: `export_edgetpu` writes its file."""
