"""Random valid networks from a seed, of the layers that a given program has."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

import darknet_bn as dn
from darknet_bn.layers.shape import Shape
from darknet_bn.model.network import Network

Rng = np.random.Generator
Maker = Callable[[Rng, Network, Sequence[str]], str]


def random_cfg(
    seed: int, makers: Sequence[Maker], activations: Sequence[str], last: Collection[str] = ()
) -> bytes:
    """Return a cfg of three to nine layers; one that does not fit is drawn again.

    Parameters
    ----------
    seed : int
    makers : sequence of functions
        Each returns the text of a section that may follow a network.
    activations : sequence of str
        The activations that the program has.
    last : collection of str
        Sections after which the program accepts no other.
    """
    rng = np.random.default_rng(seed)
    size = {key: int(rng.integers(5, 25)) for key in ("width", "height")}
    text = "[net]\nbatch=1\n" + "".join(f"{key}={value}\n" for key, value in size.items())
    text += f"channels={int(rng.integers(1, 6))}\n\n" + convolutional(rng, None, activations)
    network = build(text)
    wanted = int(rng.integers(3, 10))
    while len(network.nodes) < wanted and not network.nodes[-1].y.flat:
        if network.nodes[-1].layer.names[0] in last:
            break
        made = one_of(rng, makers)(rng, network, activations)
        try:
            network = build(text + made)
        except dn.DarknetError:
            continue
        text += made
    return text.encode()


def build(text: str) -> Network:
    return dn.build_network(dn.parse_cfg(text), dn.PJREDDIE)


def section(name: str, **options: object) -> str:
    return f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in options.items()) + "\n"


def one_of(rng: Rng, values: Sequence[Any]) -> Any:
    return values[int(rng.integers(len(values)))]


def shape_of(network: Network) -> Shape:
    return network.nodes[-1].y


def convolutional(rng: Rng, network: Network | None, activations: Sequence[str]) -> str:
    size = one_of(rng, (1, 2, 3, 3, 5))
    c = shape_of(network).c if network else 1
    filters = int(rng.integers(1, 13))
    groups = one_of(rng, [g for g in range(1, c + 1) if c % g == 0])
    return section(
        "convolutional",
        batch_normalize=int(rng.integers(2)),
        filters=-(-filters // groups) * groups,
        size=size,
        # With size 1 Darknet's CPU code leaves stride and padding out.
        stride=1 if size == 1 else one_of(rng, (1, 1, 2)),
        pad=0 if size == 1 else int(rng.integers(2)),
        groups=groups,
        activation=one_of(rng, activations),
    )


def maxpool(rng: Rng, network: Network, activations: Sequence[str]) -> str:
    return section("maxpool", size=int(rng.integers(1, 5)), stride=int(rng.integers(1, 4)))


def avgpool(rng: Rng, network: Network, activations: Sequence[str]) -> str:
    return section("avgpool")


def route(rng: Rng, network: Network, activations: Sequence[str]) -> str:
    here = shape_of(network)
    alike = [i for i, n in enumerate(network.nodes) if (n.y.h, n.y.w) == (here.h, here.w)]
    count = int(rng.integers(1, 4))
    layers = [one_of(rng, alike) for _ in range(count)]
    relative = bool(rng.integers(2))
    shown = [i - len(network.nodes) if relative else i for i in layers]
    return section("route", layers=", ".join(str(each) for each in shown))


def shortcut(rng: Rng, network: Network, activations: Sequence[str]) -> str:
    here = shape_of(network)
    alike = [i for i, n in enumerate(network.nodes) if n.y == here]
    return section(
        "shortcut",
        **{"from": one_of(rng, alike) - len(network.nodes)},
        activation=one_of(rng, ("linear", *activations)),
    )


def unequal_shortcut(rng: Rng, network: Network, activations: Sequence[str]) -> str:
    return section(
        "shortcut", **{"from": int(rng.integers(len(network.nodes)))}, activation="linear"
    )


def upsample(rng: Rng, network: Network, activations: Sequence[str]) -> str:
    return section("upsample", stride=int(rng.integers(2, 4)))


def downsample(rng: Rng, network: Network, activations: Sequence[str]) -> str:
    return section("upsample", stride=-2, scale=one_of(rng, (1, 0.5)))


def dropout(rng: Rng, network: Network, activations: Sequence[str]) -> str:
    return section("dropout", probability=0.4)


def reorg(rng: Rng, network: Network, activations: Sequence[str]) -> str:
    """With a convolution in front that gives four channels or eight."""
    before = section(
        "convolutional", filters=4 * int(rng.integers(1, 3)), size=1, activation="leaky"
    )
    return before + section("reorg", stride=2)


def activation(rng: Rng, network: Network, activations: Sequence[str]) -> str:
    return section("activation", activation=one_of(rng, activations))


def connected(rng: Rng, network: Network, activations: Sequence[str]) -> str:
    # Darknet adds the products up one by one in float32; over some thousand that shows.
    if shape_of(network).size > 1000:
        return ""
    return section(
        "connected", output=int(rng.integers(1, 12)), activation=one_of(rng, activations)
    )


def normalised_connected(rng: Rng, network: Network, activations: Sequence[str]) -> str:
    plain = connected(rng, network, activations)
    return plain.rstrip() + "\nbatch_normalize=1\n\n" if plain else ""


def softmax(rng: Rng, network: Network, activations: Sequence[str]) -> str:
    """Over one pixel: of an image OpenCV takes each pixel alone, Darknet all values together."""
    before = "" if shape_of(network).h == shape_of(network).w == 1 else section("avgpool")
    return before + section("softmax")


def grouped_softmax(rng: Rng, network: Network, activations: Sequence[str]) -> str:
    # Darknet adds up one by one in float32; over some thousand values that shows.
    size = shape_of(network).size
    groups = one_of(rng, [g for g in range(1, 9) if size % g == 0 and size // g < 2000] or [0])
    return section("softmax", groups=groups, temperature=one_of(rng, (1, 2))) if groups else ""


def yolo(rng: Rng, network: Network, activations: Sequence[str]) -> str:
    """A convolution that fits, and the head."""
    classes, anchors = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    before = section("convolutional", filters=anchors * (5 + classes), size=1, activation="linear")
    sizes = ", ".join(str(int(rng.integers(3, 30))) for _ in range(2 * anchors))
    mask = ",".join(str(each) for each in range(anchors))
    return before + section("yolo", mask=mask, anchors=sizes, classes=classes, num=anchors)


def region(rng: Rng, network: Network, activations: Sequence[str]) -> str:
    """A convolution that fits, and the head."""
    classes, anchors = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    before = section("convolutional", filters=anchors * (5 + classes), size=1, activation="linear")
    sizes = ", ".join(f"{rng.uniform(0.5, 5):.2f}" for _ in range(2 * anchors))
    head = section("region", anchors=sizes, classes=classes, num=anchors, coords=4, softmax=1)
    return before + head


def l2norm(rng: Rng, network: Network, activations: Sequence[str]) -> str:
    return section("l2norm")


def logistic(rng: Rng, network: Network, activations: Sequence[str]) -> str:
    return section("logistic")


def normalization(rng: Rng, network: Network, activations: Sequence[str]) -> str:
    # With fewer channels than half a window Darknet reads the memory after them.
    size = 5 if shape_of(network).c > 2 else 1
    return section("normalization", size=size, alpha=0.1)


def crop(rng: Rng, network: Network, activations: Sequence[str]) -> str:
    here = shape_of(network)
    return section("crop", crop_width=max(1, here.w - 2), crop_height=max(1, here.h - 3))


PLAIN = (
    convolutional,
    convolutional,
    convolutional,
    maxpool,
    avgpool,
    route,
    shortcut,
    upsample,
    dropout,
)
"""What every program has, convolutions more often than others."""
