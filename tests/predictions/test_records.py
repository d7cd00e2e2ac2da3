"""Detections as records: against what the real programs find in photographs, and their order."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import darknet_bn as dn
from darknet_bn.dialect import ALEXEYAB, DIALECTS, HANK_AI, PJREDDIE
from darknet_bn.pictures.images import letterbox_image, load_image
from darknet_bn.predictions import (
    Boxes,
    ClassScore,
    Detection,
    detection_lines,
    detections,
    list_detections,
    network_boxes,
    nms,
)
from tests.support.builders import cfg_text, random_input, random_model

F32 = npt.NDArray[np.float32]

MODELS = {
    "mobilenetv2-yolo-fastest-voc": ("MobileNetV2-YOLO-Fastest-voc", "voc", "dog"),
    "yolo-fastest": ("yolo-fastest", "coco", "dog"),
    "yolo-fastest-1.1": ("yolo-fastest-1.1", "coco", "dog"),
    "yoloface-50k": ("yoloface-50k", "label", "person"),
    "yolov3-tiny": ("yolov3-tiny", "coco", "dog"),
}

# Largest absolute error of probabilities, and of boxes as parts of the picture.
# With the same pixels: layers agree to some 1e-4 of values to 38, which before a head mean a
# relative error of 1e-5 and less.
SAME_PIXELS = (1e-5, 2e-6)
# With a different decoder of JPEG, whose pixels differ by up to 0.012: about a pixel.
OTHER_DECODER = (0.01, 0.002)


class Golden:
    """A trained model, and what the programs find with it in a photograph."""

    def __init__(self, name: str, shared: Path) -> None:
        stem, names, photo = MODELS[name]
        folder = shared / "models" / name.removesuffix("-1.1")
        self.files = (folder / f"{stem}.cfg", folder / f"{stem}.weights")
        self.names = (folder / f"{names}.names").read_text(encoding="utf-8").splitlines()
        golden = shared / "golden" / "models"
        self.alexeyab = json.loads((golden / name / f"{photo}.json").read_bytes())
        self.pjreddie = json.loads((golden / name / f"{photo}_oracle_a.json").read_bytes())
        self.size = tuple(self.alexeyab["image_w_h"][::-1])
        self.side = self.alexeyab["net_w_h"][0]
        with np.load(golden / "inputs" / f"{photo}_b_resize_{self.side}.npz") as archive:
            self.resized: F32 = archive["input"][None]
        decoded = golden / "inputs" / "dog_a_decoded.png"
        photograph = decoded if photo == "dog" else shared / "images" / "person.jpg"
        self.letterboxed: F32 = letterbox_image(load_image(photograph), self.side, self.side)[None]

    def load(self, dialect: str) -> dn.Model:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dn.DarknetWarning)
            return dn.load(*self.files, dialect=dialect)


@pytest.fixture(params=MODELS)
def golden(request: pytest.FixtureRequest, shared: Path) -> Golden:
    return Golden(request.param, shared)


def assert_found(
    found: list[Detection], expected: list[dict[str, Any]], tolerance: tuple[float, float]
) -> None:
    """The same boxes, each with the same classes."""
    ours = sorted((*score[::2], *each.box) for each in found for score in each.classes)
    theirs = sorted((each["class_id"], each["prob"], *each["box_cx_cy_w_h"]) for each in expected)
    assert [each[0] for each in ours] == [each[0] for each in theirs]
    a, b = np.array(ours), np.array(theirs)
    np.testing.assert_allclose(a[:, 1], b[:, 1], rtol=0, atol=tolerance[0])
    np.testing.assert_allclose(a[:, 2:], b[:, 2:], rtol=0, atol=tolerance[1])


class TestTrainedModels:
    def test_what_alexeyab_finds(self, golden: Golden) -> None:
        model, theirs = golden.load("alexeyab"), golden.alexeyab
        (found,) = detections(model, golden.resized, image_sizes=golden.size, nms_kind="default")
        assert_found(found, theirs["detections"], SAME_PIXELS)
        (found,) = detections(
            model, golden.resized, image_sizes=golden.size, names=golden.names, exact=True
        )
        own_kind = "detections_nms_kind_diounms_sort"  # only there if the cfg names a kind
        assert_found(found, theirs.get(own_kind, theirs["detections"]), SAME_PIXELS)
        printed = theirs.get("detector_test", {}).get("printed")
        assert printed in (None, detection_lines(found))

    def test_what_alexeyab_finds_in_a_letterbox(self, golden: Golden) -> None:
        model = golden.load("alexeyab")
        (found,) = detections(
            model,
            golden.letterboxed,
            image_sizes=golden.size,
            letterbox=True,
            nms_kind="default",
        )
        assert_found(found, golden.alexeyab["letterbox"]["detections"], OTHER_DECODER)

    def test_what_alexeyab_finds_after_folding(self, golden: Golden) -> None:
        folded = dn.fold_batchnorm(golden.load("alexeyab"))
        (found,) = detections(folded, golden.resized, image_sizes=golden.size)
        assert_found(found, golden.alexeyab["folded"]["detections"], SAME_PIXELS)

    def test_what_pjreddie_finds(self, golden: Golden) -> None:
        model, theirs = golden.load("pjreddie"), golden.pjreddie
        size, names = golden.size, golden.names
        (found,) = detections(
            model, golden.letterboxed, image_sizes=size, threshold=0.25, names=names
        )
        assert_found(found, theirs["own_path"]["detections"], SAME_PIXELS)
        printed = theirs.get("detector_test", {})
        lines = printed.get("printed_thresh_25") or printed.get("printed")
        assert lines in (None, detection_lines(found))
        (found,) = detections(model, golden.letterboxed, image_sizes=size, names=names)
        assert printed.get("printed_thresh_default") in (None, detection_lines(found))


CFG = cfg_text(
    "[convolutional] filters=21 size=1 activation=linear",
    "[yolo] num=3 classes=2 anchors=2,3,4,5,3,2 nms_kind=diounms beta_nms=0.3",
)


class TestDetections:
    @pytest.mark.parametrize("dialect", DIALECTS)
    def test_it_is_its_steps(self, dialect: str) -> None:
        model = random_model(CFG, dialect)
        x, sizes = random_input(model, batch=3), [(8, 8), (20, 9), (7, 50)]
        found = detections(model, x, image_sizes=sizes, threshold=0.2, nms=0.3)
        boxes = network_boxes(model, dn.forward(model, x), image_sizes=sizes, threshold=0.2)
        kind = "diounms" if model.dialect.extended else "default"
        for each, one, size in zip(found, boxes, sizes, strict=True):
            kept = nms(one, 0.3, kind=kind, beta=0.3)
            assert 1 < len(kept) < len(one)
            assert each == list_detections(kept, size, model.dialect)

    def test_without_suppression_all_boxes_stay(self) -> None:
        model = random_model(CFG)
        x = random_input(model, batch=1)
        (boxes,) = network_boxes(model, dn.forward(model, x))
        for nothing in (0, None):
            (found,) = detections(model, x, nms=nothing)
            assert len(found) == len(boxes.with_class()) > 1

    def test_the_kind_can_be_chosen(self) -> None:
        model = random_model(CFG)
        x = random_input(model, batch=1)
        (boxes,) = network_boxes(model, dn.forward(model, x))
        counts = set()
        for kind in ("default", "greedynms", "diounms", "obj"):
            (found,) = detections(model, x, nms=0.2, nms_kind=kind)
            kept = nms(boxes, 0.2, kind=kind, beta=0.3)
            assert found == list_detections(kept, (8, 8), ALEXEYAB)
            counts.add(len(found))
        assert len(counts) > 1

    def test_what_is_wrong_is_refused(self) -> None:
        model = random_model(CFG)
        x = random_input(model, batch=1)
        with pytest.raises(dn.DarknetError, match="threshold of nms is out of range"):
            detections(model, x, nms=2)
        with pytest.raises(dn.DarknetError, match="unknown kind of nms"):
            detections(model, x, nms_kind="none")
        with pytest.raises(dn.DarknetError, match="threshold is out of range"):
            detections(model, x, threshold=50)
        with pytest.raises(dn.DarknetError, match=r"fewer names.*expected 2, found 1"):
            detections(model, x, names=["one"])
        with pytest.raises(dn.ShapeError, match="sizes do not match the pictures"):
            detections(model, x, image_sizes=[(1, 2), (3, 4)])
        with pytest.raises(dn.DarknetError, match="no detection head"):
            headless = random_model(cfg_text("[convolutional] filters=2"))
            detections(headless, random_input(headless))


# Three boxes, the first furthest right, the second without any class.
BOXES = Boxes(
    np.array([[0.75, 0.5, 0.25, 0.5], [0.1, 0.1, 0.1, 0.1], [0.5, 0.25, 0.75, 0.25]], np.float32),
    np.array([0.75, 1, 0.875], np.float32),
    np.array([[0.25, 0.5, 0.375], [0, 0, 0], [0.5, 0.125, 0.5]], np.float32),
)
NAMES = ["cat", "dog", "dont_show_bird"]


class TestList:
    def test_pjreddie_leaves_all_as_it_is(self) -> None:
        found = list_detections(BOXES, (40, 80), PJREDDIE)
        assert found == [
            Detection(
                (ClassScore(0, "0", 0.25), ClassScore(1, "1", 0.5), ClassScore(2, "2", 0.375)),
                0.75,
                (0.75, 0.5, 0.25, 0.5),
                (40, 80),
            ),
            Detection(
                (ClassScore(0, "0", 0.5), ClassScore(1, "1", 0.125), ClassScore(2, "2", 0.5)),
                0.875,
                (0.5, 0.25, 0.75, 0.25),
                (40, 80),
            ),
        ]

    @pytest.mark.parametrize("dialect", [ALEXEYAB, HANK_AI])
    def test_the_forks_go_from_left_to_right_the_best_first(self, dialect: dn.Dialect) -> None:
        found = list_detections(BOXES, (40, 80), dialect)
        assert [each.left for each in found] == [10, 50]
        assert [[score.class_id for score in each.classes] for each in found] == [
            [0, 1, 2],
            [1, 0, 2],
        ]

    def test_the_best_class_is_the_first_of_equal_ones(self) -> None:
        for dialect in (PJREDDIE, ALEXEYAB):
            found = list_detections(BOXES, (40, 80), dialect, NAMES)
            best = {(each.class_id, each.label, each.probability) for each in found}
            assert best == {(1, "dog", 0.5), (0, "cat", 0.5)}

    def test_pixels(self) -> None:
        each = list_detections(BOXES, (40, 80), PJREDDIE)[0]
        assert (each.left, each.top, each.width, each.height) == (50, 10, 20, 20)
        assert (each.right, each.bottom) == (70, 30)

    def test_hidden_classes(self) -> None:
        only_hidden = BOXES.take(np.array([0]))
        only_hidden.probabilities[0, :2] = 0
        assert list_detections(only_hidden, (40, 80), ALEXEYAB, NAMES) == []
        assert len(list_detections(only_hidden, (40, 80), PJREDDIE, NAMES)) == 1
        found = list_detections(BOXES, (40, 80), ALEXEYAB, NAMES)
        assert [[score.label for score in each.classes] for each in found] == [
            ["cat", "dog"],
            ["dog", "cat"],
        ]

    def test_too_few_names_are_refused(self) -> None:
        with pytest.raises(dn.DarknetError, match=r"fewer names.*expected 3, found 2"):
            list_detections(BOXES, (40, 80), ALEXEYAB, NAMES[:2])

    def test_more_names_than_classes_are_a_warning(self) -> None:
        with pytest.warns(dn.DarknetWarning, match="^4 names for 3 classes; the extra names"):
            found = list_detections(BOXES, (40, 80), PJREDDIE, [*NAMES, "more"])
        assert found == list_detections(BOXES, (40, 80), PJREDDIE, NAMES)

    def test_nothing_found(self) -> None:
        nothing = BOXES.take(np.array([], np.intp))
        for dialect in DIALECTS.values():
            assert list_detections(nothing, (40, 80), dialect) == []
