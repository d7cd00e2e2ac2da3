"""Sections to layers, with links and shapes; what does not fit is refused with its place."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import darknet_bn as dn
from darknet_bn.dialect import ALEXEYAB, PJREDDIE
from darknet_bn.formats.cfg import parse_cfg
from darknet_bn.layers import LAYERS
from darknet_bn.layers.shape import Shape
from darknet_bn.model.network import build_network
from tests.support.builders import cfg_text, network_of
from tests.support.paths import FIXTURES

CONV = "[convolutional] filters=4 size=3 pad=1 activation=linear"


class TestShapesAndLinks:
    def test_a_chain(self) -> None:
        network = network_of(cfg_text(CONV, "[maxpool] size=2 stride=2", "[connected] output=10"))
        assert network.input == Shape(3, 8, 8)
        assert [node.sources for node in network.nodes] == [(-1,), (0,), (1,)]
        assert [node.y for node in network.nodes] == [Shape(4, 8, 8), Shape(4, 4, 4), Shape(10)]
        assert [node.xs for node in network.nodes] == [
            (Shape(3, 8, 8),),
            (Shape(4, 8, 8),),
            (Shape(4, 4, 4),),
        ]
        assert [node.owner for node in network.nodes] == [0, 1, 2]
        assert network.outputs == (2,)

    def test_absolute_and_relative_references(self) -> None:
        network = network_of(
            cfg_text(
                *(CONV, CONV, CONV),
                "[route] layers=0,-1,1",
                "[route] layers=-4",
                "[shortcut] from=0,-4",
            )
        )
        assert [node.sources for node in network.nodes[3:]] == [(0, 2, 1), (0,), (4, 0, 1)]

    def test_a_flat_input(self) -> None:
        network = network_of(b"[net]\ninputs=12\n[connected]\noutput=3\n")
        assert network.input == Shape(12, flat=True)
        assert network.input.dims == (12,)
        assert network.nodes[0].params[1].shape == (3, 12)

    def test_outputs_are_the_layers_that_nobody_reads(self) -> None:
        heads = cfg_text(
            "[convolutional] filters=18 size=1",
            "[yolo] num=3 classes=1",
            "[route] layers=0",
            "[convolutional] filters=18 size=1",
            "[yolo] num=3 classes=1",
        )
        assert network_of(heads).outputs == (1, 4)

    def test_a_loss_is_no_output_and_reads_nothing(self) -> None:
        assert network_of(cfg_text(CONV, "[avgpool]", "[softmax]", "[cost]")).outputs == (2,)

    def test_parameters_are_counted_once_and_in_the_order_of_the_file(self) -> None:
        network = network_of(
            cfg_text(
                "[convolutional] filters=4 size=1 batch_normalize=1",
                "[connected] output=2 batch_normalize=1",
                "[batchnorm]",
            )
        )
        assert [(index, param.name, param.stored_size) for index, param in network.stored()] == [
            (0, "biases", 4),
            (0, "scales", 4),
            (0, "rolling_mean", 4),
            (0, "rolling_variance", 4),
            (0, "weights", 12),
            (1, "biases", 2),
            (1, "weights", 2 * 4 * 64),
            (1, "scales", 2),
            (1, "rolling_mean", 2),
            (1, "rolling_variance", 2),
            (2, "biases", 2),
            (2, "scales", 2),
            (2, "rolling_mean", 2),
            (2, "rolling_variance", 2),
        ]
        assert network.stored_floats == 16 + 12 + 8 + 512 + 8

    def test_a_shared_layer_stores_nothing(self) -> None:
        same = "[convolutional] filters=3 size=3 pad=1 batch_normalize=1"
        network = network_of(
            cfg_text(same, f"{same} share_index=0", f"{same} share_index=-1", "[convolutional]")
        )
        assert [node.owner for node in network.nodes] == [0, 0, 0, 3]
        assert {index for index, _ in network.stored()} == {0, 3}

    def test_dontload_and_numload_and_dontloadscales(self) -> None:
        one = "[convolutional] filters=4 size=1 batch_normalize=1"
        floats = {
            option: network_of(cfg_text(f"{one} {option}"), "pjreddie").stored_floats
            for option in ("pad=0", "dontload=1", "dontloadscales=1", "numload=3", "numload=9")
        }
        assert floats == {
            "pad=0": 16 + 12,
            "dontload=1": 0,
            "dontloadscales=1": 4 + 12,
            "numload=3": 3 * (4 + 3),
            "numload=9": 16 + 12,
        }

    def test_warnings_are_kept(self) -> None:
        network = network_of(cfg_text("[convolutional] filtres=3 size=1"))
        assert network.oddities == (
            "line 7: [convolutional] layer 0: filtres: unknown option, not used; "
            "did you mean 'filters'?",
        )


class TestHeads:
    YOLO = ("[convolutional] filters=6", "[yolo] classes=1")

    def test_of_a_detector(self) -> None:
        network = network_of(cfg_text(*self.YOLO, "[route] layers=-2", *self.YOLO))
        assert list(network.heads) == [1, 4]
        assert network.is_detector
        assert network.last_head is network.nodes[4].layer

    def test_of_a_detector_that_ends_in_something_else(self) -> None:
        network = network_of(cfg_text(*self.YOLO, "[softmax]"))
        assert list(network.heads) == [1]
        assert network.is_detector
        assert network.last_head is None

    def test_of_a_classifier(self) -> None:
        network = network_of(cfg_text("[softmax]"))
        assert not network.heads
        assert not network.is_detector
        assert network.last_head is None


# The table of sections in the description of the format, without [net].
SECTIONS = """
    activation avg avgpool batchnorm conn connected contrastive conv conv_lstm convolutional cost
    crnn crop deconv deconvolutional detection dropout empty Gaussian_yolo gru history implicit
    iseg l2norm local local_avg local_avgpool logistic lrn lstm max maxpool normalization region
    reorg reorg3d rnn route sam scale_channels shortcut silence soft softmax upsample yolo
"""


def test_every_section_of_darknet_is_there() -> None:
    assert set(LAYERS) == set(SECTIONS.split())


REFUSED = {
    "no size": (b"[net]\n[convolutional]\n", "the size of the input is missing"),
    "one size short": (b"[net]\nwidth=8\nheight=8\n[conv]\n", "the size of the input is missing"),
    "no layers": (cfg_text(), "there are no layers"),
    "inputs against w, h, c": (
        b"[net]\nwidth=8\nheight=8\nchannels=3\ninputs=10\n[connected]\n",
        r"line 5: \[net\]: inputs: inputs= contradicts.*expected 192, found 10",
    ),
    "negative size": (
        b"[net]\nwidth=-8\nheight=8\nchannels=3\n[conv]\n",
        r"line 2: \[net\]: width: the value is too small \(expected at least 0, found -8\)",
    ),
    "unknown section": (
        cfg_text("[convlutional]"),
        r"line 6: \[convlutional\] layer 0: the section is unknown; "
        r"did you mean \[convolutional\]\?",
    ),
    "section of pjreddie's": (
        cfg_text("[l2norm]"),
        r"\[l2norm\] layer 0: alexeyab has no such section; the dialect pjreddie has",
    ),
    "second net": (cfg_text(CONV, "[net]"), r"\[net\] layer 1: the section is unknown"),
    "name with case": (cfg_text("[Convolutional]"), r"did you mean \[convolutional\]\?"),
    "route to itself": (
        cfg_text(CONV, "[route] layers=1"),
        r"line 13: \[route\] layer 1: layers: .*expected a layer from 0 to 0, found 1\)",
    ),
    "route forward": (cfg_text(CONV, "[route] layers=5"), "expected a layer from 0 to 0, found 5"),
    "route too far back": (
        cfg_text(CONV, "[route] layers=-1,-3"),
        r"expected a layer from 0 to 0, found -3, which is -2",
    ),
    "route of the input": (
        cfg_text("[route] layers=-1"),
        "none: this is the first layer, found -1",
    ),
    "shortcut of the input": (
        cfg_text("[shortcut] from=-1"),
        "none: this is the first layer, found -1",
    ),
    "shortcut forward": (cfg_text(CONV, "[shortcut] from=2"), r"from: the layer refers to a layer"),
    "route without layers": (cfg_text(CONV, "[route] stream=1"), "the option 'layers' is missing"),
    "route with no value": (cfg_text(CONV, "[route] layers="), "the option 'layers' is missing"),
    "route without a sign": (cfg_text(CONV, "[route] layers"), "the option 'layers' is missing"),
    "route to a word": (cfg_text(CONV, "[route] layers=a"), "layers: 'a' is not an integer"),
    "groups and input": (
        cfg_text("[convolutional] filters=4 groups=2"),
        r"groups=2 does not divide the input channels \(expected a divisor of 3, found 2\)",
    ),
    "groups and filters": (
        cfg_text("[convolutional] filters=4 groups=3"),
        r"groups=3 does not divide the filters \(expected a divisor of 4, found 3\)",
    ),
    "filters beyond the image": (
        cfg_text("[convolutional] size=11"),
        r"line 6: \[convolutional\] layer 0: filters of size 11 do not fit into the image "
        r"\(expected at least 11 x 11 with its padding, found 8 x 8, padding 0\)",
    ),
    "image layer behind a flat one": (
        cfg_text(CONV, "[softmax]", "[convolutional]"),
        r"\[convolutional\] layer 2: the layer before has no image shape",
    ),
    "batchnorm behind a flat one": (
        cfg_text(CONV, "[softmax]", "[batchnorm]"),
        r"\[batchnorm\] layer 2: the layer before has no channels",
    ),
    "head with other filters": (
        cfg_text("[convolutional] filters=17", "[yolo] num=3 classes=1"),
        r"\[yolo\] layer 1: .*filters=18: 3 masks x \(5 \+ 1 classes\), found 17",
    ),
    "sharing forward": (
        cfg_text("[convolutional] share_index=1", CONV),
        r"\[convolutional\] layer 0: share_index: .*none: this is the first layer, found 1",
    ),
    "sharing itself": (cfg_text(CONV, f"{CONV} share_index=1"), "share_index: .*found 1"),
    "sharing another shape": (
        cfg_text(CONV, "[convolutional] filters=5 size=3 pad=1 share_index=0"),
        r"share_index: the biases of layer 0 do not fit.*expected \(5,\), found \(4,\)",
    ),
    "sharing what is not there": (
        cfg_text("[maxpool] size=1", f"{CONV} share_index=0"),
        "share_index: the biases of layer 0 do not fit.*found none",
    ),
    "sharing without batch norm": (
        cfg_text(
            "[convolutional] filters=3 size=1",
            "[convolutional] filters=3 size=1 batch_normalize=1 share_index=0",
        ),
        "share_index: the scales of layer 0 do not fit this layer",
    ),
    "output beyond reason": (
        cfg_text("[convolutional] filters=2000000000 size=1", width=4000, height=4000),
        r"layer 0: the output is too large \(expected at most 1099511627776 values",
    ),
}


@pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")
@pytest.mark.parametrize(("cfg", "problem"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused_with_its_place(cfg: bytes, problem: str) -> None:
    with pytest.raises(dn.DarknetError, match=problem):
        build_network(parse_cfg(cfg), ALEXEYAB)


class TestHostileCfgs:
    """Whatever the text, it is a network or an error that says why."""

    WORDS = (
        b"-1",
        b"0",
        b"1",
        b"2147483647",
        b"-2147483648",
        b"99999999999999999999",
        b"1e30",
        b"nan",
        b"-inf",
        b"0x1p99999",
        b"abc",
        b"",
        b",",
        b"1,2,,3",
        b"-1,-2,-3,-99",
        b"\xff\xfe",
        b"linear",
        b"mish",
        b"9" * 6000,
    )
    LINES = (
        b"[convolutional]",
        b"[connected]",
        b"[batchnorm]",
        b"[route]",
        b"[shortcut]",
        b"[softmax]",
        b"[maxpool]",
        b"[yolo]",
        b"[net]",
        b"[]",
        b"share_index=-1",
        b"groups=7",
        b"=1",
        b"size=0",
        b"flipped=1",
        b"\x80",
    )

    def mutated(self, data: bytes, rng: random.Random) -> bytes:
        lines = data.split(b"\n")
        for _ in range(rng.choice((1, 1, 2, 5))):
            at = rng.randrange(len(lines))
            match rng.randrange(6):
                case 0:
                    del lines[at]
                case 1:
                    lines.insert(at, rng.choice(self.LINES))
                case 2 | 3:
                    lines[at] = lines[at].partition(b"=")[0] + b"=" + rng.choice(self.WORDS)
                case 4:
                    line = bytearray(lines[at] or b"x")
                    line[rng.randrange(len(line))] = rng.randrange(256)
                    lines[at] = bytes(line)
                case 5:
                    other = rng.randrange(len(lines))
                    lines[at], lines[other] = lines[other], lines[at]
            lines = lines or [b""]
        return b"\n".join(lines)

    def survive(self, originals: list[bytes], seeds: range) -> None:
        loaded = refused = 0
        for seed in seeds:
            rng = random.Random(seed)
            data = self.mutated(rng.choice(originals), rng)
            try:
                cfg = parse_cfg(data, file="x.cfg")
                network = build_network(cfg, rng.choice((ALEXEYAB, PJREDDIE)))
            except dn.DarknetError as error:
                assert str(error).startswith("x.cfg"), seed
                assert str(error).encode("utf-8"), seed
                refused += 1
            else:
                assert network.stored_floats >= 0
                loaded += 1
        assert min(loaded, refused) > len(seeds) / 10  # both ways are taken often

    @pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")
    def test_mutated_small_cfgs(self) -> None:
        paths = sorted(FIXTURES.glob("layers/*/model.cfg"))
        assert len(paths) > 40
        self.survive([path.read_bytes() for path in paths], range(1500))

    @pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")
    def test_mutated_published_cfgs(self, shared: Path) -> None:
        names = ("yolov3-tiny", "yolov4-tiny", "enet-coco", "yolov2-tiny", "yolov3-tiny-prn")
        folder = shared / "cfg/alexeyab"
        self.survive([(folder / f"{name}.cfg").read_bytes() for name in names], range(300))
