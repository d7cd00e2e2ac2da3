"""Lists of pictures as DATA: to evaluate with the labels next to them, and to calibrate with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from darknet_bn.cli.program import main
from tests.support.labelled import NAMES, box_set, class_set

from .conftest import FIXTURES, TOOK, Answer, Cli

CLASSIFIER = FIXTURES / "layers" / "avgpool_softmax" / "model"
FIVE = ("ant", "bee", "crab", "dog", "elk")
BOXES = {NAMES[0]: [(0, 0.5, 0.5, 0.4, 0.3)], NAMES[2]: [(1, 0.3, 0.4, 0.2, 0.2)]}


def piped(content: str, *words: object) -> Answer:
    result = CliRunner().invoke(main, [str(word) for word in words], input=content)
    return Answer(result.exit_code, result.stdout, TOOK.sub("", result.stderr))


def same_facts(one: Answer, other: Answer) -> dict[str, Any]:
    """The facts of two answers, which differ in the data and the time only."""
    facts, others = one.json, other.json
    for each in (facts, others):
        del each["data"], each["seconds"]
    assert facts == others
    return facts


@pytest.mark.parametrize("way", ["beside", "piped"])
def test_a_detector_on_a_list_is_as_on_its_data_file(
    cli: Cli, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    data = box_set(tmp_path, BOXES)
    names = ("--names", tmp_path / "set.names", "--json")
    if way == "beside":
        answer = cli("evaluate", tiny, tmp_path / "valid.txt", *names)
    else:
        monkeypatch.chdir(tmp_path)
        answer = piped(Path("valid.txt").read_text(), "evaluate", tiny, "-", *names)
    assert (answer.code, answer.err) == (0, "")
    facts = same_facts(answer, cli("evaluate", tiny, data, "--json"))
    assert (facts["images"], facts["truths"]) == (3, 2)
    assert [each["name"] for each in facts["classes"]] == ["cat", "dog"]


def test_names_are_not_needed_for_a_detector(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    box_set(tmp_path, BOXES)
    answer = cli("evaluate", tiny, tmp_path / "valid.txt")
    assert (
        "data: valid.txt: 3 pictures, 1 of them without boxes; 2 boxes of 2 classes" in answer.out
    )
    assert any(line.startswith("class 1 ") for line in answer.out.splitlines())


def test_a_classifier_on_a_list_needs_the_names(cli: Cli, tmp_path: Path) -> None:
    data = class_set(tmp_path, FIVE, ("elk", "bee", "elk"))
    answer = cli("evaluate", CLASSIFIER, tmp_path / "valid.txt")
    assert answer.code == 2
    first, *_ = answer.err.splitlines()
    assert first == "error: --names is needed: a name in the path of a picture is its class"
    words = ("--names", tmp_path / "set.names", "--top", 2, "--json")
    facts = same_facts(
        cli("evaluate", CLASSIFIER, tmp_path / "valid.txt", *words),
        cli("evaluate", CLASSIFIER, data, "--json"),
    )
    assert [each["images"] for each in facts["classes"]] == [0, 1, 0, 0, 2]


@pytest.mark.parametrize("command", ["evaluate", "calibrate"])
def test_every_picture_of_the_list_has_to_be_there(
    cli: Cli, tiny: Path, tmp_path: Path, command: str
) -> None:
    box_set(tmp_path, BOXES)
    (tmp_path / "valid.txt").write_text(f"{NAMES[0]}.png\nno-1.png\n{NAMES[1]}.png\nno-2.png\n")
    out = () if command == "evaluate" else ("-o", tmp_path / "new")
    answer = cli(command, tiny, tmp_path / "valid.txt", *out)
    assert answer.code == 2
    first, second = answer.err.splitlines()
    assert first.startswith(f"error: {tmp_path / 'valid.txt'}: 2 of 4 pictures cannot be found; ")
    assert second == (
        f"  {tmp_path / 'valid.txt'}:4: no-2.png: cannot be read: No such file or directory"
    )


def test_a_file_of_labels_is_not_a_list(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    box_set(tmp_path, BOXES)
    answer = cli("evaluate", tiny, tmp_path / f"{NAMES[0]}.txt")
    assert (answer.code, answer.out) == (2, "")
    assert "not a list of pictures but labels" in answer.error


def test_calibration_with_a_list_is_as_with_its_pictures(
    cli: Cli, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box_set(tmp_path, BOXES)
    monkeypatch.chdir(tmp_path)
    names = "".join(f"{name}.png\n" for name in sorted(NAMES))
    answers = [
        cli("calibrate", tiny, "*.png", "-o", "pattern", "--json"),
        piped(names, "calibrate", tiny, "-", "-o", "piped", "--json"),
        cli("calibrate", tiny, "valid.txt", "-o", "list", "--json"),
    ]
    assert [each.json["images"] for each in answers] == [3, 3, 3]
    whole = Path("pattern.weights").read_bytes()
    assert Path("piped.weights").read_bytes() == whole  # the same pictures in the same order
    assert Path("list.weights").stat().st_size == len(whole)
