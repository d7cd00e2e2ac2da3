"""A proof is one only if it fails where the file is wrong; and heads leave a file as boxes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import cfg_text, random_input, random_model

import darknet_bn as dn
from darknet_bn.export_heads import FORMS, Form

ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

CONV = "[convolutional] filters=4 size=3 pad=1 activation=leaky batch_normalize=1"
HEAD = "[convolutional] size=1 activation=linear filters="
HEADS = {
    "yolo": ("pjreddie", "[yolo] classes=3 num=2 mask=0,1 anchors=2,3,5,4", 16),
    "yolo, scaled": ("alexeyab", "[yolo] classes=3 num=2 anchors=2,3,5,4 scale_x_y=1.2", 16),
    "yolo, anchor by anchor": ("hank-ai", "[yolo] classes=3 num=2 anchors=2,3,5,4", 16),
    "yolo, new": ("alexeyab", "[yolo] classes=3 num=2 anchors=2,3,5,4 new_coords=1", 16),
    "Gaussian": ("alexeyab", "[Gaussian_yolo] classes=3 num=2 anchors=2,3,5,4", 24),
    "Gaussian, corner": ("alexeyab", "[Gaussian_yolo] classes=3 yolo_point=left_top", 12),
    "region": ("pjreddie", "[region] classes=3 num=2 anchors=.5,1,2,1 softmax=1", 16),
    "region, more": ("pjreddie", "[region] classes=3 num=2 coords=5 softmax=1", 18),
    "region, background": ("pjreddie", "[region] classes=3 background=1 softmax=1", 8),
    "region, cell by cell": ("alexeyab", "[region] classes=3 num=2 anchors=.5,1,2,1", 16),
}


def detector(name: str) -> dn.Model:
    dialect, section, filters = HEADS[name]
    front = f"{HEAD}{filters}"
    if "new_coords" in section:  # which leaves it to the layer before to squash
        front = front.replace("linear", "logistic")
    return random_model(cfg_text(CONV, front, section, width=6), dialect)


def v1_detector() -> dn.Model:
    full = "[connected] output=52 activation=linear"
    head = "[detection] side=2 classes=3 num=2 coords=4 softmax=1 sqrt=1"
    return random_model(cfg_text(full, head), "pjreddie")


def found_by(path: Path, x: np.ndarray) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(None, {"input": x}), strict=True))


def prove(model: dn.Model, exported: dn.Exported, **options: Any) -> dn.Proof:
    x = random_input(model, exported.input.dims[0])  # type: ignore[arg-type]
    return dn.prove(model, exported, {"random": x}, **options)


# -- a proof that fails ----------------------------------------------------------------------


def damaged(model: dn.Model, layer: int, name: str) -> dn.Model:
    params = [dict(each) for each in model.params]
    params[layer][name] = params[layer][name] + np.float32(0.01)
    return replace(model, params=tuple(params))


@pytest.mark.parametrize("head", FORMS)
def test_another_model_s_file_is_no_proof(tmp_path: Path, head: Form) -> None:
    model = detector("yolo")
    path = tmp_path / "x.onnx"
    same = dn.export_onnx(model, path, head=head, batch=2, threshold=0.2, force=True)
    assert prove(model, same).ok
    other = dn.export_onnx(
        damaged(model, 0, "scales"), path, head=head, batch=2, threshold=0.2, force=True
    )
    assert not prove(model, other).ok


def test_layers_inside_are_looked_at_if_asked(tmp_path: Path) -> None:
    model = random_model(cfg_text(CONV, CONV, CONV))
    exported = dn.export_onnx(damaged(model, 1, "rolling_mean"), tmp_path / "x.onnx", force=True)
    proof = prove(model, exported, layers=True)
    assert [(row.layer, row.is_inner, row.ok) for row in proof.rows] == [
        (2, False, False),
        (0, True, True),
        (1, True, False),
    ]
    assert proof.worst.layer in (1, 2)
    assert [row.layer for row in prove(model, exported).rows] == [2]


def test_what_was_proven_with_what(tmp_path: Path) -> None:
    model = detector("yolo")
    exported = dn.export_onnx(model, tmp_path / "x.onnx", any_size=True, force=True)
    xs = {"one": random_input(model, 1), "larger": random_input(model.resized(10, 12), 1)}
    proof = dn.prove(model, exported, xs)
    assert proof.ok
    assert [(row.name, row.input, row.shape) for row in proof.rows] == [
        ("layer_002", "one", (1, 16, 8, 6)),
        ("layer_002", "larger", (1, 16, 10, 12)),
    ]
    assert proof.engine == f"onnxruntime {ort.__version__}"
    assert all(len(digest) == 64 for digest in proof.inputs.values())


# -- boxes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["decoded", "yolov5", "yolov8", "nms"])
@pytest.mark.parametrize("name", HEADS)
def test_heads_of_every_kind_leave_as_boxes(tmp_path: Path, name: str, head: Form) -> None:
    model = detector(name)
    exported = dn.export_onnx(
        model, tmp_path / "x.onnx", head=head, batch=3, threshold=0.1, force=True
    )
    proof = prove(model, exported, tolerance=2e-6)
    assert proof.ok, proof.worst
    assert max(row.shape[0] for row in proof.rows) >= 3


@pytest.mark.parametrize("head", ["decoded", "yolov5", "yolov8", "nms"])
def test_the_first_yolo_s_head_too(tmp_path: Path, head: Form) -> None:
    model = v1_detector()
    exported = dn.export_onnx(
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
    boxes = dn.detection.network_boxes(model, outputs, threshold=0)
    every = 8 * 8 + 4 * 4
    forms = {}
    for head in FORMS[1:]:
        dn.export_onnx(model, tmp_path / "x.onnx", head=head, batch=2, threshold=0.3, force=True)
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
    dn.export_onnx(model, tmp_path / "x.onnx", head="nms", threshold=0.3, force=True)
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
    exported = dn.export_onnx(model, tmp_path / "x.onnx", head="nms", force=True)
    (note,) = exported.notes
    assert "nms_kind=greedynms" in note
    assert not dn.export_onnx(model, tmp_path / "x.onnx", head="decoded", force=True).notes


@pytest.mark.parametrize(
    ("sections", "dialect", "message"),
    [
        ((f"{HEAD}6", "[region] classes=1 classfix=-1"), "alexeyab", "classfix=-1 is not"),
        (  # behind a section that folding takes away
            (f"{HEAD}6", "[batchnorm]", "[region] classes=1 classfix=-1"),
            "alexeyab",
            r"\[region\] layer 2: classfix=-1 is not",
        ),
        (
            (f"{HEAD}6", "[yolo] classes=1", f"{HEAD}7", "[yolo] classes=2"),
            "pjreddie",
            r"heads of different classes .*\(found \[1, 2\] classes\)",
        ),
        (
            ("[connected] output=8", "[detection] side=1 coords=6"),
            "pjreddie",
            r"\[detection\] layer 1: there are no boxes without coords=4",
        ),
    ],
)
def test_boxes_that_are_not_expressed(
    tmp_path: Path, sections: tuple[str, ...], dialect: str, message: str
) -> None:
    model = random_model(cfg_text(*sections), dialect)
    with pytest.raises(dn.ExportError, match=message):
        dn.export_onnx(model, tmp_path / "x.onnx", head="decoded", force=True)
