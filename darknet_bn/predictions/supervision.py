"""Detections and tracks as the package supervision has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from darknet_bn.optional import load_extra
from darknet_bn.predictions.records import Detection
from darknet_bn.predictions.tracks import Track


def to_supervision(found: Sequence[Detection] | Sequence[Track]) -> Any:
    """Return detections as ``supervision.Detections``, for its trackers, zones and annotators.

    Parameters
    ----------
    found : sequence of Detection, or sequence of Track
        Of one picture.  Of each box, the most probable class is taken, or that of its track.

    Returns
    -------
    detections : supervision.Detections
        ``xyxy`` in pixels, ``confidence``, ``class_id``, ``data["class_name"]``, and for tracks
        ``tracker_id``: a row for each box, in the same order.

    Raises
    ------
    DarknetError
        The package supervision is not installed.
    """
    supervision = load_extra("supervision")
    sides = [(each.left, each.top, each.right, each.bottom) for each in found]
    numbers = [each.number for each in found if isinstance(each, Track)]
    return supervision.Detections(
        xyxy=np.array(sides, np.float32).reshape(len(found), 4),
        confidence=np.array([each.probability for each in found], np.float32),
        class_id=np.array([each.class_id for each in found], int),
        tracker_id=np.array(numbers, int) if len(numbers) == len(found) > 0 else None,
        data={"class_name": np.array([each.label for each in found], str)},
    )
