"""The commands: each is imported when it is first used, and listed without importing it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping

import click

_CODES = "Exit codes: 0 success, 1 difference or problem, 2 error, 130 interrupted."

ALIASES = {"fuse": "fold", "denormalize": "fold"}  # AlexeyAB's and pjreddie's names for it
# The verbs of Darknet's own program that are verbs of the command edit here.
DARKNET_EDITS = ("average", "partial", "rescale", "reset", "rgbgr")

# The module of each command, and its short help, which is shown without importing it.
_HOMES = {
    "anchors": "darknet_bn.cli.anchors.anchors",
    "calibrate": "darknet_bn.cli.calibrate.calibrate",
    "check": "darknet_bn.cli.check.check",
    "classify": "darknet_bn.cli.classify.classify",
    "compare": "darknet_bn.cli.compare.compare",
    "convert": "darknet_bn.cli.convert.convert",
    "detect": "darknet_bn.cli.detect.detect",
    "diff": "darknet_bn.cli.diff.diff",
    "doctor": "darknet_bn.cli.doctor.doctor",
    "edit": "darknet_bn.cli.edit.edit",
    "evaluate": "darknet_bn.cli.evaluate.evaluate",
    "export": "darknet_bn.cli.export.export",
    "fold": "darknet_bn.cli.fold.fold",
    "info": "darknet_bn.cli.info.info",
    "labels": "darknet_bn.cli.labels.labels",
    "quantize": "darknet_bn.cli.quantize.quantize",
    "record": "darknet_bn.cli.record.record",
    "report": "darknet_bn.cli.report.report",
    "run": "darknet_bn.cli.run.run",
    "train": "darknet_bn.cli.train.train",
    "verify": "darknet_bn.cli.verify.verify",
    "which": "darknet_bn.cli.which.which",
}
SHORT_HELP = {
    "anchors": "Fit the anchors of a cfg to labelled pictures.",
    "calibrate": "Recompute batch-norm statistics from pictures.",
    "check": "Check that the cfg and weights match and all values are finite.",
    "classify": "Classify pictures (output as in 'darknet classifier predict').",
    "compare": "Find the first layer where two models or engines disagree.",
    "convert": "Convert weights to and from .safetensors, .npz, .pt; from .onnx.",
    "detect": "Detect objects in pictures (output as in 'darknet detector test'), or in a video.",
    "diff": "Show how two models differ: cfg, layers and values.",
    "doctor": "Say what is wrong with a model that loads, and detects nothing.",
    "edit": "Edit a model, and prove what stays the same.",
    "evaluate": "Measure a model on labelled pictures: mAP, or accuracy.",
    "export": "Export a model to ONNX, ncnn or TFLite and prove that it computes the same.",
    "fold": "Fold batch norm into the weights before it (also: fuse, denormalize).",
    "info": "Show the layer table and the weights header.",
    "labels": "Check the labels of a data set, or convert them.",
    "quantize": "Write a model as an ONNX file in 8 bits, and state what is lost.",
    "record": "Record layer outputs as a test fixture.",
    "report": "Write what is known about a model as one HTML page.",
    "run": "Compute the outputs of a model.",
    "train": "Train a model with pictures and labels, or with arrays.",
    "verify": "Compare every layer of a model with a recording.",
    "which": "Find which cfg fits a weights file.",
}


class Commands(Mapping[str, click.Command]):
    """Commands by name, imported when they are accessed.

    Parameters
    ----------
    homes : mapping from str to str
        The place of each: its module and its name there.
    """

    def __init__(self, homes: Mapping[str, str] = _HOMES) -> None:
        self._homes = homes

    def __getitem__(self, name: str) -> click.Command:
        """Return the command with this name."""
        module, _, inside = self._homes[name].rpartition(".")
        command: click.Command = getattr(importlib.import_module(module), inside)
        command.epilog = _CODES
        return command

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._homes)

    def __len__(self) -> int:
        """Return the number of commands."""
        return len(self._homes)
