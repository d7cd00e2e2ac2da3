"""The twelve numbers of COCO: equal to what pycocotools computes, from files and from labels."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.predictions.coco import coco_results, coco_truth
from tests.support.labelled import NAMES, box_set
from tests.support.paths import FIXTURES

pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")

CLASSES = 5
# Both compute in double precision; only the order of some sums differs (8.7e-19 was seen).
TOLERANCE = 1e-9


def some_boxes(rng: np.random.Generator, w: int, h: int, count: int) -> np.ndarray:
    """Boxes (count, 4) in pixels of every size, from 2 pixels on: left, top, width, height."""
    sides = np.exp(rng.uniform(np.log(2), np.log(0.9 * min(w, h)), (count, 2)))
    return np.hstack([rng.uniform(0, 1, (count, 2)) * ((w, h) - sides), sides])


def relative(boxes: np.ndarray, w: int, h: int) -> np.ndarray:
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    return (np.hstack([centres, boxes[:, 2:]]) / (w, h, w, h)).astype(np.float32)


def generated(folder: Path, count: int = 200) -> tuple[dn.Findings, Path]:
    """Pictures with crowds and tiny boxes: what was found, and the truth as a file of COCO's."""
    rng = np.random.default_rng(16)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    found, truths, sizes, paths = [], [], [], []
    for number in range(count):
        w, h = (int(each) for each in rng.integers((200, 200), (1000, 800)))
        boxes = some_boxes(rng, w, h, int(rng.integers(0, 12)))
        kinds = rng.integers(0, CLASSES, len(boxes))
        images.append({"id": 900 - number, "width": w, "height": h, "file_name": f"{number}.jpg"})
        for box, kind in zip(boxes.tolist(), kinds.tolist(), strict=True):
            annotation = {"image_id": 900 - number, "category_id": 10 + 3 * kind, "bbox": box}
            crowd = int(rng.random() < 0.1)
            annotations.append(
                annotation
                | {"id": len(annotations) + 1, "iscrowd": crowd}
                | {"area": box[2] * box[3] * rng.uniform(0.5, 1)}
            )
        at = rng.integers(0, len(boxes), 2 * len(boxes)) if len(boxes) else kinds
        near = boxes[at]
        near[:, :2] += rng.normal(0, 0.06, (len(at), 2)) * near[:, 2:]
        near[:, 2:] *= rng.normal(1, 0.06, (len(at), 2))
        many = 130 if number % 20 == 0 else 5  # more than the 100 that are looked at
        rows = np.vstack([near, some_boxes(rng, w, h, many)])
        scores = rng.choice([0.5, 0.75, *rng.random(50)], len(rows))  # many are equal
        probabilities = np.zeros((len(rows), CLASSES), np.float32)
        own = np.concatenate([kinds[at], rng.integers(0, CLASSES, many)])
        probabilities[np.arange(len(rows)), own] = scores
        found.append(
            dn.predictions.Boxes(
                relative(rows, w, h), np.ones(len(rows), np.float32), probabilities
            )
        )
        truths.append(np.hstack([relative(boxes, w, h), kinds[:, None]]).astype(np.float32))
        sizes.append((h, w))
        paths.append(f"photos/{number}.jpg")
    categories = [{"id": 10 + 3 * kind, "name": f"kind {kind}"} for kind in range(CLASSES)]
    content = {"images": images, "annotations": annotations, "categories": categories[::-1]}
    file = folder / "truth.json"
    file.write_text(json.dumps(content))
    return dn.Findings(tuple(found), tuple(truths), tuple(sizes), tuple(paths)), file


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dn.Findings, Path]:
    return generated(tmp_path_factory.mktemp("coco"))


def by_pycocotools(
    truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]
) -> tuple[float, ...]:
    """The twelve numbers of the program that everybody compares with."""
    pytest.importorskip("pycocotools", reason="pycocotools is not installed")
    with contextlib.redirect_stdout(io.StringIO()):
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        real = COCO()
        real.dataset = json.loads(json.dumps({"info": {}, **truth}))
        real.createIndex()
        run = COCOeval(real, real.loadRes(json.loads(json.dumps(results))), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return tuple(run.stats.tolist())


def values(numbers: dn.CocoNumbers) -> tuple[float, ...]:
    return tuple(vars(numbers).values())


# -- equal to pycocotools ------------------------------------------------------------------


def test_a_file_with_crowds_is_measured_as_by_pycocotools(whole: tuple[dn.Findings, Path]) -> None:
    findings, file = whole
    content = json.loads(file.read_text())
    assert sum(each["iscrowd"] for each in content["annotations"]) > 50
    assert sum(each["area"] < 32**2 for each in content["annotations"]) > 200
    truth = dn.load_coco_truth(file, findings)
    assert [each["id"] for each in truth["images"][:2]] == [900, 899]  # another order than ours
    expected = by_pycocotools(content, coco_results(findings, truth))
    assert min(expected) > 0.01
    numbers = dn.coco_numbers(findings, truth)
    np.testing.assert_allclose(values(numbers), expected, rtol=0, atol=TOLERANCE)


def test_labels_are_measured_as_by_pycocotools(whole: tuple[dn.Findings, Path]) -> None:
    findings, _ = whole
    expected = by_pycocotools(coco_truth(findings), coco_results(findings, coco_truth(findings)))
    numbers = dn.coco_numbers(findings)
    np.testing.assert_allclose(values(numbers), expected, rtol=0, atol=TOLERANCE)


def test_crowds_and_areas_make_a_difference(whole: tuple[dn.Findings, Path]) -> None:
    findings, file = whole
    from_file = values(dn.coco_numbers(findings, dn.load_coco_truth(file, findings)))
    from_labels = values(dn.coco_numbers(findings))
    assert sum(abs(one - other) > 1e-4 for one, other in zip(from_file, from_labels)) > 8  # noqa: B905


def test_real_pictures_and_their_labels(tmp_path: Path) -> None:
    model = dn.load(FIXTURES / "tiny" / "tiny")
    boxes = {NAMES[0]: [(0, 0.5, 0.5, 0.4, 0.6)], NAMES[2]: [(1, 0.3, 0.4, 0.2, 0.2)]}
    findings = dn.find_boxes(model, dn.load_dataset(box_set(tmp_path, boxes), model, train=False))
    assert findings.sizes == ((17, 31), (15, 10), (12, 21))
    truth = coco_truth(findings, ["cat", "dog"])
    assert truth["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    assert [each["image_id"] for each in truth["annotations"]] == [1, 3]
    # Float32 fractions times a width in double precision.
    np.testing.assert_allclose(truth["annotations"][0]["bbox"], [9.3, 3.4, 12.4, 10.2], rtol=1e-6)
    np.testing.assert_allclose(truth["annotations"][0]["area"], 12.4 * 10.2, rtol=1e-6)
    expected = by_pycocotools(truth, coco_results(findings, truth))
    np.testing.assert_allclose(values(dn.coco_numbers(findings)), expected, rtol=0, atol=TOLERANCE)


# -- what is known without any program -----------------------------------------------------


def one_of(box: Sequence[float], size: tuple[int, int], score: float = 0.9) -> dn.Findings:
    """A single true box in pixels, which is found exactly."""
    xywh = relative(np.array([box], float), size[1], size[0])
    boxes = dn.predictions.Boxes(xywh, np.ones(1, np.float32), np.array([[score]], np.float32))
    truth = np.hstack([xywh, [[0]]]).astype(np.float32)
    return dn.Findings((boxes,), (truth,), (size,), ("a.jpg",))


def test_what_is_found_exactly_has_every_number_of_its_size() -> None:
    numbers = dn.coco_numbers(one_of((10, 20, 40, 50), (200, 300)))
    assert (numbers.ap, numbers.ap_50, numbers.ap_75) == (1, 1, 1)
    assert (numbers.ar_1, numbers.ar_10, numbers.ar_100) == (1, 1, 1)
    assert (numbers.ap_small, numbers.ap_medium, numbers.ap_large) == (-1, 1, -1)
    assert (numbers.ar_small, numbers.ar_medium, numbers.ar_large) == (-1, 1, -1)


def test_nothing_found_is_zero_and_no_truth_is_no_number() -> None:
    whole = one_of((10, 20, 40, 50), (200, 300))
    none = whole.found[0].take(np.zeros(0, np.intp))
    missed = dn.Findings((none,), whole.truths, whole.sizes, whole.paths)
    assert dn.coco_numbers(missed).ap == 0
    absent = dn.Findings(whole.found, (np.zeros((0, 5), np.float32),), whole.sizes, whole.paths)
    assert set(values(dn.coco_numbers(absent))) == {-1}


def test_a_box_that_is_not_finite_counts_as_not_found() -> None:
    whole = one_of((10, 20, 40, 50), (200, 300))
    boxes = whole.found[0]
    broken = dn.predictions.Boxes(boxes.xywh * np.nan, boxes.objectness, boxes.probabilities)
    findings = dn.Findings((broken,), whole.truths, whole.sizes, whole.paths)
    assert coco_results(findings, coco_truth(findings)) == []
    assert dn.coco_numbers(findings).ap == 0


# -- files of COCO -------------------------------------------------------------------------


def content(**changes: Any) -> dict[str, Any]:
    """What `one_of` finds, as COCO's file says it."""
    whole: dict[str, Any] = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 300, "height": 200}],
        "annotations": [{"image_id": 7, "category_id": 3, "bbox": [10, 20, 40, 50]}],
        "categories": [{"id": 3, "name": "cat"}],
    }
    return whole | changes


def test_area_and_crowd_may_be_absent_and_other_pictures_are_left_out(tmp_path: Path) -> None:
    findings = one_of((10, 20, 40, 50), (200, 300))
    file = tmp_path / "truth.json"
    more = content()
    more["images"].append({"id": 8, "file_name": "b.jpg"})
    more["annotations"].append({"image_id": 8, "category_id": 3, "bbox": [0, 0, 9, 9]})
    file.write_text(json.dumps(more))
    truth = dn.load_coco_truth(file, findings)
    assert truth["annotations"] == [
        {
            "id": 1,
            "image_id": 7,
            "category_id": 3,
            "bbox": [10, 20, 40, 50],
            "area": 2000,
            "iscrowd": 0,
        }
    ]
    assert dn.coco_numbers(findings, truth).ap == 1


@pytest.mark.parametrize(
    ("names", "order"), [(["dog", "cat"], [9, 3]), (["one", "two"], [3, 9]), (None, [3, 9])]
)
def test_categories_are_joined_by_name_or_else_by_number(
    tmp_path: Path, names: list[str] | None, order: list[int]
) -> None:
    whole = one_of((10, 20, 40, 50), (200, 300))
    two = dn.predictions.Boxes(
        whole.found[0].xywh, np.ones(1, np.float32), np.array([[0, 0.9]], np.float32)
    )
    findings = dn.Findings((two,), whole.truths, whole.sizes, whole.paths)
    categories = [{"id": 9, "name": "dog"}, {"id": 3, "name": "cat"}]
    file = tmp_path / "truth.json"
    file.write_text(json.dumps(content(categories=categories)))
    truth = dn.load_coco_truth(file, findings, names)
    assert [each["id"] for each in truth["categories"]] == order
    (result,) = coco_results(findings, truth)  # of the second class
    assert result["category_id"] == order[1]


def test_categories_that_no_box_has_may_be_too_many(tmp_path: Path) -> None:
    whole = {"id": 0, "name": "the whole set", "supercategory": "none"}
    file = tmp_path / "truth.json"
    file.write_text(json.dumps(content(categories=[whole, *content()["categories"]])))
    findings = one_of((10, 20, 40, 50), (200, 300))
    truth = dn.load_coco_truth(file, findings)
    assert [each["id"] for each in truth["categories"]] == [3]
    assert dn.coco_numbers(findings, truth).ap == 1


def test_pictures_of_the_same_name_are_told_apart_by_their_folder(tmp_path: Path) -> None:
    whole = one_of((10, 20, 40, 50), (200, 300))
    paths = ("set/two/a.jpg", "set/one/a.jpg")
    findings = dn.Findings(whole.found * 2, whole.truths * 2, whole.sizes * 2, paths)
    images = [{"id": 1, "file_name": "one/a.jpg"}, {"id": 2, "file_name": "two/a.jpg"}]
    file = tmp_path / "truth.json"
    file.write_text(json.dumps(content(images=images, annotations=[])))
    assert [each["id"] for each in dn.load_coco_truth(file, findings)["images"]] == [2, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "the list images is missing"),
        (json.dumps(content(images=[{"id": "x", "file_name": "a"}])), "the list images"),
        (json.dumps(content(annotations=[{"image_id": 7}])), "the list annotations"),
        (json.dumps(content(categories=[])), r"\(expected 1 class, found 0 categories\)"),
        (json.dumps(content(images=[])), r"missing in the file \(expected file_name a.jpg\)"),
        (
            json.dumps(content(annotations=[{"image_id": 7, "category_id": 4, "bbox": [0] * 4}])),
            "an annotation does not fit .* found annotation None of image 7",
        ),
        (
            json.dumps(content(annotations=[{"image_id": 7, "category_id": 3, "bbox": [0] * 3}])),
            "an annotation does not fit",
        ),
    ],
    ids=range(9),
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "truth.json"
    file.write_text(text)
    with pytest.raises(dn.DarknetError, match=message):
        dn.load_coco_truth(file, one_of((10, 20, 40, 50), (200, 300)))


ODD = (None, True, -1, 1.5, 1 << 70, 10**400, float("nan"), float("inf"), "", "a", [], [7], {})


def test_no_value_in_a_file_is_a_crash(tmp_path: Path) -> None:
    findings = one_of((10, 20, 40, 50), (200, 300))
    file = tmp_path / "truth.json"
    refused = 0
    for name, key in (
        *(("images", each) for each in ("id", "file_name", "width", "height")),
        *(("annotations", each) for each in ("id", "image_id", "category_id", "bbox")),
        *(("annotations", each) for each in ("area", "iscrowd", 0, 2)),
        *(("categories", each) for each in ("id", "name")),
    ):
        for odd in ODD:
            whole = json.loads(json.dumps(content()))
            place = whole[name][0]["bbox"] if isinstance(key, int) else whole[name][0]
            place[key] = odd
            file.write_text(json.dumps(whole))
            try:
                truth = dn.load_coco_truth(file, findings)
            except dn.DarknetError:
                refused += 1
            else:
                assert all(-1 <= each <= 1 for each in values(dn.coco_numbers(findings, truth)))
    assert refused > 80


def test_arrays_have_no_names(tmp_path: Path) -> None:
    whole = one_of((10, 20, 40, 50), (200, 300))
    file = tmp_path / "truth.json"
    file.write_text(json.dumps(content()))
    with pytest.raises(dn.DarknetError, match="expected pictures in files"):
        dn.load_coco_truth(file, dn.Findings(whole.found, whole.truths, whole.sizes))
