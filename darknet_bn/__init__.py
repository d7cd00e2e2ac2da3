"""Read, run, train, fold, verify and convert Darknet models (``.cfg`` + ``.weights``).

>>> import darknet_bn as dn
>>> model = dn.load("yolov3-tiny")  # yolov3-tiny.cfg and yolov3-tiny.weights  # doctest: +SKIP
>>> outputs = dn.forward(model, x)  # doctest: +SKIP
>>> folded = dn.fold_batchnorm(model)  # doctest: +SKIP
>>> dn.save(folded, "folded.cfg", "folded.weights")  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

from darknet_bn import kernels
from darknet_bn.checks.compare import compare
from darknet_bn.checks.differences import Report
from darknet_bn.checks.fixture import Fixture, load_fixture
from darknet_bn.checks.proof import Proof, prove
from darknet_bn.checks.verify import record, verify
from darknet_bn.convert import load_arrays, save_arrays
from darknet_bn.convert.onnx.export import Exported, export_onnx
from darknet_bn.data import Dataset, load_dataset
from darknet_bn.dialect import ALEXEYAB, DIALECTS, HANK_AI, OPENCV, PJREDDIE, PJREDDIE_GPU, Dialect
from darknet_bn.engines.base import Session
from darknet_bn.engines.onnxruntime import OnnxFile
from darknet_bn.engines.table import open_session
from darknet_bn.errors import (
    CfgError,
    DarknetError,
    DarknetWarning,
    DataError,
    DataWarning,
    ExportError,
    FixtureError,
    FoldError,
    ImageError,
    ProofError,
    ShapeError,
    TrainingError,
    WeightsError,
    Where,
)
from darknet_bn.formats.cfg import Cfg, load_cfg, parse_cfg
from darknet_bn.formats.names import load_data, load_names
from darknet_bn.model.model import Model, load, save
from darknet_bn.model.network import Network, build_network, detect_dialect
from darknet_bn.model.summary import inspect, summarise
from darknet_bn.model.weights import Header
from darknet_bn.pictures.batches import Batches, picture_batches
from darknet_bn.pictures.images import letterbox_image as letterbox
from darknet_bn.pictures.images import load_image, resize_image, save_image
from darknet_bn.pictures.prepare import prepare
from darknet_bn.predictions import Detection, detections, nms
from darknet_bn.predictions.average_precision import AveragePrecision, average_precision
from darknet_bn.predictions.classification import classify
from darknet_bn.predictions.drawing import draw_detections
from darknet_bn.predictions.evaluation import Accuracy, evaluate
from darknet_bn.run.run import forward, reset_state
from darknet_bn.training import (
    Progress,
    TrainState,
    TrainStep,
    load_checkpoint,
    save_checkpoint,
    train,
    train_state,
    train_step,
)
from darknet_bn.transforms.calibrate import Calibration, calibrate
from darknet_bn.transforms.fold import FoldedLayer, check_fold, fold_batchnorm, fold_report
from darknet_bn.version import __version__

if TYPE_CHECKING:
    from darknet_bn.opencv import (
        ClassificationModel,
        DetectionModel,
        dnn_ClassificationModel,
        dnn_DetectionModel,
        readNet,
        readNetFromDarknet,
    )

__all__ = [
    "ALEXEYAB",
    "DIALECTS",
    "HANK_AI",
    "OPENCV",
    "PJREDDIE",
    "PJREDDIE_GPU",
    "Accuracy",
    "AveragePrecision",
    "Batches",
    "Calibration",
    "Cfg",
    "CfgError",
    "ClassificationModel",
    "DarknetError",
    "DarknetWarning",
    "DataError",
    "DataWarning",
    "Dataset",
    "Detection",
    "DetectionModel",
    "Dialect",
    "ExportError",
    "Exported",
    "Fixture",
    "FixtureError",
    "FoldError",
    "FoldedLayer",
    "Header",
    "ImageError",
    "Model",
    "Network",
    "OnnxFile",
    "Progress",
    "Proof",
    "ProofError",
    "Report",
    "Session",
    "ShapeError",
    "TrainState",
    "TrainStep",
    "TrainingError",
    "WeightsError",
    "Where",
    "__version__",
    "average_precision",
    "build_network",
    "calibrate",
    "check_fold",
    "classify",
    "compare",
    "detect_dialect",
    "detections",
    "dnn_ClassificationModel",
    "dnn_DetectionModel",
    "draw_detections",
    "evaluate",
    "export_onnx",
    "fold_batchnorm",
    "fold_report",
    "forward",
    "inspect",
    "kernels",
    "letterbox",
    "load",
    "load_arrays",
    "load_cfg",
    "load_checkpoint",
    "load_data",
    "load_dataset",
    "load_fixture",
    "load_image",
    "load_names",
    "nms",
    "open_session",
    "parse_cfg",
    "picture_batches",
    "prepare",
    "prove",
    "readNet",
    "readNetFromDarknet",
    "record",
    "reset_state",
    "resize_image",
    "save",
    "save_arrays",
    "save_checkpoint",
    "save_image",
    "summarise",
    "train",
    "train_state",
    "train_step",
    "verify",
]

_OF_OPENCV = (
    "ClassificationModel",
    "DetectionModel",
    "dnn_ClassificationModel",
    "dnn_DetectionModel",
    "readNet",
    "readNetFromDarknet",
)


def __getattr__(name: str) -> Any:
    """Import the names of OpenCV when they are asked for: most programs do not need them."""
    if name != "opencv" and name not in _OF_OPENCV:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import darknet_bn.opencv as opencv

    return opencv if name == "opencv" else getattr(opencv, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
