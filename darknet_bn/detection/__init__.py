"""Boxes: from what detection heads compute to what Darknet prints.

`detections` does it all.  Its steps are there too: `network_boxes` decodes the heads and undoes the
letterbox, `nms` suppresses what overlaps, `list_detections` makes records of what is left.
"""

from darknet_bn.detection.boxes import network_boxes, nms
from darknet_bn.detection.records import ClassScore, Detection, detections, list_detections
from darknet_bn.detection.text import detection_lines, detection_objects, label_lines
from darknet_bn.kernels.box import Boxes

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
