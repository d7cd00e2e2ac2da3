"""TFLite files that were exported here, in LiteRT."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from tests.support.builders import LONG_RANGE, cfg_text, random_input, random_model
from tests.support.paths import FIXTURES

pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")

# Sums of some hundred float32 values in another order differ by 1e-6 of the largest.
TOLERANCE = 3e-6


@pytest.fixture
def model() -> dn.Model:
    return random_model(LONG_RANGE)


@pytest.fixture
def path(model: dn.Model, tmp_path: Path) -> Path:
    dn.export_tflite(model, tmp_path / "x.tflite", prove=False)
    return tmp_path / "x.tflite"


def assert_alike(found: dict[int, np.ndarray], expected: dict[int, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for layer, y in expected.items():
        assert found[layer].shape == y.shape
        assert np.abs(found[layer] - y).max() <= TOLERANCE * np.abs(y).max()


def test_a_file_shows_every_layer(model: dn.Model, path: Path) -> None:
    file = dn.LiteRtFile(path, model)
    assert file.batch == 1
    assert file.layers == tuple(range(19))
    assert file.engine.startswith(f"{path} in litert ")
    x = random_input(model)
    assert_alike(file.forward(x, "all"), dn.forward(model, x, "all"))
    assert_alike(file.forward(x), dn.forward(model, x))
    assert_alike(file.forward(x, [4, 14]), dn.forward(model, x, [4, 14]))


def test_each_thread_gets_the_layers_of_its_own_input(model: dn.Model, path: Path) -> None:
    file = dn.LiteRtFile(path, model)
    inputs = [random_input(model, seed=seed) for seed in range(4)]
    expected = [dn.forward(model, x, "all") for x in inputs]
    together = threading.Barrier(4, timeout=60)

    def check(number: int) -> None:
        together.wait()
        for _ in range(20):
            assert_alike(file.forward(inputs[number], "all"), expected[number])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(check, range(4)))


def test_sessions_and_files_are_pickled(model: dn.Model, path: Path) -> None:
    x = random_input(model)
    for session in (dn.open_session(model, "litert"), dn.LiteRtFile(path, model)):
        again = pickle.loads(pickle.dumps(session))
        assert type(again) is type(session)
        assert_alike(again.forward(x), session.forward(x))


def test_a_file_takes_several_of_its_batches(model: dn.Model, tmp_path: Path) -> None:
    dn.export_tflite(model, tmp_path / "two.tflite", batch=2, prove=False)
    file = dn.LiteRtFile(tmp_path / "two.tflite", model)
    assert file.batch == 2
    x = random_input(model, 6)
    assert_alike(file.forward(x, "all"), dn.forward(model, x, "all"))
    with pytest.raises(dn.DarknetError, match=r"a multiple of 2 images, found 3\)$"):
        file.forward(x[:3])


def test_a_batch_norm_of_its_own_is_shown_if_it_is_asked_for() -> None:
    conv = "[convolutional] filters=4 size=1 activation=linear"
    model = random_model(cfg_text(conv, "[batchnorm]", conv))
    x = random_input(model)
    session = dn.open_session(model, "litert")
    assert_alike(dict(session.forward(x, "all")), dn.forward(model, x, "all"))


def test_files_that_are_none_are_refused(model: dn.Model, tmp_path: Path) -> None:
    for name, data in (("a", b"some text that is no file"), ("b", b"\x10\0\0\0TFL3" + b"\xff" * 9)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(dn.DarknetError, match=f"{name}: this is not a TFLite file"):
            dn.LiteRtFile(tmp_path / name, model)


def test_files_of_other_programs_are_refused(model: dn.Model, tmp_path: Path) -> None:
    from darknet_bn.convert.tflite.flat_model import FlatModel, Operator, Tensor

    x, y = Tensor("x", (1, 3)), Tensor("y", (1, 3))
    flat = FlatModel({"x": x}, {"y": y}, [Operator("LOGISTIC", (x,), (y,))])
    (tmp_path / "x.tflite").write_bytes(flat.bytes("of another program"))
    with pytest.raises(dn.DarknetError, match="does not say where the outputs of layers are"):
        dn.LiteRtFile(tmp_path / "x.tflite", model)


def test_what_litert_does_not_take_is_one_line(model: dn.Model, path: Path) -> None:
    data = bytearray(path.read_bytes())
    at = data.index(b"layer_000.weights") - 60
    data[at : at + 40] = b"\x7f" * 40
    path.write_bytes(data)
    with pytest.raises(dn.DarknetError) as caught:
        dn.LiteRtFile(path, model)
    assert "\n" not in str(caught.value)


def test_a_program_that_knows_litert_alone_reads_digits(tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    model = dn.load(FIXTURES / "digits/digits.cfg", FIXTURES / "digits/digits.weights")
    dn.export_tflite(model, tmp_path / "digits.tflite")
    runner = Interpreter(str(tmp_path / "digits.tflite")).get_signature_runner()
    with np.load(FIXTURES / "digits/test.npz") as data:
        x, y = data["x"][:50], data["y"][:50]
    images = x.reshape(-1, 1, 8, 8).transpose(0, 2, 3, 1)  # channels last
    told = [runner(input=images[i : i + 1])["layer_005"].argmax() for i in range(len(images))]
    assert np.mean(np.array(told) == y) > 0.9


def test_standard_error_is_kept_clean(capfd: pytest.CaptureFixture[str]) -> None:
    engine = dn.open_session(dn.load(FIXTURES / "digits" / "digits"), "litert")
    engine.forward(np.zeros((1, 1, 8, 8), np.float32), "all")
    assert capfd.readouterr().err == ""
