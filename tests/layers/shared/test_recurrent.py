"""What holds of every recurrent layer: sequences, and state across calls."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.layers import KINDS
from darknet_bn.layers.shape import Shape
from tests.support.builders import (
    cfg_text,
    random_input,
    random_model,
    with_time_steps,
)
from tests.support.paths import FIXTURES
from tests.support.recurrent_nets import CONV, NETS, SIX, assert_close, model_of, remembering

SEQUENCES = 2

every_net = pytest.mark.parametrize("name", NETS)
both_ways = pytest.mark.parametrize("exact", [True, False], ids=["exact", "fast"])


@every_net
class TestSequences:
    @both_ways
    def test_are_independent_of_each_other(self, name: str, exact: bool) -> None:
        model = model_of(name)
        x = random_input(model, SIX * 3)
        together = dn.forward(model, x, "all", exact=exact)
        for which in range(3):
            alone = dn.forward(model, x[which::3], "all", exact=exact)
            for index, array in alone.items():
                assert_close(array, together[index][which::3])

    @both_ways
    def test_a_step_depends_on_those_before_and_on_no_other(self, name: str, exact: bool) -> None:
        model = model_of(name)
        x = random_input(model, SIX)
        before = dn.forward(model, x, exact=exact)
        x[2] += 1
        after = dn.forward(model, x, exact=exact)
        for index, array in before.items():
            changed = np.abs(after[index] - array).reshape(SIX, -1).max(axis=1)
            # The rows of one matrix product: the others do not change by a bit, or hardly.
            assert (changed[:2] <= 1e-6).all()
            assert (changed[2:4] > 1e-4).all()  # history of three images ends there

    def test_arrays_whose_images_do_not_lie_behind_each_other(
        self, name: str, run: Callable[..., np.ndarray]
    ) -> None:
        model = model_of(name)
        x = random_input(model, SIX * SEQUENCES)
        for index, expected in dn.forward(model, x, "all", exact=True).items():
            layer, (seen,) = model.network.nodes[index].layer, model.network.nodes[index].xs
            steps = SIX if layer.recurrent else 1
            y = run(
                layer,
                x.reshape(len(x), *seen.dims),
                dialect=model.dialect,
                params=model.params[index],
                time_steps=steps,
            )
            assert_close(y, expected)
            x = expected


@every_net
class TestStateAcrossCalls:
    @both_ways
    @pytest.mark.parametrize("chunk", [1, 2, 3])
    def test_chunks_give_what_the_whole_gives(self, name: str, chunk: int, exact: bool) -> None:
        whole = remembering(model_of(name))
        x = random_input(whole, SIX * SEQUENCES)
        expected = dn.forward(whole, x, "all", exact=exact)
        runner = dn.Runner(whole.with_time_steps(chunk))
        parts = [runner.forward(part, "all", exact=exact) for part in np.split(x, SIX // chunk)]
        for index, array in expected.items():
            assert_close(np.concatenate([part[index] for part in parts]), array)

    def test_a_sequence_goes_on_when_the_way_to_compute_changes(self, name: str) -> None:
        whole = model_of(name)
        x = random_input(whole, SIX * SEQUENCES)
        (expected,) = dn.forward(whole, x, exact=True).values()
        runner = dn.Runner(whole.with_time_steps(2))
        parts = [
            runner.forward(part, exact=exact).popitem()[1]
            for part, exact in zip(np.split(x, 3), (True, False, True), strict=True)
        ]
        assert_close(np.concatenate(parts), expected)

    def test_without_a_runner_every_call_begins_anew(self, name: str) -> None:
        model = model_of(name, 2)
        x, other = random_input(model, 4), random_input(model, 4, seed=8)
        (first,) = dn.forward(model, x).values()
        dn.forward(model, other)
        (second,) = dn.forward(model, x).values()
        np.testing.assert_array_equal(first, second)
        runner = dn.Runner(model)
        (begun,) = runner.forward(x).values()
        np.testing.assert_array_equal(begun, first)
        (kept,) = runner.forward(x).values()
        assert np.abs(kept - first).max() > 1e-4

    def test_two_runners_and_calls_without_one_do_not_see_each_other(self, name: str) -> None:
        model = model_of(name, 2)
        x, other = random_input(model, 4), random_input(model, 4, seed=8)
        alone, one, two = dn.Runner(model), dn.Runner(model), dn.Runner(model)
        expected = [alone.forward(x).popitem()[1] for _ in range(3)]
        for y in expected:
            np.testing.assert_array_equal(one.forward(x).popitem()[1], y)
            two.forward(other)
            dn.forward(model, other)

    def test_a_reset_or_another_batch_begins_anew(self, name: str) -> None:
        model = model_of(name, 2)
        runner, x = dn.Runner(model), random_input(model, 4)
        (first,) = runner.forward(x).values()
        runner.reset()
        np.testing.assert_array_equal(runner.forward(x).popitem()[1], first)
        runner.forward(np.concatenate([x, x]))
        np.testing.assert_array_equal(runner.forward(x).popitem()[1], first)

    def test_a_call_that_breaks_off_leaves_nothing(self, name: str) -> None:
        model = model_of(name, 2)
        runner, x = dn.Runner(model), random_input(model, 4)
        (first,) = runner.forward(x).values()

        def stop() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            runner.forward(x, after_layer=stop)
        np.testing.assert_array_equal(runner.forward(x).popitem()[1], first)

    def test_the_check_of_a_fold_does_not_touch_it(self, name: str) -> None:
        model = model_of(name, 2)
        folded = dn.fold_batchnorm(model)
        runner, x = dn.Runner(model), random_input(model, 4)
        calls = []
        for check in (False, True):
            runner.reset()
            runner.forward(x)
            if check:
                dn.check_fold(model, folded)
            calls.append(runner.forward(x).popitem()[1])
        np.testing.assert_array_equal(*calls)


RECORDED = sorted(
    path
    for kind in ("rnn", "gru", "lstm", "crnn", "conv_lstm")
    for path in (FIXTURES / "layers").glob(f"{kind}*/*.npz")
)


@both_ways
@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}-{path.stem}")
@pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")
def test_step_by_step_a_net_gives_what_the_program_gave_for_whole_sequences(
    path: Path, exact: bool
) -> None:
    cfg = path.with_name("model.cfg")
    whole = dn.load(cfg, cfg.with_suffix(".weights"), dialect=path.stem)
    fixture = dn.load_fixture(path)
    x = fixture.input(whole.network.input.dims)
    model = whole.with_time_steps(1)
    for folded in (False, True):
        model = dn.fold_batchnorm(model) if folded else model
        runner = dn.Runner(model)
        parts = [
            runner.forward(part, "all", exact=exact)
            for part in np.split(x, whole.network.time_steps)
        ]
        for index, node in enumerate(model.network.nodes):
            found = np.concatenate([part[index] for part in parts])
            expected = fixture.layer(index, node.y.dims)
            # The recordings' own tolerance: float32 sums in another order; and a fold rounds once
            # more.
            assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_what_a_call_leaves_is_not_what_it_returns() -> None:
    for name in NETS:
        model = model_of(name, 2)
        untouched, runner, x = dn.Runner(model), dn.Runner(model), random_input(model, 4)
        first = runner.forward(x, "all")
        untouched.forward(x, "all")
        expected = untouched.forward(x, "all")
        for array in first.values():
            array.fill(np.nan)
        for index, array in runner.forward(x, "all").items():
            np.testing.assert_array_equal(array, expected[index])
            array.fill(np.nan)
        runner.reset()
        untouched.reset()
        expected = untouched.forward(x, "all")
        for index, array in runner.forward(x, "all").items():
            np.testing.assert_array_equal(array, expected[index])


def test_threads_do_not_see_each_other_s_states() -> None:
    model = model_of("lstm alexeyab", 3)
    inputs = [random_input(model, 3 * (1 + seed % 2), seed) for seed in range(6)]
    expected = [dn.forward(model, x, [-1], exact=bool(i % 2)) for i, x in enumerate(inputs)]
    fresh = model_of("lstm alexeyab", 3)
    start = threading.Barrier(6)
    failures: list[int] = []

    def work(number: int) -> None:
        start.wait()
        for _ in range(20):
            found = dn.forward(fresh, inputs[number], [-1], exact=bool(number % 2))
            if not np.array_equal(found[1], expected[number][1]):
                failures.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


class TestTimeSteps:
    @pytest.mark.parametrize("rows", [1, 5, 7])
    def test_an_input_that_ends_inside_a_sequence(self, rows: int) -> None:
        model = model_of("gru pjreddie")
        with pytest.raises(dn.ShapeError) as caught:
            dn.forward(model, random_input(model, rows))
        assert str(caught.value) == (
            f"[net]: time_steps: the input ends inside a sequence (expected a multiple of 6, found "
            f"{rows}); Model.with_time_steps makes a model for sequences of a different length"
        )

    def test_they_count_only_where_a_layer_is_recurrent(self) -> None:
        plain = random_model(with_time_steps(cfg_text(CONV), 6))
        assert (plain.network.net.time_steps, plain.network.time_steps) == (6, 1)
        assert dn.forward(plain, random_input(plain, 5))[0].shape == (5, 4, 8, 8)
        assert model_of("history").network.time_steps == 6

    def test_another_length_shares_the_parameters(self) -> None:
        model = model_of("gru pjreddie")
        other = model.with_time_steps(2)
        assert other.network.time_steps == 2
        assert all(a is b for a, b in zip(model.params, other.params, strict=True))
        assert other.cfg.to_bytes() == model.cfg.to_bytes().replace(b"steps=6", b"steps=2")
        with pytest.raises(dn.CfgError, match="time_steps: the value is too small"):
            model.with_time_steps(0)

    def test_recordings_hold_whole_sequences(self, tmp_path: Path) -> None:
        model = model_of("conv_lstm")
        dn.record(model, tmp_path / "out.npz", random_input(model, SIX * SEQUENCES))
        assert dn.verify(model, tmp_path / "out.npz").ok
        report = dn.verify(model.with_time_steps(3), tmp_path / "out.npz")
        assert not report.ok


def test_the_table_of_layers() -> None:
    for name in NETS:
        model = model_of(name)
        rows = dn.summarise(model.network)
        assert sum(row.parameters for row in rows) == model.network.stored_floats
        assert all(row.bflops > 0 for row in rows if row.section != "history")


def test_every_recurrent_kind_is_here() -> None:
    names = {kind.names[0] for kind in KINDS if kind.recurrent}
    tested = {name for net in NETS.values() for name in re.findall(r"\[(\w+)\]", " ".join(net))}
    assert names == {"rnn", "gru", "lstm", "crnn", "conv_lstm", "history"}
    assert names <= tested
    assert len(RECORDED) == 10


@pytest.mark.parametrize("name", ["rnn pjreddie", "gru alexeyab", "lstm pjreddie"])
def test_behind_a_layer_without_image_shape(name: str) -> None:
    dialect, first, _ = NETS[name]
    model = random_model(cfg_text("[softmax]", first, "[connected] output=3"), dialect)
    assert model.network.nodes[0].y == Shape(192, flat=True)
    outputs = dn.forward(model, random_input(model), "all")
    assert outputs[2].shape == (2, 3, 1, 1)
