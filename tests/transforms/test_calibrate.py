"""Statistics computed again: what enters every batch norm is then normalised."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.layers.passes import InferenceContext
from darknet_bn.transforms.calibrate import CalibratedLayer, calibrate
from tests.support.builders import LONG_RANGE, cfg_text, random_input, random_model

CONV = "[convolutional] filters=5 size=3 pad=1 activation=leaky batch_normalize=1"
ALL_KINDS = cfg_text(
    CONV,
    "[batchnorm]",
    "[convolutional] filters=4 size=3 pad=1 stride=2 antialiasing=1 activation=mish "
    "batch_normalize=1",
    "[convolutional] filters=4 size=1 groups=2 activation=linear batch_normalize=1",
    "[dropout]",
    "[connected] output=6 batch_normalize=1 activation=leaky",
    "[softmax]",
)
# What enters batch norm is a float32 sum of up to 500 products of values of about 1; the statistics
# themselves are rounded to float32.
CLOSE = 1e-5


def entering(model: dn.Model, x: np.ndarray, layer: int) -> np.ndarray:
    """What enters the batch norm of a layer in inference, by filter (f, values)."""
    node = model.network.nodes[layer]
    outputs = dn.forward(model, x, "all", exact=True)
    xs = [x if source < 0 else outputs[source] for source in node.sources]
    seen: list[np.ndarray] = []

    def see(z: np.ndarray, p: object) -> object:
        seen.append(z.copy())
        return p

    setting = InferenceContext(model.dialect, exact=True, before_norm=see)
    node.layer.infer(node.xs, model.params[layer], setting)(
        xs, np.empty((len(x), *node.y.dims), np.float32)
    )
    (z,) = seen
    return z.astype(np.float64).swapaxes(0, 1).reshape(z.shape[1], -1)


def batch_norms(model: dn.Model) -> list[int]:
    return [i for i, node in enumerate(model.network.nodes) if node.layer.norm.batch_norm]


def require_normalised(model: dn.Model, x: np.ndarray) -> None:
    """Check mean 0 and variance 1, of the values less eps, of what enters every batch norm."""
    for layer in batch_norms(model):
        p = model.params[layer]
        z = entering(model, x, layer)
        normalised = (z - p["rolling_mean"][:, None]) / np.sqrt(p["rolling_variance"])[:, None]
        np.testing.assert_allclose(normalised.mean(axis=1), 0, atol=CLOSE, err_msg=f"{layer}")
        np.testing.assert_allclose(normalised.var(axis=1, ddof=1), 1, atol=CLOSE)


def statistics(model: dn.Model) -> list[np.ndarray]:
    return [
        model.params[layer][name]
        for layer in batch_norms(model)
        for name in ("rolling_mean", "rolling_variance")
    ]


def require_close(one: dn.Model, other: dn.Model, rtol: float = CLOSE) -> None:
    for a, b in zip(statistics(one), statistics(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("cfg", [LONG_RANGE, ALL_KINDS], ids=["long_range", "all_kinds"])
@pytest.mark.parametrize("dialect", ["alexeyab", "pjreddie"])
@pytest.mark.parametrize("cache", [0, 9000, 1 << 30])
def test_layer_by_layer_normalises_every_layer(cfg: bytes, dialect: str, cache: int) -> None:
    if dialect == "pjreddie" and cfg is ALL_KINDS:
        cfg = cfg.replace(b"antialiasing=1\n", b"").replace(b"groups=2\n", b"")
        cfg = cfg.replace(b"activation=mish", b"activation=elu")
    model = random_model(cfg, dialect)
    x = random_input(model, 7)
    calibrated, report = calibrate(model, [x[:3], x[3:4], x[4:]], method="layerwise", cache=cache)
    assert (report.method, report.images) == ("layerwise", 7)
    require_normalised(calibrated, x)


def test_deconvolutional_too() -> None:
    cfg = cfg_text(
        "[deconvolutional] filters=3 size=2 stride=2 batch_normalize=1 activation=leaky", CONV
    )
    model = random_model(cfg, "pjreddie")
    x = random_input(model, 4)
    calibrated, _ = calibrate(model, [x[:2], x[2:]])
    require_normalised(calibrated, x)


def test_nothing_else_changes() -> None:
    model = random_model(LONG_RANGE)
    calibrated, _ = calibrate(model, [random_input(model, 4)])
    assert calibrated.header == model.header
    assert calibrated.cfg is model.cfg
    for before, after in zip(model.params, calibrated.params, strict=True):
        assert before.keys() == after.keys()
        for name, array in before.items():
            assert after[name].flags.writeable is False
            same = np.array_equal(array, after[name])
            assert same != name.startswith("rolling"), name


@pytest.mark.parametrize("method", ["layerwise", "one-pass"])
def test_the_same_images_again_change_nothing(method: str) -> None:
    model = random_model(ALL_KINDS)
    x = random_input(model, 6)
    once, _ = calibrate(model, [x[:3], x[3:]], method=method)
    twice, report = calibrate(once, [x[:3], x[3:]], method=method)
    for a, b in zip(statistics(once), statistics(twice), strict=True):
        np.testing.assert_array_equal(a, b)
    assert all(row.mean_shift == 0 for row in report.layers)
    assert all(row.variance_ratio_min == row.variance_ratio_max == 1 for row in report.layers)


def test_old_statistics_do_not_matter() -> None:
    x = random_input(random_model(LONG_RANGE), 5)
    model = random_model(LONG_RANGE)
    other = replace(
        model,
        params=tuple(
            {k: a * 3 + 1 if k.startswith("rolling") else a for k, a in p.items()}
            for p in model.params
        ),
    )
    for a, b in zip(
        statistics(calibrate(model, [x])[0]), statistics(calibrate(other, [x])[0]), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_in_one_batch_both_methods_are_the_same() -> None:
    model = random_model(LONG_RANGE)
    x = random_input(model, 6)
    require_close(
        calibrate(model, [x], method="layerwise")[0], calibrate(model, [x], method="one-pass")[0]
    )


def test_layer_by_layer_the_batches_do_not_matter_nor_what_is_kept() -> None:
    model = random_model(LONG_RANGE)
    x = random_input(model, 6)
    whole, _ = calibrate(model, [x], method="layerwise")
    for cache in (0, 20000, 1 << 30):
        parts, _ = calibrate(model, list(x[:, None]), method="layerwise", cache=cache)
        require_close(whole, parts)


def test_one_pass_is_what_training_normalises_with() -> None:
    """In the second layer: moments of all batches, each computed with its own below."""
    model = random_model(cfg_text(CONV, CONV))
    x = random_input(model, 6)
    calibrated, report = calibrate(model, [x[:2], x[2:]], method="one-pass")
    assert (report.method, report.work) == ("one-pass", 1.0)
    parts = []
    for part in (x[:2], x[2:]):
        alone, _ = calibrate(model, [part], method="layerwise")
        parts.append(entering(alone, part, 1))
    z = np.concatenate(parts, axis=1)
    np.testing.assert_allclose(
        calibrated.params[1]["rolling_mean"], z.mean(axis=1), rtol=CLOSE, atol=CLOSE
    )
    np.testing.assert_allclose(
        calibrated.params[1]["rolling_variance"], z.var(axis=1, ddof=1), rtol=CLOSE
    )
    layerwise, _ = calibrate(model, [x[:2], x[2:]], method="layerwise")
    np.testing.assert_array_equal(  # the first layer comes before all of that
        calibrated.params[0]["rolling_mean"], layerwise.params[0]["rolling_mean"]
    )
    assert not np.array_equal(
        calibrated.params[1]["rolling_mean"], layerwise.params[1]["rolling_mean"]
    )


def test_a_dead_channel_gets_variance_0() -> None:
    model = random_model(cfg_text(CONV, CONV))
    weights = model.params[0]["weights"].copy()
    weights[2] = 0
    model = replace(model, params=({**model.params[0], "weights": weights}, model.params[1]))
    x = random_input(model, 4)
    calibrated, report = calibrate(model, [x[:2], x[2:]])
    assert calibrated.params[0]["rolling_variance"][2] == 0
    assert report.layers[0].variance_ratio_min == 0
    again, report = calibrate(calibrated, [x[:2], x[2:]])
    assert report.layers[0].variance_ratio_min == report.layers[0].variance_ratio_max == 1
    assert np.isfinite(dn.forward(again, x)[1]).all()


def test_the_report_tells_how_far_statistics_moved() -> None:
    model = random_model(cfg_text(CONV), "alexeyab")
    x = random_input(model, 4)
    calibrated, report = calibrate(model, [x])
    old, new = model.params[0], calibrated.params[0]
    sigma = np.sqrt(old["rolling_variance"] + 1e-5)
    ratio = new["rolling_variance"] / old["rolling_variance"]
    (row,) = report.layers
    assert (row.layer, row.section, row.channels, row.reason) == (0, "convolutional", 5, None)
    shift = np.abs(new["rolling_mean"] - old["rolling_mean"]) / sigma
    assert row.mean_shift == pytest.approx(shift.mean(), rel=1e-5)  # float32 here, float64 there
    assert row.variance_ratio_min == pytest.approx(ratio.min(), rel=1e-5)
    assert row.variance_ratio_max == pytest.approx(ratio.max(), rel=1e-5)


# -- what it takes -----------------------------------------------------------------------------


class Counted(list):
    """Batches that count how often they are asked for."""

    asked = 0

    def __getitem__(self, number: int) -> np.ndarray:
        self.asked += 1
        return super().__getitem__(number)


def test_what_is_kept_is_not_asked_for_again() -> None:
    model = random_model(cfg_text(*[CONV] * 4))
    x = random_input(model, 4)
    batches = Counted([x[:2], x[2:]])
    told: list[tuple[int, int]] = []
    _, report = calibrate(batches=batches, model=model, tell=lambda *now: told.append(now))
    assert batches.asked == 1 + 2  # the first once more, to see how large it is
    assert told == [(number, 8) for number in range(1, 9)]
    # Every layer but the last is computed twice: once to see what comes out, once to continue.
    assert 1.5 < report.work < 2
    batches = Counted([x[:2], x[2:]])
    _, report = calibrate(model, batches, method="layerwise", cache=0)
    assert batches.asked == 1 + 4 * 2
    assert 2 < report.work < 2.75  # 1 + 2 + 3 + 4 of 4 layers of which the first is the smallest


def test_layer_by_layer_is_the_default_where_it_is_not_too_much_work() -> None:
    model = random_model(cfg_text(*["[convolutional] batch_normalize=1 activation=leaky"] * 30))
    x = random_input(model, 2)
    assert calibrate(model, [x])[1].method == "layerwise"
    _, report = calibrate(model, [x], cache=0)
    assert (report.method, report.work) == ("one-pass", 1.0)
    _, report = calibrate(model, [x], cache=0, method="layerwise")
    assert report.method == "layerwise"
    assert report.work > 10


# -- what stays, and what is refused -----------------------------------------------------------


def reason_of(row: CalibratedLayer) -> str:
    assert row.mean_shift is row.variance_ratio_min is row.variance_ratio_max is None
    assert row.reason is not None
    return row.reason


def test_shared_statistics_stay() -> None:
    model = random_model(
        cfg_text(
            "[convolutional] filters=3 size=3 pad=1 activation=leaky batch_normalize=1",
            "[convolutional] filters=3 size=3 pad=1 activation=leaky batch_normalize=1 "
            "share_index=0",
            CONV,
        )
    )
    x = random_input(model, 3)
    calibrated, report = calibrate(model, [x])
    assert reason_of(report.layers[0]) == "layer 1 shares the statistics, but has other inputs"
    assert reason_of(report.layers[1]) == "layer 0 shares the statistics, but has other inputs"
    assert calibrated.params[0] is model.params[0]
    assert calibrated.params[1] is model.params[1]
    z = entering(calibrated, x, 2)
    np.testing.assert_allclose(
        calibrated.params[2]["rolling_mean"], z.mean(axis=1), rtol=CLOSE, atol=CLOSE
    )


@pytest.mark.parametrize("key", ["dontload=1", "dontloadscales=1", "numload=2"])
def test_statistics_that_the_file_does_not_hold_stay(key: str) -> None:
    model = random_model(cfg_text(f"{CONV} {key}", CONV), "pjreddie")
    calibrated, report = calibrate(model, [random_input(model)])
    name = key.partition("=")[0]
    assert reason_of(report.layers[0]) == f"{name}: the file does not hold its statistics"
    assert calibrated.params[0] is model.params[0]
    assert report.layers[1].reason is None


def test_recurrent_layers_keep_theirs_and_begin_every_batch_anew() -> None:
    cfg = cfg_text(
        "[rnn] output=4 hidden=5 activation=leaky batch_normalize=1",
        "[connected] output=6 batch_normalize=1 activation=leaky",
        "[softmax]",
    ).replace(b"[net]\n", b"[net]\ntime_steps=2\n")
    model = random_model(cfg)
    x = random_input(model, 8)
    calibrated, report = calibrate(model, [x[:4], x[4:]])
    assert reason_of(report.layers[0]).startswith("recurrent: ")
    assert report.layers[0].channels == 5 + 5 + 4
    parts = [entering(calibrated, part, 1) for part in (x[:4], x[4:])]
    z = np.concatenate(parts, axis=1)
    np.testing.assert_allclose(
        calibrated.params[1]["rolling_mean"], z.mean(axis=1), rtol=CLOSE, atol=CLOSE
    )


def test_a_net_without_batch_norm_is_refused() -> None:
    model = random_model(cfg_text("[convolutional] filters=3"))
    with pytest.raises(dn.DarknetError, match="no batch norm has statistics"):
        calibrate(model, [random_input(model)])
    model = random_model(cfg_text(f"{CONV} dontload=1"))
    with pytest.raises(dn.DarknetError, match=r"found layer 0 \[convolutional\]: dontload"):
        calibrate(model, [random_input(model)])


def test_no_image_is_refused() -> None:
    with pytest.raises(dn.DarknetError, match="no image"):
        calibrate(random_model(LONG_RANGE), [])


def test_an_unknown_method_is_refused() -> None:
    model = random_model(LONG_RANGE)
    with pytest.raises(dn.DarknetError, match=r"unknown method .*'both'"):
        calibrate(model, [random_input(model)], method="both")  # type: ignore[arg-type]


def test_an_image_of_another_size_is_refused() -> None:
    model = random_model(LONG_RANGE)
    with pytest.raises(dn.ShapeError, match="does not fit the network"):
        calibrate(model, [random_input(model), np.zeros((1, 3, 4, 4), np.float32)])


def test_a_single_value_is_refused() -> None:
    model = random_model(cfg_text("[connected] output=6 batch_normalize=1"))
    x = random_input(model, 2)
    calibrate(model, [x[:1], x[1:]], method="layerwise")
    with pytest.raises(dn.DarknetError, match=r"layer 0: a single value .*in every batch"):
        calibrate(model, [x[:1], x[1:]], method="one-pass")
    with pytest.raises(dn.DarknetError, match="layer 0: a single value has no variance"):
        calibrate(model, [x[:1]], method="layerwise")


@pytest.mark.parametrize("method", ["layerwise", "one-pass"])
def test_what_is_not_finite_is_refused(method: str) -> None:
    model = random_model(cfg_text(CONV, CONV))
    weights = model.params[1]["weights"].copy()
    weights[0, 0, 0, 0] = np.nan
    model = replace(model, params=(model.params[0], {**model.params[1], "weights": weights}))
    with pytest.raises(dn.DarknetError, match="layer 1: the input of batch norm is not finite"):
        calibrate(model, [random_input(model)], method=method)


def test_a_real_model_sees_what_it_was_trained_with(shared: Path) -> None:
    """Two photographs and their mirror images have nearly the statistics of a whole data set."""
    stem = shared / "models" / "yolov3-tiny" / "yolov3-tiny"
    model = dn.load(f"{stem}.cfg", f"{stem}.weights").resized(160, 160)
    ims = [dn.load_image(shared / "images" / name) for name in ("dog.jpg", "person.jpg")]
    x = np.concatenate([dn.prepare(im, model) for im in ims])
    x = np.concatenate([x, x[..., ::-1]])
    calibrated, report = calibrate(model, [x[:2], x[2:]])
    assert len(report.layers) == 11
    for row in report.layers:
        # Inputs of another range or order of colours move the first layers by more than 1.
        assert row.mean_shift is not None
        assert row.mean_shift < 0.6
    require_normalised_roughly(calibrated, x)


def require_normalised_roughly(model: dn.Model, x: np.ndarray) -> None:
    # Sums of up to 9216 products in float32, of channels whose variance is as low as 1e-4.
    for layer in batch_norms(model):
        p = model.params[layer]
        z = entering(model, x, layer)
        np.testing.assert_allclose(z.mean(axis=1), p["rolling_mean"], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(z.var(axis=1, ddof=1), p["rolling_variance"], rtol=1e-4)
