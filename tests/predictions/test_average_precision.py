"""Average precision against a slow walk over every rank, by hand, and by its laws."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.kernels.boxes.box import Boxes
from darknet_bn.predictions.average_precision import AveragePrecision, average_precision
from darknet_bn.work import measured

# Sums of some 100 float64 values in another order.
CLOSE = 1e-12
# IoU and probabilities are float32 in the report; the slow walk computes the IoU in float64.
CLOSE_IOU = 1e-6


def boxes_of(*rows: tuple[float, ...], classes: int = 2) -> Boxes:
    """Boxes from rows of x, y, w, h, class, probability."""
    probabilities = np.zeros((len(rows), classes), np.float32)
    for row, each in enumerate(rows):
        probabilities[row, int(each[4])] = each[5]
    xywh = np.array([row[:4] for row in rows], np.float32).reshape(-1, 4)
    return Boxes(xywh, np.ones(len(rows), np.float32), probabilities)


def truths_of(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 5)


def random_case(seed: int, pictures: int = 6, classes: int = 3) -> tuple[list, list]:
    """Truths, and detections: many of them are near a truth, some twice, some of a wrong class."""
    rng = np.random.default_rng(seed)
    found, truths = [], []
    for _ in range(pictures):
        count = rng.integers(0, 5)
        rows = np.column_stack(
            (rng.uniform(0.2, 0.8, (count, 2)), rng.uniform(0.1, 0.4, (count, 2)))
        )
        kinds = rng.integers(0, classes - 1, count)  # the last class has no truth
        truths.append(np.column_stack((rows, kinds)).astype(np.float32))
        near = np.repeat(rows, 3, axis=0) * rng.uniform(0.85, 1.15, (3 * count, 4))
        stray = rng.uniform(0.1, 0.9, (4, 4))
        xywh = np.concatenate((near, stray)).astype(np.float32)
        probabilities = rng.random((len(xywh), classes), np.float32)
        probabilities[rng.random(probabilities.shape) < 0.5] = 0
        found.append(Boxes(xywh, np.ones(len(xywh), np.float32), probabilities))
    return found, truths


# -- an implementation of its own, rank by rank, of what the reference says --------------------


def slow_iou(a: np.ndarray, b: np.ndarray) -> float:
    sides = []
    for axis in (0, 1):
        low = max(a[axis] - a[2 + axis] / 2, b[axis] - b[2 + axis] / 2)
        high = min(a[axis] + a[2 + axis] / 2, b[axis] + b[2 + axis] / 2)
        sides.append(max(0.0, float(high) - float(low)))
    common = sides[0] * sides[1]
    return common / (float(a[2]) * float(a[3]) + float(b[2]) * float(b[3]) - common)


def slow_pairs(found: list, truths: list, limit: float) -> list[tuple]:
    """(probability, class, truth or None, iou) of every pair, the most probable first."""
    pairs = []
    for picture, (boxes, rows) in enumerate(zip(found, truths, strict=True)):
        for xywh, scores in zip(boxes.xywh, boxes.probabilities, strict=True):
            for kind, score in enumerate(scores):
                if score > 0:
                    best, most = None, limit
                    for number, row in enumerate(rows):
                        iou = slow_iou(xywh, row)
                        if row[4] == kind and iou > most:
                            best, most = (picture, number), iou
                    pairs.append((float(score), kind, best, most))
    return sorted(pairs, key=lambda pair: -pair[0])


def slow_area(pairs: list[tuple], kind: int, count: int, points: int) -> float:
    hit, tp, fp, curve = set(), 0, 0, []
    for _, its_kind, truth, _ in pairs:
        if its_kind == kind:
            if truth is not None and truth not in hit:
                hit.add(truth)
                tp += 1
            else:
                fp += 1
        # At every rank, of whatever class, as the program has it.
        curve.append((tp / count if count else 0.0, tp / (tp + fp) if tp + fp else 0.0))
    if points:
        levels = [number / (points - 1) for number in range(points)]
        best = [max((p for r, p in curve if r >= level), default=0.0) for level in levels]
        return sum(best) / points
    area, (last, highest) = 0.0, curve[-1]
    for recall, precision in reversed(curve[:-1]):
        highest = max(highest, precision)
        area += (last - recall) * highest
        last = recall
    return area + last * highest


@pytest.mark.parametrize("points", [0, 11, 101])
@pytest.mark.parametrize("seed", range(8))
def test_it_is_what_a_slow_walk_gives(seed: int, points: int) -> None:
    found, truths = random_case(seed)
    report = average_precision(found, truths, points=points, iou_threshold=0.4)
    pairs = slow_pairs(found, truths, 0.4)
    counts = [sum(int(row[4] == kind) for rows in truths for row in rows) for kind in range(3)]
    areas = [slow_area(pairs, kind, count, points) for kind, count in enumerate(counts)]
    assert [each.average_precision for each in report.classes] == pytest.approx(areas, abs=CLOSE)
    assert [each.truths for each in report.classes] == counts
    assert report.mean == pytest.approx(sum(areas) / 3, abs=CLOSE)
    assert report.mean_of_present == pytest.approx(
        sum(areas) / sum(count > 0 for count in counts), abs=CLOSE
    )
    hit: set[object] = set()
    overlap = 0.0
    wrong = 0
    for probability, _, truth, iou in pairs:
        if probability > 0.25:
            if truth is not None and truth not in hit:
                hit.add(truth)
                overlap += iou
            else:
                wrong += 1
    assert (report.true_positives, report.false_positives) == (len(hit), wrong)
    assert report.false_negatives == sum(counts) - len(hit)
    assert report.average_iou == pytest.approx(overlap / (len(hit) + wrong), abs=CLOSE_IOU)
    assert (report.pictures, report.pairs, report.truths) == (6, len(pairs), sum(counts))
    assert sum(each.true_positives for each in report.classes) == len(hit)
    assert sum(each.false_positives for each in report.classes) == wrong


# -- by hand -----------------------------------------------------------------------------------

A, B = (0.25, 0.25, 0.2, 0.2, 0), (0.75, 0.75, 0.2, 0.2, 0)
NOWHERE = (0.25, 0.75, 0.1, 0.1)


def by_hand(**options: object) -> AveragePrecision:
    """Right at 0.9, wrong at 0.8, right at 0.2, of two truths."""
    found = boxes_of((*A[:4], 0, 0.9), (*NOWHERE, 0, 0.8), (*B[:4], 0, 0.2))
    return average_precision([found], [truths_of(A, B)], **options)


def test_many_boxes_are_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    found, truths = random_case(3)
    whole = average_precision(found, truths)
    for most in (1, 2, 7):
        monkeypatch.setattr(measured, "TRUTH_PAIRS", most)
        assert average_precision(found, truths) == whole


def test_memory_does_not_grow_with_boxes_times_truths() -> None:
    rng = np.random.default_rng(0)
    xywh = rng.random((3000, 4), np.float32)
    found = [Boxes(xywh, np.ones(3000, np.float32), np.ones((3000, 1), np.float32))]
    truths = [np.concatenate([rng.random((20_000, 4)), np.zeros((20_000, 1))], 1, dtype=np.float32)]
    tracemalloc.start()
    average_precision(found, truths)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 << 20  # all at once are 3000 * 20000 * 4 bytes several times


def test_the_area_under_a_curve_of_three_ranks() -> None:
    # Recall and precision (1/2, 1), (1/2, 1/2), (1, 2/3): half with 1, half with 2/3.
    report = by_hand()
    assert report.classes[0].average_precision == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert report.classes[1].average_precision == 0
    assert report.mean == pytest.approx(5 / 12)
    assert report.mean_of_present == pytest.approx(5 / 6)


def test_eleven_points_of_the_same_curve() -> None:
    # Recalls 0 to 0.5 are six of the points, 0.6 to 1 are five.
    assert by_hand(points=11).classes[0].average_precision == pytest.approx((6 + 5 * 2 / 3) / 11)


def test_what_is_over_the_threshold() -> None:
    report = by_hand()
    assert (report.true_positives, report.false_positives, report.false_negatives) == (1, 1, 1)
    assert (report.precision, report.recall, report.f1) == (0.5, 0.5, 0.5)
    assert report.average_iou == pytest.approx(0.5)  # 1 and, for the wrong one, 0
    all_of_it = by_hand(threshold=0.1)
    assert (all_of_it.true_positives, all_of_it.false_positives) == (2, 1)
    assert all_of_it.f1 == pytest.approx(2 * (2 / 3) * 1 / (2 / 3 + 1))


def test_the_threshold_itself_is_not_over_it() -> None:
    assert by_hand(threshold=0.2).true_positives == 1


def test_an_iou_of_the_threshold_is_not_enough() -> None:
    # Side by side halves: exactly 1/2 in binary.
    truth = truths_of((0.5, 0.5, 0.5, 0.5, 0))
    found = boxes_of((0.5, 0.375, 0.5, 0.25, 0, 0.9))
    assert average_precision([found], [truth]).mean == 0
    assert average_precision([found], [truth], iou_threshold=0.49).mean_of_present == 1


def test_the_second_pair_of_a_truth_is_wrong_even_beside_a_free_one() -> None:
    near = (0.5, 0.5, 0.4, 0.4, 0)
    free = (0.52, 0.5, 0.4, 0.4, 0)
    found = boxes_of((0.5, 0.5, 0.4, 0.4, 0, 0.9), (0.505, 0.5, 0.4, 0.4, 0, 0.8))
    report = average_precision([found], [truths_of(near, free)])
    assert (report.true_positives, report.false_positives, report.false_negatives) == (1, 1, 1)


def test_a_truth_of_another_class_or_picture_is_none() -> None:
    found = [boxes_of((*A[:4], 1, 0.9)), boxes_of((*A[:4], 0, 0.9))]
    report = average_precision(found, [truths_of(A), truths_of()])
    assert (report.mean, report.true_positives, report.false_positives) == (0, 0, 2)


def test_a_box_with_two_classes_is_two_pairs() -> None:
    boxes = Boxes(
        np.array([A[:4]], np.float32), np.ones(1, np.float32), np.array([[0.9, 0.8]], np.float32)
    )
    report = average_precision([boxes], [truths_of(A, (*A[:4], 1))])
    assert (report.pairs, report.true_positives, report.mean) == (2, 2, 1)


def test_empty_boxes_agree_with_nothing() -> None:
    point = (0.25, 0.25, 0, 0)
    report = average_precision(
        [boxes_of((*point, 0, 0.9))], [truths_of((*point, 0))], iou_threshold=0
    )
    assert (report.mean, report.true_positives, report.false_positives) == (0, 0, 1)


def test_a_truth_without_numbers_hides_no_other() -> None:
    nowhere = (np.nan, 0.5, 0.5, 0.5, 0)
    report = average_precision([boxes_of((*A[:4], 0, 0.9))], [truths_of(nowhere, A)])
    assert (report.true_positives, report.false_negatives) == (1, 1)


@pytest.mark.parametrize("points", [0, 11])
def test_where_there_is_nothing_all_is_0(points: int) -> None:
    report = average_precision([boxes_of()], [truths_of()], points=points)
    assert (report.mean, report.mean_of_present, report.precision, report.f1) == (0, 0, 0, 0)
    assert (report.average_iou, report.recall, report.truths, report.pairs) == (0, 0, 0, 0)


# -- laws --------------------------------------------------------------------------------------


@pytest.mark.parametrize("points", [0, 11, 101])
def test_what_is_all_right_has_a_precision_of_1(points: int) -> None:
    _, truths = random_case(3)
    found = [boxes_of(*((*row, 0.9) for row in rows.tolist()), classes=3) for rows in truths]
    assert average_precision(found, truths, points=points).mean_of_present == pytest.approx(1)


def test_the_order_of_pictures_does_not_matter() -> None:
    found, truths = random_case(5)
    there, back = average_precision(found, truths), average_precision(found[::-1], truths[::-1])
    areas = [[each.average_precision for each in report.classes] for report in (there, back)]
    assert areas[0] == pytest.approx(areas[1], abs=CLOSE)


# -- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": 1}, "needs more points"),
        ({"points": -2}, "needs more points"),
        ({"iou_threshold": 1.5}, "threshold of the IoU is out of range"),
        ({"iou_threshold": float("nan")}, "threshold of the IoU is out of range"),
        ({"threshold": -0.1}, "threshold of the probability is out of range"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict, message: str) -> None:
    with pytest.raises(dn.DarknetError, match=message):
        by_hand(**options)


@pytest.mark.parametrize(
    ("found", "truths", "message"),
    [
        ([], [], "the pictures and truths do not match"),
        ([boxes_of()], [], "the pictures and truths do not match"),
        ([boxes_of(), boxes_of(classes=3)], [truths_of(), truths_of()], "different classes"),
        ([boxes_of()], [truths_of((*A[:4], 2))], "class that does not exist .*expected 0 to 1"),
        ([boxes_of()], [truths_of((*A[:4], -1))], "class that does not exist"),
        ([boxes_of()], [np.zeros((1, 6), np.float32)], "these are not ground-truth boxes"),
    ],
)
def test_what_does_not_fit_is_refused(found: list, truths: list, message: str) -> None:
    with pytest.raises(dn.ShapeError, match=message):
        average_precision(found, truths)
