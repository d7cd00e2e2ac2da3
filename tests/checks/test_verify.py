"""Recording what a model computes, and comparing against a recording."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.checks.fixture import save_fixture
from tests.support.builders import LONG_RANGE, cfg_text, random_input, random_model, weights_bytes
from tests.support.paths import FIXTURES

CFG = cfg_text(
    "[convolutional] filters=4 size=3 batch_normalize=1 activation=leaky",
    "[convolutional] filters=5 size=1 activation=linear",
    "[avgpool]",
    "[softmax]",
)


def recorded(model: dn.Model, path: Path, layers: object = "all") -> dn.Fixture:
    dn.record(model, path, random_input(model), layers, force=True)  # type: ignore[arg-type]
    return dn.load_fixture(path)


class TestRecord:
    def test_holds_every_layer_in_darknet_s_order_of_operations(self, tmp_path: Path) -> None:
        model = random_model(LONG_RANGE, "pjreddie")
        fixture = recorded(model, tmp_path / "a.npz")
        exact = dn.forward(model, random_input(model), "all", exact=True)
        assert fixture.layers == tuple(range(19))
        for index, array in exact.items():
            found = fixture.layer(index, model.network.nodes[index].y.dims)
            np.testing.assert_array_equal(found, array)

    def test_says_who_made_it_from_what(self, tmp_path: Path) -> None:
        model = random_model(CFG)
        provenance = recorded(model, tmp_path / "a.npz", [0]).provenance
        assert provenance == {
            "program": "darknet-bn",
            "version": dn.__version__,
            "dialect": "alexeyab",
            "cfg_sha256": hashlib.sha256(CFG).hexdigest(),
            "weights_sha256": hashlib.sha256(weights_bytes(CFG)).hexdigest(),
        }

    def test_of_some_layers(self, tmp_path: Path) -> None:
        model = random_model(CFG)
        assert recorded(model, tmp_path / "a.npz", [-1, 1]).layers == (1, 3)
        assert recorded(model, tmp_path / "b.npz", "outputs").layers == (3,)

    def test_an_input_that_does_not_fit_writes_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(dn.ShapeError):
            dn.record(
                random_model(CFG),
                tmp_path / "a.npz",
                np.zeros((1, 2, 2, 2), np.float32),
                force=True,
            )
        assert not list(tmp_path.iterdir())


class TestVerify:
    def test_a_model_agrees_with_its_own_recording(self, tmp_path: Path) -> None:
        model = random_model(CFG)
        fixture = recorded(model, tmp_path / "a.npz")
        report = dn.verify(model, fixture)
        assert report.ok
        assert report.first_wrong is None
        assert [row.error for row in report.differences] == [0, 0, 0, 0]
        assert [row.shape for row in report.differences] == [
            (2, 4, 6, 6),
            (2, 5, 6, 6),
            (2, 5, 1, 1),
            (2, 5),
        ]
        assert dn.verify(model, tmp_path / "a.npz", exact=False).ok
        assert dn.verify(model, str(tmp_path / "a.npz")).provenance == fixture.provenance

    def test_a_wrong_weight_is_found_in_the_layer_where_it_is(self, tmp_path: Path) -> None:
        model = random_model(CFG)
        fixture = recorded(model, tmp_path / "a.npz")
        data = bytearray(weights_bytes(CFG))
        at = 20 + 4 * (16 + 4 * 27) + 4 * 3  # the fourth bias of layer 1
        bias = np.frombuffer(bytes(data[at : at + 4]), "<f4") + np.float32(0.25)
        data[at : at + 4] = bias.astype("<f4").tobytes()
        report = dn.verify(dn.load(CFG, bytes(data)), fixture)
        assert not report.ok
        wrong = report.first_wrong
        assert wrong is not None
        assert (wrong.layer, wrong.section, wrong.mismatches) == (1, "convolutional", 2 * 36)
        assert report.differences[0].ok
        assert wrong.error == pytest.approx(0.25, abs=1e-5)
        assert wrong.mean == pytest.approx(0.25 / 5, abs=1e-5)
        assert [each.index for each in wrong.offenders] == [
            (0, 3, 0, 0),
            (0, 3, 0, 1),
            (0, 3, 0, 2),
        ]
        for each in wrong.offenders:
            assert each.found - each.expected == pytest.approx(0.25, abs=1e-5)
        text = str(report)
        assert "layer 1 [convolutional] is the first that differs: 72 values" in text
        assert "at 0, 3, 0, 0: expected" in text

    def test_the_wrong_dialect_is_found(self, tmp_path: Path) -> None:
        fixture = recorded(random_model(CFG), tmp_path / "a.npz")
        other = dn.load(CFG, weights_bytes(CFG), dialect="pjreddie")
        report = dn.verify(other, fixture)
        assert report.first_wrong is not None
        assert report.first_wrong.layer == 0
        # eps of 1e-5 inside the root against 1e-6 outside: 1e-4 at a variance of 0.05
        assert dn.verify(other, fixture, tolerance=1e-3).ok

    def test_the_programs_recordings_are_agreed_with(self) -> None:
        for dialect in ("pjreddie", "alexeyab"):
            folder = FIXTURES / "layers/conv_bn_stack"
            model = dn.load(folder / "model.cfg", folder / "model.weights", dialect=dialect)
            assert dn.verify(model, folder / f"{dialect}.npz").ok

    def test_the_tolerance_is_a_part_of_the_largest_value(self, tmp_path: Path) -> None:
        cfg = cfg_text("[dropout]", width=1, height=1, channels=4)
        model = random_model(cfg)
        x = np.array([[1000, 1, 0.5, 0]], np.float32).reshape(1, 4, 1, 1)
        off = x + np.array([0.5, 0.5, 0, 0], np.float32).reshape(1, 4, 1, 1)
        save_fixture(tmp_path / "a.npz", x, {0: off}, {}, force=True)
        for tolerance, different in ((6e-4, 0), (4e-4, 2)):
            (row,) = dn.verify(model, tmp_path / "a.npz", tolerance=tolerance).differences
            assert (row.largest, row.mismatches) == (1000.5, different)

    def test_a_layer_of_zeros_has_an_absolute_tolerance(self, tmp_path: Path) -> None:
        model = random_model(cfg_text("[dropout]", width=1, height=1, channels=2))
        x = np.array([[1e-6, 1e-4]], np.float32).reshape(1, 2, 1, 1)
        save_fixture(tmp_path / "a.npz", x, {0: np.zeros_like(x)}, {}, force=True)
        (row,) = dn.verify(model, tmp_path / "a.npz").differences
        assert (row.largest, row.mismatches) == (0, 1)

    def test_broken_numbers_agree_with_the_same_only(self, tmp_path: Path) -> None:
        model = random_model(cfg_text("[dropout]", width=1, height=1, channels=6))
        nan, inf = np.nan, np.inf
        x = np.array([nan, inf, -inf, nan, inf, 1], np.float32).reshape(1, 6, 1, 1)
        said = np.array([nan, inf, -inf, 1, -inf, nan], np.float32).reshape(1, 6, 1, 1)
        save_fixture(tmp_path / "a.npz", x, {0: said}, {}, force=True)
        (row,) = dn.verify(model, tmp_path / "a.npz").differences
        assert row.mismatches == 3
        assert [each.index[1] for each in row.offenders] == [3, 4, 5]
        assert (row.error, row.largest) == (inf, 1)

    def test_only_the_layers_that_the_fixture_holds_are_compared(self, tmp_path: Path) -> None:
        model = random_model(CFG)
        fixture = recorded(model, tmp_path / "a.npz", [2])
        assert [row.layer for row in dn.verify(model, fixture).differences] == [2]

    def test_fixtures_of_other_nets_are_refused(self, tmp_path: Path) -> None:
        model = random_model(CFG)
        x = random_input(model)
        for layers, found in (({4: x}, "found layer 4"), ({}, "found no layer")):
            save_fixture(tmp_path / "a.npz", x, layers, {}, force=True)
            with pytest.raises(
                dn.FixtureError, match=f"a different network.*layers from 0 to 3, {found}"
            ):
                dn.verify(model, tmp_path / "a.npz")
        save_fixture(tmp_path / "a.npz", x, {0: x}, {}, force=True)
        with pytest.raises(dn.FixtureError, match="layer_000: the array does not have the shape"):
            dn.verify(model, tmp_path / "a.npz")
        save_fixture(tmp_path / "a.npz", x[:, :2], {3: x[:, 0, 0, :5]}, {}, force=True)
        with pytest.raises(dn.FixtureError, match="input: the array does not have the shape"):
            dn.verify(model, tmp_path / "a.npz")

    def test_an_empty_batch_is_refused(self, tmp_path: Path) -> None:
        model = random_model(CFG)
        nothing = np.zeros((0, 3, 8, 8), np.float32)
        save_fixture(tmp_path / "a.npz", nothing, {3: np.zeros((0, 5), np.float32)}, {}, force=True)
        with pytest.raises(dn.DarknetError, match="does not fit the network"):
            dn.verify(model, tmp_path / "a.npz")

    def test_a_report_of_agreement_says_so(self, tmp_path: Path) -> None:
        model = random_model(CFG)
        report = dn.verify(model, recorded(model, tmp_path / "a.npz"))
        lines = str(report).splitlines()
        assert len(lines) == 6
        assert "2 x 4 x 6 x 6" in lines[1]
        assert lines[-1] == "all 4 layers agree within 1e-05 of their largest value"
        strict = dataclasses.replace(report, tolerance=0.5)
        assert "within 0.5" in str(strict)
