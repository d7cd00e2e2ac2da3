"""A file in ONNX Runtime: any number of images, and only the layers that are asked for."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from tests.support.builders import cfg_text, random_input, random_model, with_time_steps
from tests.support.paths import FIXTURES

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

TINY = FIXTURES / "tiny"


@pytest.fixture(scope="module")
def tiny() -> dn.Model:
    return dn.load(TINY / "tiny.cfg", TINY / "tiny.weights")


@pytest.mark.parametrize("batch", [1, 3, "any"])
@pytest.mark.parametrize("count", [1, 3, 7])
def test_any_number_of_images(tiny: dn.Model, tmp_path: Path, batch: int | str, count: int) -> None:
    path = tmp_path / "net.onnx"
    dn.export_onnx(tiny, path, batch=batch, prove=False)  # type: ignore[arg-type]
    x = np.random.default_rng(0).random((count, 3, 64, 64), np.float32)
    session = dn.OnnxFile(path, tiny)
    assert session.batch == (1 if batch == "any" else batch)
    for layers in ("outputs", (3, 11)):
        found = session.forward(x, layers)  # type: ignore[arg-type]
        expected = dn.forward(tiny, x, layers)  # type: ignore[arg-type]
        assert found.keys() == expected.keys()
        for layer, y in expected.items():
            # Sums in another order differ by 1e-6 of the largest value.
            np.testing.assert_allclose(found[layer], y, atol=1e-5 * np.abs(y).max())


def test_layers_that_are_asked_for(tiny: dn.Model, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    dn.export_onnx(tiny, path, prove=False)
    session = dn.OnnxFile(path, tiny, (2, 11))
    assert session.layers == (2, 11)
    x = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    again = pickle.loads(pickle.dumps(session))
    assert again.layers == (2, 11)
    for each in (session, again):
        assert set(each.forward(x, "all")) == {2, 11}
        with pytest.raises(dn.DarknetError, match="does not show the output of layer 3"):
            each.forward(x, [3])


def test_sequences_are_run_as_many_at_once_as_the_file_takes(tmp_path: Path) -> None:
    model = random_model(with_time_steps(cfg_text("[rnn] output=4 hidden=3"), 3))
    dn.export_onnx(model, tmp_path / "x.onnx", batch=6, prove=False)  # two sequences
    x = random_input(model, 15)
    found = dn.OnnxFile(tmp_path / "x.onnx", model).forward(x)
    for layer, y in dn.forward(model, x).items():
        # Sums in another order differ by 1e-6 of the largest value.
        np.testing.assert_allclose(found[layer], y, atol=1e-5 * np.abs(y).max())
