"""What 8 bits change in each layer: the steps, the ranges, and what a layer adds by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.checks.report.int8 import int8_facts, int8_part
from darknet_bn.transforms.fold import fold_batchnorm
from tests.support.builders import cfg_text, random_model
from tests.support.html_page import read_page
from tests.support.paths import FIXTURES

DIGITS = FIXTURES / "digits" / "digits"
PICTURE = FIXTURES / "preprocess" / "rgba_10x15.png"
CONV = "[convolutional] filters={} size=3 stride={} pad=1 activation=leaky batch_normalize=1"
LINEAR = "[convolutional] filters={} size=1 activation=linear"


def facts_of(model: dn.Model, x: np.ndarray | None = None) -> dict[str, Any]:
    picture = None if x is None else "x.png"
    return int8_facts(model, fold_batchnorm(model), x, picture)


def rounded(values: np.ndarray, largest: np.ndarray | float) -> np.ndarray:
    """Values in 127 steps on either side of 0."""
    step = np.asarray(largest, np.float64) / 127
    return np.clip(np.round(values / step), -127, 127) * step


def relative(expected: np.ndarray, found: np.ndarray) -> float:
    return float(np.sqrt(np.square(found - expected).sum() / np.square(expected).sum()))


def test_weights_have_a_scale_for_each_filter_and_inputs_one() -> None:
    model = random_model(cfg_text(LINEAR.format(5), width=6, height=6))
    x = np.random.default_rng(1).random((1, 3, 6, 6), np.float32)
    weights = model.params[0]["weights"].reshape(5, 3).astype(np.float64)
    biases = model.params[0]["biases"].reshape(5, 1)
    pixels = x.reshape(3, 36).astype(np.float64)
    largest = np.abs(weights).max(axis=1, keepdims=True)
    expected = weights @ pixels + biases
    found = rounded(weights, largest) @ rounded(pixels, pixels.max()) + biases
    (row,) = facts_of(model, x)["layers"]
    assert row["numbers"] == "int8"
    # Both sides round in different precision: a value in the middle of two steps may go either way.
    assert row["error"] == row["own"] == pytest.approx(relative(expected, found), rel=1e-3)


def test_errors_add_up_but_not_what_a_layer_adds_by_itself() -> None:
    layers = (CONV.format(6, 1), "[maxpool] size=2 stride=2", CONV.format(6, 1), LINEAR.format(4))
    model = random_model(cfg_text(*layers, width=16, height=16), "pjreddie")
    rows = facts_of(model)["layers"]
    assert [row["numbers"] for row in rows] == ["int8", "float32", "int8", "int8"]
    assert [row["own"] is None for row in rows] == [False, True, False, False]
    assert rows[0]["own"] == rows[0]["error"]
    assert all(0 < row["own"] < row["error"] for row in rows[2:])


def test_layers_have_the_numbers_of_the_model_if_folding_merges_some() -> None:
    conv = "[convolutional] filters=4 size=3 pad=1 activation=linear"
    model = random_model(cfg_text(conv, "[batchnorm]", LINEAR.format(4)), "pjreddie")
    rows = facts_of(model)["layers"]
    assert [(row["layer"], row["section"]) for row in rows] == [
        (1, "convolutional"),
        (2, "convolutional"),
    ]


def test_why_there_is_none() -> None:
    digits = dn.load(DIGITS)
    assert int8_facts(digits, None, None, None)["problem"] == "the batch norms cannot be folded"
    sequence = cfg_text("[rnn] hidden=4 output=8").replace(b"[net]", b"[net]\ntime_steps=2")
    assert facts_of(random_model(sequence))["problem"] == "sequences are not computed in 8 bits"
    pool = random_model(cfg_text("[maxpool] size=2 stride=2"))
    assert facts_of(pool)["problem"] == "no layer has weights that 8 bits are for"
    broken = random_model(cfg_text(LINEAR.format(4), LINEAR.format(4)))
    nan = {name: np.full_like(array, np.nan) for name, array in broken.params[0].items()}
    object.__setattr__(broken, "params", (nan, broken.params[1]))
    facts = facts_of(broken)
    assert "weights are not finite" in facts["problem"]
    assert "Nothing to show: " in int8_part(facts)


def test_a_layer_whose_input_is_always_0_stays_float32() -> None:
    zero = "[convolutional] filters=4 size=1 activation=relu"
    model = random_model(cfg_text(zero, LINEAR.format(4)))
    params = [dict(each) for each in model.params]
    params[0]["biases"] = np.full_like(params[0]["biases"], -100)
    object.__setattr__(model, "params", tuple(params))
    rows = facts_of(model)["layers"]
    assert [(row["numbers"], row["error"]) for row in rows] == [("int8", 0), ("float32", 0)]


def test_the_page_says_on_what_it_was_computed(tmp_path: Path) -> None:
    model = dn.load(FIXTURES / "tiny" / "tiny")
    dn.write_report(model, tmp_path / "noise.html")
    dn.write_report(model, tmp_path / "picture.html", [PICTURE])
    noise, picture = (read_page(tmp_path / f"{each}.html") for each in ("noise", "picture"))
    assert "on a random image, which says less than a picture would" in noise.text
    assert f"on {PICTURE.name} (" in picture.text
    assert (noise.facts["int8"]["picture"], picture.facts["int8"]["picture"]) == (
        None,
        PICTURE.name,
    )
    drawn = [each["class"] for each in picture.parts("rect", "int8")]
    rows = picture.facts["int8"]["layers"]
    assert drawn == ["bars" if row["numbers"] == "int8" else "bars pale" for row in rows]
    marks = [each for each in picture.parts("path", "int8") if each["class"] == "mark"]
    assert len(marks) == sum(row["own"] is not None for row in rows)
