"""The parts of recurrent layers: folding, files, findings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.model.summary import Finding
from darknet_bn.model.weights import Header
from tests.support.builders import (
    cfg_text,
    network_of,
    random_input,
    random_model,
    weights_bytes,
)
from tests.support.recurrent_nets import BN, NETS, SIX, assert_close, model_of, text_of

SEQUENCES = 2


@pytest.mark.parametrize("name", [name for name in NETS if name != "history"])
class TestFolding:
    def folded(self, name: str) -> tuple[dn.Model, dn.Model]:
        model = model_of(name)
        return model, dn.fold_batchnorm(model)

    def test_every_part_is_folded_and_the_outputs_stay(self, name: str) -> None:
        model, folded = self.folded(name)
        assert [(row.layer, row.into) for row in dn.fold_report(model)] == [(0, 0)]
        assert folded.network.nodes[0].layer.norm.batch_norm is None
        assert {each.rpartition(".")[2] for each in folded.params[0]} == {"weights", "biases"}
        x = random_input(model, SIX * SEQUENCES)
        before = dn.forward(model, x, "all", exact=True)
        for exact in (True, False):
            for index, array in dn.forward(folded, x, "all", exact=exact).items():
                assert_close(array, before[index])
        for row in dn.check_fold(model, folded).differences:
            assert row.relative <= 4e-6

    def test_factors_are_rounded_once(self, name: str) -> None:
        model, folded = self.folded(name)
        p = {key: array.astype(np.float64) for key, array in model.params[0].items()}
        for prefix in {key.rpartition(".")[0] for key in p}:
            scale = p[f"{prefix}.scales"] / model.dialect.sigma(p[f"{prefix}.rolling_variance"])
            weights = p[f"{prefix}.weights"]
            expected = weights * scale.reshape(-1, *(1,) * (weights.ndim - 1))
            np.testing.assert_array_equal(
                folded.params[0][f"{prefix}.weights"], expected.astype(np.float32)
            )
            biases = p[f"{prefix}.biases"] - p[f"{prefix}.rolling_mean"] * scale
            np.testing.assert_array_equal(
                folded.params[0][f"{prefix}.biases"], biases.astype(np.float32)
            )

    def test_saved_and_loaded_it_is_the_same(self, name: str, tmp_path: Path) -> None:
        model, folded = self.folded(name)
        dn.save(folded, tmp_path / "out.cfg", tmp_path / "out.weights")
        again = dn.load(tmp_path / "out.cfg", tmp_path / "out.weights", dialect=model.dialect)
        for a, b in zip(folded.params, again.params, strict=True):
            assert list(a) == list(b)
            for key in a:
                np.testing.assert_array_equal(a[key], b[key])
        cfg = model.cfg.to_bytes()
        assert again.cfg.to_bytes() == cfg.replace(b"batch_normalize=1", b"batch_normalize=0")
        assert dn.fold_report(again) == ()

    def test_the_check_sees_what_only_the_state_reaches(self, name: str) -> None:
        model, folded = self.folded(name)
        for key in folded.params[0]:
            if key.endswith(".weights"):
                changed = {**folded.params[0], key: -folded.params[0][key]}
                wrong = replace(folded, params=(changed, folded.params[1]))
                assert (
                    max(row.relative for row in dn.check_fold(model, wrong).differences) > 1e-4
                ), key

    def test_a_variance_that_cannot_be_divided_by_is_named_with_its_part(self, name: str) -> None:
        model = model_of(name)
        for key, array in model.params[0].items():
            if not key.endswith("rolling_variance"):
                continue
            wrong = array.copy()
            wrong[1] = -1
            broken = replace(model, params=({**model.params[0], key: wrong}, *model.params[1:]))
            with pytest.raises(dn.FoldError) as caught:
                dn.fold_batchnorm(broken)
            assert caught.value.where.layer == 0
            assert "for 1 channel (1)" in str(caught.value)
            assert f"found {key} -1, " in str(caught.value)

    def test_dontload_keeps_it(self, name: str) -> None:
        dialect, first, second = NETS[name]
        model = random_model(cfg_text(f"{first} dontload=1", second), dialect)
        (row,) = dn.fold_report(model)
        assert (row.into, row.reason) == (None, "dontload: the file has no weights")
        assert dn.fold_batchnorm(model).params[0] == model.params[0]


def test_signs_of_weights_cannot_be_folded() -> None:
    for section in ("[crnn] output=2 pad=1", "[conv_lstm] output=2 pad=1"):
        model = random_model(cfg_text(f"{section} xnor=1 {BN}"))
        (row,) = dn.fold_report(model)
        assert (row.into, row.reason) == (
            None,
            "xnor/binary: only the signs of the weights are used",
        )


def test_a_lone_batchnorm_behind_stays() -> None:
    model = random_model(cfg_text(f"[rnn] output=3 activation=linear {BN}", "[batchnorm]"))
    reasons = [(row.layer, row.into, row.reason) for row in dn.fold_report(model)]
    assert reasons == [
        (0, 0, None),
        (1, None, "layer 0 has no weights that it could be folded into"),
    ]


@pytest.mark.parametrize("name", [name for name in NETS if name != "history"])
class TestFiles:
    def test_arrays_are_read_in_the_order_in_which_they_are_declared(self, name: str) -> None:
        dialect, cfg = text_of(name)
        network = network_of(cfg, dialect)
        numbers = np.arange(network.stored_floats, dtype="<f4")
        model = dn.load(cfg, Header().to_bytes() + numbers.tobytes(), dialect=dialect)
        flat = [
            model.params[index][param.name].ravel()
            for index, node in enumerate(network.nodes)
            for param in node.params
        ]
        np.testing.assert_array_equal(np.concatenate(flat), numbers)

    def test_a_folded_file_is_known_as_such(self, name: str, tmp_path: Path) -> None:
        model = model_of(name)
        dn.save(dn.fold_batchnorm(model), tmp_path / "out.cfg", tmp_path / "out.weights")
        with pytest.raises(dn.WeightsError) as caught:
            dn.load(model.cfg.to_bytes(), tmp_path / "out.weights", dialect=model.dialect)
        assert caught.value.hint == (
            "it would match batch_normalize=0: its batch norm is folded into the weights already"
        )

    def test_where_a_file_ends_the_part_is_named(self, name: str) -> None:
        dialect, cfg = text_of(name)
        last = network_of(cfg, dialect).nodes[-1].params[-1]
        with pytest.raises(dn.WeightsError) as caught:
            dn.load(cfg, weights_bytes(cfg, dialect)[:-4], dialect=dialect)
        assert f"layer 1: the file ends inside the {last.name} " in str(caught.value)

    def test_without_a_file_the_values_are_first_ones(self, name: str) -> None:
        dialect, cfg = text_of(name)
        model = dn.load(cfg, None, dialect=dialect)
        for key, array in model.params[0].items():
            if key.endswith("weights"):
                assert 0 < np.abs(array).max() < 3, key
            else:
                assert (array == (1 if key.endswith("scales") else 0)).all(), key


def test_files_of_another_fork_are_known_by_their_size() -> None:
    cfg = cfg_text("[rnn] output=5 hidden=7")
    with pytest.raises(dn.WeightsError) as caught:
        dn.load(cfg, weights_bytes(cfg, "pjreddie", header=Header()), dialect="alexeyab")
    assert caught.value.hint == "it would match the dialect pjreddie"


class TestFindings:
    def found(self, key: str, value: float) -> list[Finding]:
        model = model_of("lstm alexeyab")
        params = dict(model.params[0])
        params[key] = np.full_like(params[key], value)
        return list(dn.inspect(replace(model, params=(params, model.params[1]))))

    def test_name_the_part(self) -> None:
        assert self.found("wg.rolling_variance", 0.5) == []
        assert self.found("wg.rolling_variance", -1) == [
            Finding(0, "lstm", "5 wg.rolling variances are negative: the outputs are NaN", True)
        ]
        assert self.found("uo.rolling_variance", 1e-40) == [
            Finding(0, "lstm", "5 uo.rolling variances are subnormal, flushed to 0", False)
        ]
        assert self.found("uo.weights", np.nan) == [
            Finding(0, "lstm", "300 of 300 uo.weights are NaN or infinite", True)
        ]

    def test_an_untrained_model(self) -> None:
        dialect, cfg = text_of("gru pjreddie")
        findings = dn.inspect(dn.load(cfg, None, dialect=dialect))
        assert {each.what for each in findings} == {
            f"all {part}.rolling statistics are zero, never trained"
            for part in ("wz", "wr", "wh", "uz", "ur", "uh")
        }
