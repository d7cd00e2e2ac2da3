"""Options of a cfg that change what is read from a file, and where it belongs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.builders import cfg_text
from tests.support.numbered import load, numbered, saved


class TestOptionsOfLoading:
    def arrays(self, section: str, dialect: str = "pjreddie") -> dict[str, np.ndarray]:
        cfg = cfg_text(section, "[convolutional] filters=1 size=1", width=3, height=3)
        model = load(cfg, numbered(cfg, dialect=dialect), dialect=dialect)
        assert model.params[1]["weights"].ravel()[-1] == model.network.stored_floats
        return dict(model.params[0])

    def test_flipped_weights_are_transposed(self) -> None:
        arrays = self.arrays("[convolutional] filters=2 size=2 flipped=1")
        np.testing.assert_array_equal(arrays["biases"], [1, 2])
        stored = np.arange(3, 3 + 2 * 12, dtype=np.float32).reshape(12, 2)
        np.testing.assert_array_equal(arrays["weights"], stored.T.reshape(2, 3, 2, 2))

    def test_dontload_leaves_the_first_values(self) -> None:
        arrays = self.arrays("[convolutional] filters=2 size=1 dontload=1 batch_normalize=1")
        np.testing.assert_array_equal(arrays["biases"], [0, 0])
        np.testing.assert_array_equal(arrays["scales"], [1, 1])
        assert arrays["weights"].any()

    def test_dontloadscales_reads_biases_and_weights_only(self) -> None:
        for section, shape in (
            ("[convolutional] filters=2 size=1", (2, 3, 1, 1)),
            ("[connected] output=2", (2, 27)),
        ):
            arrays = self.arrays(f"{section} batch_normalize=1 dontloadscales=1")
            np.testing.assert_array_equal(arrays["biases"], [1, 2])
            np.testing.assert_array_equal(arrays["scales"], [1, 1])
            np.testing.assert_array_equal(arrays["rolling_variance"], [0, 0])
            count = int(np.prod(shape))
            expected = np.arange(3, 3 + count, dtype=np.float32).reshape(shape)
            np.testing.assert_array_equal(arrays["weights"], expected)

    def test_numload_reads_the_first_filters(self) -> None:
        arrays = self.arrays("[convolutional] filters=3 size=1 numload=2 batch_normalize=1")
        np.testing.assert_array_equal(arrays["biases"], [1, 2, 0])
        np.testing.assert_array_equal(arrays["scales"], [3, 4, 1])
        np.testing.assert_array_equal(arrays["rolling_mean"], [5, 6, 0])
        np.testing.assert_array_equal(arrays["rolling_variance"], [7, 8, 0])
        np.testing.assert_array_equal(arrays["weights"][:2].ravel(), np.arange(9, 15))
        assert arrays["weights"][2].any()

    def test_numload_with_flipped(self) -> None:
        arrays = self.arrays("[convolutional] filters=3 size=1 numload=2 flipped=1")
        np.testing.assert_array_equal(arrays["weights"][:2, :, 0, 0], [[3, 5, 7], [4, 6, 8]])

    @pytest.mark.parametrize(
        "options", ["flipped=1", "dontload=1", "dontloadscales=1", "numload=2", "numload=9"]
    )
    def test_all_of_them_come_back_byte_for_byte(self, options: str, tmp_path: Path) -> None:
        cfg = cfg_text(f"[convolutional] filters=3 size=2 batch_normalize=1 {options}")
        data = numbered(cfg, dialect="pjreddie")
        assert saved(load(cfg, data, dialect="pjreddie"), tmp_path) == (cfg, data)

    def test_shared_arrays_are_the_same_arrays(self) -> None:
        section = "[convolutional] filters=3 size=1 batch_normalize=1"
        cfg = cfg_text(section, f"{section} share_index=-1", f"{section} share_index=1")
        model = load(cfg, numbered(cfg))
        assert model.params[1] is model.params[0]
        assert model.params[2] is model.params[0]
        assert len(numbered(cfg)) == 20 + 4 * (3 * 4 + 9)
