"""Ranges of outputs: what is counted, and what follows from the counts."""

from __future__ import annotations

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.transforms.ranges import CLIPS, TensorRange
from tests.support.builders import cfg_text, random_model, with_time_steps

CONV = "[convolutional] filters=4 size=3 pad=1 activation=leaky batch_normalize=1"
NET = cfg_text(CONV, "[maxpool] size=2 stride=2", CONV)


def images(count: int, seed: int = 0, size: float = 1) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 3, 8, 8), np.float32) * np.float32(size)


def counted(values: np.ndarray) -> TensorRange:
    """The counts of values that are the input of a net."""
    model = random_model(cfg_text("[dropout]", width=len(values), height=1, channels=1))
    ranges = dn.activation_ranges(model, [values.reshape(1, 1, 1, -1).astype(np.float32)])
    return ranges.input


def test_every_layer_is_counted() -> None:
    model = random_model(NET)
    x = images(5)
    ranges = dn.activation_ranges(model, [x[:2], x[2:]])
    assert ranges.images == 5
    assert list(ranges.layers) == [0, 1, 2]
    for layer, y in dn.forward(model, x, "all", exact=False).items():
        found = ranges.layers[layer]
        assert (found.low, found.high) == (y.min(), y.max())
        assert found.zeros + found.counts.sum() == y.size
    assert ranges.input.low == x.min()


def test_counts_are_those_of_the_values_however_they_come() -> None:
    model = random_model(NET)
    small, large = images(3, size=0.02), images(3, 1)
    ranges = [dn.activation_ranges(model, batches) for batches in ([small, large], [large, small])]
    for layer in range(3):
        y = np.concatenate([dn.forward(model, x, [layer])[layer] for x in (small, large)])
        for each in (ranges[0].layers[layer], ranges[1].layers[layer]):
            edges = np.linspace(-each.limit, each.limit, len(each.counts) + 1)
            expected, _ = np.histogram(y[y != 0], edges)
            assert np.abs(expected - each.counts).sum() <= 4  # of values at an edge
            assert each.limit < 2 * np.abs(y).max()


def test_memory_does_not_grow_with_the_images() -> None:
    model = random_model(NET)
    few, many = (dn.activation_ranges(model, [images(2)] * count) for count in (1, 20))
    assert few.layers[0].counts.size == many.layers[0].counts.size
    np.testing.assert_array_equal(20 * few.layers[0].counts, many.layers[0].counts)


def test_minmax_keeps_all() -> None:
    found = counted(np.array([-3, 0, 0, 1, 8]))
    assert found.clip("minmax") == (-3, 8)
    assert found.threshold("minmax") == 8
    assert found.zeros == 2


def test_percentile_leaves_out_one_in_10_000() -> None:
    values = np.linspace(0.001, 1, 29_998)
    found = counted(np.append(values, [50.0, -100.0]))
    assert found.clip("percentile")[1] == pytest.approx(1, abs=0.06)
    assert found.clip("percentile")[0] == pytest.approx(-1, abs=0.06)
    assert counted(values).threshold("percentile") == pytest.approx(1, abs=2e-3)


def rounding_error(values: np.ndarray, most: float) -> float:
    """The mean squared error of 255 steps up to a value."""
    steps = np.clip(np.round(values * 127 / most), -127, 127)
    return float(np.mean((steps * most / 127 - values) ** 2))


def test_the_least_error_is_the_least() -> None:
    values = np.random.default_rng(0).laplace(size=40_000)
    found = counted(values)
    kept = found.threshold("error")
    assert kept < 0.9 * found.threshold("minmax")
    grid = np.linspace(1, found.threshold("minmax"), 60)
    best = min(rounding_error(values, each) for each in grid)
    assert rounding_error(values, kept) <= 1.03 * best


def test_entropy_clips_a_tail_and_keeps_what_is_even() -> None:
    rng = np.random.default_rng(0)
    tail = np.append(rng.normal(size=40_000), [40.0, -60.0])
    found = counted(tail)
    assert 3 < found.threshold("entropy") < 15
    even = counted(rng.uniform(-1, 1, 40_000))
    assert even.threshold("entropy") > 0.9


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("values", [np.zeros(9), np.ones(9), np.array([-2.0, 0, 2**-99])])
def test_few_values_have_a_range_too(clip: str, values: np.ndarray) -> None:
    found = counted(values)
    low, high = found.clip(clip)  # type: ignore[arg-type]
    most = found.threshold(clip)  # type: ignore[arg-type]
    assert -most <= low <= high <= most <= np.abs(values).max()


def test_sequences_are_counted_one_by_one() -> None:
    cfg = with_time_steps(cfg_text("[rnn] output=4 hidden=5", width=3, height=1, channels=1), 3)
    model = random_model(cfg)
    x = np.random.default_rng(0).standard_normal((6, 1, 1, 3)).astype(np.float32)
    found = dn.activation_ranges(model, [x]).layers[0]
    y = dn.forward(model, x, "all", exact=False)[0]
    assert (found.low, found.high) == pytest.approx((y.min(), y.max()), rel=1e-5)


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    dn.activation_ranges(
        random_model(NET), [images(1)] * 3, tell=lambda done, of: told.append((done, of))
    )
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_what_is_not_finite_has_no_range() -> None:
    model = random_model(NET)
    model.params[2].update(biases=np.full(4, np.nan, np.float32))  # type: ignore[attr-defined]
    with pytest.raises(dn.DarknetError, match="not finite") as caught:
        dn.activation_ranges(model, [images(1)])
    assert caught.value.where.layer == 2


def test_no_images_have_none() -> None:
    with pytest.raises(dn.DarknetError, match="there is no image"):
        dn.activation_ranges(random_model(NET), [])


def test_one_line_says_what_it_is() -> None:
    ranges = dn.activation_ranges(random_model(NET), [images(2)])
    assert repr(ranges) == "<ActivationRanges 3 layers, 2 images>"
    assert repr(counted(np.array([-1.0, 0, 3]))) == "<TensorRange -1 to 3, 3 values>"
