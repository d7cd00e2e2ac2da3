"""``labels``: what is wrong with labels is told with its place, and labels are converted."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from darknet_bn.cli.program import main
from darknet_bn.data.layouts.check import KINDS
from tests.data.layouts.places import LAYOUTS, coco, darknet

from .conftest import Cli


def test_the_help_has_an_example_and_help_for_all_options(cli: Cli) -> None:
    command = main.commands["labels"]
    assert "Example: darknet-bn labels " in (command.help or "")
    answer = cli("labels", "--help")
    assert (answer.code, answer.err) == (0, "")


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_nothing_is_wrong_with_good_labels(cli: Cli, tmp_path: Path, name: str) -> None:
    make, called, _ = LAYOUTS[name]
    answer = cli("labels", make(tmp_path / "set"))
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0] == f"data: {called}: 2 pictures, 3 boxes of 2 classes"
    assert lines[-1] == "nothing is wrong"
    table = [line.split() for line in lines]
    assert ["zebra", "2", "2", "0.625", "x", "0.700"] in table  # medians of 1, 1 and .25, .4
    assert ["ant", "1", "1", "0.200", "x", "0.500"] in table


BAD = """1 0.5 0.5 0.1
7 0.5 0.5 0.1 0.1
zebra 0.5 0.5 0.1 0.1
0 0.5 0.5 0 0.1

0 0.25 0.5 0.1 0.1
0 0.25 0.5 0.1 0.1
0 0.99 0.5 0.1 0.1
0 0.5 0.5 0.0001 0.1
0 2 2 0.1 0.1
0 0 0 0.1 0.1
0 20000 0.5 0.1 0.1
"""


@pytest.fixture
def bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set with everything that can be wrong with Darknet's, as the working directory."""
    monkeypatch.chdir(tmp_path)
    darknet(tmp_path)
    Path("set/a.txt").write_text(BAD)
    Path("set/b.txt").unlink()
    Path("set/c.png").write_bytes(Path("set/a.png").read_bytes()[:60])
    Path("set/c.txt").write_text("")
    Path("train.txt").write_text("set/a.png\nset/no.png\nset/c.png\nset/a.png\n")


FOUND = {
    ("line", "set/a.txt", 1),
    ("class", "set/a.txt", 2),
    ("line", "set/a.txt", 3),
    ("size", "set/a.txt", 4),
    ("duplicate", "set/a.txt", 7),
    ("edge", "set/a.txt", 8),
    ("tiny", "set/a.txt", 9),
    ("outside", "set/a.txt", 10),
    ("zero", "set/a.txt", 11),
    ("far", "set/a.txt", 12),
    ("picture", "train.txt", 2),
    ("twice", "train.txt", 4),
    ("unreadable", "set/c.png", None),
    ("labels", "set/b.png", None),
}


@pytest.mark.usefixtures("bad")
def test_every_bad_line_is_told_at_once_with_its_place(cli: Cli) -> None:
    answer = cli("labels", "my.data", "--json")
    assert answer.code == 1
    facts = answer.json
    found = {(each["kind"], each["file"], each["line"]) for each in facts["problems"]}
    assert found == FOUND
    assert len(facts["problems"]) == len(FOUND)
    assert facts["counts"]["line"] == 2
    assert not facts["ok"]
    assert (facts["boxes"], facts["images"], facts["images_without_boxes"]) == (4, 3, 2)


@pytest.mark.usefixtures("bad")
def test_the_list_has_every_finding_and_the_table_what_darknet_does(cli: Cli) -> None:
    answer = cli("labels", "my.data", "-o", "bad.list")
    assert (answer.code, answer.err) == (1, "")
    listed = Path("bad.list").read_text().splitlines()
    assert {line.partition(":")[0] for line in listed} == {kind for kind, _, _ in FOUND}
    assert "line: set/a.txt:1: not a box (expected class x y w h, found '1 0.5 0.5 0.1')" in listed
    assert "duplicate: set/a.txt:7: the same box twice (found as line 6)" in listed
    for line in listed:
        assert line.partition(": ")[2] in answer.out
    table = answer.out.partition("found ")[2]
    for kind in {kind for kind, _, _ in FOUND}:
        what, then = KINDS[kind]
        (row,) = [line for line in table.splitlines() if line.startswith(f"{what} ")]
        assert row.endswith(then)
    again = cli("labels", "my.data", "-o", "bad.list")
    assert again.code == 2
    assert again.error == "bad.list: the file already exists; use --force to overwrite it"


@pytest.mark.usefixtures("bad")
def test_pictures_are_not_read_if_that_is_asked(cli: Cli) -> None:
    facts = cli("labels", "my.data", "--skip-pictures", "--tiny", "0.2", "--json").json
    kinds = [each["kind"] for each in facts["problems"]]
    assert "unreadable" not in kinds
    assert kinds.count("tiny") == 4


def test_the_chart_shows_classes_and_sizes(cli: Cli, tmp_path: Path) -> None:
    place = darknet(tmp_path / "set")
    names = "<b>&\n" + "".join(f"name {number}\n" for number in range(60))
    (tmp_path / "set/my.names").write_text(names)
    chart = tmp_path / "labels.svg"
    assert cli("labels", place, "--chart", chart).code == 0
    root = ElementTree.fromstring(chart.read_bytes())
    texts = ["".join(each.itertext()) for each in root.iter() if each.tag.endswith("text")]
    assert "<b>&" in texts
    assert "and 21 classes with fewer boxes" in texts
    assert {"2", "1", "0"} <= set(texts)
    cells = [each for each in root.iter() if each.get("fill") == "#08519c"]
    assert len(cells) == 3  # each box has a size of its own


def test_a_set_of_coco_becomes_one_of_darknet(cli: Cli, tmp_path: Path) -> None:
    answer = cli("labels", coco(tmp_path / "set"), tmp_path / "out", "--to", "darknet")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines() == [
        "data: COCO: 2 pictures, 3 boxes of 2 classes",
        "category ids 3 to 90 become classes 0 to 1 in their order",
        f"written: 2 pictures, 3 boxes to {tmp_path / 'out'}",
    ]
    assert (tmp_path / "out/train/a.txt").read_text() == "1 0.2 0.5 0.2 0.5\n0 0.5 0.5 1 1\n"
    assert (tmp_path / "out/obj.names").read_text() == "zebra\nant\n"


def test_what_cannot_be_converted_is_told(cli: Cli, tmp_path: Path) -> None:
    place = coco(tmp_path / "set") / "annotations/instances_val2017.json"
    facts = json.loads(place.read_text())
    facts["annotations"][0]["bbox"][2] = 0
    facts["images"].append({"id": 1, "file_name": "no.png", "width": 4, "height": 4})
    place.write_text(json.dumps(facts))
    answer = cli("labels", place, tmp_path / "out", "--to", "yolo")
    assert answer.code == 1
    assert f"{place}: annotation 0: the box has no size (found 0 x 0.4)" in answer.out
    assert f"{place}: image 1: the picture does not exist" in answer.out
    assert answer.out.endswith(
        f"written: 2 pictures, 0 boxes to {tmp_path / 'out'}; 1 picture copied\n"
    )


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("set.data", "out"), "OUT needs --to"),
        (("set.data", "--to", "voc"), "missing argument: OUT"),
        (("set.data", "out", "--to", "voc", "-o", "x"), "-o is for checking, without OUT and --to"),
        (("set.data", "--pictures", "none"), "--pictures needs OUT and --to"),
        ((), "Missing argument 'DATA'."),
        (
            ("check", "set.data", "--json"),
            "DATA alone is checked; try: darknet-bn labels set.data --json",
        ),
    ],
)
def test_wrong_usage(cli: Cli, words: tuple[str, ...], error: str) -> None:
    answer = cli("labels", *words)
    assert answer.code == 2
    assert answer.err.splitlines()[0] == f"error: {error}"


def test_an_address_is_refused(cli: Cli) -> None:
    assert cli("labels", "https://x/data.yaml").error.startswith(
        "https://x/data.yaml is not a local"
    )
