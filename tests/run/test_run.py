"""Running a model: any batch, several threads, arrays of one's own, and what is refused."""

from __future__ import annotations

import dataclasses
import gc
import threading
import time
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.layers.convolutional import Convolutional
from darknet_bn.layers.passes import Inference
from darknet_bn.run.run import looks_like_levels
from tests.support.builders import LONG_RANGE as CFG
from tests.support.builders import cfg_text, random_input, random_model

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


class TestWhatIsPrepared:
    def counted(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The names of layers whose steps are built from now on."""
        built: list[str] = []
        before = Convolutional.infer

        def infer(self: Convolutional, *args: Any) -> Inference:
            built.append(self.names[0])
            return before(self, *args)

        monkeypatch.setattr(Convolutional, "infer", infer)
        return built

    def test_is_prepared_once_for_a_model_and_once_for_a_runner(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model, built = random_model(cfg_text(PLAIN)), self.counted(monkeypatch)
        x = random_input(model)
        for _ in range(3):
            dn.forward(model, x)
        assert len(built) == 1
        dn.forward(dataclasses.replace(model), x)
        assert len(built) == 2
        runner = dn.Runner(model)
        for _ in range(3):
            runner.forward(x)
        assert len(built) == 3

    @pytest.mark.parametrize("kind", ["model", "runner"])
    def test_goes_with_the_model_or_the_runner(self, kind: str) -> None:
        def once(limit: float) -> int:
            """Bytes that are held after a model was run and left."""
            model = random_model(cfg_text("[connected] output=2000"))
            x = random_input(model)
            dn.forward(model, x) if kind == "model" else dn.Runner(model).forward(x)
            del model
            # A thread that has helped lets go of its task a moment after it says that it is done.
            end = time.monotonic() + 60
            while (held := tracemalloc.get_traced_memory()[0]) > limit and time.monotonic() < end:
                time.sleep(0.001)
            return held

        gc.disable()
        tracemalloc.start()
        try:
            few = 1 << 17  # bytes; the weights alone are 1.5 MB
            before = once(few)  # what the package itself keeps, such as buffers of threads
            after = [once(before + few) for _ in range(3)]
        finally:
            tracemalloc.stop()
            gc.enable()
        assert max(after) <= before + few

    def test_a_call_does_not_reach_into_the_model(self) -> None:
        model = random_model(CFG, "pjreddie")
        before = dict(vars(model))
        dn.forward(model, random_input(model), "all")
        dn.Runner(model).forward(random_input(model))
        assert vars(model) == before


class TestRunner:
    def test_gives_what_forward_gives(self) -> None:
        model = random_model(CFG, "pjreddie")
        x, runner = random_input(model), dn.Runner(model)
        choices: list[tuple[Any, bool | None, int]] = [
            ("outputs", None, 19),
            ("all", None, 19),
            ([3, -1], False, 13),
        ]
        calls: list[int] = []
        for layers, exact, count in choices:
            calls.clear()
            outputs = runner.forward(x, layers, exact=exact, after_layer=lambda: calls.append(1))
            expected = dn.forward(model, x, layers, exact=exact)
            assert list(outputs) == list(expected)
            for index, array in outputs.items():
                np.testing.assert_array_equal(array, expected[index])
            assert len(calls) == count

    def test_refuses_and_warns_as_forward_does(self) -> None:
        model = random_model(cfg_text(PLAIN, width=12, height=12))
        with pytest.raises(dn.ShapeError, match="the input does not fit the network"):
            dn.Runner(model).forward(np.zeros((1, 3, 8, 8), np.float32))
        with pytest.warns(dn.DarknetWarning, match=TestLevels.MATCH) as caught:
            dn.Runner(model).forward(levels())
        assert [warning.filename for warning in caught] == [__file__]

    def test_several_threads_take_turns(self) -> None:
        model = random_model(CFG, "pjreddie")
        inputs = [random_input(model, batch=1 + seed % 3, seed=seed) for seed in range(4)]
        expected = [dn.forward(model, x) for x in inputs]
        runner, start = dn.Runner(model), threading.Barrier(4)
        failures: list[str] = []

        def work(number: int) -> None:
            start.wait()
            for _ in range(10):
                for index, array in runner.forward(inputs[number]).items():
                    if not np.array_equal(array, expected[number][index]):
                        failures.append(f"input {number}, layer {index}")

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []

    def test_is_shown_with_its_model(self) -> None:
        model = random_model(FLAT)
        assert repr(dn.Runner(model)) == f"<Runner of {model!r}>"


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
        message, _, hint = str(caught.value).partition("; ")
        assert (
            message == f"the input does not fit the network (expected (n, 3, 8, 8), found {shape})"
        )
        assert bool(hint) == (shape in ((3, 8, 8), (1, 8, 8, 3)))

    @pytest.mark.parametrize("kind", [np.uint8, np.int64, bool, complex, object, "U1"])
    def test_inputs_of_other_types(self, kind: type) -> None:
        model = random_model(CFG, "pjreddie")
        with pytest.raises(
            dn.ShapeError, match=r"not hold floating-point numbers.*values from 0 to 1"
        ):
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


BN = "[convolutional] filters=5 size=3 pad=1 stride=2 batch_normalize=1 activation=leaky"
PLAIN = "[convolutional] filters=5 size=3 pad=1 stride=2 activation=leaky"


def levels(channels: int = 3, batch: int = 1) -> np.ndarray:
    """Pictures of whole levels from 0 to 255, as float32."""
    rng = np.random.default_rng(5)
    smooth = np.cumsum(rng.normal(0, 9, (batch, channels, 12, 12)), axis=3) + 120
    return np.clip(np.rint(smooth), 0, 255).astype(np.float32)


def trained_on(x: np.ndarray, channels: int = 3) -> dn.Model:
    """A net whose batch norm has the statistics of an input."""
    model = random_model(cfg_text(BN, channels=channels, width=12, height=12), "pjreddie")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dn.DarknetWarning)
        return dn.calibrate(model, [x])[0]


class TestLevels:
    MATCH = r"^the input looks like levels from 0 to 255, .*: divide it by 255$"

    @pytest.mark.parametrize("channels", [1, 3, 4])
    @pytest.mark.parametrize("section", [BN, PLAIN])
    def test_are_told_where_the_caller_is(self, section: str, channels: int) -> None:
        model = random_model(cfg_text(section, channels=channels, width=12, height=12))
        if section is BN:
            model = trained_on(levels(channels, 4) / 255, channels)
        x = levels(channels)
        for each in (x, x * np.float32(0.99), np.minimum(x, 2), x.astype(np.float64)):
            with pytest.warns(dn.DarknetWarning, match=self.MATCH) as caught:
                dn.forward(model, each)
            assert [warning.filename for warning in caught] == [__file__]
        dn.forward(model, x / 255)

    def test_are_none_for_a_net_that_was_trained_on_them(self) -> None:
        x = levels(batch=4)
        dn.forward(trained_on(x), x)
        with pytest.warns(dn.DarknetWarning, match=self.MATCH):
            dn.forward(trained_on(x / 255), x)

    @pytest.mark.parametrize(
        "x",
        [
            levels() / 255,
            (levels() > 100).astype(np.float32),  # 0 and 1 only
            levels() - 128,
            levels() * 2,
            levels() / 255 * 30 + 0.5,  # neither whole nor far above 1
            np.full_like(levels(), np.nan),
            np.zeros_like(levels()),
            np.random.default_rng(0).standard_normal(levels().shape, np.float32) * 60,
        ],
    )
    def test_other_values_are_not_told(self, x: np.ndarray) -> None:
        dn.forward(random_model(cfg_text(PLAIN, width=12, height=12)), x)

    def test_inputs_that_are_no_pictures_are_not_told(self) -> None:
        x = levels(5)
        dn.forward(random_model(cfg_text(PLAIN, channels=5, width=12, height=12)), x)
        dn.forward(random_model(FLAT), np.arange(12, dtype=np.float32)[None])

    def test_calibration_tells_them_too(self) -> None:
        with pytest.warns(dn.DarknetWarning, match=self.MATCH):
            dn.calibrate(trained_on(levels(batch=4) / 255), [levels(batch=2)])

    def test_all_trained_nets_tell_them(self, shared: Path) -> None:
        im = dn.load_image(shared / "images/dog.jpg")
        for path in sorted((shared / "models").glob("*/*.weights")):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", dn.DarknetWarning)
                model = dn.load(path.with_suffix(".cfg"), path)
            x = dn.prepare(im, model)[0]
            for net in (model, dn.fold_batchnorm(model)):
                assert not looks_like_levels(net, x)
                assert looks_like_levels(net, x * 255)


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((3, 12, 16), r"x\[None\] is a batch of one"),
        ((12, 16, 3), r"the channels come first: x\.transpose\(2, 0, 1\)\[None\]"),
        ((2, 12, 16, 3), r"the channels come first: x\.transpose\(0, 3, 1, 2\)"),
    ],
)
def test_a_shape_that_is_nearly_right_has_a_hint(shape: tuple[int, ...], hint: str) -> None:
    model = random_model(cfg_text(PLAIN, width=16, height=12))
    with pytest.raises(dn.ShapeError, match=rf"found \({shape[0]}, .*; {hint}$"):
        dn.forward(model, np.zeros(shape, np.float32))


def test_bytes_have_a_hint() -> None:
    model = random_model(cfg_text(PLAIN, width=16, height=12))
    with pytest.raises(dn.ShapeError, match=r"found uint8\); numpy\.float32\(x\) / 255 goes from"):
        dn.forward(model, np.zeros((1, 3, 12, 16), np.uint8))
    with pytest.raises(dn.ShapeError, match=r"BGR: from_bytes\(x\[:, :, ::-1\]\)$"):
        dn.forward(model, np.zeros((12, 16, 3), np.uint8))
