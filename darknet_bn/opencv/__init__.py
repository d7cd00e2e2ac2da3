"""The names of ``cv2.dnn``, so that programs written for it keep working.

OpenCV 4 reads Darknet's files, OpenCV 5 does not.  This package has `readNet`,
`readNetFromDarknet`, `DetectionModel` and `ClassificationModel` with OpenCV's methods and the
numbers of OpenCV 4, which the dialect ``opencv`` defines.  `patch` puts them into an installed
OpenCV 5, and this command runs an unchanged program with them::

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
