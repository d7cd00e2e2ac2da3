"""Folding: the weights that the programs get, and models that compute the same."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.dialect import ALEXEYAB, DIALECTS, PJREDDIE_GPU
from darknet_bn.model.weights import Header
from tests.support.builders import LONG_RANGE, cfg_text, random_model, weights_bytes
from tests.support.folding import BN, CONV, LINEAR, agree, kept
from tests.support.paths import FIXTURES

CASES = sorted(path for path in (FIXTURES / "fold").iterdir() if path.is_dir())
# pjreddie's `denormalize` takes another eps for [connected] than for [convolutional].
DENORMALIZE_CONNECTED = dataclasses.replace(PJREDDIE_GPU, eps=1e-6)


def golden(case: Path, dialect: dn.Dialect) -> tuple[dn.Model, dict[str, np.ndarray]]:
    program = "alexeyab" if dialect is ALEXEYAB else "pjreddie"
    with np.load(case / f"{program}.npz", allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return dn.load(case / "model.cfg", case / "model.weights", dialect=dialect), arrays


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
class TestAgainstThePrograms:
    def test_alexeyab_s_folded_weights_have_the_same_bits(self, case: Path) -> None:
        model, arrays = golden(case, ALEXEYAB)
        folded = dn.fold_batchnorm(model)
        compared = 0
        for index, node in enumerate(folded.network.nodes):
            if f"layer_{index:03d}_scales" in arrays:
                assert node.layer.names[0] == "connected"  # which that program leaves as they are
                continue
            for name in ("weights", "biases"):
                expected = arrays[f"layer_{index:03d}_{name}"]
                np.testing.assert_array_equal(folded.params[index][name].ravel(), expected)
                compared += 1
        assert compared >= 6

    def test_alexeyab_s_folded_file_has_the_same_bytes(self, case: Path, tmp_path: Path) -> None:
        model, arrays = golden(case, ALEXEYAB)
        dn.save(
            dn.fold_batchnorm(model), tmp_path / "out.cfg", tmp_path / "out.weights", force=True
        )
        written = (tmp_path / "out.weights").read_bytes()
        expected = (case / "alexeyab.weights").read_bytes()
        assert written[:12] == expected[:12]
        left = [name for name in arrays if "_scales" in name or "_rolling_" in name]
        if left:  # that program leaves the batch norm of [connected] layers in the file
            assert case.name == "connected"
            assert len(expected) - len(written) == 4 * sum(arrays[name].size for name in left)
            return
        assert written[20:] == expected[20:]  # it rounds the counter between

    @pytest.mark.parametrize("dialect", [PJREDDIE_GPU, DENORMALIZE_CONNECTED], ids=["1e-5", "1e-6"])
    def test_pjreddie_s_denormalize_agrees_but_for_its_roundings(
        self, case: Path, dialect: dn.Dialect
    ) -> None:
        section = "convolutional" if dialect is PJREDDIE_GPU else "connected"
        model, arrays = golden(case, dialect)
        folded = dn.fold_batchnorm(model)
        for index, node in enumerate(folded.network.nodes):
            if node.layer.names[0] != section:
                continue
            before, after = model.params[index], folded.params[index]
            weights = arrays[f"layer_{index:03d}_weights"].reshape(after["weights"].shape)
            # C rounds the factor to float32 and multiplies in float32: half a unit more of each.
            np.testing.assert_allclose(after["weights"], weights, rtol=2 * 2**-23, atol=0)
            biases = arrays[f"layer_{index:03d}_biases"]
            # The bias is a difference of two rounded terms, each of about this size.
            terms = np.abs(before["biases"]) + np.abs(after["biases"])
            assert (np.abs(after["biases"] - biases) <= 2 * 2**-23 * terms).all()

    @pytest.mark.parametrize("dialect", [ALEXEYAB, PJREDDIE_GPU], ids=lambda each: each.name)
    @pytest.mark.parametrize("exact", [False, True])
    def test_outputs_agree_with_the_folded_program(
        self, case: Path, dialect: dn.Dialect, exact: bool
    ) -> None:
        model, arrays = golden(case, dialect)
        with np.load(case / "input.npz") as archive:
            x = archive["input"]
        outputs = dn.forward(dn.fold_batchnorm(model), x, "all", exact=exact)
        for index, array in outputs.items():
            expected = arrays[f"folded_output_{index:03d}"]
            # Sums of float32 in another order: 4e-6 of the largest value, as for unfolded nets;
            # pjreddie's own eps for [connected], 1e-6, moves those by 1e-5.
            connected = case.name == "connected" and dialect is PJREDDIE_GPU
            tolerance = 2e-5 if connected else 4e-6
            assert np.abs(array - expected).max() <= tolerance * np.abs(expected).max()

    def test_the_folded_cfg_says_no_to_batch_norm_and_else_the_same(self, case: Path) -> None:
        model, _ = golden(case, ALEXEYAB)
        folded = dn.fold_batchnorm(model).cfg.to_bytes()
        original = (case / "model.cfg").read_bytes()
        assert folded == original.replace(b"batch_normalize=1", b"batch_normalize=0")
        without = folded.replace(b"batch_normalize=0\n", b"")
        assert without == (case / "folded.cfg").read_bytes()


NETS = {
    "plain": cfg_text(f"{CONV} {BN}", f"[convolutional] filters=5 size=1 stride=2 {BN}"),
    "grouped": cfg_text(f"[convolutional] filters=6 groups=3 size=3 {BN}", CONV),
    "connected": cfg_text(f"{CONV} {BN}", f"[connected] output=9 {BN}", f"[connected] {BN}"),
    "lone": cfg_text(CONV, "[batchnorm]", f"[connected] output=5 {LINEAR}", "[batchnorm]"),
    "long range": LONG_RANGE,
}


class TestLaws:
    @pytest.mark.parametrize("cfg", NETS.values(), ids=NETS)
    @pytest.mark.parametrize("dialect", DIALECTS)
    def test_the_folded_model_computes_the_same(self, cfg: bytes, dialect: str) -> None:
        model = random_model(cfg, dialect)
        folded = dn.fold_batchnorm(model)
        agree(model, folded)
        assert all(node.layer.norm.batch_norm is None for node in folded.network.nodes)
        assert folded.dialect is model.dialect

    @pytest.mark.parametrize("cfg", NETS.values(), ids=NETS)
    def test_folding_twice_is_folding_once(self, cfg: bytes) -> None:
        once = dn.fold_batchnorm(random_model(cfg))
        twice = dn.fold_batchnorm(once)
        assert dn.fold_report(once) == ()
        assert twice.cfg.to_bytes() == once.cfg.to_bytes()
        assert twice.header == once.header
        for a, b in zip(once.params, twice.params, strict=True):
            assert a.keys() == b.keys()
            for name in a:
                np.testing.assert_array_equal(a[name], b[name])

    @pytest.mark.parametrize("cfg", NETS.values(), ids=NETS)
    def test_saved_and_loaded_it_is_the_same_model(self, cfg: bytes, tmp_path: Path) -> None:
        folded = dn.fold_batchnorm(random_model(cfg))
        dn.save(folded, tmp_path / "out.cfg", tmp_path / "out.weights", force=True)
        again = dn.load(tmp_path / "out.cfg", tmp_path / "out.weights", dialect="alexeyab")
        for a, b in zip(folded.params, again.params, strict=True):
            assert a.keys() == b.keys()
            for name in a:
                np.testing.assert_array_equal(a[name], b[name])
        assert not any(
            array.flags.writeable for params in folded.params for array in params.values()
        )

    def test_the_original_is_untouched(self) -> None:
        cfg = NETS["connected"]
        model = random_model(cfg)
        dn.fold_batchnorm(model)
        assert model.cfg.to_bytes() == cfg
        reference = random_model(cfg)
        for a, b in zip(model.params, reference.params, strict=True):
            for name in a:
                np.testing.assert_array_equal(a[name], b[name])

    def test_a_net_without_batch_norm_stays_as_it_is(self) -> None:
        model = random_model(cfg_text(CONV, "[maxpool] size=2"))
        folded = dn.fold_batchnorm(model)
        assert folded.cfg.to_bytes() == model.cfg.to_bytes()
        assert folded.params[0]["weights"] is model.params[0]["weights"]

    def test_the_factors_are_rounded_once(self) -> None:
        for dialect in DIALECTS.values():
            model = random_model(cfg_text(f"{CONV} {BN}"), dialect.name)
            (p,), (q,) = model.params, dn.fold_batchnorm(model).params
            wide = {name: array.astype(np.float64) for name, array in p.items()}
            scale = wide["scales"] / dialect.sigma(wide["rolling_variance"])
            weights = wide["weights"] * scale[:, None, None, None]
            biases = wide["biases"] - wide["rolling_mean"] * scale
            np.testing.assert_array_equal(q["weights"], weights.astype(np.float32))
            np.testing.assert_array_equal(q["biases"], biases.astype(np.float32))


class TestCfg:
    def folded(self, cfg: bytes, dialect: str = "alexeyab") -> bytes:
        return dn.fold_batchnorm(random_model(cfg, dialect)).cfg.to_bytes()

    def test_every_byte_but_those_of_batch_norm_is_kept(self) -> None:
        cfg = (
            b"\xef\xbb\xbf# caf\xe9\r\n[net]\r\nwidth = 8\r\nheight=8\r\nchannels= 3\r\n\r\n"
            b"[conv]\t\r\n; c\r\nbatch normalize = 1 # yes\r\nfilters = 4#5\r\nbatch_normalize = 1"
            b"  # on\r\n\r\n[connected]\noutput=2\nbatch_normalize=1"
        )
        assert self.folded(cfg) == cfg.replace(
            b"batch_normalize = 1  # on", b"batch_normalize = 0  # on"
        ).replace(b"batch_normalize=1", b"batch_normalize=0")

    def test_what_else_turns_it_on_goes(self) -> None:
        cfg = cfg_text(
            f"{CONV} cbn=1",
            f"{CONV} batch_normalize=2 cbn=1 train_only_bn=1",
            f"{CONV} cbn=1 batch_normalize",
        )
        folded = self.folded(cfg)
        assert folded == cfg.replace(b"cbn=1\n", b"").replace(b"train_only_bn=1\n", b"").replace(
            b"batch_normalize=2", b"batch_normalize=0"
        ).replace(b"batch_normalize\n", b"batch_normalize=0\n")
        assert dn.load(folded, None, dialect="alexeyab").network.stored_floats == 3 * 4 + 4 * 99

    def test_of_two_lines_the_first_counts(self) -> None:
        cfg = cfg_text(f"{CONV} batch_normalize=1 batch_normalize=1")
        once = cfg.replace(b"batch_normalize=1", b"batch_normalize=0", 1)
        assert self.folded(cfg) == once
        off = cfg_text(f"{CONV} batch_normalize=0 batch_normalize=1")
        assert self.folded(off) == off


class TestHeader:
    def fold(self, header: Header) -> tuple[dn.Model, dn.Model]:
        cfg = cfg_text(f"{CONV} {BN}", f"[connected] output=3 {BN}", "[connected] output=2")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dn.DarknetWarning)
            model = dn.load(cfg, weights_bytes(cfg, header=header), dialect="alexeyab")
        return model, dn.fold_batchnorm(model)

    def test_version_and_counter_are_kept(self) -> None:
        for header in (Header(seen=77), Header(revision=5, seen=2**40), Header(1, 0, 3, seen=1)):
            assert self.fold(header)[1].header == header

    def test_old_headers_become_new_ones_with_matrices_as_they_are_today(
        self, tmp_path: Path
    ) -> None:
        legacy = Header(0x3A83126F, 0x3F666666, 0x3A03126F, seen=99, seen_bytes=4)
        model, folded = self.fold(legacy)
        assert folded.header == Header(seen=99)
        dn.save(folded, tmp_path / "out.cfg", tmp_path / "out.weights", force=True)
        again = dn.load(tmp_path / "out.cfg", tmp_path / "out.weights", dialect="alexeyab")
        np.testing.assert_array_equal(again.params[2]["weights"], model.params[2]["weights"])
        agree(model, again)
        for header in (
            Header(minor=1, seen=99, seen_bytes=4),
            Header(seen=99, seen_bytes=4),
            Header(0, 1001, 0, seen=99, seen_bytes=8),
        ):
            assert self.fold(header)[1].header == Header(seen=99)


class TestWhatStays:
    @pytest.mark.parametrize(
        ("section", "reason"),
        [
            (f"{CONV} {BN} xnor=1", "xnor/binary: only the signs of the weights are used"),
            (f"{CONV} {BN} binary=1", "xnor/binary: only the signs of the weights are used"),
            (f"{CONV} {BN} dontload=1", "dontload: the file has no weights"),
            (f"{CONV} {BN} dontloadscales=1", "dontloadscales: the file has no statistics"),
            (f"{CONV} {BN} numload=2", "numload: the file has only some of the filters"),
            (f"[connected] output=3 {BN} dontload=1", "dontload: the file has no weights"),
            (f"[connected] output=3 {BN} dontloadscales=1", "dontloadscales: the file has no st"),
        ],
    )
    def test_with_its_reason(self, section: str, reason: str, tmp_path: Path) -> None:
        cfg = cfg_text(section, f"{CONV} {BN}")
        dialect = "pjreddie" if "numload" in section else "alexeyab"
        model = random_model(cfg, dialect)
        ((layer, why),) = kept(model)
        assert layer == 0
        assert why is not None
        assert why.startswith(reason)
        folded = dn.fold_batchnorm(model)
        assert folded.network.nodes[0].layer.norm.batch_norm == "inside"
        assert folded.network.nodes[1].layer.norm.batch_norm is None
        agree(model, folded)
        dn.save(folded, tmp_path / "out.cfg", tmp_path / "out.weights", force=True)
        agree(folded, dn.load(tmp_path / "out.cfg", tmp_path / "out.weights", dialect=dialect))

    def test_behind_others_too(self) -> None:
        model = random_model(cfg_text(CONV, f"{CONV} {BN} xnor=1", CONV))
        assert kept(model) == [(1, "xnor/binary: only the signs of the weights are used")]

    def test_numload_of_all_filters_folds(self) -> None:
        assert kept(random_model(cfg_text(f"{CONV} {BN} numload=4"), "pjreddie")) == []

    def test_flipped_weights_fold_and_stay_flipped(self, tmp_path: Path) -> None:
        model = random_model(cfg_text(f"{CONV} {BN} flipped=1"))
        folded = dn.fold_batchnorm(model)
        agree(model, folded)
        dn.save(folded, tmp_path / "out.cfg", tmp_path / "out.weights", force=True)
        agree(model, dn.load(tmp_path / "out.cfg", tmp_path / "out.weights", dialect="alexeyab"))

    def test_antialiasing_folds(self) -> None:
        model = random_model(cfg_text(f"{CONV} {BN} antialiasing=1 stride=2"))
        assert kept(model) == []
        agree(model, dn.fold_batchnorm(model))


class TestSharedWeights:
    SAME = f"[convolutional] filters=3 size=3 pad=1 activation=leaky {BN}"

    def test_are_folded_once_for_all(self) -> None:
        model = random_model(
            cfg_text(self.SAME, f"{self.SAME} share_index=0", f"{self.SAME} share_index=-1")
        )
        folded = dn.fold_batchnorm(model)
        agree(model, folded)
        assert folded.params[2] is folded.params[0]
        assert all(node.layer.norm.batch_norm is None for node in folded.network.nodes)

    def test_stay_where_one_of_them_has_no_batch_norm(self) -> None:
        without = self.SAME.replace(BN, "")
        model = random_model(cfg_text(self.SAME, f"{without} share_index=0"))
        assert kept(model) == [(0, "layer 1 shares the weights without batch norm")]
        agree(model, dn.fold_batchnorm(model))

    def test_stay_where_one_of_them_must(self) -> None:
        model = random_model(cfg_text(self.SAME, f"{self.SAME} share_index=0 xnor=1"))
        reason = "xnor/binary: only the signs of the weights are used"
        assert kept(model) == [
            (0, f"layer 1 shares the weights: {reason}"),
            (1, f"layer 1 shares the weights: {reason}"),
        ]
        agree(model, dn.fold_batchnorm(model))


def with_array(cfg: bytes, dialect: str, name: str, values: list[float]) -> dn.Model:
    """A random model whose layer 1 has some values of its own."""
    model = random_model(cfg, dialect)
    array = model.params[1][name].copy()
    array[: len(values)] = values
    params = list(model.params)
    params[1] = {**params[1], name: array}
    return dataclasses.replace(model, params=tuple(params))


class TestStatistics:
    CFG = cfg_text(CONV, f"{CONV} {BN}")

    @pytest.mark.parametrize("dialect", DIALECTS)
    @pytest.mark.parametrize("value", [np.nan, -1.0, -1e-4])
    def test_a_variance_without_root_is_refused_with_its_channels(
        self, dialect: str, value: float
    ) -> None:
        model = with_array(self.CFG, dialect, "rolling_variance", [1.0, value, 1.0, value])
        with pytest.raises(dn.FoldError) as caught:
            dn.fold_batchnorm(model)
        message = str(caught.value)
        assert message.startswith(
            "line 12: [convolutional] layer 1: the statistics do not give finite"
        )
        assert "for 2 channels (1, 3)" in message
        assert f"rolling_variance {value:g}" in message

    def test_variances_within_eps_of_zero_are_as_in_the_program(self) -> None:
        model = with_array(self.CFG, "alexeyab", "rolling_variance", [-1e-6, 0.0, 1e-6])
        agree(model, dn.fold_batchnorm(model))
        with pytest.raises(dn.FoldError, match=r"1 channel \(0\)"):
            dn.fold_batchnorm(
                with_array(self.CFG, "pjreddie", "rolling_variance", [-1e-6, 0.0, 1e-6])
            )

    @pytest.mark.parametrize("dialect", DIALECTS)
    def test_subnormal_variances_count_as_zero(self, dialect: str) -> None:
        model = with_array(self.CFG, dialect, "rolling_variance", [-7e-44, 7e-44, -1e-45, 0.0])
        zero = with_array(self.CFG, dialect, "rolling_variance", [0.0, 0.0, 0.0, 0.0])
        folded, expected = dn.fold_batchnorm(model), dn.fold_batchnorm(zero)
        for name in ("weights", "biases"):
            np.testing.assert_array_equal(folded.params[1][name], expected.params[1][name])
        agree(model, folded)

    @pytest.mark.parametrize(
        ("name", "value"),
        [("scales", np.inf), ("rolling_mean", np.nan), ("biases", -np.inf), ("scales", 3e38)],
    )
    def test_other_arrays_that_give_no_finite_factor(self, name: str, value: float) -> None:
        model = with_array(self.CFG, "alexeyab", name, [0.5, value])
        with pytest.raises(dn.FoldError, match=r"layer 1: .* for 1 channel \(1\)"):
            dn.fold_batchnorm(small_variance(model))

    def test_scales_of_zero_and_below_fold(self) -> None:
        model = with_array(self.CFG, "alexeyab", "scales", [0.0, -1.5, -0.0, 1e-30])
        folded = dn.fold_batchnorm(model)
        assert not folded.params[1]["weights"][0].any()
        agree(model, folded)

    def test_many_channels_are_not_all_listed(self) -> None:
        cfg = cfg_text(CONV, f"[convolutional] filters=20 size=1 {BN}")
        model = with_array(cfg, "alexeyab", "rolling_variance", [-1.0] * 20)
        with pytest.raises(dn.FoldError, match=r"20 channels \(0, 1, 2, 3, 4, 5, 6, 7 …\)"):
            dn.fold_batchnorm(model)
        model = with_array(cfg, "alexeyab", "rolling_variance", [1.0] + [-1.0] * 8)
        with pytest.raises(dn.FoldError, match=r"8 channels \(1, 2, 3, 4, 5, 6, 7, 8\)"):
            dn.fold_batchnorm(model)

    def test_the_values_are_those_of_the_first_channel(self) -> None:
        model = with_array(self.CFG, "alexeyab", "rolling_variance", [1.0, -1.0, 1.0, -2.0])
        scale, mean = (model.params[1][name][1] for name in ("scales", "rolling_mean"))
        with pytest.raises(dn.FoldError) as caught:
            dn.fold_batchnorm(model)
        assert caught.value.found == f"rolling_variance -1, scales {scale:g}, rolling_mean {mean:g}"


def small_variance(model: dn.Model) -> dn.Model:
    """The same with variances that make a large scale too large for float32."""
    params = list(model.params)
    params[1] = {**params[1], "rolling_variance": np.full(4, 1e-3, np.float32)}
    return dataclasses.replace(model, params=tuple(params))


@pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")
class TestRealModels:
    @pytest.mark.parametrize("dialect", ["alexeyab", "pjreddie"])
    def test_fold_and_agree(self, shared: Path, dialect: str, tmp_path: Path) -> None:
        paths = sorted(shared.glob("models/*/*.cfg"))
        assert len(paths) >= 5
        for path in paths:
            model = dn.load(path, path.with_suffix(".weights"), dialect=dialect)
            folded = dn.fold_batchnorm(model)
            assert kept(model) == []
            for row in dn.check_fold(model, folded).differences:
                # Deep nets with variances down to zero: the oracle's own folding moves outputs
                # by 1e-5 of the largest value.
                assert row.relative < 2e-5, (path.name, row)
            dn.save(folded, tmp_path / "out.cfg", tmp_path / "out.weights", force=True)
            batch_norms = len(dn.fold_report(model))
            assert batch_norms > 5
            cfg = (tmp_path / "out.cfg").read_bytes()
            assert len(cfg) == len(path.read_bytes())
            changed = sum(a != b for a, b in zip(cfg, path.read_bytes(), strict=True))
            assert changed == batch_norms
