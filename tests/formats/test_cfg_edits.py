"""Editing a cfg changes the lines that are meant, and no others."""

from __future__ import annotations

import pytest

from darknet_bn.formats.cfg import parse_cfg
from tests.formats.test_cfg import NET, quiet


class TestEdits:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (b"filters=4\n", b"filters=9\n"),
            (b"filters = 4 \n", b"filters = 9 \n"),
            (b"\tfilters\t=\t4\r\n", b"\tfilters\t=\t9\r\n"),
            (b"filters=40#32\n", b"filters=9#32\n"),
            (b"filters = 40  # was 32\r\n", b"filters = 9  # was 32\r\n"),
            (b"filters = 40 ; was 32\n", b"filters = 9 ; was 32\n"),
            (b"fil ters=1 2\n", b"fil ters=9\n"),
            (b"filters=4", b"filters=9"),
            (b"filters\n", b"filters=9\n"),
            (b"filters  \r\n", b"filters=9  \r\n"),
            (b"filters", b"filters=9"),
            (b"filters=4\n# c\nfilters=5\n", b"filters=9\n# c\nfilters=5\n"),
            (b"filters=# \xe9\n", b"filters=9# \xe9\n"),
        ],
    )
    def test_setting_an_option(self, before: bytes, after: bytes) -> None:
        edited = quiet(NET + b"[conv]\n" + before).edited({(1, "filters"): "9"})
        assert edited.to_bytes() == NET + b"[conv]\n" + after

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (b"[net]\n[conv]\nsize=1\n\n# end\n", b"[net]\n[conv]\nsize=1\nnew=9\n\n# end\n"),
            (b"[net]\r\n[conv]\r\nsize=1", b"[net]\r\n[conv]\r\nsize=1\r\nnew=9\r\n"),
            (b"[net]\n[conv]\n\n[conv]\n", b"[net]\n[conv]\nnew=9\n\n[conv]\n"),
            (b"[net]\n[conv]", b"[net]\n[conv]\nnew=9\n"),
            (b"[net]\n[conv]\nnew=\n", b"[net]\n[conv]\nnew=\nnew=9\n"),
        ],
    )
    def test_adding_an_option(self, before: bytes, after: bytes) -> None:
        assert quiet(before).edited({(1, "new"): "9"}).to_bytes() == after

    def test_adding_while_the_last_line_goes(self) -> None:
        cfg = parse_cfg(b"[net]\n[conv]\nsize=1\n")
        for edits in (
            {(1, "new"): "9", (1, "size"): None},
            {(1, "size"): None, (1, "new"): "9"},
        ):
            assert cfg.edited(edits).to_bytes() == b"[net]\n[conv]\nnew=9\n"

    def test_adding_while_the_last_line_changes(self) -> None:
        cfg = parse_cfg(b"[net]\n[conv]\nsize=1\n")
        edited = cfg.edited({(1, "new"): "9", (1, "size"): "3"})
        assert edited.to_bytes() == b"[net]\n[conv]\nsize=3\nnew=9\n"

    def test_removing_takes_the_duplicates_along(self) -> None:
        cfg = quiet(b"[net]\n[conv]\na=1\n# c\na=2\nb=3\n[conv]\na=1\n")
        assert cfg.edited({(1, "a"): None}).to_bytes() == b"[net]\n[conv]\n# c\nb=3\n[conv]\na=1\n"

    def test_comments_behind_a_section_that_goes_stay(self) -> None:
        cfg = quiet(b"[net]\n# one\n[conv]\na=1\n# two\nb\nc=\n# three\n[route]\nlayers=0\n")
        assert cfg.without_sections({1}).to_bytes() == b"[net]\n# one\n# three\n[route]\nlayers=0\n"

    def test_the_file_name_and_the_lines_stay_right(self) -> None:
        cfg = parse_cfg(b"[net]\n[conv]\na=1\n[conv]\nb=1\n", file="x.cfg")
        edited = cfg.edited({(1, "c"): "1"})
        assert str(edited.where(2, "b")) == "x.cfg:6: [conv] layer 1: b"
