"""Anchors, their number, and the masks that name them: held against each other, and OpenCV."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

import darknet_bn as dn
from darknet_bn.errors import CfgError
from darknet_bn.layers.shared.anchors import check_anchors
from tests.support.paths import FIXTURES
from tests.support.published import NOT_IN_THE_TABLE, read, table, write_tree_of_9k

REPORTS = FIXTURES / "reports/anchors-too-few"
# The message of each after the file's name, and whether it is refused.
SAID = {
    "blanks-for-commas": (
        True,
        "23: [yolo] layer 2: anchors: there are not enough anchors for the head (expected 6 pairs, "
        "since it uses number 5, counted from 0, found 1 number, an odd count); spaces do not "
        "separate numbers: '10 14 23 27 37 58 81 82 135 169 344 319' is read as "
        "'1014232737588182135169344319'",
    ),
    "four-pairs": (
        True,
        "23: [yolo] layer 2: anchors: there are not enough anchors for the head (expected 6 pairs, "
        "since it uses number 5, counted from 0, found 4 pairs)",
    ),
    "mask678-of-six": (
        True,
        "23: [yolo] layer 2: anchors: there are not enough anchors for the head (expected 9 pairs, "
        "since it uses number 8, counted from 0, found 6 pairs)",
    ),
    "no-anchors": (
        False,
        "21: [yolo] layer 2: anchors: the head needs 6 pairs, and the list is missing; each one "
        "is set to 0.5 x 0.5 pixels, as Darknet does",
    ),
    "num3-of-six": (
        False,
        "22: [yolo] layer 2: mask: the list names anchor 5, counted from 0, but num=3; "
        "anchors= has 6 pairs, and all of them are used",
    ),
    "odd-count": (
        False,
        "23: [yolo] layer 2: anchors: num=6 asks for 6 pairs, and the list has 11 numbers, an odd "
        "count; missing ones are set to 0.5, as Darknet does",
    ),
    "region-nine-for-five": (
        False,
        "22: [region] layer 2: anchors: num=5 asks for 5 pairs, and the list has 9 pairs; only "
        "the first 10 numbers are used",
    ),
}


def test_every_report_is_here() -> None:
    assert {path.stem for path in REPORTS.glob("*.cfg")} == set(SAID)


@pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")
@pytest.mark.parametrize("name", SAID)
def test_the_reports_say_line_and_numbers(name: str) -> None:
    path = REPORTS / f"{name}.cfg"
    refused, text = SAID[name]
    if refused:
        with pytest.raises(CfgError) as caught:
            dn.load(path, None)
        assert str(caught.value) == f"{path}:{text}"
    else:
        assert f"{path}:{text}" in dn.load(path, None).oddities


def said(anchors: int, num: int, masks: tuple[int, ...]) -> list[str]:
    """The warning or the refusal for these numbers."""
    try:
        return [text for _, text in check_anchors([1.0] * anchors, num, masks, "pixels")]
    except CfgError as error:
        return [str(error)]


@pytest.mark.parametrize(("num", "masks"), [(1, (0,)), (6, (3, 4, 5)), (9, (0, 1, 2)), (2, (1, 0))])
def test_the_right_number_is_not_odd(num: int, masks: tuple[int, ...]) -> None:
    assert said(2 * num, num, masks) == []


@pytest.mark.parametrize("num", range(1, 5))
@pytest.mark.parametrize("masks", [(0,), (0, 1), (2,), (1, 3)])
def test_any_other_number_is_told_once(num: int, masks: tuple[int, ...]) -> None:
    for anchors in range(12):
        right = anchors == 2 * num and max(masks) < num
        assert len(said(anchors, num, masks)) == (not right), (anchors, num, masks)


@pytest.mark.parametrize("masks", [(0,), (0, 1), (2,), (1, 3)])
def test_a_head_without_its_anchors_is_refused(masks: tuple[int, ...]) -> None:
    needed = 2 * (max(masks) + 1)
    for anchors in range(1, 12):
        (text,) = said(anchors, 5, masks) or [""]
        assert ("not enough" in text) == (anchors < needed - 1), anchors


def test_an_anchor_that_is_named_twice_is_odd() -> None:
    assert said(6, 3, (0, 2, 2)) == ["the list names anchor 2 2 times; each one is used"]


@pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")
@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ("mask=3 4 5\nanchors=1,2", "in mask=, spaces do not separate numbers: '3 4 5' is read as"),
        ("mask=2\nanchors=1,2; 3,4; 5,6", "the text from ';3,4;5,6' on is treated as a comment"),
        ("mask=2\nanchors=1,2 3,4 5,6", "spaces do not separate numbers: '2 3' is read as '23'"),
    ],
)
def test_what_may_have_lost_them_is_told(options: str, hint: str) -> None:
    text = f"[net]\nwidth=8\nheight=8\nchannels=18\n[yolo]\nclasses=1\nnum=3\n{options}\n"
    with pytest.raises(CfgError, match="there are not enough anchors") as caught:
        dn.build_network(dn.parse_cfg(text), "alexeyab")
    assert (caught.value.hint or "").startswith(hint)


@pytest.mark.parametrize("kind", ["yolo", "Gaussian_yolo", "region"])
def test_every_head_with_anchors_counts_them(kind: str) -> None:
    box = 9 if kind == "Gaussian_yolo" else 5
    text = (
        f"[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters={2 * (box + 1)}\n"
        f"activation=linear\n[{kind}]\nclasses=1\nnum=2\nanchors=1,2\n"
    )
    with pytest.raises(CfgError, match=r"anchors: there are not enough .*found 1 pair\)"):
        dn.build_network(dn.parse_cfg(text), "alexeyab")


def test_published_files_load_and_two_of_them_are_odd(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree_of_9k(tmp_path)
    monkeypatch.chdir(tmp_path)
    odd = {}
    for name in (*table(shared), *NOT_IN_THE_TABLE):
        told = [each for each in read(shared, name).oddities if "anchor" in each]
        if told:
            odd[name] = len(told)
    # A comma is missing in the one, and num=16 in the other has not grown with its list.
    assert odd == {"AlexeyAB/cspx-p7-mish_hp.cfg": 5, "AlexeyAB/cspx-p7-mish.cfg": 5}


@pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")
def test_opencv_refuses_what_is_told(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    if not hasattr(cv2.dnn, "readNetFromDarknet"):
        pytest.skip("this OpenCV reads no Darknet files any more")
    path = tmp_path / "net.cfg"
    for num, anchors, masks in itertools.product((1, 2, 3), range(1, 8), ((0,), (0, 1), (1, 2))):
        numbers = ",".join("1" * anchors)
        mask = ",".join(map(str, masks))
        path.write_text(
            "[net]\nwidth=8\nheight=8\nchannels=3\n"
            f"[convolutional]\nfilters={6 * len(masks)}\nsize=1\nstride=1\nactivation=linear\n"
            f"[yolo]\nclasses=1\nnum={num}\nmask={mask}\nanchors={numbers}\n"
        )
        try:
            cv2.dnn.readNetFromDarknet(str(path))
            refused = False
        except cv2.error:
            refused = True
        # It does not check the mask against them, and reads on after the list.
        if not refused and max(masks) >= num:
            continue
        assert bool(said(anchors, num, masks)) == refused, (num, anchors, masks)
