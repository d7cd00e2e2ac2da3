"""Checking a fold: a model and its folded form on the same image, layer by layer."""

from __future__ import annotations

import dataclasses
import weakref
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.checks import fold
from darknet_bn.dialect import ALEXEYAB, PJREDDIE
from darknet_bn.run.rounding import FLOAT32
from tests.support.builders import cfg_text, random_model, weights_bytes, with_time_steps
from tests.support.folding import BN, CONV
from tests.support.paths import FIXTURES


class TestCheck:
    def test_agreements_of_every_layer_that_both_have(self) -> None:
        model = random_model(cfg_text(CONV, "[batchnorm]", f"{CONV} {BN}", "[maxpool] size=2"))
        rows = dn.check_fold(model, dn.fold_batchnorm(model)).differences
        assert [(row.layer, row.name) for row in rows] == [
            (1, "layer_000"),
            (2, "layer_001"),
            (3, "layer_002"),
        ]
        for row in rows:
            assert row.relative == row.error / row.largest
            assert row.relative < 1e-5

    def test_a_wrong_fold_is_seen(self) -> None:
        model = random_model(cfg_text(f"{CONV} {BN}", f"{CONV} {BN}"))
        folded = dn.fold_batchnorm(model)
        params = list(folded.params)
        params[1] = {**params[1], "biases": params[1]["biases"] + np.float32(0.01)}
        rows = dn.check_fold(model, dataclasses.replace(folded, params=tuple(params))).differences
        assert rows[0].relative < 1e-5
        assert rows[1].error == pytest.approx(0.01, rel=1e-2)

    def test_the_wrong_eps_is_seen(self) -> None:
        cfg = cfg_text(f"{CONV} {BN}")
        model = random_model(cfg, "pjreddie")
        other = dn.fold_batchnorm(dataclasses.replace(model, dialect=ALEXEYAB))
        rows = dn.check_fold(model, dataclasses.replace(other, dialect=PJREDDIE)).differences
        assert rows[0].relative > 1e-5

    def test_what_rounding_makes_is_allowed(self) -> None:
        net = FIXTURES / "reports" / "export-float-noise" / "net"
        model = dn.load(f"{net}.cfg", f"{net}.weights", dialect="alexeyab")
        # With other code of BLAS the noise of this image is also above 1e-4; of most it is not.
        *front, last = dn.check_fold(model, dn.fold_batchnorm(model), seed=7).differences
        assert [(row.rounding, row.allowed) for row in front] == [(None, 1e-4)] * 2
        assert last.rounding is not None
        assert 1e-4 < last.relative < last.allowed == 4 * last.rounding

    def test_what_is_just_allowed_is_alike(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fold, "_PRECISION", dataclasses.replace(FLOAT32, least=0.0))
        model = random_model(cfg_text(CONV))
        (row,) = dn.check_fold(model, dn.fold_batchnorm(model)).differences
        assert (row.error, row.allowed, row.rounding) == (0.0, 0.0, None)

    def test_the_image_follows_from_the_seed(self) -> None:
        model = random_model(cfg_text(f"{CONV} {BN}"))
        folded = dn.fold_batchnorm(model)
        x = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
        (row,) = dn.check_fold(model, folded).differences
        assert row.largest == np.abs(dn.forward(model, x, "all", exact=True)[0]).max()
        assert dn.check_fold(model, folded, 0).differences == (row,)
        assert dn.check_fold(model, folded, 1).differences != (row,)

    def test_somebody_is_told_after_every_layer_of_both(self) -> None:
        model = random_model(cfg_text(f"{CONV} {BN}", "[avgpool]", "[softmax]"))
        calls: list[int] = []
        dn.check_fold(model, dn.fold_batchnorm(model), after_layer=lambda: calls.append(1))
        assert len(calls) == 2 * 3

    def test_arrays_that_lie_in_a_file_are_forgotten_again(self, tmp_path: Path) -> None:
        """Else a large model would be in memory twice."""
        cfg = cfg_text(f"{CONV} {BN}", CONV)
        (tmp_path / "net.weights").write_bytes(weights_bytes(cfg))
        model = dn.load(cfg, tmp_path / "net.weights", dialect="alexeyab")
        read = weakref.ref(model.params[0]["weights"])
        folded = dn.fold_batchnorm(model)
        assert read() is None
        read = weakref.ref(model.params[1]["weights"])
        dn.check_fold(model, folded)
        assert read() is None


class TestNumbersThatAreNotFinite:
    """Layers with an infinite bias, or infinite weights."""

    def rows(self, before: float, after: float) -> tuple[dn.Difference, ...]:
        model = random_model(cfg_text(CONV, "[convolutional] filters=1 size=1 activation=linear"))
        models = []
        for value in (before, after):
            params = [{**each} for each in model.params]
            params[0]["biases"] = np.array([value, 0.5, 0.5, 0.5], np.float32)
            params[1]["weights"] = np.zeros((1, 4, 1, 1), np.float32)  # NaN of what is infinite
            params[1]["biases"] = np.full(1, 0.25, np.float32)
            models.append(dataclasses.replace(model, params=tuple(params)))
        return dn.check_fold(*models).differences

    @pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
    def test_alike_in_both_they_agree(self, value: float) -> None:
        first, second = self.rows(value, value)
        assert first.relative == second.relative == 0
        assert 0.5 < first.largest < np.inf  # of the other filters
        assert second.largest == 0  # nothing is finite

    @pytest.mark.parametrize(
        ("before", "after"),
        [(np.inf, 0.0), (0.0, np.inf), (np.nan, 0.0), (0.0, np.nan), (np.inf, -np.inf),
         (np.inf, np.nan), (np.nan, np.inf)],
    )  # fmt: skip
    def test_others_never_do(self, before: float, after: float) -> None:
        first, second = self.rows(before, after)
        assert first.relative == np.inf
        assert not first.relative <= first.allowed
        if np.isfinite(before) or np.isfinite(after):
            assert second.error == np.inf

    def test_the_largest_value_is_of_the_original(self) -> None:
        _, second = self.rows(0.0, 0.0)
        assert (second.largest, second.error) == (0.25, 0.0)


class TestSize:
    """Which image is used: a small one if every weight counts all the same."""

    @pytest.fixture
    def sizes(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, int]]:
        """Fills with the input and the time steps of every model that is run."""
        found: list[tuple[object, int]] = []
        real = fold.Plan

        def noted(model: dn.Model, **options: bool) -> object:
            found.append((model.network.input.dims, model.network.time_steps))
            return real(model, **options)

        monkeypatch.setattr(fold, "Plan", noted)
        return found

    @pytest.mark.parametrize(
        ("width", "height", "taken"),
        [
            (512, 256, (3, 64, 64)),
            (96, 96, (3, 64, 64)),
            (64, 64, (3, 64, 64)),
            (64, 512, (3, 512, 64)),
            (512, 32, (3, 32, 512)),
            (100, 96, (3, 96, 100)),  # no multiple of 32: the layers may not allow another
            (96, 100, (3, 100, 96)),
        ],
    )
    def test_of_an_image(
        self, width: int, height: int, taken: object, sizes: list[tuple[object, int]]
    ) -> None:
        model = random_model(cfg_text(f"{CONV} {BN}", "[avgpool]", width=width, height=height))
        dn.check_fold(model, dn.fold_batchnorm(model))
        assert sizes == [(taken, 1)] * 2

    def test_where_the_layers_allow_no_other(self, sizes: list[tuple[object, int]]) -> None:
        cfg = cfg_text(f"{CONV} {BN} stride=32", "[connected] output=2", width=512, height=256)
        model = random_model(cfg)
        assert len(dn.check_fold(model, dn.fold_batchnorm(model)).differences) == 2
        assert sizes == [((3, 256, 512), 1)] * 2

    def test_of_a_sequence(self, sizes: list[tuple[object, int]]) -> None:
        cfg = with_time_steps(cfg_text(f"[rnn] output=5 {BN}"), 6)
        model = random_model(cfg)
        dn.check_fold(model, dn.fold_batchnorm(model))
        assert sizes == [((3, 8, 8), 2)] * 2
