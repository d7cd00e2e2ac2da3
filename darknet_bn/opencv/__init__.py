"""The names of ``cv2.dnn``, so that programs written for it go on.

OpenCV 4 reads Darknet's files, OpenCV 5 does not.  Here are `readNet`, `readNetFromDarknet`,
`DetectionModel` and `ClassificationModel` with OpenCV's methods and the numbers of OpenCV 4, which
are those of the dialect ``opencv``.  `patch` puts them into an installed OpenCV 5, and this command
runs a program with them, which need not be changed at all::

    python -m darknet_bn.opencv SCRIPT ARGS...
"""

from darknet_bn.opencv.described import Layer
from darknet_bn.opencv.models import ClassificationModel, DetectionModel, Model
from darknet_bn.opencv.net import Net
from darknet_bn.opencv.patching import patch
from darknet_bn.opencv.read import readNet, readNetFromDarknet

dnn_ClassificationModel = ClassificationModel
dnn_DetectionModel = DetectionModel

__all__ = [
    "ClassificationModel",
    "DetectionModel",
    "Layer",
    "Model",
    "Net",
    "dnn_ClassificationModel",
    "dnn_DetectionModel",
    "patch",
    "readNet",
    "readNetFromDarknet",
]
