"""Keeping classes: what is kept is equal to the bit, in every kind of head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.checks.edit import prove_edit
from darknet_bn.checks.edit_claims import of_kept_classes
from darknet_bn.transforms.classes import class_layers
from tests.support.builders import cfg_text, random_input, random_model

CONV = "[convolutional] filters=6 size=3 pad=1 activation=leaky batch_normalize=1"
ANCHORS = "anchors=1,2,3,4,5,6 num=3 classes=4"
HEADS = {
    "yolo": (27, f"[yolo] {ANCHORS} mask=0,1,2", 5),
    "two masks": (18, f"[yolo] {ANCHORS} mask=0,2 scale_x_y=1.1", 5),
    "Gaussian_yolo": (39, f"[Gaussian_yolo] {ANCHORS}", 9),
    "region": (27, f"[region] {ANCHORS} coords=4 softmax=0", 5),
    "region of shares": (27, f"[region] {ANCHORS} coords=4 softmax=1", 5),
}


def detector(name: str) -> bytes:
    filters, head, _ = HEADS[name]
    last = f"[convolutional] filters={filters} size=1 activation=linear"
    return cfg_text(CONV, last, head)


@pytest.mark.parametrize(
    ("name", "dialect"),
    [
        *((name, "alexeyab") for name in sorted(HEADS)),
        *((name, "pjreddie") for name in sorted(HEADS) if name != "Gaussian_yolo"),
    ],
)
def test_what_is_kept_of_a_detector_is_equal_to_the_bit(name: str, dialect: str) -> None:
    model = random_model(detector(name), dialect)
    kept = (3, 1)
    smaller = dn.keep_classes(model, kept)
    *_, box = HEADS[name]
    order = [
        start + at
        for start in range(0, model.network.nodes[2].xs[0].c, box + 4)
        for at in (*range(box), *(box + each for each in kept))
    ]
    for key, array in model.params[1].items():
        assert smaller.params[1][key].tobytes() == array[order].tobytes()
    assert smaller.params[0] is model.params[0]
    x = random_input(model)
    layers = (1, 2)
    before, after = (dn.forward(each, x, layers, exact=True) for each in (model, smaller))
    np.testing.assert_array_equal(after[1], before[1][:, order])
    if name != "region of shares" and not (dialect == "alexeyab" and name == "region"):
        np.testing.assert_array_equal(after[2], before[2][:, order])
    (layer,) = class_layers(model)
    if name == "region of shares":
        # Both sides round some ten times more, each by up to 6e-8: exponentials, sum and division.
        np.testing.assert_allclose(after[2], layer.kept(before[2], kept), rtol=1e-6)
    else:
        np.testing.assert_array_equal(after[2], layer.kept(before[2], kept))


def test_the_boxes_of_a_class_stay() -> None:
    model = random_model(detector("yolo"))
    smaller = dn.keep_classes(model, [2])
    x = random_input(model, batch=1)
    rows = []
    for each, number in ((model, 2), (smaller, 0)):
        (y,) = dn.forward(each, x, exact=True).values()
        head = each.network.heads[2]
        boxes = head.boxes(y[0], each.network.input, 0.0, each.dialect)
        rows.append((boxes.xywh.tobytes(), boxes.probabilities[:, number].tobytes()))
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    "sections",
    [
        ("[connected] output=5 activation=linear", "[softmax]"),
        ("[convolutional] filters=5 size=1 activation=linear", "[avgpool]", "[softmax]"),
        ("[avgpool]", "[connected] output=5 batch_normalize=1 activation=relu", "[dropout]",
         "[softmax] temperature=2"),
    ],
)  # fmt: skip
def test_a_classifier_gives_shares_of_what_is_kept(sections: tuple[str, ...]) -> None:
    model = random_model(cfg_text(CONV, *sections))
    smaller = dn.keep_classes(model, (4, 0, 1))
    x = random_input(model)
    (before,), (after,) = (dn.forward(each, x, exact=True).values() for each in (model, smaller))
    shares = before[:, [4, 0, 1]].astype(np.float64)
    expected = shares / shares.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(after, expected, rtol=5e-7)  # a few roundings of float32
    assert (after.argmax(axis=1) == expected.argmax(axis=1)).all()


@pytest.mark.parametrize(
    ("sections", "sure"),
    [
        (("[connected] output=5 activation=linear", "[softmax]"), [0]),
        (("[convolutional] filters=5 size=1 activation=linear", "[avgpool]", "[softmax]"), [0]),
        (tuple(detector("region of shares").decode().split("\n\n")[2:]), [5, 14, 23]),
    ],
)
@pytest.mark.parametrize("dialect", ["alexeyab", "pjreddie"])
def test_shares_of_classes_that_were_all_0_are_proven_by_what_they_are_made_of(
    sections: tuple[str, ...], sure: list[int], dialect: str
) -> None:
    model = random_model(cfg_text(*sections), dialect)
    weights = class_layers(model)[0].weights
    params = list(model.params)
    biases = params[weights]["biases"].copy()
    biases[sure] += 200  # exp(-200) is no float32: the share of all other classes is 0
    params[weights] = {**params[weights], "biases": biases}
    model = replace(model, params=tuple(params))
    smaller = dn.keep_classes(model, [3, 1])
    claim = of_kept_classes(model, [3, 1])
    assert prove_edit(model, smaller, claim).ok
    biases = smaller.params[weights]["biases"].copy()
    biases[-1] += 0.01
    params[weights] = {**smaller.params[weights], "biases": biases}
    wrong = prove_edit(model, replace(smaller, params=tuple(params)), claim).first_wrong
    assert wrong is not None
    assert wrong.layer < class_layers(model)[0].layer


def test_all_classes_in_their_order_are_the_identity() -> None:
    model = random_model(detector("yolo"))
    same = dn.keep_classes(model, range(4))
    assert same.cfg.to_bytes() == model.cfg.to_bytes()
    for one, other in zip(same.params, model.params, strict=True):
        for key in one:
            assert one[key].tobytes() == other[key].tobytes()


def test_some_of_some_classes_are_those_of_all() -> None:
    model = random_model(detector("yolo"))
    twice = dn.keep_classes(dn.keep_classes(model, (3, 1, 0)), (2, 0))
    once = dn.keep_classes(model, (0, 3))
    assert twice.cfg.to_bytes() == once.cfg.to_bytes()
    for one, other in zip(twice.params, once.params, strict=True):
        for key in one:
            assert one[key].tobytes() == other[key].tobytes()


def test_only_two_numbers_of_the_cfg_change() -> None:
    text = detector("yolo").replace(b"filters=27", b"filters = 27  # of three anchors")
    model = random_model(text.replace(b"classes=4", b"classes=4\ncounters_per_class=1,2,3,4"))
    smaller = dn.keep_classes(model, (3, 0))
    assert smaller.cfg.to_bytes() == model.cfg.to_bytes().replace(
        b"filters = 27 ", b"filters = 21 "
    ).replace(b"classes=4", b"classes=2").replace(b"class=1,2,3,4", b"class=4,1")


HEAD = HEADS["yolo"][1]
LAST = "[convolutional] filters=27 size=1 activation=linear"


@pytest.mark.parametrize(
    ("sections", "problem"),
    [
        ((CONV,), "the cfg has no layer for classes"),
        (("[connected] output=6", "[softmax] groups=2"), "the classes depend on each other"),
        ((CONV, "[softmax]"), "the softmax is over several pixels"),
        (("[avgpool]", "[softmax]"), "the layer before the classes cannot be cut"),
        ((LAST, HEAD, "[route] layers=0", HEAD), "the layer before the classes cannot be cut"),
        ((LAST, HEAD, "[convolutional] filters=2 size=1"), "another layer reads the classes"),
        ((LAST, HEAD, "[maxpool] size=2 stride=2", LAST, HEAD), "another layer reads the classes"),
        ((f"{LAST} groups=3", HEAD), "the layer before the classes cannot be cut"),
        (
            (LAST, HEAD, "[route] layers=-2", LAST.replace("27", "24"), HEAD.replace("=4", "=3")),
            "cannot be cut|different numbers of classes",
        ),
    ],
)
def test_what_cannot_be_cut_is_refused(sections: tuple[str, ...], problem: str) -> None:
    with pytest.raises(dn.DarknetError, match=problem) as caught:
        dn.keep_classes(random_model(cfg_text(*sections)), [0])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("classes", [(), (0, 0), (4,), (-1,)])
def test_classes_that_are_not_there_are_refused(classes: tuple[int, ...]) -> None:
    with pytest.raises(dn.DarknetError, match="different numbers from 0 to 3"):
        dn.keep_classes(random_model(detector("yolo")), classes)
