"""Images that do not fit each other: which layers they are of, and what size of the input helps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import darknet_bn as dn
from darknet_bn.formats.cfg import Cfg, load_cfg, parse_cfg
from tests.support.paths import FIXTURES

HALF = "[convolutional]\nfilters=8\nsize=3\nstride=2\npad=1\nactivation=leaky\n"
TWICE = "[upsample]\nstride=2\n"
CONV = "[convolutional]\nfilters=8\nsize=1\nactivation=linear\n"
PLANE = "[convolutional]\nfilters=1\nsize=1\nactivation=linear\n"


def text(*sections: str, width: int = 40, height: int = 40) -> Cfg:
    net = f"[net]\nwidth={width}\nheight={height}\nchannels=3\n"
    return parse_cfg(net + "".join(sections))


def refused(cfg: Cfg, dialect: str = "alexeyab") -> str:
    with pytest.raises(dn.ShapeError) as caught:
        dn.build_network(cfg, dialect)
    assert type(caught.value) is dn.ShapeError
    return str(caught.value)


MULTIPLES_OF_16 = "; width and height should be multiples of 16 here, not 40 and 40"
SIZES = "layer 4 is 6 x 6 and layer 2 is 5 x 5"
JOINS = {
    "route": (f"[route]\nlayers=-1,2\n{CONV}", "line 31: [route] layer 5: its layers differ"),
    "a route of three": (
        f"[route]\nlayers=-1,4,2\n{CONV}",
        "line 31: [route] layer 5: its layers differ",
    ),
    "dropout between": (f"[route]\nlayers=-1,2\n[dropout]\n{CONV}", "line 31: [route] layer 5"),
    "batch norm": ("[route]\nlayers=-1,2\n[batchnorm]\n", "line 31: [route] layer 5: its layers"),
    "pooling": ("[route]\nlayers=-1,2\n[maxpool]\n", "line 31: [route] layer 5: its layers"),
    "head": ("[route]\nlayers=-1,2\n[yolo]\nanchors=1,2\n", "line 31: [route] layer 5: its layers"),
    "sum of three": ("[shortcut]\nfrom=4,2\n", "line 32: [shortcut] layer 5: from: a layer of"),
    "weighted sum": ("[shortcut]\nfrom=2\nweights_type=per_layer\n", "line 32: [shortcut] layer 5"),
    "product": (
        "[sam]\nfrom=2\n",
        "line 32: [sam] layer 5: from: the layer of from= and the layer before",
    ),
    "product by pixel": (
        "[scale_channels]\nfrom=2\nscale_wh=1\n",
        "line 36: [scale_channels] layer 6: from: the layer before does not have one value for "
        "each",
    ),
}


def test_the_report() -> None:
    path = FIXTURES / "reports/route-sizes/net.cfg"
    with pytest.raises(dn.ShapeError) as caught:
        dn.load(path, None)
    assert str(caught.value) == (
        f"{path}:37: [route] layer 5: its layers differ in size: {SIZES}{MULTIPLES_OF_16}"
    )


@pytest.mark.parametrize("join", JOINS)
def test_the_layer_that_joins_them_is_named_with_both_sizes(join: str) -> None:
    section, place = JOINS[join]
    planes = join == "product by pixel"
    message = refused(text(*[HALF] * 4, *([PLANE] if planes else []), TWICE, section))
    assert message.startswith(place)
    assert SIZES.replace("layer 4", "layer 5" if planes else "layer 4") in message
    assert message.endswith(MULTIPLES_OF_16)


def test_where_values_are_enough_unequal_images_are_joined_as_in_the_programs() -> None:
    for reader in ("[connected]\noutput=3\n", "[softmax]\n", "[cost]\n", ""):
        network = dn.build_network(text(HALF, HALF, "[route]\nlayers=0,1\n", reader), "pjreddie")
        assert network.nodes[2].y.size == 8 * (20 * 20 + 10 * 10)
        assert network.oddities == ()


def test_an_image_layer_behind_another_flat_one_is_no_matter_of_a_route() -> None:
    message = refused(text(HALF, HALF, "[route]\nlayers=0,1\n", "[softmax]\n", CONV))
    assert message.startswith("line 20: [convolutional] layer 4: the layer before has no image")


@pytest.mark.parametrize(
    ("sections", "hint"),
    [
        ((HALF,) * 3, "width and height should be multiples of 8 here, not 44 and 50"),
        ((HALF.replace("stride=2", "stride=3"),) * 2, "multiples of 9 here, not 44 and 50"),
        (
            (HALF.replace("stride=2", "stride_x=4\nstride_y=2"), HALF),
            "the width should be a multiple of 8 and the height of 4 here, not 44 and 50",
        ),
    ],
)
def test_the_hint_is_true_and_no_smaller_number_would_do(
    sections: tuple[str, ...], hint: str
) -> None:
    enlarge = TWICE.replace("2", "3") if "stride=3" in sections[0] else TWICE
    layers = (*sections, enlarge, f"[route]\nlayers=-1,{len(sections) - 2}\n", CONV)
    message = refused(text(*layers, width=44, height=50))
    assert hint in message
    numbers = [int(each) for each in re.findall(r"of (\d+)", message)]
    across, down = numbers if len(numbers) == 2 else (numbers[0], numbers[0])
    assert all(fits(text(*layers, width=across * n, height=down)) for n in range(1, 9))
    assert all(fits(text(*layers, width=across, height=down * n)) for n in range(1, 9))
    for smaller in range(1, across):
        widths = range(smaller, smaller * across + 1, smaller)
        assert not all(fits(text(*layers, width=w, height=down)) for w in widths), smaller
    for smaller in range(1, down):
        heights = range(smaller, smaller * down + 1, smaller)
        assert not all(fits(text(*layers, width=across, height=h)) for h in heights), smaller


def fits(cfg: Cfg) -> bool:
    try:
        dn.build_network(cfg, "alexeyab")
    except dn.ShapeError:
        return False
    return True


def test_layers_of_other_scales_fit_at_no_size() -> None:
    message = refused(text(HALF, HALF, "[route]\nlayers=0,1\n", CONV))
    assert message.endswith(
        "layer 0 is 20 x 20 and layer 1 is 10 x 10; no width makes them equal: they are 1/2 and "
        "1/4 of the input's"
    )


def test_without_a_multiple_that_helps_there_is_no_hint() -> None:
    narrow = HALF.replace("pad=1", "pad=0")
    message = refused(text(*[narrow] * 3, TWICE, "[route]\nlayers=-1,1\n", CONV))
    assert message.endswith("its layers differ in size: layer 3 is 8 x 8 and layer 1 is 9 x 9")


def test_channels_that_differ_are_shown_as_such() -> None:
    message = refused(text(HALF, CONV.replace("8", "4"), "[sam]\nfrom=0\n"))
    assert "layer 1 is 20 x 20 x 4 and layer 0 is 20 x 20 x 8" in message
    assert "multiple" not in message


def test_a_reorg_that_does_not_divide_names_the_multiple_too() -> None:
    message = refused(text(*[HALF] * 3, "[reorg]\nstride=2\n"))
    assert message.endswith(
        "(expected w and h divisible by 2, found 5 x 5 x 8); width and height should be multiples "
        "of 16 here, not 40 and 40"
    )


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_a_sum_that_darknet_cuts_is_told(dialect: str) -> None:
    layers = (*[HALF] * 4, TWICE, "[shortcut]\nfrom=2\n")
    (odd,) = dn.build_network(text(*layers), dialect).oddities
    assert odd.startswith("line 32: [shortcut] layer 5: from: 5 x 5 pixels are added to 6 x 6")
    assert dn.build_network(text(*layers, width=48, height=48), dialect).oddities == ()


@pytest.mark.parametrize(
    ("name", "size", "layer", "multiple"),
    [
        ("alexeyab/yolov3-tiny.cfg", 400, 20, 32),
        ("alexeyab/yolov4-csp.cfg", 500, 132, 32),
        ("alexeyab/cspx-p7-mish.cfg", 416, 228, 128),
        ("pjreddie/yolov2.cfg", 400, 27, 32),
    ],
)
def test_published_nets_name_the_multiple_that_is_known_of_them(
    shared: Path, name: str, size: int, layer: int, multiple: int
) -> None:
    cfg = load_quietly(shared / "cfg" / name)
    sides = {(0, "width"): str(size), (0, "height"): str(size)}
    message = refused(cfg.edited(sides), name.split("/")[0])
    assert f" layer {layer}: " in message
    assert f"; width and height should be multiples of {multiple} here" in message


@pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")
def load_quietly(path: Path) -> Cfg:
    return load_cfg(path)
