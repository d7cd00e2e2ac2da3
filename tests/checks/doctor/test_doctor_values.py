"""What the values and the cfg alone say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.checks.doctor.options import options
from darknet_bn.checks.doctor.values import values
from tests.support.builders import cfg_text, random_model

from .planted import digits, with_arrays

CONV = "[convolutional] filters=8 size=3 pad=1 activation=leaky batch_normalize=1"
LAST = "[convolutional] filters=16 size=1 activation={}"
YOLO = "[yolo] mask=0,1 anchors=1,2,3,4 num=2 classes=3 new_coords={}"


def said(model: dn.Model) -> list[tuple[str, str, int | None]]:
    return [(each.verdict, each.kind, each.layer) for each in values(model)]


def test_a_healthy_model_has_no_findings() -> None:
    assert said(digits()) == []
    assert list(options(digits(), None)) == []


def test_values_that_are_not_finite() -> None:
    weights = digits().params[1]["weights"].copy()
    weights.flat[3] = np.nan
    assert ("wrong", "values", 1) in said(with_arrays(digits(), 1, weights=weights))


def test_weights_of_zero() -> None:
    weights = np.zeros_like(digits().params[1]["weights"])
    assert said(with_arrays(digits(), 1, weights=weights)) == [("wrong", "weights", 1)]


def test_dead_scales() -> None:
    scales = digits().params[1]["scales"].copy()
    scales[:2] = 0
    assert said(with_arrays(digits(), 1, scales=scales)) == [("note", "scales", 1)]


def test_statistics_that_never_moved() -> None:
    old = digits().params[1]["rolling_mean"]
    model = with_arrays(digits(), 1, rolling_mean=0 * old, rolling_variance=old * 0 + 1)
    assert said(model) == [("wrong", "statistics", 1)]


def test_statistics_of_zero() -> None:
    zeros = np.zeros_like(digits().params[1]["rolling_mean"])
    model = with_arrays(digits(), 1, rolling_mean=zeros, rolling_variance=zeros)
    assert ("wrong", "statistics", 1) in said(model)


@pytest.mark.parametrize(("major", "minor", "odd"), [(0, 2, False), (0, 1, False), (9, 9, True)])
def test_versions_that_no_darknet_writes(major: int, minor: int, odd: bool) -> None:
    header = replace(digits().header, major=major, minor=minor)
    model = replace(digits(), header=header)
    assert (("note", "header", None) in said(model)) == odd


@pytest.mark.parametrize(
    ("anchors", "odd"), [("1,2,3,4", []), ("0.1,0.2,0.3,0.4", [2]), ("1,2,3,400", [2])]
)
def test_anchors_in_another_unit(anchors: str, odd: list[int]) -> None:
    yolo = YOLO.format(0).replace("1,2,3,4", anchors)
    model = random_model(cfg_text(CONV, LAST.format("linear"), yolo, width=8))
    found = options(model, None)
    assert [each.layer for each in found if each.kind == "anchors"] == odd


def test_channels_where_the_formulas_differ() -> None:
    variance = digits().params[1]["rolling_variance"].copy()
    variance[0] = 1e-7  # sqrt(v) + 1e-6 is 3e-4, sqrt(v + 1e-5) is 3e-3
    (found,) = values(with_arrays(digits(), 1, rolling_variance=variance))
    assert (found.verdict, found.kind, found.layer) == ("note", "formulas", 1)
    assert "in 1 of 32 channels" in found.what


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])  # normal, and uniform weights
def test_layers_that_were_never_trained(dialect: str) -> None:
    cfg = cfg_text(CONV, CONV, CONV)
    fresh = dn.load(cfg, None, dialect=dialect)
    assert ("wrong", "weights", None) in said(fresh)
    trained = random_model(cfg, dialect)
    half = replace(trained, params=(*trained.params[:2], fresh.params[2]))
    assert ("wrong", "weights", 2) in said(half)


@pytest.mark.parametrize(
    ("activation", "new_coords", "wrong"),
    [("linear", 0, False), ("logistic", 0, True), ("logistic", 1, False), ("linear", 1, True)],
)
def test_the_layer_before_a_head(activation: str, new_coords: int, wrong: bool) -> None:
    model = random_model(cfg_text(CONV, LAST.format(activation), YOLO.format(new_coords)))
    found = [each.layer for each in options(model, None) if each.kind == "head"]
    assert found == ([2] if wrong else [])


def test_names_and_classes() -> None:
    model = random_model(cfg_text(CONV, LAST.format("linear"), YOLO.format(0)))
    for count, verdicts in ((2, ["wrong"]), (3, []), (4, ["note"])):
        found = options(model, ["name"] * count)
        assert [each.verdict for each in found if each.kind == "names"] == verdicts


def test_a_size_that_is_no_multiple_of_the_cells() -> None:
    pool = "[maxpool] size=2 stride=2"
    for width, odd in ((8, []), (9, [3])):
        cfg = cfg_text(CONV, pool, LAST.format("linear"), YOLO.format(0), width=width)
        found = options(random_model(cfg), None)
        assert [each.layer for each in found if each.kind == "size"] == odd


def test_oddities_of_the_files_are_repeated() -> None:
    model = replace(digits(), oddities=("line 3 is odd",))
    (found,) = options(model, None)
    assert (found.verdict, found.what) == ("note", "line 3 is odd")
