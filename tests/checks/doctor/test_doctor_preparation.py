"""How evidence for inversion and for BGR is found, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.checks.doctor.activations import Trial
from darknet_bn.checks.doctor.inputs import INVERTED, SWAPPED
from darknet_bn.checks.doctor.preparation import Evidence, evidence, preparation, verdicts
from darknet_bn.checks.doctor.seen import look
from tests.support.builders import cfg_text, random_input, random_model

from .planted import digits, images, with_arrays

CONV = "[convolutional] filters=4 size=3 pad=1 activation=leaky batch_normalize=1"


def said(count: int, inverted: float, swapped: float | None, closer: float = 0) -> list[str]:
    """The verdicts on evidence, for 16 pictures clear from 0.06 and likely from 0.03."""
    other = None if swapped is None else Evidence(SWAPPED, swapped - closer / 5, closer)
    found = verdicts(count, Evidence(INVERTED, inverted - closer / 5, closer), other)
    return [f"{each.verdict} {each.kind}" for each in found]


@pytest.mark.parametrize(
    ("count", "inverted", "swapped", "expected"),
    [
        (16, -0.07, -0.04, []),
        (16, 0.05, -0.04, ["unknown inversion"]),
        (16, 0.05, None, ["unknown inversion"]),
        (16, -0.07, 0.02, ["unknown order of channels"]),
        (16, 0.07, -0.04, ["wrong inversion"]),
        (16, 0.07, None, ["wrong inversion"]),
        (16, 0.07, 0.06, ["wrong preparation"]),
        (16, 0.07, 0.12, ["wrong preparation"]),
        (16, 0.07, 0.14, ["unknown inversion", "note order of channels"]),
        (16, 0.05, 0.04, ["unknown inversion", "note order of channels"]),
        (16, -0.07, 0.04, ["note order of channels"]),
        (4, 0.11, -0.07, ["unknown inversion"]),
        (4, 0.13, -0.07, ["wrong inversion"]),
        (64, 0.05, -0.04, ["unknown inversion"]),
        (1, 9, 9, ["unknown inversion", "unknown order of channels"]),
        (1, -0.25, -0.13, []),
    ],
)
def test_verdicts(count: int, inverted: float, swapped: float | None, expected: list[str]) -> None:
    assert said(count, inverted, swapped) == expected


@pytest.mark.parametrize(
    ("count", "closer", "named"),
    [
        (16, -0.14, True),
        (16, -0.16, False),
        (4, -0.29, True),
        (4, -0.31, False),
        (2, -0.31, False),
    ],
)
def test_strong_answers_far_from_the_statistics_are_not_named(
    count: int, closer: float, named: bool
) -> None:
    unknown = ["unknown inversion", "unknown order of channels"]
    assert said(count, 0.5, 0.4, closer) == (["wrong inversion"] if named else unknown)


def test_variances_that_are_deviations_are_not_called_inversion() -> None:
    model = digits()
    for layer in (0, 1, 2):
        deviations = np.sqrt(model.params[layer]["rolling_variance"])
        model = with_arrays(model, layer, rolling_variance=deviations)
    assert {each.verdict for each in preparation(model, [images()])} == {"unknown"}


def test_both_are_said_if_both_explain_the_same() -> None:
    inverted, swapped = Evidence(INVERTED, 0.2, 0.5), Evidence(SWAPPED, 0.2, 0.5)
    (found,) = verdicts(8, inverted, swapped)
    assert "dark and bright are exchanged in the input, or red and blue" in found.what
    assert "the layers answer 1.11 times as strongly, at 0.61 times the distance" in found.what
    assert (
        found.do == "give 1 - x to the network, or give the channels in the other order: x[:, ::-1]"
    )


def test_evidence_compares_variances_and_distances() -> None:
    model = random_model(cfg_text(CONV))
    x = random_input(model)
    as_it_is = look(model, [x], normalise_by_batch=False)
    doubled = replace(INVERTED, change=lambda x: 2 * x)
    now = look(model, [2 * x], normalise_by_batch=False)[0]
    found = evidence(model, [x], doubled, as_it_is)
    assert found.stronger == pytest.approx(np.log(4), rel=1e-5)  # sums of float32
    ratio = np.log((as_it_is[0].divergence + 1e-4) / (now.divergence + 1e-4))
    assert found.closer == pytest.approx(ratio)
    assert found.total == pytest.approx(np.log(4) + ratio / 5, rel=1e-5)


def test_grey_pictures_tell_nothing_about_colours() -> None:
    model = random_model(cfg_text(CONV, CONV))
    x = np.repeat(random_input(model)[:, :1], 3, axis=1)
    swapped = evidence(model, [x], SWAPPED, look(model, [x], normalise_by_batch=False))
    assert (swapped.stronger, swapped.closer) == (0, 0)
    assert "order of channels" in [each.kind for each in preparation(model, [x, x])]


def test_one_picture_is_never_enough() -> None:
    for x in (images(1), 1 - images(1)):
        assert {each.verdict for each in preparation(digits(), [x])} == {"unknown"}


def test_inverted_photographs(shared: Path) -> None:
    pytest.importorskip("PIL", reason="Pillow is not installed")
    model = dn.load(shared / "models/yolov3-tiny/yolov3-tiny").resized(160, 160)
    photos = [dn.load_image(shared / f"images/{each}.jpg") for each in ("dog", "person")]
    x = np.concatenate([dn.prepare(each, model) for each in photos])
    assert {each.verdict for each in preparation(model, [x])} <= {"unknown"}
    (found,) = preparation(model, [1 - x])
    assert (found.verdict, found.kind) == ("wrong", "inversion")


def test_functions_that_are_nearly_the_same_need_more() -> None:
    near = {0: 0.01, 1: 0.01}
    for other, closer, explains in (
        ("leaky", 1.2, True),
        ("relu6", 1.2, False),
        ("relu6", 2, True),
    ):
        assert Trial("relu", other, {0: closer, 1: closer}, near).explains is explains
