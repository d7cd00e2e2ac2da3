"""``[net]``: the size of the input, and its options."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import darknet_bn as dn
from darknet_bn.dialect import ALEXEYAB, DIALECTS, PJREDDIE
from darknet_bn.errors import CfgError
from darknet_bn.formats.cfg import load_cfg, parse_cfg
from darknet_bn.layers.net import Net
from darknet_bn.layers.shape import Shape


def read(text: str, dialect: dn.Dialect = ALEXEYAB) -> tuple[Net, list[str]]:
    odd: list[str] = []
    net = Net.read(parse_cfg("[net]\n" + "\n".join(text.split())), 0, dialect, odd.append)
    return net, odd


class TestInputShape:
    @pytest.mark.parametrize(
        ("text", "shape"),
        [
            ("width=5 height=6 channels=7", Shape(7, 6, 5)),
            ("width=5 height=6 channels=7 inputs=210", Shape(7, 6, 5)),
            ("inputs=12", Shape(12, flat=True)),
            ("width=5 height=6 inputs=12", Shape(12, flat=True)),
            ("width=5 height=6", Shape(0, flat=True)),
            ("batch=1", Shape(0, flat=True)),
        ],
    )
    def test_is_that_of_an_image_where_all_sizes_are_there(self, text: str, shape: Shape) -> None:
        assert read(text)[0].input_shape == shape

    @pytest.mark.parametrize("text", ["width=-1", "batch=0", "subdivisions=0", "inputs=0"])
    def test_sizes_that_are_none(self, text: str) -> None:
        with pytest.raises(CfgError, match="the value is too small"):
            read(text)


class TestOptions:
    def test_defaults(self) -> None:
        net, odd = read("width=1")
        assert odd == []
        assert (net.batch, net.subdivisions, net.time_steps) == (1, 1, 1)
        assert (net.learning_rate, net.momentum, net.decay) == (0.001, 0.9, 0.0001)
        assert (net.policy, net.burn_in, net.power, net.max_batches) == ("constant", 0, 4.0, 0)
        assert (net.saturation, net.exposure, net.hue, net.angle) == (1.0, 1.0, 0.0, 0.0)

    def test_what_a_published_cfg_says(self) -> None:
        net, odd = read(
            "batch=64 subdivisions=16 width=608 height=608 channels=3 momentum=0.949 "
            "decay=0.0005 angle=0 saturation=1.5 exposure=1.5 hue=.1 learning_rate=0.0013 "
            "burn_in=1000 max_batches=500500 policy=steps steps=400000,450000 scales=.1,.1 "
            "mosaic=1"
        )
        assert odd == []
        assert (net.batch, net.subdivisions) == (64, 16)
        assert (net.momentum, net.decay, net.hue, net.learning_rate) == (
            0.949,
            0.0005,
            0.1,
            0.0013,
        )
        assert (net.policy, net.steps, net.scales) == ("steps", (400000, 450000), (0.1, 0.1))
        assert net.mosaic is True

    def test_the_fork_s_keys_are_not_used_elsewhere(self) -> None:
        net, odd = read("mosaic=1", PJREDDIE)
        assert net.mosaic is False
        assert len(odd) == 1

    def test_an_unknown_policy_is_refused(self) -> None:
        with pytest.raises(CfgError, match=r"policy: unknown word.*did you mean 'steps'\?"):
            read("policy=stepss")

    def test_every_published_net_is_understood(self, shared: Path) -> None:
        for path in sorted(shared.glob("cfg/*/**/*.cfg")):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", dn.DarknetWarning)
                cfg = load_cfg(path)
            dialect = DIALECTS[path.relative_to(shared / "cfg").parts[0]]
            odd: list[str] = []
            net = Net.read(cfg, 0, dialect, odd.append)
            assert odd == [], path.name
            assert net.input_shape.size > 0, path.name
