"""Edits of a model: laws that hold to the bit, and what Darknet's own program writes."""

from __future__ import annotations

import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.checks.edit import prove_edit
from darknet_bn.checks.edit_claims import of_rescaled_input
from tests.support.builders import cfg_text, random_model, weights_bytes
from tests.support.paths import FIXTURES

TINY = FIXTURES / "tiny/tiny"
CONV = "[convolutional] filters=6 size=3 activation=linear"
NETS = {
    "convolution": cfg_text(CONV, "[convolutional] filters=2 size=1 activation=relu"),
    "batch norm": cfg_text(f"{CONV} batch_normalize=1", "[avgpool]"),
    "connected": cfg_text("[connected] output=5 activation=linear"),
    "group for each": cfg_text(
        f"{CONV} groups=3", "[convolutional] filters=2 size=1 activation=linear"
    ),
    "passed on": cfg_text(
        CONV,
        "[route] layers=-1",
        "[convolutional] filters=2 size=3 activation=linear",
    ),
}
needs_darknet = pytest.mark.skipif(
    shutil.which("darknet") is None, reason="Debian's darknet is not installed"
)


def whole(cfg: bytes) -> dn.Model:
    """A model whose numbers are small integers: sums of them are exact in any order."""
    model = dn.load(cfg, weights_bytes(cfg), dialect="pjreddie")
    rng = np.random.default_rng(3)
    params = []
    for node in model.network.nodes:
        arrays = {
            param.name: rng.integers(-4, 5, param.shape).astype(np.float32) for param in node.params
        }
        if "rolling_variance" in arrays:
            arrays["rolling_variance"][:] = 1
        params.append(arrays)
    return dn.Model(
        model.cfg, model.network, tuple(params), model.header, model.dialect, "given", 9
    )


def pictures(channels: int = 3) -> np.ndarray:
    """Eighths from 0 to 1."""
    levels = np.random.default_rng(4).integers(0, 9, (2, channels, 8, 8))
    return (levels / 8).astype(np.float32)


def arrays_of(model: dn.Model) -> list[tuple[str, bytes]]:
    return [(name, array.tobytes()) for p in model.params for name, array in p.items()]


def outputs(model: dn.Model, x: np.ndarray) -> list[np.ndarray]:
    return [y for _, y in sorted(dn.forward(model, x, exact=True).items())]


@pytest.mark.parametrize("name", sorted(NETS))
def test_a_model_for_bgr_gives_the_same(name: str) -> None:
    model = whole(NETS[name])
    swapped = dn.swap_red_blue(model)
    x = pictures()
    for one, other in zip(outputs(model, x), outputs(swapped, x[:, ::-1]), strict=True):
        np.testing.assert_array_equal(one, other)
    assert arrays_of(swapped) != arrays_of(model)
    assert arrays_of(dn.swap_red_blue(swapped)) == arrays_of(model)


@pytest.mark.parametrize(
    "before",
    [
        ("[crop] crop_width=6 crop_height=5 noadjust=1",),
        ("[maxpool] size=2 stride=2", "[dropout]", "[upsample] stride=2"),
        ("[activation] activation=relu",),
    ],
)
@pytest.mark.parametrize("after", [CONV, "[connected] output=5 activation=linear"])
def test_layers_that_keep_channels_apart_may_be_first(before: tuple[str, ...], after: str) -> None:
    model = whole(cfg_text(*before, after))
    swapped = dn.swap_red_blue(model)
    x = pictures()
    (one,), (other,) = outputs(model, x), outputs(swapped, x[:, ::-1])
    np.testing.assert_array_equal(one, other)
    assert arrays_of(swapped) != arrays_of(model)
    assert arrays_of(dn.swap_red_blue(swapped)) == arrays_of(model)


def test_alpha_stays_where_it_is() -> None:
    model = whole(cfg_text(CONV, channels=4))
    x = pictures(4)
    (one,), (other,) = outputs(model, x), outputs(dn.swap_red_blue(model), x[:, [2, 1, 0, 3]])
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("cfg", "problem"),
    [
        (cfg_text(CONV, channels=1), "the input has no colours to exchange"),
        (cfg_text("[reorg]", CONV), "has no weights for each channel"),
        (cfg_text("[maxpool] size=2 stride=2"), "has no weights for each channel"),
        (cfg_text("[dropout]", "[route] layers=-1,0"), "has no weights for each channel"),
        (cfg_text(f"{CONV} groups=2", channels=4), "the groups of the layer divide the colours"),
        (cfg_text(f"{CONV} groups=3"), "the outputs of the model would change places"),
        (
            cfg_text(f"{CONV} groups=3", f"{CONV} groups=2"),
            "the layer has groups, and reads layer 0",
        ),
        (cfg_text(f"{CONV} groups=3", "[maxpool]"), "the layer reads layer 0, and has no weights"),
    ],
)
def test_what_cannot_be_exchanged_is_refused(cfg: bytes, problem: str) -> None:
    with pytest.raises(dn.DarknetError, match=problem) as caught:
        dn.swap_red_blue(whole(cfg))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(NETS))
@pytest.mark.parametrize(
    ("scale", "shift"), [(2.0, -1.0), (0.5, 3.0), ((1.0, 2.0, 4.0), (1.0, 0.0, -2.0))]
)
def test_a_rescaled_model_gives_for_x_what_it_gave_for_the_scaled_x(
    name: str, scale: object, shift: object
) -> None:
    model = whole(NETS[name])
    rescaled = dn.rescale_input(model, scale, shift)
    x = pictures()
    factor, term = (np.reshape(np.float32(each), (-1, 1, 1)) for each in (scale, shift))
    # All numbers are multiples of a sixteenth, so the sums before batch norm are exact, and its
    # root and division are of the same numbers.
    given = outputs(model, x * factor + term)
    for one, other in zip(given, outputs(rescaled, x), strict=True):
        np.testing.assert_array_equal(one, other)


def test_rescaling_there_and_back_is_the_identity() -> None:
    model = whole(NETS["batch norm"])
    again = dn.rescale_input(dn.rescale_input(model, 2, -1), 0.5, 0.5)
    assert arrays_of(again) == arrays_of(model)


def test_a_padded_border_is_warned_of() -> None:
    model = whole(cfg_text(f"{CONV} pad=1"))
    with pytest.warns(dn.DarknetWarning, match="outputs near the border differ"):
        rescaled = dn.rescale_input(model)
    x = pictures()
    (one,), (other,) = outputs(model, 2 * x - 1), outputs(rescaled, x)
    np.testing.assert_array_equal(one[:, :, 1:-1, 1:-1], other[:, :, 1:-1, 1:-1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dn.rescale_input(model, 2, 0)  # zero stays zero


@pytest.mark.parametrize(
    "options", ["size=2 padding=3 dilation=3 stride=2", "size=3 dilation=2", "size=1 padding=2"]
)
def test_what_is_away_from_the_border_is_proven(options: str) -> None:
    conv = f"[convolutional] filters=2 {options} activation=linear"
    model = random_model(cfg_text(conv, width=30, height=30))
    with pytest.warns(dn.DarknetWarning, match="outputs near the border differ"):
        rescaled = dn.rescale_input(model)
    report = prove_edit(model, rescaled, of_rescaled_input(model, 2, -1))
    assert report.ok
    assert report.worst.shape[2] > 0


def test_what_cannot_be_rescaled_is_refused() -> None:
    with pytest.raises(dn.DarknetError, match="the weights are binary"):
        dn.rescale_input(whole(cfg_text(f"{CONV} xnor=1")))
    for bad in ((1.0, 2.0), float("nan")):
        with pytest.raises(dn.DarknetError, match="the numbers do not fit the input"):
            dn.rescale_input(whole(NETS["convolution"]), bad)
    for bad in (0.0, (1.0, 0.0, 1.0)):
        with pytest.raises(dn.DarknetError, match="would not see the input"):
            dn.rescale_input(whole(NETS["convolution"]), bad)
    for scale, shift, name in ((1e300, 0, "weights"), (1, 1e300, "biases")):
        with pytest.raises(dn.DarknetError, match=f"the new {name} do not fit float32"):
            dn.rescale_input(whole(NETS["convolution"]), scale, shift)


@pytest.mark.parametrize("version", [(0, 1, 0), (0, 2, 0), (0, 2, 5), (1, 0, 0)])
def test_a_header_is_written_and_read(tmp_path: Path, version: tuple[int, int, int]) -> None:
    model = dn.with_header(dn.load(TINY), version=version, seen=64000)
    dn.save(model, tmp_path / "a.cfg", tmp_path / "a.weights")
    read = dn.load(tmp_path / "a")
    assert (read.header.version, read.header.seen) == (".".join(map(str, version)), 64000)
    assert arrays_of(read) == arrays_of(dn.load(TINY))


def test_only_the_counter_is_set(tmp_path: Path) -> None:
    model = dn.load(TINY)
    dn.save(dn.with_header(model, seen=1 << 40), tmp_path / "a.cfg", tmp_path / "a.weights")
    ours, theirs = (tmp_path / "a.weights").read_bytes(), TINY.with_suffix(".weights").read_bytes()
    assert (ours[:12], ours[20:]) == (theirs[:12], theirs[20:])
    assert int.from_bytes(ours[12:20], "little") == 1 << 40


def test_numbers_that_do_not_fit_a_header_are_refused() -> None:
    model = dn.load(TINY)
    for version in ((0, 2, -1), (1000, 0, 0)):
        with pytest.raises(dn.DarknetError, match="the version does not fit the header"):
            dn.with_header(model, version=version)
    for version, seen in (((0, 1, 0), 1 << 32), ((0, 2, 0), 1 << 64), (None, -1)):
        with pytest.raises(dn.DarknetError, match="the number of images does not fit"):
            dn.with_header(model, version=version, seen=seen)


@pytest.mark.parametrize("layers", [1, 2, 5, 10])
def test_the_first_layers_are_loaded_again(tmp_path: Path, layers: int) -> None:
    model = dn.load(TINY)
    path = tmp_path / f"tiny.conv.{layers}"
    dn.save_first_layers(dn.with_header(model, seen=640), path, layers)
    begun = dn.load(f"{TINY}.cfg", path, partial=True)
    last = max(each for each in range(layers) if model.network.nodes[each].params)
    assert begun.loaded == last + 1  # the file does not say how many layers without weights follow
    assert begun.header.seen == 0
    for one, other in zip(model.params[:layers], begun.params[:layers], strict=True):
        assert {name: array.tobytes() for name, array in one.items()} == {
            name: array.tobytes() for name, array in other.items()
        }
    with pytest.raises(dn.DarknetError, match="the file already exists"):
        dn.save_first_layers(model, path, layers)


@pytest.mark.parametrize("layers", [0, -1, 13])
def test_layers_that_are_not_there_are_refused(tmp_path: Path, layers: int) -> None:
    with pytest.raises(dn.DarknetError, match="there are not that many layers"):
        dn.save_first_layers(dn.load(TINY), tmp_path / "a", layers)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("layers", [1, 2])
def test_a_file_of_layers_without_weights_is_refused(tmp_path: Path, layers: int) -> None:
    cfg = cfg_text("[crop] crop_width=6 crop_height=6", "[dropout]", CONV)
    with pytest.raises(dn.DarknetError, match=r"expected at least 3 layers, found") as caught:
        dn.save_first_layers(random_model(cfg), tmp_path / "a", layers)
    assert caught.value.where.layer == layers - 1
    assert not (tmp_path / "a").exists()
    dn.save_first_layers(random_model(cfg), tmp_path / "a", 3)
    with pytest.raises(dn.DarknetError, match="none of these layers has weights"):
        dn.save_first_layers(random_model(cfg_text("[avgpool]")), tmp_path / "b", 1)


def test_the_first_layers_and_those_after_them_are_the_whole(tmp_path: Path) -> None:
    model = dn.with_header(dn.load(TINY), seen=0)
    dn.save(model, None, tmp_path / "whole.weights")
    whole = (tmp_path / "whole.weights").read_bytes()
    sizes = []
    for layers in range(1, len(model.network.nodes) + 1):
        path = tmp_path / f"tiny.conv.{layers}"
        dn.save_first_layers(model, path, layers)
        assert whole.startswith(path.read_bytes())
        sizes.append(path.stat().st_size)
    assert sizes == sorted(sizes)
    assert sizes[-1] == len(whole)


def test_another_size_and_back_is_the_identity() -> None:
    model = dn.load(TINY)
    size = model.network.input
    back = model.resized(96, 128).resized(size.h, size.w)
    assert back.cfg.to_bytes() == model.cfg.to_bytes()
    assert back.params is model.params


def darknet(*words: object) -> None:
    subprocess.run(["darknet", *map(str, words)], capture_output=True, check=True)


@needs_darknet
def test_darknet_s_own_program_writes_the_same(tmp_path: Path) -> None:
    files = [TINY.with_suffix(suffix) for suffix in (".cfg", ".weights")]
    model = dn.load(*files)
    darknet("partial", *files, tmp_path / "theirs", 5)
    dn.save_first_layers(model, tmp_path / "ours", 5)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    darknet("rgbgr", *files, tmp_path / "theirs.weights")
    dn.save(dn.swap_red_blue(model), None, tmp_path / "ours.weights")
    theirs = (tmp_path / "theirs.weights").read_bytes()
    assert (tmp_path / "ours.weights").read_bytes() == theirs


@needs_darknet
def test_darknet_s_own_program_rescales_the_same_without_batch_norm(tmp_path: Path) -> None:
    cfg = NETS["convolution"]
    files = [tmp_path / "a.cfg", tmp_path / "a.weights"]
    dn.save(whole(cfg), *files)
    darknet("rescale", *files, tmp_path / "theirs.weights")
    dn.save(dn.rescale_input(dn.load(*files)), None, tmp_path / "ours.weights")
    theirs = (tmp_path / "theirs.weights").read_bytes()
    assert (tmp_path / "ours.weights").read_bytes()[20:] == theirs[20:]


@needs_darknet
def test_darknet_s_own_program_looks_through_a_crop_too(tmp_path: Path) -> None:
    cfg = cfg_text("[crop] crop_width=6 crop_height=6", CONV)
    files = [tmp_path / "a.cfg", tmp_path / "a.weights"]
    dn.save(whole(cfg), *files)
    darknet("rgbgr", *files, tmp_path / "theirs.weights")
    dn.save(dn.swap_red_blue(dn.load(*files)), None, tmp_path / "ours.weights")
    theirs = (tmp_path / "theirs.weights").read_bytes()
    assert (tmp_path / "ours.weights").read_bytes()[20:] == theirs[20:]
