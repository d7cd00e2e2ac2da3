"""Boxes of whole networks: against the real programs, and what they do with sizes and batches."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import darknet_bn as dn
from darknet_bn.predictions import Boxes, network_boxes, nms
from darknet_bn.predictions.boxes import heads_of
from tests.support.builders import cfg_text, random_input, random_model
from tests.support.paths import FIXTURES

F32 = npt.NDArray[np.float32]
FIXTURES = FIXTURES / "detections"
CASES = sorted(path.name for path in FIXTURES.iterdir())
COMMITTED = sorted(FIXTURES.glob("*/*.npz"))
PICTURE = (60, 100)  # height and width

ANCHORS = "anchors=6,8,12,20,30,18"
YOLO = f"[yolo] num=3 classes=2 {ANCHORS}"
HEAD = ("[convolutional] filters=21 size=1 activation=linear", YOLO)


def load(cfg: Path, dialect: str) -> dn.Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dn.DarknetWarning)  # odd options are part of the cases
        return dn.load(cfg, None, dialect=dialect)


def unit_of(model: dn.Model, size: tuple[int, int], relative: int = 1) -> F32:
    """What the rows of a program are in parts of: the picture or, for YOLOv1, always pixels."""
    heads = heads_of(model.network).values()
    pixels = not relative or not all(head.leaves_letterbox for head in heads)
    return np.array(size[::-1] * 2 if pixels else (1, 1, 1, 1), np.float32)


def suppressed(boxes: Boxes, function: str | None, threshold: float, model: dn.Model) -> Boxes:
    """What one of the functions of the programs leaves of boxes."""
    own = list(heads_of(model.network).values())[-1].suppression
    if function is None:
        return boxes.with_class()
    kind = {"do_nms_sort": "default", "do_nms_obj": "obj", "diounms_sort": own.kind}[function]
    return nms(boxes, threshold, kind=kind, beta=own.beta)


def assert_rows(found: Boxes, rows: F32, tolerance: float, unit: F32) -> None:
    """All boxes are there, in the order of the program: centre and size, objectness, classes."""
    rows = np.hstack((rows[:, :4] / unit, rows[:, 4:]))
    ours = np.hstack((found.xywh, found.objectness[:, None], found.probabilities))
    np.testing.assert_allclose(ours, rows, rtol=tolerance, atol=tolerance)


class TestGolden:
    @pytest.mark.parametrize("path", COMMITTED, ids=lambda path: f"{path.parent.name}-{path.stem}")
    def test_committed_boxes(self, path: Path) -> None:
        record = json.loads((path.parent / "provenance.json").read_bytes())["files"][path.name]
        model = load(path.parent / "model.cfg", record["dialect"])
        with np.load(path) as archive:
            arrays = {name: archive[name] for name in archive.files}
        outputs = {layer: arrays.pop(f"layer_{layer:03d}") for layer in heads_of(model.network)}
        for name, rows in arrays.items():
            letterbox = {"letter_0": False, "letter_1": True}.get(name[:8])
            (boxes,) = network_boxes(
                model,
                outputs,
                image_sizes=PICTURE,
                threshold=record["thresh"],
                letterbox=letterbox,
            )
            function = None if name.endswith("no_nms") else name[name.index("d") :]
            found = suppressed(boxes, function, record["nms_thresh"], model)
            tolerance = record["tolerance"]["arrays"][name]
            assert_rows(found, rows, tolerance, unit_of(model, PICTURE))

    @pytest.mark.parametrize("case", CASES)
    def test_all_boxes_of_the_programs(self, case: str, shared: Path) -> None:
        folder = shared / "golden" / "detections" / case
        golden = json.loads((folder / f"{case}.json").read_bytes())
        for letter, made in golden["oracles"].items():
            model = load(folder / f"{case}.cfg", {"a": "pjreddie", "b": "alexeyab"}[letter])
            npz = f"{case}.oracle_a.npz" if letter == "a" else f"{case}.npz"
            with np.load(folder / npz) as archive:
                heads = heads_of(model.network)
                outputs = {layer: archive[f"layer_{layer:03d}"] for layer in heads}
            for result in made["results"]:
                h, w = result["image_h"], result["image_w"]
                (boxes,) = network_boxes(
                    model,
                    outputs,
                    image_sizes=(h, w),
                    threshold=golden["thresh"],
                    letterbox=None if result["letter"] is None else bool(result["letter"]),
                )
                found = suppressed(boxes, result["nms"], golden["nms_thresh"], model)
                rows = np.array(result["rows"], np.float32)
                # as in provenance.json: a few roundings of numbers near 1
                assert_rows(found, rows, 1e-6, unit_of(model, (h, w), result["relative"]))


class TestBatch:
    def test_each_picture_is_on_its_own(self) -> None:
        model = random_model(cfg_text(*HEAD), "pjreddie")
        x = random_input(model, batch=3)
        sizes = [(8, 8), (20, 10), (7, 50)]
        together = network_boxes(model, dn.forward(model, x), image_sizes=sizes, threshold=0.3)
        assert len(together) == 3
        assert len({len(boxes) for boxes in together}) > 1
        for one, size, boxes in zip(x, sizes, together, strict=True):
            outputs = dn.forward(model, one[None])
            (alone,) = network_boxes(model, outputs, image_sizes=[size], threshold=0.3)
            # a convolution may add up in another order for other batches
            np.testing.assert_allclose(alone.xywh, boxes.xywh, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(alone.probabilities, boxes.probabilities, rtol=1e-5)

    def test_one_size_is_that_of_all(self) -> None:
        model = random_model(cfg_text(*HEAD), "pjreddie")
        outputs = dn.forward(model, random_input(model, batch=2))
        one = network_boxes(model, outputs, image_sizes=(20, 10))
        both = network_boxes(model, outputs, image_sizes=np.array([[20, 10], [20, 10]]))
        for a, b in zip(one, both, strict=True):
            np.testing.assert_array_equal(a.xywh, b.xywh)

    @pytest.mark.parametrize(
        "sizes",
        [(20,), (20, 10, 3), (0, 10), (20.0, 10.0), [(20, 10)] * 3, [(20, 10), (20,)], "ab"],
    )
    def test_sizes_that_do_not_fit_are_refused(self, sizes: Any) -> None:
        model = random_model(cfg_text(*HEAD))
        outputs = dn.forward(model, random_input(model, batch=2))
        with pytest.raises(
            dn.ShapeError, match=r"sizes.*expected \(height, width\), or 2 of these"
        ):
            network_boxes(model, outputs, image_sizes=sizes)


class TestHeads:
    def test_outputs_that_other_layers_read_count_too(self) -> None:
        model = random_model(cfg_text(*HEAD, "[route] layers=-2", YOLO, "[dropout]"))
        outputs = dn.forward(model, random_input(model), layers=[1, 3])
        assert list(heads_of(model.network)) == [1, 3]
        (boxes, _) = network_boxes(model, outputs, threshold=0.3)
        half = len(boxes) // 2
        assert half > 0
        np.testing.assert_array_equal(boxes.xywh[:half], boxes.xywh[half:])

    def test_a_missing_output_is_named(self) -> None:
        model = random_model(cfg_text(*HEAD, "[route] layers=-2", YOLO))
        outputs = dn.forward(model, random_input(model))
        with pytest.raises(dn.ShapeError, match=r"layer 3 is missing.*\(2, 21, 8, 8\), found none"):
            network_boxes(model, {1: outputs[1]})
        with pytest.raises(dn.ShapeError, match="layer 1 is missing"):
            network_boxes(model, {})

    def test_an_output_of_another_shape_is_named(self) -> None:
        model = random_model(cfg_text(*HEAD))
        with pytest.raises(dn.ShapeError, match=r"\(1, 21, 8, 8\), found \(1, 21, 4, 4\)"):
            network_boxes(model, {1: np.zeros((1, 21, 4, 4), np.float32)})

    def test_a_network_without_a_head_is_refused(self) -> None:
        model = random_model(cfg_text("[convolutional] filters=2"))
        with pytest.raises(dn.DarknetError, match="no detection head"):
            network_boxes(model, dn.forward(model, random_input(model)))

    def test_heads_of_different_classes_are_refused(self) -> None:
        other = "[convolutional] filters=24 size=1", f"[yolo] num=3 classes=3 {ANCHORS}"
        model = random_model(cfg_text(*HEAD, *other))
        with pytest.raises(dn.ShapeError, match="different numbers of classes"):
            network_boxes(model, dn.forward(model, random_input(model), layers=[1, 3]))


class TestDefaults:
    @staticmethod
    def boxes(dialect: str, net: str = "", **options: Any) -> Boxes:
        cfg = cfg_text(*HEAD).replace(b"channels=3", f"channels=3\n{net}".encode())
        model = random_model(cfg, dialect)
        outputs = dn.forward(model, random_input(model, 1))
        return network_boxes(model, outputs, image_sizes=(8, 40), **options)[0]

    @pytest.mark.parametrize(
        ("dialect", "threshold"),
        [("pjreddie", 0.5), ("pjreddie-gpu", 0.5), ("alexeyab", 0.25), ("hank-ai", 0.25)],
    )
    def test_threshold_of_the_program(self, dialect: str, threshold: float) -> None:
        boxes, low = self.boxes(dialect), self.boxes(dialect, threshold=0.0)
        assert len(boxes) == (low.objectness > threshold).sum() > 0
        expected = low.probabilities.copy()[low.objectness > threshold]
        expected[expected <= threshold] = 0
        np.testing.assert_array_equal(boxes.probabilities, expected)

    @pytest.mark.parametrize(
        ("dialect", "net", "expected"),
        [
            ("pjreddie", "", True),
            ("pjreddie-gpu", "", True),
            ("alexeyab", "", False),
            ("hank-ai", "", False),
            ("alexeyab", "letter_box=1", True),
            ("hank-ai", "letter_box=1", True),
        ],
    )
    def test_letterbox_of_the_program(self, dialect: str, net: str, expected: bool) -> None:
        default = self.boxes(dialect, net)
        undone, left = (self.boxes(dialect, net, letterbox=each) for each in (True, False))
        np.testing.assert_array_equal(default.xywh, (undone if expected else left).xywh)
        assert (undone.xywh != left.xywh).any()

    def test_hank_ai_goes_anchor_by_anchor(self) -> None:
        by_anchor, by_cell = self.boxes("hank-ai"), self.boxes("alexeyab")
        assert (by_anchor.xywh != by_cell.xywh).any()
        for array in ("xywh", "probabilities"):
            a, b = (np.sort(getattr(each, array), axis=0) for each in (by_anchor, by_cell))
            np.testing.assert_array_equal(a, b)

    def test_without_sizes_the_picture_is_the_input(self) -> None:
        model = random_model(cfg_text(*HEAD, width=8, height=4), "pjreddie")
        outputs = dn.forward(model, random_input(model))
        for a, b in zip(
            network_boxes(model, outputs),
            network_boxes(model, outputs, image_sizes=(4, 8)),
            strict=True,
        ):
            np.testing.assert_array_equal(a.xywh, b.xywh)

    @pytest.mark.parametrize("threshold", [-0.1, 1.5, np.nan])
    def test_a_threshold_out_of_range_is_refused(self, threshold: float) -> None:
        with pytest.raises(dn.DarknetError, match="threshold is out of range"):
            self.boxes("alexeyab", threshold=threshold)


class TestNms:
    # three boxes in a row, each overlapping the next; the first and second of one class
    BOXES = Boxes(
        np.array([[0.3, 0.5, 0.4, 0.4], [0.4, 0.5, 0.4, 0.4], [0.9, 0.5, 0.1, 0.1]], np.float32),
        np.array([0.6, 0.9, 0.8], np.float32),
        np.array([[0.5, 0], [0.4, 0.3], [0, 0]], np.float32),
    )

    @pytest.mark.parametrize(
        ("kind", "kept"),
        [
            ("default", [[0, 0.3], [0.5, 0]]),
            ("cornersnms", [[0, 0.3], [0.5, 0]]),
            ("greedynms", [[0.4, 0.3], [0.5, 0]]),
            ("obj", [[0.4, 0.3]]),
        ],
    )
    def test_kinds(self, kind: str, kept: list[list[float]]) -> None:
        found = nms(self.BOXES, 0.5, kind=kind)
        np.testing.assert_array_equal(found.probabilities, np.array(kept, np.float32))

    def test_beta_counts_for_diounms(self) -> None:
        # an IoU of 0.6; the centres are 0.1 apart, the diagonal is the root of 0.41
        assert np.count_nonzero(nms(self.BOXES, 0.5, kind="diounms", beta=1).probabilities) == 2
        assert np.count_nonzero(nms(self.BOXES, 0.5, kind="diounms", beta=0.5).probabilities) == 3

    def test_0_suppresses_nothing(self) -> None:
        for kind in ("default", "greedynms", "diounms", "cornersnms", "obj"):
            np.testing.assert_array_equal(
                nms(self.BOXES, 0, kind=kind).probabilities, self.BOXES.probabilities[:2]
            )

    def test_what_is_wrong_is_refused(self) -> None:
        with pytest.raises(dn.DarknetError, match=r"kind of nms.*diounms.*found 'soft'"):
            nms(self.BOXES, kind="soft")
        with pytest.raises(dn.DarknetError, match=r"threshold of nms.*found 45"):
            nms(self.BOXES, 45)
