"""Rewriting for another Darknet: the other program computes the same; there and back is one."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.checks.edit import prove_edit, require_proof
from darknet_bn.checks.edit_claims import of_another_dialect
from tests.support.builders import LONG_RANGE, cfg_text, random_input, random_model
from tests.support.paths import FIXTURES

CONV = "[convolutional] filters=6 size=3 activation=leaky batch_normalize=1"
NETS = {
    "convolution": cfg_text(CONV, CONV),
    "connected": cfg_text("[connected] output=5 batch_normalize=1 activation=relu"),
    "rnn": cfg_text("[rnn] output=4 hidden=4 batch_normalize=1 activation=leaky"),
    "long range": LONG_RANGE,
}
VARIANCES = (0.0, 1e-12, 1e-9, 9.9e-6, 1e-5, 1e-3, 1.0, 1e6)


def outputs(model: dn.Model, x: np.ndarray) -> np.ndarray:
    found = dn.forward(model, x, exact=True)
    return np.concatenate([found[key].ravel() for key in sorted(found)])


def with_variances(model: dn.Model, values: tuple[float, ...] = VARIANCES) -> dn.Model:
    params = tuple(
        {
            name: np.resize(np.array(values, np.float32), array.shape)
            if name.endswith("rolling_variance")
            else array
            for name, array in p.items()
        }
        for p in model.params
    )
    return replace(model, params=params)


@pytest.mark.parametrize("name", sorted(NETS))
@pytest.mark.parametrize(("old", "new"), [("pjreddie", "alexeyab"), ("alexeyab", "pjreddie")])
def test_the_other_program_computes_the_same(name: str, old: str, new: str) -> None:
    model = random_model(NETS[name], old)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dn.DarknetWarning)  # one does not know hidden= of [rnn]
        rewritten, rows = dn.to_dialect(model, new)
    assert rewritten.dialect.name == new
    assert rewritten.header.revision == rewritten.dialect.weights_revision
    x = random_input(model, batch=model.network.time_steps)
    before, after = outputs(model, x), outputs(rewritten, x)
    # Rounding of the variances, and of the root in another place.
    np.testing.assert_allclose(after, before, rtol=0, atol=2e-6 * np.abs(before).max())
    assert sum(row.channels for row in rows) == sum(
        array.size
        for index, p in enumerate(model.params)
        for key, array in p.items()
        if key.endswith("rolling_variance") and model.network.nodes[index].owner == index
    )
    assert rewritten.cfg is model.cfg


@pytest.mark.parametrize(("old", "new"), [("pjreddie", "alexeyab"), ("alexeyab", "pjreddie")])
def test_a_variance_of_any_size(old: str, new: str) -> None:
    model = with_variances(random_model(NETS["convolution"], old))
    rewritten, rows = dn.to_dialect(model, new)
    small = sum(value < 1e-5 for value in VARIANCES[: model.network.nodes[0].y.c])
    scaled = [small if old == "pjreddie" else 0] * 2
    assert [row.scaled for row in rows] == scaled
    for p, q in zip(model.params, rewritten.params, strict=True):
        old_scale = p["scales"] / model.dialect.sigma(p["rolling_variance"].astype(np.float64))
        new_scale = q["scales"] / rewritten.dialect.sigma(q["rolling_variance"].astype(np.float64))
        # The new variance is rounded once; the root halves the error, and eps may not: 2 ulp.
        np.testing.assert_allclose(new_scale, old_scale, rtol=2.4e-7)
        assert (q["rolling_variance"] >= 0).all()


def test_without_it_the_other_program_is_far_off() -> None:
    model = with_variances(random_model(NETS["convolution"], "pjreddie"), (1e-7,))
    _, rows = dn.to_dialect(model, "alexeyab")
    # sqrt(1e-7 + 1e-5) is ten times as large as sqrt(1e-7) + 1e-6.
    assert rows[0].largest_change == pytest.approx(9.02, abs=0.02)


def test_there_and_back_is_the_identity_within_rounding() -> None:
    model = dn.load(FIXTURES / "digits/digits")
    there, _ = dn.to_dialect(model, "alexeyab")
    back, _ = dn.to_dialect(there, "pjreddie")
    assert back.header == model.header
    for p, q in zip(model.params, back.params, strict=True):
        for name in p:
            # Each of two squares is rounded once, and eps is subtracted from numbers above it.
            rtol = 1e-6 if name == "rolling_variance" else 0
            np.testing.assert_allclose(q[name], p[name], rtol=rtol, atol=1e-11 if rtol else 0)


def test_the_same_formula_changes_nothing() -> None:
    model = random_model(NETS["convolution"], "alexeyab")
    rewritten, rows = dn.to_dialect(model, dn.HANK_AI)
    assert [row.largest_change for row in rows] == [0, 0]
    for p, q in zip(model.params, rewritten.params, strict=True):
        assert all(p[name].tobytes() == q[name].tobytes() for name in p)


def test_what_the_other_program_cannot_hold_is_refused() -> None:
    for cfg, problem in (
        (cfg_text(CONV, "[batchnorm]"), "has no place for the biases of the layer"),
        (cfg_text("[rnn] output=4 hidden=3"), "arranges the parameters of the layer"),
        (
            cfg_text(CONV, "[route] layers=-1 groups=2", CONV),
            r"layer 1: the output of the layer has another shape in pjreddie \(expected 6 x 6 x 3, "
            r"found 6 x 6 x 6\)",
        ),
    ):
        model = random_model(cfg, "alexeyab")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dn.DarknetWarning)
            with pytest.raises(dn.DarknetError, match=problem):
                dn.to_dialect(model, "pjreddie")


def test_an_activation_that_the_other_program_does_not_know_shows() -> None:
    model = random_model(cfg_text(CONV, CONV.replace("leaky", "mish")), "alexeyab")
    with pytest.warns(dn.DarknetWarning, match="'mish' is unknown to pjreddie"):
        rewritten, _ = dn.to_dialect(model, "pjreddie")
    claim = of_another_dialect(model, rewritten)
    report = prove_edit(model, rewritten, claim)
    with pytest.raises(dn.ProofError, match="does not compute what it should") as caught:
        require_proof(model, report, claim)
    assert caught.value.where.layer == 1
    assert caught.value.hint == "an option or an activation means something else to pjreddie"


def test_values_that_are_not_numbers_are_refused() -> None:
    model = with_variances(random_model(NETS["convolution"], "pjreddie"), (-1.0,))
    with pytest.raises(dn.DarknetError, match="do not give finite values"):
        dn.to_dialect(model, "alexeyab")
