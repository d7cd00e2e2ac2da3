"""``[crop]``."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from darknet_bn.errors import CfgError, ShapeError
from darknet_bn.layers.crop import Crop
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.shape import Shape
from tests.support.layer_training import train_layer


@pytest.mark.parametrize("noadjust", [False, True])
@pytest.mark.parametrize(
    ("n", "h", "w", "height", "width"),
    [(1, 9, 10, 6, 7), (3, 4, 4, 4, 4), (2, 5, 5, 2, 3), (2, 7, 6, 1, 1)],
)
def test_the_middle_is_cut_out_and_stretched(
    run: Callable[..., np.ndarray], n: int, h: int, w: int, height: int, width: int, noadjust: bool
) -> None:
    x = np.random.default_rng(1).random((n, 3, h, w), dtype=np.float32)
    y = run(Crop(crop_width=width, crop_height=height, noadjust=noadjust), x)
    for i in range(height):
        for j in range(width):
            pixel = x[:, :, i + (h - height) // 2, j + (w - width) // 2]
            np.testing.assert_array_equal(y[:, :, i, j], pixel if noadjust else 2 * pixel - 1)


def test_options_of_training_change_nothing(
    run: Callable[..., np.ndarray], read: Callable[..., Layer]
) -> None:
    x = np.random.default_rng(2).random((1, 3, 8, 8), dtype=np.float32)
    layer = read(
        "[crop]\ncrop_width=5\ncrop_height=4\nflip=1\nangle=10\nsaturation=1.5\nexposure=1.5\nshift=.1"
    )
    np.testing.assert_array_equal(run(layer, x), run(Crop(crop_width=5, crop_height=4), x))


def test_what_does_not_fit_is_refused(read: Callable[..., Layer]) -> None:
    with pytest.raises(ShapeError, match=r"crop_width: .*expected at most 5, found 6\)"):
        Crop(crop_width=6, crop_height=1).out_shape((Shape(3, 4, 5),))
    with pytest.raises(ShapeError, match=r"crop_height: .*expected at most 4, found 5\)"):
        Crop(crop_width=1, crop_height=5).out_shape((Shape(3, 4, 5),))
    with pytest.raises(ShapeError, match="no image shape"):
        Crop().out_shape((Shape(60, flat=True),))
    with pytest.raises(CfgError, match="crop_width: the value is too small"):
        read("[crop]\ncrop_width=0")


class TestTraining:
    # Every value says where it is; two images and channels whose parts must be alike.
    X = np.arange(2 * 3 * 5 * 6, dtype=np.float32).reshape(2, 3, 5, 6)

    def parts(self, layer, draws) -> Iterator[tuple[int, int, bool]]:
        """Top, left and whether it is flipped, of every draw."""
        for seed in range(draws):
            y = train_layer(layer, self.X, seed=seed).y
            assert y.flags.c_contiguous
            flipped = y[0, 0, 0, 0] > y[0, 0, 0, -1]
            top, left = divmod(int(y[0, 0, 0, -1 if flipped else 0]), 6)
            part = self.X[:, :, top : top + layer.crop_height, left : left + layer.crop_width]
            np.testing.assert_array_equal(y, part[..., ::-1] if flipped else part)
            yield top, left, bool(flipped)

    @pytest.mark.parametrize("flip", [False, True])
    def test_any_part_flipped_or_not(self, flip: bool) -> None:
        layer = Crop(crop_width=4, crop_height=3, flip=flip, noadjust=True)
        places = {(top, left) for top in range(3) for left in range(3)}
        sides = (False, True) if flip else (False,)
        # 9 or 18 kinds in 400 draws: that one is missing has a probability of 1e-9.
        assert set(self.parts(layer, 400)) == {(*place, side) for place in places for side in sides}

    def test_values_are_stretched(self) -> None:
        x = self.X / self.X.max()
        plain, wide = (
            train_layer(
                Crop(crop_width=4, crop_height=3, flip=True, noadjust=noadjust), x, seed=2
            ).y
            for noadjust in (True, False)
        )
        np.testing.assert_array_equal(wide, 2 * plain - 1)
        assert wide.flags.c_contiguous
        assert wide.dtype == np.float32

    def test_nothing_goes_back(self) -> None:
        done = train_layer(Crop(crop_width=4, crop_height=3), self.X)
        assert done.back(np.ones_like(done.y)).deltas == (None,)
        assert done.loss is None
