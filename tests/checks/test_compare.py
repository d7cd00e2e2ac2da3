"""Two models side by side; what other engines do is in tests/engines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import darknet_bn as dn
from tests.support.builders import cfg_text, random_input, random_model
from tests.support.paths import FIXTURES

CONV = "[convolutional] filters=4 size=3 pad=1 activation=leaky batch_normalize=1"
NET = cfg_text(CONV, CONV, "[maxpool] size=2 stride=2", CONV)


def test_a_model_agrees_with_itself() -> None:
    model = random_model(NET)
    report = dn.compare(model, model, random_input(model), tolerance=0)
    assert report.ok
    assert [row.error for row in report.differences] == [0] * 4
    assert [row.cosine for row in report.differences] == pytest.approx([1] * 4)
    assert report.provenance == {"program": "darknet-bn, dialect alexeyab"}


def test_the_dialects_part_at_the_first_batch_norm() -> None:
    cfg = cfg_text("[maxpool] size=2 stride=1", CONV, CONV)
    ours, theirs = (random_model(cfg, dialect) for dialect in ("alexeyab", "pjreddie"))
    report = dn.compare(ours, theirs, random_input(ours), tolerance=1e-6)
    assert report.first_wrong is not None
    assert report.first_wrong.layer == 1


def test_the_numbers_of_a_difference() -> None:
    model = random_model(cfg_text("[convolutional] filters=2 size=1 activation=linear"))
    other = replace(model, params=({k: -v for k, v in model.params[0].items()},))
    (row,) = dn.compare(model, other, random_input(model)).differences
    assert row.cosine == pytest.approx(-1)
    assert row.relative == pytest.approx(2)  # the sign of the largest value
    assert row.error == pytest.approx(2 * row.largest)
    assert row.mismatches == 2 * 2 * 8 * 8


def test_what_rounding_makes_is_allowed_by_default() -> None:
    net = FIXTURES / "reports" / "export-float-noise" / "net"
    model = dn.load(f"{net}.cfg", f"{net}.weights", dialect="alexeyab")
    folded = dn.fold_batchnorm(model)
    # With other code of BLAS the noise of this image is also above 1e-4; of most it is not.
    x = np.random.default_rng(7).random((1, 3, 32, 32), np.float32)
    report = dn.compare(model, folded, x)
    assert report.ok
    *front, last = report.differences
    assert [(row.rounding, row.allowed) for row in front] == [(None, 1e-4)] * 2
    assert last.rounding is not None
    assert 1e-4 < last.relative < last.allowed == 4 * last.rounding
    assert "except for float32 rounding, which gives" in str(report)
    assert not dn.compare(model, folded, x, tolerance=1e-4).ok
    first, second, *others = folded.params
    shifted = {**second, "biases": second["biases"] + np.float32(1e-2)}
    report = dn.compare(model, replace(folded, params=(first, shifted, *others)), x)
    assert [row.ok for row in report.differences] == [True, False, False]


def test_models_of_other_layers_are_refused() -> None:
    model = random_model(NET)
    other = random_model(cfg_text(CONV, "[maxpool] size=2 stride=2"))
    with pytest.raises(
        dn.ShapeError,
        match=r"from layer 1 on \(expected \[convolutional\], found \[maxpool\]\)",
    ):
        dn.compare(model, other, random_input(model))
    shorter = random_model(cfg_text(CONV, CONV))
    with pytest.raises(dn.ShapeError, match=r"layer 2 on \(expected \[maxpool\], found none\)"):
        dn.compare(model, shorter, random_input(model))
    larger = random_model(cfg_text(CONV, CONV, "[maxpool] size=2 stride=2", CONV, width=9))
    with pytest.raises(dn.ShapeError, match=r"expected 8 x 8 x 3, found 9 x 8 x 3"):
        dn.compare(model, larger, random_input(model))


def test_progress_is_told() -> None:
    model, steps = random_model(NET), []
    dn.compare(
        model, model, np.zeros((1, 3, 8, 8), np.float32), after_layer=lambda: steps.append(1)
    )
    assert len(steps) == 4
