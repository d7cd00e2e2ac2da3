"""Heads leave an exported file as boxes, in every form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.convert.heads import FORMS, Form
from darknet_bn.predictions.boxes import network_boxes
from tests.support.builders import cfg_text, random_input, random_model
from tests.support.detectors import CONV, HEAD, HEADS, detector, found_by, prove, v1_detector
from tests.support.onnx import write_onnx

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")


@pytest.mark.parametrize("head", ["decoded", "yolov5", "yolov8", "nms"])
@pytest.mark.parametrize("name", HEADS)
def test_heads_of_every_kind_leave_as_boxes(tmp_path: Path, name: str, head: Form) -> None:
    model = detector(name)
    exported = write_onnx(model, tmp_path / "x.onnx", head=head, batch=3, threshold=0.1, force=True)
    proof = prove(model, exported, tolerance=2e-6)
    assert proof.ok, proof.worst
    assert max(row.shape[0] for row in proof.differences) >= 3


@pytest.mark.parametrize("head", ["decoded", "yolov5", "yolov8", "nms"])
def test_the_first_yolo_s_head_too(tmp_path: Path, head: Form) -> None:
    model = v1_detector()
    exported = write_onnx(
        model, tmp_path / "x.onnx", head=head, batch=3, threshold=0.05, force=True
    )
    assert prove(model, exported, tolerance=2e-6).ok


def two_heads() -> dn.Model:
    small = "[yolo] classes=3 num=2 mask=0 anchors=2,3,5,4"
    sections = (
        CONV,
        f"{HEAD}8",
        small,
        "[route] layers=0",
        "[maxpool] size=2 stride=2",
        f"{HEAD}8",
    )
    return random_model(cfg_text(*sections, small.replace("mask=0", "mask=1")), "pjreddie")


def test_rows_are_what_their_names_promise(tmp_path: Path) -> None:
    model = two_heads()
    x = random_input(model, 2)
    outputs = dn.forward(model, x)
    boxes = network_boxes(model, outputs, threshold=0)
    every = 8 * 8 + 4 * 4
    forms = {}
    for head in FORMS[1:]:
        write_onnx(model, tmp_path / "x.onnx", head=head, batch=2, threshold=0.3, force=True)
        forms[head] = found_by(tmp_path / "x.onnx", x)
    corners, confs = forms["decoded"]["boxes"], forms["decoded"]["confs"]
    rows, columns = forms["yolov5"]["output0"], forms["yolov8"]["output0"]
    assert (corners.shape, confs.shape) == ((2, every, 4), (2, every, 3))
    assert (rows.shape, columns.shape) == ((2, every, 8), (2, 7, every))
    for image, ours in enumerate(boxes):
        assert len(ours) == every
        near = {"rtol": 1e-5, "atol": 1e-6}
        np.testing.assert_allclose(confs[image], ours.probabilities, **near)
        centre = (corners[image, :, :2] + corners[image, :, 2:]) / 2
        np.testing.assert_allclose(centre, ours.xywh[:, :2], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(rows[image, :, :4], 8 * ours.xywh, **near)
        np.testing.assert_allclose(rows[image, :, 4], ours.objectness, **near)
        scores = rows[image, :, 4:5] * rows[image, :, 5:]
        np.testing.assert_allclose(scores, ours.probabilities, **near)
        np.testing.assert_allclose(columns[image, :4].T, 8 * ours.xywh, **near)
        np.testing.assert_allclose(columns[image, 4:].T, ours.probabilities, **near)


def test_what_suppression_leaves_is_what_detections_are(shared: Path, tmp_path: Path) -> None:
    stem = shared / "models/yolov3-tiny/yolov3-tiny"
    model = dn.load(f"{stem}.cfg", f"{stem}.weights")
    x = dn.prepare(dn.load_image(shared / "images/dog.jpg"), model)
    write_onnx(model, tmp_path / "x.onnx", head="nms", threshold=0.3, force=True)
    rows = found_by(tmp_path / "x.onnx", x)["detections"]
    (expected,) = dn.detections(model, x, threshold=0.3, letterbox=False)
    seen = sorted((kind.class_id, kind.probability) for each in expected for kind in each.classes)
    assert len(seen) == len(rows) > 5
    found = sorted((row[6], row[5]) for row in rows)
    assert [kind for kind, _ in found] == [kind for kind, _ in seen]
    np.testing.assert_allclose([p for _, p in found], [p for _, p in seen], atol=1e-5)
    w, h = x.shape[3], x.shape[2]
    lefts = sorted(each.left for each in expected for _ in each.classes)
    np.testing.assert_allclose(sorted(rows[:, 1] * w), lefts, atol=0.01)
    tops = sorted(each.top for each in expected for _ in each.classes)
    np.testing.assert_allclose(sorted(rows[:, 2] * h), tops, atol=0.01)


def test_a_suppression_that_onnx_has_not_is_told_of(tmp_path: Path) -> None:
    head = HEADS["yolo, scaled"][1]
    model = random_model(cfg_text(f"{HEAD}16", f"{head} nms_kind=greedynms"))
    exported = write_onnx(model, tmp_path / "x.onnx", head="nms", force=True)
    (note,) = exported.notes
    assert "nms_kind=greedynms" in note
    assert not write_onnx(model, tmp_path / "x.onnx", head="decoded", force=True).notes


@pytest.mark.parametrize(
    ("sections", "dialect", "message"),
    [
        ((f"{HEAD}6", "[region] classes=1 classfix=-1"), "alexeyab", "classfix=-1 cannot"),
        (  # after a section that folding removes
            (f"{HEAD}6", "[batchnorm]", "[region] classes=1 classfix=-1"),
            "alexeyab",
            r"\[region\] layer 2: classfix=-1 cannot",
        ),
        (
            (f"{HEAD}6", "[yolo] classes=1", f"{HEAD}7", "[yolo] classes=2"),
            "pjreddie",
            r"heads with different numbers of classes .*\(found \[1, 2\] classes\)",
        ),
        (
            ("[connected] output=8", "[detection] side=1 coords=6"),
            "pjreddie",
            r"\[detection\] layer 1: boxes need coords=4",
        ),
    ],
)
def test_boxes_that_are_not_expressed(
    tmp_path: Path, sections: tuple[str, ...], dialect: str, message: str
) -> None:
    model = random_model(cfg_text(*sections), dialect)
    with pytest.raises(dn.ExportError, match=message):
        write_onnx(model, tmp_path / "x.onnx", head="decoded", force=True)
