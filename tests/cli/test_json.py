"""``docs/json.md`` is true: every command prints just the keys that it lists, of these types."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import pytest

from darknet_bn.cli.program import main
from tests.support.videos import passing, require_av, write_clip

from .complete import LINES
from .conftest import FIXTURES, Cli

PAGE = (Path(__file__).parents[2] / "docs" / "json.md").read_text(encoding="utf-8")
# What the page calls by a name of its own, without a table.
ALIASES = {"dimension": "integer or text or null", "dimensions": "list of dimension"}
NUMBERS_AS_TEXT = ("nan", "inf", "-inf")
SHARED = ("every command",)
WITHOUT_MODEL = ("diff", "which")  # commands that print no facts about a model
PARTS = {  # tables whose keys are next to those of others
    "verify": ("comparison",),
    "compare": ("comparison",),
}


def tables() -> dict[str, dict[str, str]]:
    """Return the tables of the page: for each key, its type."""
    found: dict[str, dict[str, str]] = {}
    for title, text in re.findall(r"^### (.*?)\n(.*?)(?=^#|\Z)", PAGE, re.DOTALL | re.MULTILINE):
        rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", text, re.MULTILINE)
        found[title] = dict(rows)
        assert len(rows) == len(found[title]) > 0, title
    return found


TABLES = tables()


def wrong_with(value: Any, kind: str, at: str) -> list[str]:
    """Return the path to a value of the wrong type, and the value."""
    kind = ALIASES.get(kind, kind)
    if " or " in kind and not kind.startswith(("list of ", "map of ")):
        ways = [wrong_with(value, each, at) for each in kind.split(" or ")]
        return [] if [] in ways else min(ways, key=lambda each: len(each[0]))
    if kind.endswith(" or null"):
        return [] if value is None else wrong_with(value, kind.removesuffix(" or null"), at)
    if kind.startswith("list of ") and isinstance(value, list):
        inside = kind.removeprefix("list of ")
        return [
            each
            for number, item in enumerate(value)
            for each in wrong_with(item, inside, f"{at}[{number}]")
        ]
    if kind.startswith("map of ") and isinstance(value, dict):
        inside = kind.removeprefix("map of ")
        return [each for key in value for each in wrong_with(value[key], inside, f"{at}.{key}")]
    if kind in TABLES and isinstance(value, dict):
        return wrong_keys(value, TABLES[kind], at)
    right = {
        "anything": True,
        "null": value is None,
        "boolean": isinstance(value, bool),
        "integer": isinstance(value, int) and not isinstance(value, bool),
        "number": (isinstance(value, (int, float)) and not isinstance(value, bool))
        or value in NUMBERS_AS_TEXT,
        "text": isinstance(value, str),
    }
    return [] if right.get(kind, False) else [f"{at}: {value!r} is not {kind}"]


def wrong_keys(value: Mapping[str, Any], table: Mapping[str, str], at: str) -> list[str]:
    needed = {key for key, kind in table.items() if not kind.endswith(" (optional)")}
    wrong = [f"{at}.{key} is missing" for key in sorted(needed - value.keys())]
    wrong += [f"{at}.{key} is not documented" for key in sorted(value.keys() - table.keys())]
    for key in value.keys() & table.keys():
        wrong += wrong_with(value[key], table[key].removesuffix(" (optional)"), f"{at}.{key}")
    return wrong


def union(*names: str) -> dict[str, str]:
    """Return the keys of several tables, which have none in common."""
    whole: dict[str, str] = {}
    for name in names:
        assert not whole.keys() & TABLES[name].keys(), name
        whole |= TABLES[name]
    return whole


DIGITS = FIXTURES / "digits"
# Other forms of what commands answer: command lines, and their exit code.
MORE: dict[str, tuple[Sequence[object], int]] = {
    "info without weights": (("info", "alone.cfg"), 0),
    "check with findings": (("check", "nan"), 1),
    "doctor with inputs": (("doctor", DIGITS / "digits", DIGITS / "test.npz"), 0),
    "doctor with random weights": (("doctor", "net", "a.png"), 1),
    "fold that keeps some": (
        ("fold", FIXTURES / "layers/batchnorm_first/model", "-o", "kept"),
        0,
    ),
    "report without pictures": (("report", "net", "-o", "a.html"), 0),
    "report of NaN": (("report", "nan", "-o", "a.html"), 0),
    "report of a classifier": (("report", DIGITS / "digits", "a.png", "-o", "a.html"), 0),
    "diff of equal models": (("diff", "net", "net"), 0),
    "diff of NaN": (("diff", "net", "nan"), 1),
    "which of published cfgs": (("which", "net.weights"), 1),
    "anchors that are not written": (("anchors", "net.cfg", "boxes.npz", "--count", 2), 0),
    "edit that is not written": (("edit", "resize", "net", "--width", 96), 0),
    "edit that prunes": (
        ("edit", "prune", DIGITS / "digits", "--keep", 0.9, "--data", DIGITS / "test.npz"),
        0,
    ),
    "run without a file": (("run", "net", "--layers", "all"), 0),
    "run of NaN": (("run", "nan", "a.png"), 0),
    "verify that fails": (("verify", "nan", "net.npz", "--fast"), 1),
    "compare with a recording": (("compare", "net", "--with", "net.npz"), 0),
    "compare that fails": (("compare", "net", "--with", "nan"), 1),
    "detect with a bad picture": (("detect", "net", "a.png", "bad.png", "--thresh", 0), 1),
    "detect in a video": (("detect", "net", "clip.mp4", "--thresh", 0), 0),
    "detect who crosses a line in a video": (
        ("detect", "net", "clip.mp4", "-o", "out.mp4", "--line", "0.5,0,0.5,1", "--every", 2),
        0,
    ),
    "classify with a bad picture": (("classify", "class", "a.png", "bad.png"), 1),
    "evaluate a classifier": (("evaluate", DIGITS / "digits", DIGITS / "test.npz"), 0),
    "evaluate with the numbers of COCO": (("evaluate", "net", "set.data", "--coco"), 0),
    "evaluate alone": (("evaluate", "net", "set.data"), 0),
    "evaluate a detector on arrays": (("evaluate", "net", "set.npz"), 0),
    "labels that are converted": (("labels", "set.data", "made", "--to", "coco"), 0),
    "labels that are wrong": (("labels", "wrong.data"), 1),
    "calibrate with arrays": (("calibrate", "net", "set.npz", "-o", "arrays"), 0),
    "quantize a classifier": (
        ("quantize", DIGITS / "digits", DIGITS / "test.npz", "-o", "d.onnx", "--images", 9),
        0,
    ),
    "export unproven": (("export", "net", "raw.onnx", "--skip-proof", "--any-size"), 0),
    "export boxes": (("export", "net", "nms.onnx", "--head", "nms", "--batch", "any"), 0),
    "export for a compiler": (
        ("export", "net", "a.onnx", "--for", "dpu", "--calibration", "a.png"),
        0,
    ),
    "export to ncnn": (("export", "net", "net.param", "--half"), 0),
    "export to ncnn in 8 bits": (("export", "net", "net.param", "--int8", "a.png"), 0),
    "export to TFLite": (("export", "net", "net.tflite", "--proof"), 0),
    "export half": (("export", "net", "half.onnx", "--half", "--layers"), 0),
}
PROGRAMS = {  # that prove a kind of file, read it, or measure
    ".param": "ncnn",
    ".tflite": "ai_edge_litert",
    ".mp4": "av",
    "--coco": "faster_coco_eval",
}
CASES = {name: (tuple(line.words), 0) for name, line in LINES.items()} | MORE


def more_materials(folder: Path) -> None:
    (folder / "alone.cfg").write_bytes((folder / "net.cfg").read_bytes())
    (folder / "nan.cfg").write_bytes((folder / "net.cfg").read_bytes())
    data = bytearray((folder / "net.weights").read_bytes())
    start = 20 + 4 * 4 * 8  # after the header, biases, scales, means and variances of 8 filters
    data[start : start + 4] = b"\x00\x00\xc0\x7f"
    (folder / "nan.weights").write_bytes(data)
    (folder / "bad.png").write_bytes(b"no picture")
    (folder / "bad.txt").write_text("0 0.5 0.5 0 0.1\n")
    (folder / "wrong.txt").write_text("bad.png\n")
    (folder / "wrong.data").write_text("train=wrong.txt\nnames=set.names\n")
    if importlib.util.find_spec("av") is not None:
        write_clip(folder / "clip.mp4", passing(3))


def expected(command: str, facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys that a command has to print."""
    if command == "labels":  # it has no model
        form = "labels that are converted" if "to" in facts else "labels that are checked"
        return {"schema": "integer"} | union(command, form)
    names = [] if command in WITHOUT_MODEL else [*SHARED]
    in_video = command == "detect" and "video" in facts
    names += ["detect in a video" if in_video else command, *PARTS.get(command, ())]
    if command == "evaluate":
        names.append("evaluate a classifier" if "top" in facts else "evaluate a detector")
    return union(*names)


@pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")
@pytest.mark.parametrize("name", CASES)
def test_every_command_prints_what_is_documented(cli: Cli, stocked: Path, name: str) -> None:
    more_materials(stocked)
    words, code = CASES[name]
    for suffix, package in PROGRAMS.items():
        if any(str(word).endswith(suffix) for word in words):
            pytest.importorskip(package, reason=f"{package} is not installed")
    answer = cli(*words, "--json")
    assert answer.code == code, answer.err
    facts = answer.json
    assert wrong_keys(facts, expected(str(words[0]), facts), "") == []
    assert facts["schema"] == 1
    for proof in stocked.glob("*.proof.json"):
        if name == "export":
            written = json.loads(proof.read_bytes())
            assert wrong_keys(written, {"schema": "integer"} | TABLES["comparison"], "proof") == []


@pytest.mark.parametrize(
    "words",
    [
        ("info", "nothing"),
        ("fold", "net", "-o", "out", "--tolerance", 1e-12, "--force"),
        ("evaluate", "net", "broken.data"),
        ("run",),
    ],
)
def test_every_failure_too(cli: Cli, stocked: Path, words: Sequence[object]) -> None:
    (stocked / "broken.data").write_text("valid=list.txt\nnames=set.names\n")
    (stocked / "list.txt").write_text("no-1.png\nno-2.png\n")
    answer = cli(*words, "--json")
    assert answer.code > 0
    assert wrong_keys(answer.json, TABLES["failure"], "") == []
    several = "problems" in answer.json["error"]
    assert several == (words[0] == "evaluate")


@pytest.mark.parametrize(
    ("command", "model", "table"),
    [("detect", "net", "picture with objects"), ("classify", "class", "picture with classes")],
)
def test_every_line_too(cli: Cli, stocked: Path, command: str, model: str, table: str) -> None:
    more_materials(stocked)
    answers = [
        cli(command, model, "a.png", "bad.png", "no.png", "--json-lines"),
        cli(command, "nothing", "a.png", "--json-lines"),
    ]
    rows = [json.loads(line) for each in answers for line in each.out.splitlines()]
    assert ["error" in row for row in rows] == [False, True, True, True]
    for row in rows:
        expected = TABLES["line of a bad picture" if "error" in row else table]
        assert wrong_keys(row, expected, "") == []


def test_every_line_of_a_video_too(cli: Cli, stocked: Path) -> None:
    require_av()
    more_materials(stocked)
    words = ("--json-lines", "--thresh", 0, "--every", 2)
    plain = cli("detect", "net", "clip.mp4", *words)
    tracked = cli("detect", "net", "clip.mp4", *words, "--track")
    for answer, kind in ((plain, type(None)), (tracked, int)):
        rows = [json.loads(line) for line in answer.out.splitlines()]
        assert [row["frame"] for row in rows] == [0, 2]
        for row in rows:
            assert wrong_keys(row, TABLES["frame"], "") == []
            assert {type(each["track"]) for each in row["objects"]} == {kind}


def has_json(command: click.Command) -> bool:
    """Whether it prints JSON; a group if all its verbs do."""
    if isinstance(command, click.Group):
        return all(map(has_json, command.commands.values()))
    return any("--json" in param.opts for param in command.params)


def test_no_command_and_no_table_is_left_out() -> None:
    with_json = {name for name, command in main.commands.items() if has_json(command)}
    assert with_json == set(main.commands)
    assert {str(words[0]) for words, _ in CASES.values()} == with_json
    assert with_json <= TABLES.keys()
    kinds = {kind for table in TABLES.values() for kind in table.values()}
    used = {word for kind in kinds for word in re.split(r" or |list of |map of | \(", kind)}
    whole = {"every command", "failure", "evaluate a detector", "evaluate a classifier"}
    whole |= {"line of a bad picture", "detect in a video"}
    whole |= {"labels that are checked", "labels that are converted"}
    assert TABLES.keys() - with_json - whole <= used


def test_a_wrong_type_is_seen() -> None:
    good = {"index": [0, 1], "expected": 1, "found": "nan"}
    assert wrong_with(good, "offender", "") == []
    for bad in (
        good | {"index": [0.5]},
        good | {"found": "much"},
        good | {"more": 1},
        {"index": [], "expected": 1},
        good | {"expected": None},
        good | {"expected": True},
        [],
    ):
        assert len(wrong_with(bad, "offender", "")) == 1
