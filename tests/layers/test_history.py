"""``[history]``: which image is in which channels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.dialect import ALEXEYAB
from darknet_bn.layers.history import History
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.shape import Shape
from tests.support.builders import cfg_text, network_of, random_input
from tests.support.layer_training import delta_x, train_layer

MENDED = replace(ALEXEYAB, history_needs_steps=False)


def expected_of(x: np.ndarray, steps: int, size: int) -> np.ndarray:
    images = x.reshape(steps, -1, *x.shape[1:])
    nothing = np.zeros_like(images[0])
    rows = [
        np.concatenate([images[t - k] if t >= k else nothing for k in range(size)], axis=1)
        for t in range(steps)
    ]
    return np.concatenate(rows)


@pytest.mark.parametrize("size", [1, 2, 4, 7])
@pytest.mark.parametrize("steps", [2, 5])
def test_the_newest_image_comes_first_and_zeros_before_the_first(
    run: Callable[..., np.ndarray], read: Callable[..., Layer], size: int, steps: int
) -> None:
    x = np.random.default_rng(0).standard_normal((3 * steps, 2, 4, 5)).astype(np.float32)
    layer = read(f"[history]\nhistory_size={size}\n")
    y = run(layer, x, time_steps=steps)
    np.testing.assert_array_equal(y, expected_of(x, steps, size))


def test_four_images_by_default() -> None:
    assert network_of(cfg_text("[history]")).nodes[0].y == Shape(12, 8, 8)


class TestASingleTimeStep:
    """The program then remembers nothing, not even from call to call."""

    def calls(self, dialect: dn.Dialect, count: int) -> tuple[np.ndarray, np.ndarray]:
        model = dn.load(cfg_text("[history] history_size=3"), None, dialect=dialect)
        x = np.stack([random_input(model, 2, seed) for seed in range(count)])
        runner = dn.Runner(model)
        return x, np.stack([runner.forward(each)[0] for each in x])

    def test_in_alexeyab_s(self) -> None:
        x, y = self.calls(ALEXEYAB, 4)
        np.testing.assert_array_equal(y[:, :, :3], x)
        assert not y[:, :, 3:].any()

    def test_mended(self) -> None:
        x, y = self.calls(MENDED, 4)
        expected = expected_of(x.reshape(8, 3, 8, 8), 4, 3)
        np.testing.assert_array_equal(y.reshape(8, 9, 8, 8), expected)


def test_what_is_refused() -> None:
    with pytest.raises(dn.ShapeError, match="no image shape"):
        network_of(cfg_text("[softmax]", "[history]"))
    with pytest.raises(dn.CfgError, match="history_size: the value is too small"):
        network_of(cfg_text("[history] history_size=0"))
    with pytest.raises(dn.CfgError, match="pjreddie has no such section"):
        network_of(cfg_text("[history]"), "pjreddie")
    assert History().recurrent


class TestTraining:
    def test_a_batch_goes_on_where_the_last_one_ended(self) -> None:
        x = np.random.default_rng(0).standard_normal((8, 2, 3, 4))  # four steps of two
        state: dict[str, np.ndarray] = {}
        parts = [
            train_layer(
                History(history_size=3), part, dialect=ALEXEYAB.sound, time_steps=2, state=state
            ).y
            for part in (x[:4], x[4:])
        ]
        np.testing.assert_array_equal(np.concatenate(parts), expected_of(x, 4, 3))

    def test_a_batch_of_another_size_begins_anew(self) -> None:
        state: dict[str, np.ndarray] = {}
        for sequences in (2, 3, 1):
            x = np.random.default_rng(sequences).standard_normal((2 * sequences, 2, 3, 4))
            done = train_layer(
                History(history_size=3), x, dialect=ALEXEYAB.sound, time_steps=2, state=state
            )
            np.testing.assert_array_equal(done.y, expected_of(x, 2, 3))
            assert state["output"].shape == done.y[:sequences].shape

    def test_every_copy_of_an_image_gives_back(self) -> None:
        x = np.zeros((6, 1, 2, 2))  # three steps of two
        done = train_layer(History(history_size=2), x, dialect=ALEXEYAB.sound, time_steps=3)
        given = delta_x(done, 1.0)
        # The last images are seen once, the others again a step later.
        np.testing.assert_array_equal(given[:, 0, 0, 0], [2, 2, 2, 2, 1, 1])
