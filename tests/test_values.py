"""What the package hands out can be pickled and copied, and is shown in a line."""

from __future__ import annotations

import copy
import dataclasses
import multiprocessing
import pickle
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.model.weights import release
from darknet_bn.values import brief, shortened
from tests.support.builders import (
    cfg_text,
    random_input,
    random_model,
    weights_bytes,
    with_time_steps,
)
from tests.support.engines import INSTALLED
from tests.support.public_values import (
    DIGITS,
    TINY,
    digits_batch,
    examples,
    pair,
    reachable,
    same,
)


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dn.DarknetWarning)
        return list(examples(tmp_path_factory.mktemp("values")))


def test_there_is_an_example_of_every_public_class(values: list[Any]) -> None:
    public = [getattr(dn, name) for name in dn.__all__]
    kinds = {each for each in public if isinstance(each, type)}
    if "ncnn" not in INSTALLED:
        kinds.remove(dn.NcnnFile)
    if "litert" not in INSTALLED:
        kinds.remove(dn.LiteRtFile)
    inside = [each for value in values for each in reachable(value)]
    assert not {kind for kind in kinds if not any(isinstance(each, kind) for each in inside)}


def test_all_are_the_same_after_pickling(values: list[Any]) -> None:
    for value in values:
        for protocol in (2, pickle.HIGHEST_PROTOCOL):
            again = pickle.loads(pickle.dumps(value, protocol))
            assert same(value, again), repr(value)


def test_all_are_the_same_after_copying(values: list[Any]) -> None:
    for value in values:
        assert same(value, copy.deepcopy(value)), repr(value)
        assert same(value, copy.copy(value)), repr(value)


def test_all_are_shown_in_a_short_line(values: list[Any]) -> None:
    for value in values:
        for each in reachable(value):
            line = repr(each)
            assert len(line) <= 120, line
            assert line.isprintable(), line
            assert type(each).__name__ in line
            assert "array(" not in line
            assert " at 0x" not in line, line


# -- models ------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["pickle", "copy"])
def test_a_model_in_a_map_of_its_file(way: str, tmp_path: Path) -> None:
    cfg = cfg_text(
        "[convolutional] filters=4 size=3 pad=1 batch_normalize=1", "[connected] output=3"
    )
    data = bytearray(weights_bytes(cfg))
    data[20:24] = (0x7FC12345).to_bytes(4, "little")  # a NaN as arithmetic does not make it
    (tmp_path / "net.cfg").write_bytes(cfg)
    (tmp_path / "net.weights").write_bytes(data)
    model = dn.load(tmp_path / "net.cfg", tmp_path / "net.weights")
    again = copy.deepcopy(model) if way == "copy" else pickle.loads(pickle.dumps(model))
    (tmp_path / "net.weights").write_bytes(bytes(len(data)))  # the copy does not need the file
    dn.save(again, tmp_path / "again.cfg", tmp_path / "again.weights")
    assert (tmp_path / "again.weights").read_bytes() == data
    for params in again.params:
        for array in params.values():
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0
    release(again.params)
    assert (tmp_path / "again.weights").read_bytes() == data


def test_running_a_model_changes_nothing_of_it() -> None:
    model = pair(DIGITS)
    x, _ = digits_batch()
    before = pickle.dumps(model)
    expected = dn.forward(model, x)
    assert pickle.dumps(model) == before
    for again in (pickle.loads(before), copy.deepcopy(model)):
        for layer, y in dn.forward(again, x).items():
            np.testing.assert_array_equal(y, expected[layer])


def test_layers_that_share_arrays_still_do() -> None:
    conv = "[convolutional] filters=3 size=3 pad=1"
    model = random_model(cfg_text(conv, f"{conv} share_index=0"))
    assert model.params[0] is model.params[1]
    again = pickle.loads(pickle.dumps(model))
    assert again.params[0] is again.params[1]


def test_sequences_begin_anew_in_a_copy() -> None:
    cfg = with_time_steps(cfg_text("[rnn] output=4 hidden=4 activation=leaky"), 2)
    model = random_model(cfg)
    runner, x = dn.Runner(model), random_input(model, 2)
    first = runner.forward(x)[0]
    for again in (copy.copy(runner), copy.deepcopy(runner), pickle.loads(pickle.dumps(runner))):
        np.testing.assert_array_equal(again.forward(x)[0], first)
    assert not np.array_equal(runner.forward(x)[0], first)


def test_training_goes_on_to_the_same_bits() -> None:
    x, truth = digits_batch()
    state, _ = dn.train_step(dn.train_state(pair(DIGITS), seed=5), x, truth)
    again = pickle.loads(pickle.dumps(state))
    assert same(dn.train_step(state, x, truth), dn.train_step(again, x, truth))


def test_errors_keep_all_that_they_say() -> None:
    with pytest.raises(dn.WeightsError) as caught:
        dn.load(f"{TINY}.cfg", f"{DIGITS}.weights")
    error = caught.value
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    for name in ("problem", "where", "expected", "found", "hint"):
        assert getattr(again, name) == getattr(error, name)
    assert None not in (again.where.file, again.expected, again.found, again.hint)


# -- other processes ---------------------------------------------------------------------------


@pytest.fixture(
    scope="module",
    params=sorted({"forkserver", "spawn"} & set(multiprocessing.get_all_start_methods())),
)
def process(request: pytest.FixtureRequest) -> Iterator[ProcessPoolExecutor]:
    """A process that shares nothing with this one, begun as elsewhere, or as Python 3.14 does."""
    with ProcessPoolExecutor(1, multiprocessing.get_context(request.param)) as pool:
        yield pool


def test_another_process_computes_the_same(process: ProcessPoolExecutor) -> None:
    model = pair(DIGITS)
    x, truth = digits_batch()
    assert same(process.submit(dn.forward, model, x).result(), dn.forward(model, x))
    state = dn.train_state(model)
    step = process.submit(dn.train_step, state, x, truth).result()
    assert same(step, dn.train_step(state, x, truth))
    tiny = pair(TINY)
    x = random_input(tiny)
    found = process.submit(dn.detections, tiny, x, threshold=0.01).result()
    assert same(found, dn.detections(tiny, x, threshold=0.01))


@pytest.mark.parametrize("engine", INSTALLED)
def test_a_session_runs_in_another_process(engine: str, process: ProcessPoolExecutor) -> None:
    session = dn.open_session(pair(DIGITS), engine)
    x, _ = digits_batch()
    # With other threads next to it, a program may cut sums in other ways.
    for layer, y in process.submit(session.forward, x).result().items():
        np.testing.assert_allclose(y, session.forward(x)[layer], atol=1e-6)


def test_an_error_comes_back_from_another_process(process: ProcessPoolExecutor) -> None:
    with pytest.raises(dn.CfgError) as caught:
        process.submit(dn.load, b"[net]\nwidth=8\n[conv", None).result()
    assert caught.value.where == dn.Where(line=3)
    assert caught.value.expected == "[name]"


# -- lines -------------------------------------------------------------------------------------


def test_what_a_model_is() -> None:
    model = pair(DIGITS)
    assert repr(model) == (
        "<Model of digits.cfg and digits.weights: 6 layers, input 8 x 8 x 1, dialect pjreddie>"
    )
    cfg = cfg_text("[maxpool] size=2")
    assert repr(dn.load(cfg, None)) == "<Model 1 layer, input 8 x 8 x 3, dialect pjreddie>"


def test_a_dialect_that_was_changed_says_so() -> None:
    assert repr(dn.ALEXEYAB) == "<Dialect alexeyab>"
    changed = dataclasses.replace(dn.PJREDDIE, crnn_swaps_sides=False)
    assert repr(changed) == "<Dialect pjreddie with crnn_swaps_sides=False>"


def test_options_are_those_that_are_not_the_default() -> None:
    cfg = cfg_text("[convolutional] filters=4 size=3 activation=leaky stride=1")
    layer = dn.load(cfg, None).network.nodes[0].layer
    assert repr(layer) == "<Convolutional filters=4, size=3, activation='leaky'>"


def test_a_long_line_loses_its_middle() -> None:
    assert shortened("0123456789", 10) == "0123456789"
    assert shortened("0123456789A", 10) == "01234…789A"
    assert shortened("a\nb\0 \t c", 10) == "a b? c"
    line = brief(object(), "x" * 200)
    assert (len(line), line[:9], line[-2:]) == (120, "<object x", "x>")
