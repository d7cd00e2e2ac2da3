"""``[route]``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from darknet_bn.dialect import PJREDDIE
from darknet_bn.errors import CfgError, ShapeError
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.route import Route
from darknet_bn.layers.shape import Shape


def arrays(*shapes, n=2) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.standard_normal((n, *shape), dtype=np.float32) for shape in shapes]


@pytest.mark.parametrize("n", [1, 3])
def test_layers_stand_behind_each_other(run: Callable[..., np.ndarray], n: int) -> None:
    a, b, c = arrays((3, 5, 4), (1, 5, 4), (2, 5, 4), n=n)
    y = run(Route(layers=(-1, 0, -3)), a, b, c)
    np.testing.assert_array_equal(y, np.concatenate([a, b, c], axis=1))


def test_large_maps_are_cut_among_threads(run: Callable[..., np.ndarray]) -> None:
    a, b = arrays((7, 150, 160), (2, 150, 160))
    y = run(Route(layers=(-1, -2)), a, b)
    np.testing.assert_array_equal(y, np.concatenate([a, b], axis=1))


@pytest.mark.parametrize("group", range(3))
def test_a_group_of_each_layer(
    run: Callable[..., np.ndarray], read: Callable[..., Layer], group: int
) -> None:
    a, b = arrays((6, 2, 3), (3, 2, 3))
    layer = read(f"[route]\nlayers=-1,-2\ngroups=3\ngroup_id={group}")
    y = run(layer, a, b)
    expected = [a[:, 2 * group : 2 * group + 2], b[:, group : group + 1]]
    np.testing.assert_array_equal(y, np.concatenate(expected, axis=1))
    assert layer.size_text() == f"{group}/3"
    assert not layer.is_alias((Shape(6, 2, 3),))


def test_a_group_may_cut_through_planes(run: Callable[..., np.ndarray]) -> None:
    # Darknet cuts the values of a layer, not its channels: here one and a half of each.
    a, b = arrays((3, 2, 2), (1, 2, 2))
    y = run(Route(layers=(-1, -2), groups=2, group_id=1), a, b)
    expected = [a.reshape(2, -1)[:, 6:], b.reshape(2, -1)[:, 2:]]
    np.testing.assert_array_equal(y, np.concatenate(expected, axis=1).reshape(2, 2, 2, 2))


@pytest.mark.parametrize("other", [(3, 2, 3), (3, 4, 2)])
def test_unequal_sizes_give_a_flat_count(
    run: Callable[..., np.ndarray], other: tuple[int, ...]
) -> None:
    a, b = arrays((2, 4, 3), other)
    y = run(Route(layers=(-1, -2)), a, b)
    np.testing.assert_array_equal(y, np.hstack([a.reshape(2, -1), b.reshape(2, -1)]))
    (flat,) = arrays((5,))
    np.testing.assert_array_equal(
        run(Route(layers=(-1, -2)), flat, b), np.hstack([flat, b.reshape(2, -1)])
    )
    np.testing.assert_array_equal(run(Route(layers=(-1, -2)), flat, flat), np.hstack([flat, flat]))


def test_numbers_below_zero_count_back(read: Callable[..., Layer]) -> None:
    layer = read("[route]\nlayers=-1,0,-4,2")
    assert layer.sources(7) == (6, 0, 3, 2)
    assert layer.reference_keys() == ("layers",)


def test_a_single_layer_is_passed_on(
    read: Callable[..., Layer], run: Callable[..., np.ndarray]
) -> None:
    layer = read("[route]\nlayers=-3")
    assert layer.is_alias((Shape(2, 3, 4),))
    assert layer.size_text() == ""
    (a,) = arrays((2, 3, 4))
    np.testing.assert_array_equal(run(layer, a), a)
    assert not read("[route]\nlayers=-3,-4").is_alias((Shape(2, 3, 4),) * 2)


def test_pjreddie_has_no_groups() -> None:
    groups = {key for key, each in Route.declared().items() if each.rule.extended}
    assert {"groups", "group_id"} <= groups
    assert not PJREDDIE.extended


def test_what_does_not_fit_is_refused(read: Callable[..., Layer]) -> None:
    with pytest.raises(CfgError, match="'layers' is missing"):
        read("[route]\ngroups=2")
    with pytest.raises(ShapeError, match=r"group_id: .*expected 0 to 1, found 2"):
        Route(layers=(-1,), groups=2, group_id=2).out_shape((Shape(4, 2, 2),))
    with pytest.raises(ShapeError, match="groups=3 does not divide the channels"):
        Route(layers=(-1,), groups=3).out_shape((Shape(4, 2, 2),))
