"""Boxes: from what detection heads compute to what Darknet prints.

`detections` does it all.  Its steps are public too: `network_boxes` decodes the heads and undoes
the letterbox, `nms` suppresses overlapping boxes, `list_detections` makes records of the rest.
"""

from darknet_bn.kernels.boxes.box import Boxes
from darknet_bn.predictions.boxes import network_boxes, nms
from darknet_bn.predictions.records import ClassScore, Detection, detections, list_detections
from darknet_bn.predictions.text import detection_lines, detection_objects, label_lines

__all__ = [
    "Boxes",
    "ClassScore",
    "Detection",
    "detection_lines",
    "detection_objects",
    "detections",
    "label_lines",
    "list_detections",
    "network_boxes",
    "nms",
]
