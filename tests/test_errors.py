"""Errors and places; and what each malformed file makes the loader say."""

from __future__ import annotations

import errno
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import darknet_bn as dn
from darknet_bn.errors import (
    Oddities,
    Where,
    in_file,
    located,
    one_line,
    printable,
    quoted,
    reason_of,
    shown,
)
from tests.support.paths import FIXTURES

MALFORMED = FIXTURES / "malformed"
CASES = json.loads((MALFORMED / "expected.json").read_text(encoding="utf-8"))


@pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["weights"] or case["cfg"])
def test_each_malformed_file_causes_its_message(case: dict[str, str | None]) -> None:
    weights = None if case["weights"] is None else MALFORMED / case["weights"]
    with pytest.raises(dn.DarknetError) as caught:
        dn.load(MALFORMED / str(case["cfg"]), weights)
    assert type(caught.value).__name__ == case["error"]
    message = str(caught.value)
    assert message.replace(f"{MALFORMED / '_'}"[:-1], "") == case["message"]
    assert message.startswith(str(MALFORMED))
    assert "\n" not in message


def test_each_malformed_file_is_in_the_table() -> None:
    used = {case.get(kind) for case in CASES for kind in ("cfg", "weights", "tree")} - {None}
    present = {path.name for path in MALFORMED.iterdir()} - {"expected.json"}
    assert used == present


def test_the_good_cfg_is_good() -> None:
    assert len(dn.load(MALFORMED / "good.cfg", None).network.nodes) == 3


class TestWhere:
    @pytest.mark.parametrize(
        ("where", "text"),
        [
            (Where(), ""),
            (Where(file="a.cfg"), "a.cfg"),
            (Where(line=3), "line 3"),
            (Where(file="a.cfg", line=3), "a.cfg:3"),
            (Where(section="net"), "[net]"),
            (Where(layer=0), "layer 0"),
            (Where(section="conv", layer=0), "[conv] layer 0"),
            (Where(key="size"), "size"),
            (
                Where(file="a.cfg", line=3, section="conv", layer=2, key="size"),
                "a.cfg:3: [conv] layer 2: size",
            ),
            (Where(file="a.weights", section="conv", layer=2), "a.weights: [conv] layer 2"),
        ],
    )
    def test_says_what_is_known(self, where: Where, text: str) -> None:
        assert str(where) == text


@pytest.mark.parametrize(
    ("text", "limit", "seen"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("a\nb", 9, "a\\nb"),
        ("a\nb", 3, "a\\…"),
        ("é\ud800\x1b", 20, "é\\ud800\\x1b"),
        ("", 3, ""),
        ("\0" * 9, 8, "\\x00\\x0…"),
    ],
)
def test_text_of_files_is_shown_in_one_line(text: str, limit: int, seen: str) -> None:
    assert shown(text, limit) == seen


def test_all_of_a_text_is_printed_in_one_line() -> None:
    assert printable("a\nb\x1b\ud800 é") == "a b\\x1b\\ud800 é"
    assert printable("x" * 1000) == "x" * 1000


def test_what_is_quoted_is_cut() -> None:
    assert quoted("a\nb") == "'a\\nb'"
    assert quoted("x" * 40) == repr("x" * 40)
    assert quoted("x" * 41) == repr("x" * 39 + "…")
    assert quoted("abcd", 3) == "'ab…'"


def test_what_other_programs_say_is_one_line() -> None:
    assert one_line(ValueError("  it\n\tbroke  ")) == "it broke"


def test_the_reason_of_the_system_is_in_its_own_words() -> None:
    assert reason_of(OSError(errno.ENOENT, "No such file", "a.cfg")) == "No such file"
    assert reason_of(OSError("no number")) == "no number"
    assert reason_of(ValueError("embedded null byte")) == "embedded null byte"


def test_oddities_are_told_up_to_a_hundred() -> None:
    odd = Oddities()
    for number in range(100):
        assert not odd.full
        odd(f"{number}")
    assert odd.full
    assert odd.texts == tuple(map(str, range(100)))
    odd("more")
    odd("and more")
    assert odd.texts == (*map(str, range(100)), "and 2 more odd lines")


class TestErrors:
    @pytest.mark.parametrize(
        ("details", "text"),
        [
            ({}, "it broke"),
            ({"where": Where(file="f")}, "f: it broke"),
            ({"expected": "1"}, "it broke (expected 1)"),
            ({"found": ""}, "it broke (found )"),
            ({"expected": "1", "found": "2"}, "it broke (expected 1, found 2)"),
            ({"hint": "do this"}, "it broke; do this"),
            (
                {"where": Where(line=1), "expected": "1", "found": "2", "hint": "do this"},
                "line 1: it broke (expected 1, found 2); do this",
            ),
        ],
    )
    def test_are_complete_on_one_line(self, details: dict[str, object], text: str) -> None:
        error = dn.DarknetError("it broke", **details)
        assert str(error) == text
        assert error.problem == "it broke"
        assert error.where == details.get("where", Where())
        assert (error.expected, error.found, error.hint) == (
            details.get("expected"),
            details.get("found"),
            details.get("hint"),
        )

    def test_are_one_short_line_whatever_they_quote(self) -> None:
        long = "\x1b[31m\n\ud800" * 100_000
        error = dn.DarknetError(
            long,
            where=Where(file=long, line=3, section=long, layer=7, key=long),
            expected=long,
            found=long,
            hint=long,
        )
        message = str(error)
        assert message.isprintable()
        assert len(message) < 1300
        assert error.found == long  # who asks for it gets all of it
        for part in (error.problem, error.expected, error.found, error.hint):
            assert len(str(dn.DarknetError(part or ""))) <= 240

    def test_the_end_of_a_long_path_is_shown(self) -> None:
        path = f"/{'x' * 1000}/net.cfg"
        message = str(dn.DarknetError("no", where=Where(file=path, line=12)))
        assert message.startswith("…xxx")
        assert message.endswith("xxx/net.cfg:12: no")
        assert len(message) == 200 + len(":12: no")

    def test_a_warning_is_a_short_line_too(self) -> None:
        message = str(dn.DarknetWarning("\x1b\n" * 100_000))
        assert message.isprintable()
        assert len(message) == 600

    def test_are_one_family(self) -> None:
        for kind in (
            dn.CfgError,
            dn.ShapeError,
            dn.WeightsError,
            dn.FoldError,
            dn.FixtureError,
        ):
            assert issubclass(kind, dn.DarknetError)
            assert str(kind("x")) == "x"
        assert not issubclass(dn.DarknetWarning, dn.DarknetError)
        assert issubclass(dn.DarknetWarning, UserWarning)


class TestLocated:
    INNER = Where(file="inner", line=3, section="net", layer=1, key="size")

    def raised(self, place: Where | Callable[[Where], Where], *kinds: type[dn.DarknetError]) -> Any:
        with pytest.raises(dn.DarknetError) as caught, located(place, kinds or dn.DarknetError):
            raise dn.ShapeError("no", where=self.INNER, expected="1", found="2", hint="go")
        return caught.value

    def test_an_error_gets_the_place_and_keeps_the_rest(self) -> None:
        error = self.raised(Where(file="outer", key="k"))
        assert type(error) is dn.ShapeError
        assert str(error) == "outer: k: no (expected 1, found 2); go"

    def test_the_place_may_be_made_of_what_is_known(self) -> None:
        assert self.raised(lambda inner: Where(key=f"of {inner.key}")).where == Where(key="of size")

    def test_another_file_has_other_lines(self) -> None:
        assert self.raised(in_file("outer")).where == replace(self.INNER, file="outer", line=None)
        assert self.raised(in_file(None)).where == replace(self.INNER, file=None, line=None)

    def test_errors_of_other_kinds_keep_their_place(self) -> None:
        place = Where(file="outer")
        assert self.raised(place, dn.CfgError, dn.ImageError).where == self.INNER
        assert self.raised(place, dn.CfgError, dn.ShapeError).where == place

    def test_an_error_of_another_kind_says_the_same(self) -> None:
        error = self.raised(self.INNER)
        other = error.as_kind(dn.ImageError)
        assert type(other) is dn.ImageError
        assert str(other) == str(error)
        changed = error.as_kind(dn.CfgError, "never", where=Where(key="k"), hint=None)
        assert str(changed) == "k: never (expected 1, found 2)"


class TestSeveral:
    PROBLEMS = (
        dn.DarknetError("not a box", where=Where(file="a.txt", line=3), found="'x'"),
        dn.DarknetError("the box is at 0 0", where=Where(file="b.txt", line=1)),
    )

    def test_an_error_holds_all_places(self) -> None:
        error = dn.DataError("2 lines are wrong", self.PROBLEMS, where=Where(file="list"))
        assert isinstance(error, dn.DarknetError)
        assert error.problems == self.PROBLEMS
        assert str(error) == "list: 2 lines are wrong; the first: a.txt:3: not a box (found 'x')"
        assert dn.DarknetError("x").problems == ()

    def test_one_place_is_the_message(self) -> None:
        error = dn.DataError("1 line is wrong", self.PROBLEMS[:1], where=Where(file="list"))
        assert str(error) == "a.txt:3: not a box (found 'x')"
        assert error.where == Where(file="a.txt", line=3)
        assert len(error.problems) == 1

    def test_a_warning_holds_all_places(self) -> None:
        warning = dn.DataWarning("2 lines are odd", self.PROBLEMS)
        assert isinstance(warning, dn.DarknetWarning)
        assert str(warning) == "2 lines are odd"
        assert warning.problems == self.PROBLEMS

    def test_they_can_be_sent_to_other_processes(self) -> None:
        for count in (1, 2):
            error = dn.DataError("wrong", self.PROBLEMS[:count], where=Where(file="list"))
            again = pickle.loads(pickle.dumps(error))
            assert str(again) == str(error)
            assert [str(each) for each in again.problems] == [str(each) for each in error.problems]
        warning = pickle.loads(pickle.dumps(dn.DataWarning("odd", self.PROBLEMS)))
        assert (str(warning), len(warning.problems)) == ("odd", 2)
