"""Removing channels: without constant ones outputs stay; what belongs together stays together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.checks.edit_prune import prove_layers
from tests.support.builders import cfg_text, random_input, random_model

BN = "batch_normalize=1 activation=leaky"
CONV = f"[convolutional] filters=6 size=3 {BN}"
PADDED = f"[convolutional] filters=6 size=3 pad=1 {BN}"
SMALL = f"[convolutional] filters=3 size=1 {BN}"
LAST = "[convolutional] filters=2 size=1 activation=linear"
NETS = {
    "in a row": cfg_text(CONV, CONV, LAST),
    "without batch norm after it": cfg_text(CONV, "[convolutional] filters=4 size=3", LAST),
    "connected": cfg_text(CONV, "[maxpool] size=2 stride=2", f"[connected] output=5 {BN}",
                          "[connected] output=3 activation=linear"),
    "average": cfg_text(CONV, "[avgpool]", "[connected] output=3 activation=linear"),
    "added": cfg_text(CONV, f"[convolutional] filters=6 size=1 {BN}",
                      "[shortcut] from=-2 activation=leaky", LAST),
    "side by side": cfg_text(CONV, CONV.replace("3 b", "1 b").replace("size=3", "size=1"),
                             "[upsample] stride=2", "[route] layers=-1", LAST,
                             "[route] layers=1,0", LAST),
    "a group for each": cfg_text(CONV, f"[convolutional] filters=6 size=3 groups=6 {BN}", LAST),
    "averages": cfg_text(CONV, "[local_avgpool] size=3 stride=1", LAST),
    "cropped": cfg_text(CONV, "[crop] crop_width=4 crop_height=4", LAST),
    "padded without weights": cfg_text(CONV, "[maxpool] size=3 stride=1", LAST),
}  # fmt: skip


def with_dead(model: dn.Model, every: int = 2) -> dn.Model:
    """The model with the scale of every second channel set to 0."""
    params = []
    for p in model.params:
        if "scales" in p:
            scales = p["scales"].copy()
            scales[::every] = 0
            p = {**p, "scales": scales}
        params.append(p)
    return replace(model, params=tuple(params))


def outputs(model: dn.Model, x: np.ndarray) -> list[np.ndarray]:
    return [y for _, y in sorted(dn.forward(model, x, exact=True).items())]


@pytest.mark.parametrize("name", sorted(NETS))
def test_dead_channels_go_and_nothing_changes(name: str) -> None:
    model = with_dead(random_model(NETS[name]))
    pruning = dn.prune_channels(model, scale_below=0)
    assert pruning.removed == pruning.constant > 0
    assert pruning.at_the_border == ()
    assert pruning.model.network.stored_floats < model.network.stored_floats
    x = random_input(model)
    for one, other in zip(outputs(model, x), outputs(pruning.model, x), strict=True):
        # A constant is added before a sum in float32, not within it: some ulps of the largest.
        np.testing.assert_allclose(other, one, rtol=0, atol=2e-6 * np.abs(one).max())
    assert prove_layers(pruning).ok
    again = dn.prune_channels(pruning.model, scale_below=0)
    assert again.removed == 0
    assert again.model.cfg.to_bytes() == pruning.model.cfg.to_bytes()


def test_the_layers_are_smaller() -> None:
    model = with_dead(random_model(NETS["a group for each"]))
    pruning = dn.prune_channels(model, scale_below=0)
    first, second, last = pruning.model.network.nodes
    assert [each.y.c for each in (first, second, last)] == [3, 3, 2]
    assert second.layer.value("groups") == 3
    assert pruning.model.params[0]["weights"].tobytes() == (
        model.params[0]["weights"][1::2].tobytes()
    )
    assert [(row.layer, row.channels, row.kept, row.reason) for row in pruning.layers] == [
        *((0, 6, 3, None), (1, 6, 3, None))
    ]
    assert list(pruning.kept[0]) == [1, 3, 5]


def test_what_is_added_is_removed_together_or_not_at_all() -> None:
    model = random_model(NETS["added"])
    params = list(model.params)
    for layer, dead in ((0, [0, 1]), (1, [1, 2])):
        scales = params[layer]["scales"].copy()
        scales[dead] = 0
        params[layer] = {**params[layer], "scales": scales}
    pruning = dn.prune_channels(replace(model, params=tuple(params)), scale_below=0)
    assert list(pruning.kept[0]) == list(pruning.kept[1]) == [0, 2, 3, 4, 5]


def test_a_constant_at_a_padded_border() -> None:
    model = with_dead(random_model(cfg_text(CONV, PADDED, LAST, width=12, height=12)))
    pruning = dn.prune_channels(model, scale_below=0)
    assert pruning.at_the_border == (1,)
    assert prove_layers(pruning).ok
    x = random_input(model)
    (one,), (other,) = outputs(model, x), outputs(pruning.model, x)
    scale = np.abs(one).max()
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(other[inner], one[inner], rtol=0, atol=2e-6 * scale)
    assert np.abs(other - one).max() > 1e-3 * scale
    exact = dn.prune_channels(model, scale_below=0, exact=True)
    assert exact.at_the_border == ()
    assert [row.kept for row in exact.layers] == [6, 3]
    (other,) = outputs(exact.model, x)
    np.testing.assert_allclose(other, one, rtol=0, atol=2e-6 * scale)


@pytest.mark.parametrize("options", ["size=2 stride=2", "size=3 dilation=2"])
def test_a_window_that_ends_outside_is_a_border_without_padding(options: str) -> None:
    last = f"[convolutional] filters=2 {options} activation=linear"
    sections = (CONV, "[avgpool]", last) if "stride" in options else (CONV, last)
    model = with_dead(random_model(cfg_text(*sections)))
    pruning = dn.prune_channels(model, scale_below=0)
    assert pruning.at_the_border == (len(sections) - 1,)
    assert prove_layers(pruning).ok
    exact = dn.prune_channels(model, scale_below=0, exact=True)
    assert (exact.removed, exact.at_the_border) == (0, ())


def test_layers_that_compute_something_else_are_refused() -> None:
    model = with_dead(random_model(NETS["in a row"]))
    pruning = dn.prune_channels(model, scale_below=0)
    params = list(pruning.model.params)
    params[1] = {**params[1], "biases": params[1]["biases"] + np.float32(0.01)}
    wrong = replace(pruning, model=replace(pruning.model, params=tuple(params)))
    with pytest.raises(dn.ProofError, match="does not compute what it should") as caught:
        prove_layers(wrong)
    assert caught.value.where.layer == 1
    assert prove_layers(wrong, tolerance=0.1).ok


def test_a_layer_that_amplifies_rounding_may_differ_by_it() -> None:
    model = with_dead(random_model(NETS["in a row"]))
    params = list(model.params)
    # Values near 300, and a mean that takes their sum away: what is left has lost three digits.
    params[0] = {**params[0], "biases": params[0]["biases"] + np.float32(300)}
    means = 300 * params[1]["weights"].sum(axis=(1, 2, 3))
    params[1] = {**params[1], "rolling_mean": params[1]["rolling_mean"] + means}
    pruning = dn.prune_channels(replace(model, params=tuple(params)), scale_below=0)
    worst = prove_layers(pruning).worst
    assert worst.layer == 1
    assert worst.rounding is not None
    assert 1e-5 < worst.relative < worst.allowed < 1e-3
    with pytest.raises(dn.ProofError):
        prove_layers(pruning, tolerance=1e-5)


def test_a_large_image_is_not_needed() -> None:
    model = with_dead(random_model(cfg_text(CONV, PADDED, LAST, width=4096, height=4096)))
    pruning = dn.prune_channels(model, scale_below=0)
    assert (pruning.removed, pruning.at_the_border) == (6, (1,))
    assert pruning.model.network.input.w == 4096
    report = prove_layers(pruning)
    assert report.ok
    assert max(each.shape[3] for each in report.differences) < 64


def test_windows_that_leave_the_small_image_only() -> None:
    down = ["[maxpool] size=2 stride=2"] * 5
    # 2 x 2 pixels at 64 x 64, of which windows of 3 x 3 that move by 2 read some outside.
    last = "[convolutional] filters=2 size=3 stride=2 activation=linear"
    conv = CONV.replace("size=3", "size=1")
    model = with_dead(random_model(cfg_text(conv, *down, last, width=96, height=96)))
    pruning = dn.prune_channels(model, scale_below=0)
    assert pruning.at_the_border == ()
    assert prove_layers(pruning).ok


def test_a_constant_of_0_has_no_border() -> None:
    relu = [each.replace("leaky", "relu") for each in (CONV, PADDED)]
    model = with_dead(random_model(cfg_text(*relu, LAST)))
    params = [{**p, "biases": -np.abs(p["biases"])} if "scales" in p else p for p in model.params]
    model = replace(model, params=tuple(params))
    pruning = dn.prune_channels(model, scale_below=0)
    assert (pruning.removed, pruning.at_the_border) == (6, ())
    x = random_input(model)
    for one, other in zip(outputs(model, x), outputs(pruning.model, x), strict=True):
        np.testing.assert_allclose(other, one, rtol=0, atol=2e-6 * np.abs(one).max())


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.75, 1.0])
def test_a_share_is_kept_and_of_each_layer_one_channel(keep: float) -> None:
    model = random_model(NETS["in a row"])
    pruning = dn.prune_channels(model, keep=keep)
    assert pruning.channels == 12
    assert pruning.removed == min(round((1 - keep) * 12 - 0.4), 10)
    assert min(row.kept for row in pruning.layers) >= 1
    dead = [
        np.delete(np.abs(model.params[row.layer]["scales"]), pruning.kept[row.layer])
        for row in pruning.layers
    ]
    assert max((each.max() for each in dead if each.size), default=0) == pruning.threshold
    if keep == 1:
        assert pruning.model.cfg.to_bytes() == model.cfg.to_bytes()
        assert all(
            one is other for one, other in zip(pruning.model.params, model.params, strict=True)
        )


def test_a_scale_that_is_no_number_is_not_small() -> None:
    model = random_model(NETS["in a row"])
    params = list(model.params)
    scales = params[0]["scales"].copy()
    scales[:2] = [np.nan, 0]
    params[0] = {**params[0], "scales": scales}
    model = replace(model, params=tuple(params))
    pruning = dn.prune_channels(model, scale_below=0)
    assert (pruning.removed, list(pruning.kept[0])) == (1, [0, 2, 3, 4, 5])
    with pytest.raises(dn.DarknetError, match=r"is not constant .*darknet-bn check shows"):
        dn.prune_channels(model, keep=0.5)


def test_the_scales_become_0_first() -> None:
    model = random_model(NETS["in a row"])
    pruning = dn.prune_channels(model, keep=0.5)
    x = random_input(model)
    for one, other in zip(outputs(pruning.silenced, x), outputs(pruning.model, x), strict=True):
        np.testing.assert_allclose(other, one, rtol=0, atol=2e-6 * np.abs(one).max())
    assert not np.allclose(outputs(model, x)[0], outputs(pruning.model, x)[0], rtol=0.1)


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ((CONV,), "layer 0 is an output"),
        ((CONV, f"[rnn] output=3 {BN}"), r"layer 1 \[rnn\] reads it"),
        ((CONV, "[convolutional] filters=6 size=1 groups=2"), "reads it in 2 groups"),
        ((CONV, "[route] layers=-1 groups=2", LAST), r"layer 1 \[route\] reads it"),
        ((CONV, "[reorg]", LAST), r"layer 1 \[reorg\] reads it"),
        (
            (PADDED, CONV.replace("size=3", "size=3 stride=2 pad=1"), "[shortcut] from=0", LAST),
            r"layer 2 \[shortcut\] reads it",
        ),
        ((SMALL, f"{SMALL} share_index=0", LAST), "computes it: shared weights"),
        ((f"{CONV} xnor=1", LAST), "computes it: xnor"),
        ((LAST, LAST), "has no batch norm"),
    ],
)
def test_what_cannot_be_removed_is_named(sections: tuple[str, ...], reason: str) -> None:
    with pytest.raises(dn.DarknetError, match=reason) as caught:
        dn.prune_channels(random_model(cfg_text(*sections)), keep=0.5)
    assert "\n" not in str(caught.value)


def test_rows_say_why_channels_are_fixed() -> None:
    model = random_model(cfg_text(CONV, CONV, "[reorg]", LAST))
    rows = dn.prune_channels(model, keep=0.5).layers
    assert [(row.kept, row.fixed, row.reason) for row in rows] == [
        (3, 0, None),
        (6, 6, "layer 2 [reorg] reads it"),
    ]


def test_options_that_mean_nothing() -> None:
    model = random_model(NETS["in a row"])
    for options in ({}, {"keep": 0.5, "scale_below": 1}, {"keep": 0}, {"keep": 1.1},
                    {"scale_below": -1}, {"scale_below": float("nan")}):  # fmt: skip
        with pytest.raises(dn.DarknetError):
            dn.prune_channels(model, **options)
