"""Running a model: any batch, several threads, arrays of one's own, and what is refused."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from builders import LONG_RANGE as CFG
from builders import cfg_text, random_input, random_model

import darknet_bn as dn

FLAT = b"[net]\ninputs=12\n[connected]\noutput=5\nactivation=leaky\nbatch_normalize=1\n"


class TestBatches:
    @pytest.mark.parametrize("exact", [False, True])
    @pytest.mark.parametrize("batch", [1, 2, 5])
    def test_each_image_gives_the_same_in_any_batch(self, batch: int, exact: bool) -> None:
        x = random_input(random_model(CFG, "pjreddie"), batch=5)
        single = None
        for subdivisions in (b"", b"batch=64\nsubdivisions=16\n", b"batch=1\ntime_steps=1\n"):
            cfg = CFG.replace(b"[net]\n", b"[net]\n" + subdivisions)
            model = random_model(cfg, "pjreddie")
            together = dn.forward(model, x[:batch], exact=exact)
            single = single or [dn.forward(model, x[i : i + 1], exact=exact) for i in range(5)]
            for index, array in together.items():
                assert array.shape[0] == batch
                for image in range(batch):
                    # The sums of a matrix product may be taken in another order: roundings of
                    # float32 (6e-8) on values around 1.
                    np.testing.assert_allclose(
                        array[image], single[image][index][0], rtol=0, atol=2e-6
                    )

    def test_any_layout_and_precision_of_the_input(self) -> None:
        model = random_model(CFG, "pjreddie")
        x = random_input(model)
        expected = dn.forward(model, x)
        for other in (
            x.astype(np.float64),
            np.asfortranarray(x),
            x[:, :, ::-1][:, :, ::-1],
            x.reshape(2, -1),
            x.tolist(),
        ):
            for index, array in dn.forward(model, other).items():
                np.testing.assert_array_equal(array, expected[index])

    def test_a_flat_net(self) -> None:
        model = random_model(FLAT)
        x = random_input(model, batch=3)
        assert x.shape == (3, 12)
        (output,) = dn.forward(model, x).values()
        assert output.shape == (3, 5, 1, 1)
        p = model.params[0]
        sigma = model.dialect.sigma(p["rolling_variance"].astype(np.float64))
        z = (x.astype(np.float64) @ p["weights"].T - p["rolling_mean"]) / sigma
        z = z * p["scales"] + p["biases"]
        # float32 sums of 12 products around 1
        np.testing.assert_allclose(output[:, :, 0, 0], np.where(z > 0, z, 0.1 * z), atol=2e-6)


class TestArraysOfTheCaller:
    @pytest.mark.parametrize("exact", [False, True])
    @pytest.mark.parametrize("layers", ["outputs", "all"])
    def test_changing_a_result_changes_no_other(self, layers: str, exact: bool) -> None:
        model = random_model(CFG, "pjreddie")
        x = random_input(model)
        first = dn.forward(model, x, layers, exact=exact)
        kept = {index: array.copy() for index, array in first.items()}
        for index, array in first.items():
            array.fill(np.nan)
            assert not any(np.isnan(other).any() for later, other in first.items() if later > index)
        second = dn.forward(model, x, layers, exact=exact)
        for index, array in second.items():
            np.testing.assert_array_equal(array, kept[index])

    def test_the_input_is_neither_changed_nor_handed_back(self) -> None:
        model = random_model(cfg_text("[dropout]", "[dropout]"))
        x = random_input(model)
        kept = x.copy()
        for array in dn.forward(model, x, "all").values():
            np.testing.assert_array_equal(array, kept)
            array.fill(0)
        np.testing.assert_array_equal(x, kept)
        x.flags.writeable = False
        dn.forward(random_model(CFG, "pjreddie"), x, "all")


class TestThreads:
    @pytest.mark.parametrize("exact", [False, True])
    def test_several_threads_on_two_models(self, exact: bool) -> None:
        model = random_model(CFG, "pjreddie")
        inputs = [random_input(model, batch=1 + seed % 3, seed=seed) for seed in range(8)]
        expected = [dn.forward(model, x, exact=exact) for x in inputs]
        fresh = [random_model(CFG, "pjreddie"), random_model(CFG, "pjreddie")]
        start = threading.Barrier(8)
        failures: list[str] = []

        def work(number: int) -> None:
            start.wait()
            for turn in range(10):
                at = (number + turn) % 8
                outputs = dn.forward(fresh[number % 2], inputs[at], exact=exact)
                for index, array in outputs.items():
                    if not np.array_equal(array, expected[at][index]):
                        failures.append(f"input {at}, layer {index}")

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []


class TestExactAndFast:
    def test_agree_in_all_but_the_last_digits(self) -> None:
        model = random_model(CFG, "pjreddie")
        x = random_input(model)
        fast, exact = (dn.forward(model, x, "all", exact=exact) for exact in (False, True))
        for index, array in exact.items():
            # Folding rounds each weight once more (6e-8), which grows with the depth of the net.
            assert np.abs(fast[index] - array).max() <= 5e-6 * np.abs(array).max()

    def test_looking_into_layers_is_exact_by_default_and_the_outputs_are_fast(self) -> None:
        model = random_model(CFG, "pjreddie")
        x = random_input(model)
        fast, exact = (dn.forward(model, x, "all", exact=exact) for exact in (False, True))
        assert not np.array_equal(fast[14], exact[14])
        for layers, expected in (("outputs", fast), ("all", exact), ([14, 18], exact)):
            outputs = dn.forward(model, x, layers)  # type: ignore[arg-type]
            np.testing.assert_array_equal(outputs[14], expected[14])

    def test_broken_numbers_pass_through_without_warnings(self) -> None:
        model = random_model(CFG, "pjreddie")
        x = random_input(model)
        x[0, 0, 0] = (np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, 0, -0.0)
        for exact in (False, True):
            outputs = dn.forward(model, x, "all", exact=exact)
            assert np.isnan(outputs[0][0]).any()
            for array in outputs.values():
                assert np.isfinite(array[1]).all()  # the other image is not touched


class TestRefusals:
    @pytest.mark.parametrize(
        "shape",
        [(3, 8, 8), (1, 3, 8, 7), (1, 8, 8, 3), (2, 4, 8, 8), (192,), (1, 191), (0, 3, 8, 8), ()],
    )
    def test_inputs_of_other_shapes(self, shape: tuple[int, ...]) -> None:
        model = random_model(CFG, "pjreddie")
        with pytest.raises(dn.ShapeError) as caught:
            dn.forward(model, np.zeros(shape, np.float32))
        assert str(caught.value) == (
            f"the input does not fit the net (expected (n, 3, 8, 8), found {shape})"
        )

    @pytest.mark.parametrize("kind", [np.uint8, np.int64, bool, complex, object, "U1"])
    def test_inputs_of_other_types(self, kind: type) -> None:
        model = random_model(CFG, "pjreddie")
        with pytest.raises(dn.ShapeError, match=r"no floating-point numbers.*values from 0 to 1"):
            dn.forward(model, np.zeros((1, 3, 8, 8), kind))

    @pytest.mark.parametrize("layer", [19, -20, 1000])
    def test_layers_that_are_not_there(self, layer: int) -> None:
        model = random_model(CFG, "pjreddie")
        with pytest.raises(dn.ShapeError, match=f"no such layer.*0 to 18, found {layer}"):
            dn.forward(model, random_input(model), [0, layer])

    def test_words_that_are_not_known(self) -> None:
        model = random_model(CFG, "pjreddie")
        with pytest.raises(dn.ShapeError, match=r"unknown choice of layers.*outputs, all"):
            dn.forward(model, random_input(model), "everything")  # type: ignore[arg-type]


class TestChoiceOfLayers:
    def test_the_outputs_are_the_default(self) -> None:
        model = random_model(CFG, "pjreddie")
        assert list(dn.forward(model, random_input(model))) == [14, 18]

    def test_all(self) -> None:
        model = random_model(CFG, "pjreddie")
        outputs = dn.forward(model, random_input(model), "all")
        assert list(outputs) == list(range(19))
        for index, array in outputs.items():
            assert array.dtype == np.float32
            assert array.shape == (2, *model.network.nodes[index].y.dims)
            assert array.flags.c_contiguous

    def test_negative_numbers_count_from_the_end_and_each_comes_once(self) -> None:
        model = random_model(CFG, "pjreddie")
        x = random_input(model)
        outputs = dn.forward(model, x, [-1, 3, 18, -16])
        assert list(outputs) == [18, 3]
        assert list(dn.forward(model, x, np.array([2, -1]))) == [2, 18]
        assert list(dn.forward(model, x, iter([0]))) == [0]
        assert list(dn.forward(model, x, [-19])) == [0]
