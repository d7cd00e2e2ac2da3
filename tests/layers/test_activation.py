"""``[activation]``, and which functions the sections may name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from darknet_bn.dialect import PJREDDIE
from darknet_bn.errors import CfgError
from darknet_bn.formats.cfg import parse_cfg
from darknet_bn.kernels.activations import ACTIVATIONS, activate_array
from darknet_bn.layers.activation import ActivationLayer
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.sam import Sam
from darknet_bn.layers.scale_channels import ScaleChannels
from darknet_bn.layers.shape import Shape
from darknet_bn.layers.shortcut import Shortcut

NAMES = sorted(ActivationLayer.declared()["activation"].rule.choices)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 7), (2, 5, 130, 120)])
def test_every_value_goes_through_the_function(
    run: Callable[..., np.ndarray], read: Callable[..., Layer], name: str, shape: tuple[int, ...]
) -> None:
    x = np.random.default_rng(1).standard_normal(shape, dtype=np.float32) * 3
    y = run(read(f"[activation]\nactivation={name}"), x)
    np.testing.assert_array_equal(y, activate_array(x.copy(), name))


def test_linear_is_the_default_and_does_nothing(read: Callable[..., Layer]) -> None:
    assert read("[activation]").is_alias((Shape(3),))
    assert not read("[activation]\nactivation=relu").is_alias((Shape(3),))


@pytest.mark.parametrize("kind", [ActivationLayer, ScaleChannels, Sam, Shortcut])
def test_functions_that_give_zero_in_c_are_not_offered(kind: type) -> None:
    rule = kind.declared()["activation"].rule
    missing = set(ACTIVATIONS) - rule.choices
    over_channels = {name for name, each in ACTIVATIONS.items() if each.over_channels}
    assert missing - {"swish", "mish"} == {"hard_mish"} | over_channels
    assert ({"swish", "mish"} <= missing) == (kind is not Shortcut)


def test_pjreddie_takes_relu_for_what_it_does_not_know() -> None:
    cfg = parse_cfg("[net]\n[activation]\nactivation=gelu")
    oddities: list[str] = []
    layer = ActivationLayer.read(cfg, 1, PJREDDIE, oddities.append)
    assert layer.activation == "relu"
    assert "uses 'relu'" in oddities[0]


def test_a_mistyped_function_is_refused(read: Callable[..., Layer]) -> None:
    with pytest.raises(CfgError, match="did you mean 'leaky'"):
        read("[activation]\nactivation=leakey")
