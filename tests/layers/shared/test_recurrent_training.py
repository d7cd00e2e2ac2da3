"""Recurrent layers in training: what continues from batch to batch, and from step to step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.shape import Shape
from tests.support.layer_training import delta_x, train_layer

SIZE = Shape(2, 3, 3)
SEQUENCES = 2
KEEPS = ("[gru]\noutput=4", "[lstm]\noutput=4", "[conv_lstm]\noutput=3\npad=1\npeephole=1")
FORGETS = ("[rnn]\noutput=4\nhidden=5", "[crnn]\noutput=3\nhidden=4\npad=1")


def parameters(layer: Layer) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        param.name: rng.uniform(0.5, 1.5, param.shape)
        if param.name.endswith(("scales", "variance"))
        else rng.standard_normal(param.shape) * 0.5
        for param in layer.params((SIZE,), dn.ALEXEYAB)
    }


def images(steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((steps * SEQUENCES, *SIZE.dims))


class TestFromBatchToBatch:
    @pytest.mark.parametrize("text", KEEPS)
    def test_the_state_goes_on(self, read: Callable[..., Layer], text: str) -> None:
        layer = read(text)
        params, x = parameters(layer), images(4)
        more = {"params": params, "dialect": dn.ALEXEYAB.sound}
        whole = train_layer(layer, x, **more, time_steps=4).y
        state: dict[str, np.ndarray] = {}
        for part in (slice(0, 4), slice(4, 8)):
            done = train_layer(layer, x[part], **more, time_steps=2, state=state)
            np.testing.assert_allclose(done.y, whole[part], rtol=1e-12)
            before = {name: array.copy() for name, array in state.items()}
            delta_x(done, 1.0)
            assert before
            assert all(np.array_equal(state[name], array) for name, array in before.items())

    @pytest.mark.parametrize("text", KEEPS)
    def test_a_batch_of_another_size_begins_anew(
        self, read: Callable[..., Layer], text: str
    ) -> None:
        layer = read(text)
        more = {"params": parameters(layer), "dialect": dn.ALEXEYAB.sound, "time_steps": 2}
        state: dict[str, np.ndarray] = {}
        train_layer(layer, images(2), **more, state=state)
        x = np.concatenate([images(2), images(2, seed=1)])
        found = train_layer(layer, x, **more, state=state).y
        np.testing.assert_array_equal(found, train_layer(layer, x, **more).y)

    @pytest.mark.parametrize("text", FORGETS)
    def test_others_begin_anew_always(self, read: Callable[..., Layer], text: str) -> None:
        layer, state = read(text), {}
        more = {"params": parameters(layer), "dialect": dn.ALEXEYAB.sound, "time_steps": 2}
        first, second = (train_layer(layer, images(2), **more, state=state).y for _ in range(2))
        np.testing.assert_array_equal(first, second)


class TestBatchNorm:
    @pytest.mark.parametrize("text", [*KEEPS, *FORGETS])
    def test_every_step_moves_the_rolling_statistics_once(
        self, read: Callable[..., Layer], text: str
    ) -> None:
        """The part that sees only the input uses the statistics of one step each time."""
        layer = read(f"{text}\nbatch_normalize=1")
        params, x = parameters(layer), images(3)
        more = {"params": params, "dialect": dn.ALEXEYAB.sound, "time_steps": 3}
        changes = train_layer(layer, x, **more).changes
        part = next(part for part in layer.parts() if not part.of_state)
        own = {
            name.removeprefix(f"{part.name}."): array
            for name, array in params.items()
            if name.startswith(f"{part.name}.")
        }
        for step in np.split(x, 3):
            own.update(train_layer(part.layer, step, params=own, dialect=dn.ALEXEYAB.sound).changes)
        rolling = {name for name in params if "rolling" in name}
        assert set(changes) == rolling
        for name in ("rolling_mean", "rolling_variance"):
            np.testing.assert_array_equal(changes[f"{part.name}.{name}"], own[name])

    def test_parameters_stay_as_they_are(self, read: Callable[..., Layer]) -> None:
        layer = read("[rnn]\noutput=4\nhidden=5\nbatch_normalize=1")
        params = parameters(layer)
        before = {name: array.copy() for name, array in params.items()}
        done = train_layer(layer, images(3), params=params, time_steps=3)
        delta_x(done, 1.0)
        assert all(np.array_equal(params[name], array) for name, array in before.items())


class TestAsCoded:
    def given(self, layer: Layer, dialect: dn.Dialect) -> np.ndarray:
        """Which of three steps get something back from the last one alone."""
        done = train_layer(
            layer, images(3), params=parameters(layer), dialect=dialect, time_steps=3
        )
        delta_y = np.zeros_like(done.y)
        delta_y[2 * SEQUENCES :] = 1
        given = delta_x(done, delta_y).reshape(3, -1)
        return np.abs(given).max(axis=1) > 0

    @pytest.mark.parametrize("shortcut", [0, 1])
    def test_convolutions_that_overwrite_cut_the_way_through_time(
        self, read: Callable[..., Layer], shortcut: int
    ) -> None:
        """AlexeyAB's write what the output part gives over what comes from later steps."""
        layer = read(f"{FORGETS[1]}\nactivation=tanh\nshortcut={shortcut}")
        assert self.given(layer, dn.ALEXEYAB.sound).tolist() == [True] * 3
        assert self.given(layer, dn.ALEXEYAB).tolist() == [False, False, True]
        adding = replace(dn.ALEXEYAB, overwrites_deltas="never")
        assert self.given(layer, adding).tolist() == [True] * 3

    @pytest.mark.parametrize(("dialect", "overwrites"), [(dn.ALEXEYAB, True), (dn.PJREDDIE, False)])
    def test_they_overwrite_what_others_gave_the_source(
        self, read: Callable[..., Layer], dialect, overwrites: bool
    ) -> None:
        layer = read(FORGETS[1])
        more = {"params": parameters(layer), "time_steps": 3}
        for each, expected in ((dialect, overwrites), (dialect.sound, False)):
            done = train_layer(layer, images(3), dialect=each, **more)
            assert done.back(np.ones_like(done.y)).overwrites is expected

    @pytest.mark.parametrize("text", FORGETS)
    def test_the_delta_that_is_left_is_that_of_the_output_part(
        self, read: Callable[..., Layer], text: str
    ) -> None:
        layer = read(f"{text}\nactivation=tanh")
        for dialect in (dn.PJREDDIE, dn.PJREDDIE.sound):
            more = {"params": parameters(layer), "dialect": dialect, "time_steps": 3}
            done = train_layer(layer, images(3), **more)
            left = done.back(np.ones_like(done.y)).delta
            np.testing.assert_allclose(left, 1 - done.y**2, rtol=1e-12, atol=1e-15)

    @pytest.mark.parametrize("text", KEEPS)
    def test_of_gates_there_is_the_exact_form_only(
        self, read: Callable[..., Layer], text: str
    ) -> None:
        """The CPU code of some programs has no backward pass through gates at all."""
        layer = read(text)
        exact, coded = (
            train_layer(layer, images(3), params=parameters(layer), dialect=each, time_steps=3)
            for each in (dn.PJREDDIE.sound, dn.PJREDDIE)
        )
        np.testing.assert_array_equal(delta_x(exact, 1.0), delta_x(coded, 1.0))
