"""Read, run, train, fold, verify and convert Darknet models (``.cfg`` + ``.weights``).

>>> import darknet_bn as dn
>>> model = dn.load("yolov3-tiny")  # yolov3-tiny.cfg and yolov3-tiny.weights  # doctest: +SKIP
>>> outputs = dn.forward(model, x)  # doctest: +SKIP
>>> dn.fold_files(model, "folded").ok  # folded.cfg and folded.weights  # doctest: +SKIP
True
"""

import importlib as _importlib

from darknet_bn.version import __version__

TYPE_CHECKING = False  # as in typing, which takes longer to import than all of this

if TYPE_CHECKING:  # imported on request, by the table at the end
    from typing import Any

    from darknet_bn import kernels
    from darknet_bn.checks.compare import compare
    from darknet_bn.checks.convert import convert_file
    from darknet_bn.checks.diff import ArrayChange, LayerChange, ModelDiff, diff_models
    from darknet_bn.checks.doctor.diagnosis import Diagnosis, Examination, SeenLayer
    from darknet_bn.checks.doctor.examine import examine
    from darknet_bn.checks.export import export_onnx
    from darknet_bn.checks.export_edgetpu import export_edgetpu
    from darknet_bn.checks.export_for import ExportedFor, LayerReplaced, export_for
    from darknet_bn.checks.export_ncnn import export_ncnn
    from darknet_bn.checks.export_tflite import export_tflite
    from darknet_bn.checks.fixture import Fixture, load_fixture
    from darknet_bn.checks.fold import check_fold, fold_files
    from darknet_bn.checks.proof import prove
    from darknet_bn.checks.quantize import quantize_onnx
    from darknet_bn.checks.quantized import Quantized
    from darknet_bn.checks.report.write import write_report
    from darknet_bn.checks.verify import record, verify
    from darknet_bn.checks.which import which_cfg
    from darknet_bn.convert import load_arrays, save_arrays
    from darknet_bn.convert.onnx.export import Exported
    from darknet_bn.convert.prepared import ExportedFiles
    from darknet_bn.convert.pytorch.model import from_torch, to_torch
    from darknet_bn.data import Dataset, load_dataset
    from darknet_bn.data.anchors import FittedAnchors, HeadAnchors, fit_anchors
    from darknet_bn.dialect import (
        ALEXEYAB,
        DIALECTS,
        HANK_AI,
        OPENCV,
        PJREDDIE,
        PJREDDIE_GPU,
        Dialect,
    )
    from darknet_bn.engines.classifier import Classifier
    from darknet_bn.engines.detector import Detector
    from darknet_bn.engines.litert import LiteRtFile
    from darknet_bn.engines.ncnn import NcnnFile
    from darknet_bn.engines.onnxruntime import OnnxFile
    from darknet_bn.engines.picture_rows import PictureRows
    from darknet_bn.engines.table import open_session
    from darknet_bn.engines.training import train
    from darknet_bn.errors import (
        CfgError,
        ConnectionLost,
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
    from darknet_bn.model.which import CfgShift, FittingCfg, WhichCfg
    from darknet_bn.opencv import (
        ClassificationModel,
        DetectionModel,
        dnn_ClassificationModel,
        dnn_DetectionModel,
        readNet,
        readNetFromDarknet,
    )
    from darknet_bn.pictures.batches import Batches, picture_batches
    from darknet_bn.pictures.images import letterbox_image as letterbox
    from darknet_bn.pictures.images import load_image, resize_image, save_image
    from darknet_bn.pictures.prepare import prepare
    from darknet_bn.pictures.video import Video, VideoFrame
    from darknet_bn.pictures.video_files import write_video
    from darknet_bn.predictions import Detection, detections, nms
    from darknet_bn.predictions.average_precision import AveragePrecision, average_precision
    from darknet_bn.predictions.classification import classify
    from darknet_bn.predictions.coco import CocoNumbers, coco_numbers
    from darknet_bn.predictions.coco_file import load_coco_truth
    from darknet_bn.predictions.confusion import Confusion, confusion
    from darknet_bn.predictions.drawing import draw_detections
    from darknet_bn.predictions.evaluation import Accuracy, evaluate
    from darknet_bn.predictions.findings import Findings, find_boxes
    from darknet_bn.predictions.supervision import to_supervision
    from darknet_bn.predictions.track_drawing import draw_tracks
    from darknet_bn.predictions.tracks import LineCounter, Track, Tracker
    from darknet_bn.run.differences import Difference, Report
    from darknet_bn.run.heads import run_heads
    from darknet_bn.run.run import Runner, forward
    from darknet_bn.run.session import Session
    from darknet_bn.training import (
        Progress,
        TrainState,
        TrainStep,
        load_checkpoint,
        save_checkpoint,
        train_state,
        train_step,
    )
    from darknet_bn.transforms.average import average_models
    from darknet_bn.transforms.calibrate import Calibration, calibrate
    from darknet_bn.transforms.classes import keep_classes
    from darknet_bn.transforms.edit import (
        rescale_input,
        save_first_layers,
        swap_red_blue,
        with_header,
    )
    from darknet_bn.transforms.fold import FoldedLayer, fold_batchnorm, fold_report
    from darknet_bn.transforms.prune import PrunedLayer, Pruning, prune_channels
    from darknet_bn.transforms.ranges import ActivationRanges, TensorRange, activation_ranges
    from darknet_bn.transforms.to_dialect import RewrittenNorm, to_dialect

__all__ = [
    "ALEXEYAB",
    "DIALECTS",
    "HANK_AI",
    "OPENCV",
    "PJREDDIE",
    "PJREDDIE_GPU",
    "Accuracy",
    "ActivationRanges",
    "ArrayChange",
    "AveragePrecision",
    "Batches",
    "Calibration",
    "Cfg",
    "CfgError",
    "CfgShift",
    "ClassificationModel",
    "Classifier",
    "CocoNumbers",
    "Confusion",
    "ConnectionLost",
    "DarknetError",
    "DarknetWarning",
    "DataError",
    "DataWarning",
    "Dataset",
    "Detection",
    "DetectionModel",
    "Detector",
    "Diagnosis",
    "Dialect",
    "Difference",
    "Examination",
    "ExportError",
    "Exported",
    "ExportedFiles",
    "ExportedFor",
    "Findings",
    "FittedAnchors",
    "FittingCfg",
    "Fixture",
    "FixtureError",
    "FoldError",
    "FoldedLayer",
    "HeadAnchors",
    "Header",
    "ImageError",
    "LayerChange",
    "LayerReplaced",
    "LineCounter",
    "LiteRtFile",
    "Model",
    "ModelDiff",
    "NcnnFile",
    "Network",
    "OnnxFile",
    "PictureRows",
    "Progress",
    "ProofError",
    "PrunedLayer",
    "Pruning",
    "Quantized",
    "Report",
    "RewrittenNorm",
    "Runner",
    "SeenLayer",
    "Session",
    "ShapeError",
    "TensorRange",
    "Track",
    "Tracker",
    "TrainState",
    "TrainStep",
    "TrainingError",
    "Video",
    "VideoFrame",
    "WeightsError",
    "Where",
    "WhichCfg",
    "__version__",
    "activation_ranges",
    "average_models",
    "average_precision",
    "build_network",
    "calibrate",
    "check_fold",
    "classify",
    "coco_numbers",
    "compare",
    "confusion",
    "convert_file",
    "detect_dialect",
    "detections",
    "diff_models",
    "dnn_ClassificationModel",
    "dnn_DetectionModel",
    "draw_detections",
    "draw_tracks",
    "evaluate",
    "examine",
    "export_edgetpu",
    "export_for",
    "export_ncnn",
    "export_onnx",
    "export_tflite",
    "find_boxes",
    "fit_anchors",
    "fold_batchnorm",
    "fold_files",
    "fold_report",
    "forward",
    "from_torch",
    "inspect",
    "keep_classes",
    "kernels",
    "letterbox",
    "load",
    "load_arrays",
    "load_cfg",
    "load_checkpoint",
    "load_coco_truth",
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
    "prune_channels",
    "quantize_onnx",
    "readNet",
    "readNetFromDarknet",
    "record",
    "rescale_input",
    "resize_image",
    "run_heads",
    "save",
    "save_arrays",
    "save_checkpoint",
    "save_first_layers",
    "save_image",
    "summarise",
    "swap_red_blue",
    "to_dialect",
    "to_supervision",
    "to_torch",
    "train",
    "train_state",
    "train_step",
    "verify",
    "which_cfg",
    "with_header",
    "write_report",
    "write_video",
]

_MODULES = {  # the names that come from each module; NEW=OLD if it has another name there
    "darknet_bn.checks.compare": "compare",
    "darknet_bn.checks.convert": "convert_file",
    "darknet_bn.checks.diff": "ArrayChange LayerChange ModelDiff diff_models",
    "darknet_bn.checks.doctor.diagnosis": "Diagnosis Examination SeenLayer",
    "darknet_bn.checks.doctor.examine": "examine",
    "darknet_bn.checks.export": "export_onnx",
    "darknet_bn.checks.export_edgetpu": "export_edgetpu",
    "darknet_bn.checks.export_for": "ExportedFor LayerReplaced export_for",
    "darknet_bn.checks.export_ncnn": "export_ncnn",
    "darknet_bn.checks.export_tflite": "export_tflite",
    "darknet_bn.checks.fixture": "Fixture load_fixture",
    "darknet_bn.checks.fold": "check_fold fold_files",
    "darknet_bn.checks.proof": "prove",
    "darknet_bn.checks.quantize": "quantize_onnx",
    "darknet_bn.checks.quantized": "Quantized",
    "darknet_bn.checks.report.write": "write_report",
    "darknet_bn.checks.verify": "record verify",
    "darknet_bn.checks.which": "which_cfg",
    "darknet_bn.convert": "load_arrays save_arrays",
    "darknet_bn.convert.onnx.export": "Exported",
    "darknet_bn.convert.prepared": "ExportedFiles",
    "darknet_bn.convert.pytorch.model": "from_torch to_torch",
    "darknet_bn.data": "Dataset load_dataset",
    "darknet_bn.data.anchors": "FittedAnchors HeadAnchors fit_anchors",
    "darknet_bn.dialect": "ALEXEYAB DIALECTS Dialect HANK_AI OPENCV PJREDDIE PJREDDIE_GPU",
    "darknet_bn.engines.classifier": "Classifier",
    "darknet_bn.engines.detector": "Detector",
    "darknet_bn.engines.litert": "LiteRtFile",
    "darknet_bn.engines.ncnn": "NcnnFile",
    "darknet_bn.engines.onnxruntime": "OnnxFile",
    "darknet_bn.engines.picture_rows": "PictureRows",
    "darknet_bn.engines.table": "open_session",
    "darknet_bn.engines.training": "train",
    "darknet_bn.errors": (
        "CfgError ConnectionLost DarknetError DarknetWarning DataError DataWarning "
        "ExportError FixtureError FoldError ImageError ProofError ShapeError TrainingError "
        "WeightsError Where"
    ),
    "darknet_bn.formats.cfg": "Cfg load_cfg parse_cfg",
    "darknet_bn.formats.names": "load_data load_names",
    "darknet_bn.model.model": "Model load save",
    "darknet_bn.model.network": "Network build_network detect_dialect",
    "darknet_bn.model.summary": "inspect summarise",
    "darknet_bn.model.weights": "Header",
    "darknet_bn.model.which": "CfgShift FittingCfg WhichCfg",
    "darknet_bn.opencv": (
        "ClassificationModel DetectionModel dnn_ClassificationModel dnn_DetectionModel "
        "readNet readNetFromDarknet"
    ),
    "darknet_bn.pictures.batches": "Batches picture_batches",
    "darknet_bn.pictures.images": "letterbox=letterbox_image load_image resize_image save_image",
    "darknet_bn.pictures.prepare": "prepare",
    "darknet_bn.pictures.video": "Video VideoFrame",
    "darknet_bn.pictures.video_files": "write_video",
    "darknet_bn.predictions": "Detection detections nms",
    "darknet_bn.predictions.average_precision": "AveragePrecision average_precision",
    "darknet_bn.predictions.classification": "classify",
    "darknet_bn.predictions.coco": "CocoNumbers coco_numbers",
    "darknet_bn.predictions.coco_file": "load_coco_truth",
    "darknet_bn.predictions.confusion": "Confusion confusion",
    "darknet_bn.predictions.drawing": "draw_detections",
    "darknet_bn.predictions.evaluation": "Accuracy evaluate",
    "darknet_bn.predictions.findings": "Findings find_boxes",
    "darknet_bn.predictions.supervision": "to_supervision",
    "darknet_bn.predictions.track_drawing": "draw_tracks",
    "darknet_bn.predictions.tracks": "LineCounter Track Tracker",
    "darknet_bn.run.differences": "Difference Report",
    "darknet_bn.run.heads": "run_heads",
    "darknet_bn.run.run": "Runner forward",
    "darknet_bn.run.session": "Session",
    "darknet_bn.training": (
        "Progress TrainState TrainStep load_checkpoint save_checkpoint train_state train_step"
    ),
    "darknet_bn.transforms.average": "average_models",
    "darknet_bn.transforms.calibrate": "Calibration calibrate",
    "darknet_bn.transforms.classes": "keep_classes",
    "darknet_bn.transforms.edit": "rescale_input save_first_layers swap_red_blue with_header",
    "darknet_bn.transforms.fold": "FoldedLayer fold_batchnorm fold_report",
    "darknet_bn.transforms.prune": "PrunedLayer Pruning prune_channels",
    "darknet_bn.transforms.ranges": "ActivationRanges TensorRange activation_ranges",
    "darknet_bn.transforms.to_dialect": "RewrittenNorm to_dialect",
}
_HOMES = {  # the module that each name comes from, and its name there
    name.partition("=")[0]: (module, name.rpartition("=")[2])
    for module, names in _MODULES.items()
    for name in names.split()
}


def __getattr__(name: str) -> "Any":
    """Import what is asked for: an offered name, or else a module of the package."""
    if name in _HOMES:
        module, inside = _HOMES[name]
        value = globals()[name] = getattr(_importlib.import_module(module), inside)
        return value
    if not name.startswith("_"):
        module = f"darknet_bn.{name}"
        try:
            return _importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
