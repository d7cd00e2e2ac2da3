"""Loading and saving a model, initial weights, and the same model at another image size."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.formats.cfg import Cfg
from darknet_bn.model.weights import Header
from tests.support.builders import LONG_RANGE, cfg_text, random_input, random_model, weights_bytes

CFG = cfg_text(
    "[convolutional] filters=64 size=5 batch_normalize=1",
    "[batchnorm]",
    "[connected] output=300 batch_normalize=1",
    width=16,
    height=16,
)


class TestLoading:
    def test_from_paths_texts_and_bytes(self, tmp_path: Path) -> None:
        cfg, weights = tmp_path / "net.cfg", tmp_path / "net.weights"
        cfg.write_bytes(CFG)
        weights.write_bytes(weights_bytes(CFG))
        models = [
            dn.load(cfg, weights),
            dn.load(str(cfg), str(weights)),
            dn.load(CFG, weights_bytes(CFG)),
            dn.load(cfg, weights_bytes(CFG)),
        ]
        for model in models:
            assert model.cfg.to_bytes() == CFG
            assert model.loaded == 3
            for params, others in zip(model.params, models[0].params, strict=True):
                assert params.keys() == others.keys()
                for name, array in params.items():
                    np.testing.assert_array_equal(array, others[name])

    def test_all_warnings_come_from_one_place_and_stay_with_the_model(self, tmp_path: Path) -> None:
        path = tmp_path / "net.cfg"
        path.write_bytes(cfg_text("[convolutional] filters=2 filters=3 size=1 foo=1"))
        with pytest.warns(dn.DarknetWarning) as caught:
            model = dn.load(path, None)
        assert tuple(str(each.message) for each in caught) == model.oddities
        assert len(model.oddities) == 2
        assert {each.filename for each in caught} == {__file__}
        assert all(oddity.startswith(f"{path}:") for oddity in model.oddities)

    def test_no_work_is_done_for_errors_that_are_not_raised(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        weights = weights_bytes(LONG_RANGE)

        def needless(*args: object) -> None:
            raise AssertionError("nobody needs it")

        monkeypatch.setattr(Cfg, "where", needless)  # a place, of which nothing is said
        monkeypatch.setattr(np.random, "default_rng", needless)  # the file has every value
        for dialect in ("auto", "opencv"):
            assert dn.load(LONG_RANGE, weights, dialect=dialect).loaded == 19

    def test_a_header_of_its_own_where_there_is_no_file(self) -> None:
        assert dn.load(CFG, None, dialect="pjreddie").header == Header()
        assert dn.load(CFG, None, dialect="alexeyab").header == Header(revision=5)


class TestInitialWeights:
    def test_are_the_same_for_a_seed_and_others_for_another(self) -> None:
        first, again, other = (dn.load(CFG, None, seed=seed) for seed in (1, 1, 2))
        for a, b in zip(first.params, again.params, strict=True):
            for name in a:
                np.testing.assert_array_equal(a[name], b[name])
        assert not np.array_equal(first.params[0]["weights"], other.params[0]["weights"])

    def test_batch_norm_starts_as_darknet_s(self) -> None:
        model = dn.load(CFG, None)
        for params in model.params:
            for name, value in (
                ("biases", 0),
                ("scales", 1),
                ("rolling_mean", 0),
                ("rolling_variance", 0),
            ):
                assert (params[name] == value).all()
                assert params[name].dtype == np.float32

    def test_weights_are_drawn_as_darknet_s(self) -> None:
        fan_in = 3 * 5 * 5
        scale = np.sqrt(2 / fan_in)
        normal = dn.load(CFG, None, dialect="pjreddie").params[0]["weights"].ravel()
        uniform = dn.load(CFG, None, dialect="alexeyab").params[0]["weights"].ravel()
        # 4800 values: the deviation of the sample is known to 1 %, four times that is allowed.
        assert abs(normal.std() / scale - 1) < 0.04
        assert np.abs(normal).max() > 2 * scale
        assert abs(uniform.std() / (scale / np.sqrt(3)) - 1) < 0.04
        assert scale * 0.99 < np.abs(uniform).max() <= scale * (1 + 1e-6)
        connected = dn.load(CFG, None).params[2]["weights"]
        bound = np.sqrt(2 / connected.shape[1])
        assert bound * 0.99 < np.abs(connected).max() <= bound * (1 + 1e-6)
        for values, sd in ((normal, scale), (uniform, scale)):
            assert abs(values.mean()) < 4 * sd / np.sqrt(values.size)

    def test_a_saved_model_loads_as_it_was(self, tmp_path: Path) -> None:
        model = dn.load(CFG, None, dialect="alexeyab", seed=5)
        dn.save(model, tmp_path / "a.cfg", tmp_path / "a.weights")
        again = dn.load(tmp_path / "a.cfg", tmp_path / "a.weights")
        assert again.dialect is model.dialect
        for a, b in zip(model.params, again.params, strict=True):
            for name in a:
                np.testing.assert_array_equal(a[name], b[name])


class TestOtherSizes:
    def test_convolutions_run_at_any_size_with_the_same_weights(self) -> None:
        cfg = LONG_RANGE[: LONG_RANGE.index(b"\n[route]\nlayers=8")]  # up to the connected layer
        model = random_model(cfg, "pjreddie")
        larger = model.resized(32, 16)
        assert larger.network.input.dims == (3, 32, 16)
        assert larger.params is model.params
        assert b"height=32\n" in larger.cfg.to_bytes()
        assert model.network.input.dims == (3, 8, 8)
        x = random_input(larger)
        reference = random_model(larger.cfg.to_bytes(), "pjreddie")
        outputs = dn.forward(larger, x)
        for index, array in dn.forward(reference, x).items():
            np.testing.assert_array_equal(outputs[index], array)
        assert dn.forward(model, random_input(model))[14].shape == (2, 3, 8, 8)

    def test_a_full_matrix_does_not(self) -> None:
        model = random_model(CFG)
        with pytest.raises(
            dn.ShapeError, match="layer 2: the layer has different weights at a different"
        ):
            model.resized(32, 16)

    @pytest.mark.parametrize("size", [0, -1, 2])
    def test_sizes_that_do_not_fit(self, size: int) -> None:
        with pytest.raises(dn.DarknetError):
            random_model(CFG).resized(size, size)


def test_a_changed_copy_computes_anew() -> None:
    model = random_model(CFG)
    x = random_input(model)
    before = dn.forward(model, x, [0])[0]
    params = ({**model.params[0], "biases": model.params[0]["biases"] + 1}, *model.params[1:])
    changed = dataclasses.replace(model, params=params)
    assert not np.array_equal(dn.forward(changed, x, [0])[0], before)
    np.testing.assert_array_equal(dn.forward(model, x, [0])[0], before)
