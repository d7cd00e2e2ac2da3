from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.predictions import ClassScore
from darknet_bn.predictions.classification import classification_lines
from tests.support.builders import cfg_text, random_input, random_model

CONV = "[convolutional] filters=5 size=1 activation=linear"
CLASSIFIER = cfg_text(CONV, "[avgpool]", "[softmax]", "[cost]")


def test_the_classes_are_those_of_the_last_layer_that_is_no_cost() -> None:
    model = random_model(CLASSIFIER)
    x = random_input(model, batch=3)
    shares = dn.forward(model, x, [2])[2]
    found = dn.classify(model, x, top=2, names=[*"abcde"], exact=True)
    for scores, share in zip(found, shares, strict=True):
        order = sorted(range(5), key=lambda each: -share[each])[:2]
        assert scores == [(each, "abcde"[each], share[each]) for each in order]


def test_all_classes_are_returned_where_there_are_fewer() -> None:
    model = random_model(CLASSIFIER)
    (scores,) = dn.classify(model, random_input(model, batch=1), top=1000)
    assert sorted(score.class_id for score in scores) == [0, 1, 2, 3, 4]
    assert [score.label for score in scores] == [str(score.class_id) for score in scores]
    assert sum(score.probability for score in scores) == pytest.approx(1)


def test_of_equal_ones_the_first_comes_first() -> None:
    model = random_model(cfg_text(CONV, "[avgpool]", "[softmax] temperature=1e30"))
    (scores,) = dn.classify(model, random_input(model, batch=1), top=3)
    assert [score.class_id for score in scores] == [0, 1, 2]


def test_the_lines_are_those_of_the_programs() -> None:
    scores = [ClassScore(0, "dog", 0.875), ClassScore(1, "a cat", 0.03125)]
    assert classification_lines(scores, dn.PJREDDIE) == ["87.50%: dog", " 3.12%: a cat"]
    assert classification_lines(scores, dn.ALEXEYAB) == ["dog: 0.875000", "a cat: 0.031250"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 0}, r"the number of classes to return is out of range \(found 0\)"),
        ({"names": ["a"]}, r"there are fewer names than classes \(expected 5, found 1\)"),
    ],
)
def test_what_cannot_be_asked_for(options: dict[str, object], message: str) -> None:
    model = random_model(CLASSIFIER)
    with pytest.raises(dn.DarknetError, match=message):
        dn.classify(model, random_input(model), **options)  # type: ignore[arg-type]


def test_names_of_another_model_are_a_warning() -> None:
    model = random_model(CLASSIFIER)
    x = random_input(model)
    with pytest.warns(dn.DarknetWarning, match="^7 names for 5 classes; the extra names"):
        named = dn.classify(model, x, names=[*"abcdefg"])
    assert {score.label for scores in named for score in scores} == set("abcde")


def test_a_detector_is_refused() -> None:
    head = "[yolo] mask=0 num=1 classes=0 anchors=8,10"
    model = random_model(cfg_text(CONV, head))
    with pytest.raises(dn.DarknetError, match="not a classifier; use darknet-bn detect"):
        dn.classify(model, random_input(model))


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_a_tree_of_classes_multiplies_down(tmp_path: Path, dialect: str) -> None:
    (tmp_path / "tree").write_text("a -1\nb -1\nc 0\nd 0\ne 0\n")
    cfg = cfg_text(CONV, "[avgpool]", f"[softmax] tree={tmp_path / 'tree'}")
    model = random_model(cfg, dialect=dialect)
    x = np.random.default_rng(0).random((1, *model.network.input.dims), np.float32)
    shares = dn.forward(model, x)[2][0]
    expected = np.append(shares[:2], shares[0] * shares[2:])
    if dialect == "pjreddie":  # its classifier answers with leaves only; a has children
        expected[0] = 0
    (found,) = dn.classify(model, x, top=5)
    order = np.argsort(-expected, kind="stable")
    assert [each.class_id for each in found] == order.tolist()
    np.testing.assert_array_equal([each.probability for each in found], expected[order])
