"""Images of other sizes in training: which, and how often they change."""

from __future__ import annotations

import numpy as np

import darknet_bn as dn
from darknet_bn.training.sizes import training_size

HEAD = (
    "[convolutional]\nfilters=18\nactivation=linear\n"
    "[yolo]\nclasses=1\nnum=3\nanchors=8,8,9,9,10,10\nrandom={}\n"
)


def model(random: str, dialect: str = "pjreddie") -> dn.Model:
    text = f"[net]\nwidth=416\nheight=320\nchannels=3\n{HEAD.format(random)}"
    return dn.load(text.encode(), None, dialect=dialect)


def test_without_the_option_there_is_one_size() -> None:
    assert training_size(model("0"), 50, 1000, 0) is None


def test_pjreddies_are_squares_of_320_to_608() -> None:
    sizes = [training_size(model("1"), i, 10_000, 3) for i in range(3000)]
    assert all(sizes[i] == sizes[i - i % 10] for i in range(3000))
    assert {height for height, _ in sizes} == {32 * side for side in range(10, 20)}
    assert all(height == width for height, width in sizes)
    assert training_size(model("1"), 9_900, 10_000, 3) == (608, 608)


def test_alexeyabs_are_around_the_size_of_the_cfg() -> None:
    net = model("1", "alexeyab")
    sizes = np.array([training_size(net, i, 10_000, 3) for i in range(200, 3000)])
    assert (sizes % 32 == 0).all()
    assert (sizes <= (480, 608)).all()
    assert sizes[:, 1].max() > 416
    assert sizes[:, 1].min() < 416
    assert sizes[:, 1].min() >= 416 / 1.4
    largest = training_size(net, 5, 10_000, 3)
    assert largest == training_size(net, 9_990, 10_000, 3) == (480, 608)


def test_a_net_trains_at_another_size() -> None:
    net = model("1")
    x = np.zeros((1, 3, 64, 96), np.float32)
    truth = np.array([[[0.5, 0.5, 0.2, 0.2, 0]]])
    state, step = dn.train_step(dn.train_state(net.resized(64, 96)), x, truth)
    assert step.outputs[1].shape == (1, 18, 64, 96)
    assert state.model.network.input.h == 64
