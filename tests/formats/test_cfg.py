"""The grammar of a cfg, and that writing loses nothing."""

from __future__ import annotations

import random
import warnings
from pathlib import Path

import pytest

from darknet_bn.errors import CfgError, DarknetWarning
from darknet_bn.formats.cfg import Cfg, load_cfg, parse_cfg

NET = b"[net]\nwidth=8\n"


def quiet(data: bytes) -> Cfg:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DarknetWarning)
        return parse_cfg(data)


def options(data: bytes, section: int = -1) -> list[tuple[str, str | None]]:
    return [(each.key, each.value) for each in quiet(data).sections[section].options]


class TestGrammar:
    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            (b"batch=1", ("batch", "1")),
            (b"  batch\t=  1 \t", ("batch", "1")),
            (b"max batches = 5 0 0", ("maxbatches", "500")),
            (b"activation = lea ky", ("activation", "leaky")),
            (b"a=b=c", ("a", "b=c")),
            (b"a==", ("a", "=")),
            (b"filters=40#32", ("filters", "40#32")),
            (b"filters = 40 # 32", ("filters", "40#32")),
            (b"filters=40;32", ("filters", "40;32")),
            (b"word", ("word", None)),
            (b"two words", ("twowords", None)),
            (b"=5", ("", "5")),
            (b"a\rb=1\r", ("ab", "1")),
            (b"'a'=\"b\"", ("'a'", '"b"')),
            (b"A=B", ("A", "B")),
            (b"a\x0b=1", ("a\x0b", "1")),
            ("ключ=знач".encode(), ("ключ", "знач")),
            (b"caf\xe9=\xe9", ("caf\udce9", "\udce9")),
            ("a=x\u00a0y".encode(), ("a", "x\u00a0y")),
        ],
    )
    def test_a_line_is_split_at_the_first_equals_sign(
        self, line: bytes, expected: tuple[str, str | None]
    ) -> None:
        assert options(b"[net]\n" + line + b"\n") == [expected]

    @pytest.mark.parametrize(
        "line",
        [b"", b"   ", b"\t\r", b"# a=1", b"  # [net]", b"; a=1", b"#", b";", b"# caf\xe9 \xff\x80"],
    )
    def test_comments_and_blank_lines_mean_nothing(self, line: bytes) -> None:
        data = b"[net]\n" + line + b"\na=1\n"
        cfg = parse_cfg(data)
        assert [each.key for each in cfg.sections[0].options] == ["a"]
        assert cfg.sections[0].options[0].line == 3
        assert cfg.to_bytes() == data

    @pytest.mark.parametrize("line", [b"a=", b"a =  ", b"=", b" = ", b"a=\r"])
    def test_an_option_with_nothing_behind_its_equals_sign_is_dropped(self, line: bytes) -> None:
        with pytest.warns(DarknetWarning, match="no value after '='"):
            cfg = parse_cfg(b"[net]\n" + line + b"\nb=2\n")
        assert [(each.key, each.value) for each in cfg.sections[0].options] == [("b", "2")]

    @pytest.mark.parametrize("comment", ["# input", " ; input", "//input", "#", "# [1]", "#]"])
    def test_a_comment_after_the_name_of_a_section_is_passed_over(self, comment: str) -> None:
        with pytest.warns(
            DarknetWarning, match=r"x\.cfg:3: \[conv\]: the comment '.*' is ignored"
        ) as caught:
            cfg = parse_cfg(f"[net]\na=1\n[conv]{comment}\nb=2\n", file="x.cfg")
        assert [section.name for section in cfg.sections] == ["net", "conv"]
        assert cfg.to_bytes() == f"[net]\na=1\n[conv]{comment}\nb=2\n".encode()
        assert len(caught) == 1

    @pytest.mark.parametrize(
        ("value", "joined", "read"),
        [
            ("10 14  23 27", "10 14 23 27", "10142327"),
            ("61,45    61,45", "45 61", "4561"),
            ("3 4 5", "3 4 5", "345"),
            ("-1 -2", "-1 -2", "-1-2"),
            ("400000\t450000", "400000 450000", "400000450000"),
            (".1 .1 # two", ".1 .1", ".1.1"),
        ],
    )
    def test_numbers_that_only_blanks_separate_are_odd(
        self, value: str, joined: str, read: str
    ) -> None:
        with pytest.warns(DarknetWarning) as caught:
            cfg = parse_cfg(f"[net]\na = {value}\n", file="x.cfg")
        text = f"spaces do not separate numbers: '{joined}' is read as '{read}'"
        assert [str(each.message) for each in caught] == [f"x.cfg:2: [net]: a: {text}"]
        assert cfg.joined_numbers(0, "a") == text

    @pytest.mark.parametrize(
        "line", ["a = 1, 2, 3", "a=1 ,2", "a = 5 # 6 7", "a = data/2 3.tree", "# 1 2", "a = x 1 2"]
    )
    def test_other_blanks_are_not(self, line: str) -> None:
        cfg = parse_cfg(f"[net]\n{line}\nb=1\n")
        assert cfg.oddities == ()
        assert cfg.joined_numbers(0, "a") is None

    def test_an_option_without_an_equals_sign_is_absent_and_hides_later_ones(self) -> None:
        with pytest.warns(DarknetWarning) as caught:
            cfg = parse_cfg(b"[net]\nbatch\nbatch=4\n")
        found = cfg.sections[0].find("batch")
        assert found is not None
        assert found.value is None
        messages = [str(each.message) for each in caught]
        assert messages == [
            "line 2: [net]: batch: there is no '='; the option is ignored",
            "line 3: [net]: batch: occurs twice; the first, in line 2, is used",
        ]

    def test_the_first_of_two_options_counts(self) -> None:
        with pytest.warns(DarknetWarning, match=r"^x\.cfg:3: \[net\]: a: occurs twice; the first"):
            cfg = parse_cfg(b"[net]\na=1\na=2\n", file="x.cfg")
        found = cfg.sections[0].find("a")
        assert found is not None
        assert (found.value, found.line) == ("1", 2)
        last = cfg.sections[0].last("a")  # which counts for OpenCV
        assert last is not None
        assert (last.value, last.line) == ("2", 3)
        assert cfg.sections[0].last("b") is None

    def test_the_same_option_in_two_sections_is_no_duplicate(self) -> None:
        cfg = parse_cfg(b"[net]\na=1\n[conv]\na=2\n")
        assert cfg.oddities == ()

    def test_sections_know_their_lines(self) -> None:
        cfg = quiet(b"# top\n\n[net]\na=1\n\n# c\nb=2\n[ conv ]\n[x y]\nz=\n# end\n")
        assert [(s.name, s.line, s.last_line) for s in cfg.sections] == [
            ("net", 3, 7),
            ("conv", 8, 8),
            ("xy", 9, 10),
        ]

    def test_network_is_another_name_of_net(self) -> None:
        assert parse_cfg(b"[network]\na=1\n").sections[0].name == "network"

    def test_a_byte_order_mark_and_windows_line_ends_are_passed_over(self) -> None:
        data = b"\xef\xbb\xbf[net]\r\nwidth = 8\r\n\r\n[conv]\r\nfilters=4"
        cfg = parse_cfg(data)
        assert [section.name for section in cfg.sections] == ["net", "conv"]
        assert cfg.sections[0].options[0].value == "8"
        assert cfg.sections[1].options[0].value == "4"
        assert cfg.to_bytes() == data

    def test_a_byte_order_mark_further_on_is_not(self) -> None:
        with pytest.raises(CfgError, match="before the first section"):
            parse_cfg(b"\n\xef\xbb\xbf[net]\n")

    def test_the_last_line_needs_no_end(self) -> None:
        assert options(b"[net]\na=1") == [("a", "1")]
        assert quiet(b"[net]").sections[0].options == ()

    def test_text_and_bytes_mean_the_same(self) -> None:
        data = "[net]\n# été\na=1\n"
        assert parse_cfg(data) == parse_cfg(data.encode())
        raw = b"[net]\n# \xe9t\xe9\n"
        assert parse_cfg(raw.decode("utf-8", "surrogateescape")).to_bytes() == raw

    def test_a_long_line_has_no_limit(self) -> None:
        value = "1," * 50_000 + "1"
        assert options(f"[net]\na={value}\n".encode()) == [("a", value)]


class TestRefusals:
    @pytest.mark.parametrize(
        ("data", "problem"),
        [
            (b"", "the file is empty"),
            (b"\n\n# nothing\n", r"the first section must be \[net\].*found no section"),
            (b"[conv]\n[net]\n", r"line 1: the first section must be \[net\].*found \[conv\]"),
            (b"[Net]\n", r"found \[Net\]"),
            (b"a=1\n[net]\n", r"line 1: there is an option before the first section.*found a=1"),
            (b"[net\nwidth=8\n", r"line 1: a section line must end with its bracket.*found \[net"),
            (b"[net]1\n", "must end with its bracket"),
            (b"[net][1]\n", r"found \[net\]\[1\]"),
            (b"[net]\n[\n", "line 2: a section line must end with its bracket"),
            (b"[net]\rwidth=8\rheight=8\r", "must end with its bracket"),
            ("[net]\n".encode("utf-16"), "the text is in UTF-16"),
            ("[net]\n".encode("utf-16-be"), "zero bytes"),
            (b"\xfe\xff\x00[\x00n", "the text is in UTF-16"),
            (b"\n <!DOCTYPE html><html>", "this is an HTML or XML page"),
            (b"version https://git-lfs.github.com/spec/v1\noid x\n", "this is a Git-LFS pointer"),
            (b"\0\0\0\0\2\0\0\0\5\0\0\0", "contains zero bytes and is not text"),
            (b"[net]\nwidth=8\0\n", "contains zero bytes and is not text"),
        ],
    )
    def test_what_is_no_cfg_is_refused(self, data: bytes, problem: str) -> None:
        with pytest.raises(CfgError, match=problem):
            parse_cfg(data)

    def test_a_file_as_large_as_weights_is_not_read_whole(self, tmp_path: Path) -> None:
        path = tmp_path / "big.cfg"
        with path.open("wb") as stream:
            stream.write(NET)
            stream.truncate(1 << 36)  # 64 GiB, none of it on the disk
        with pytest.raises(CfgError, match="more than 1 MiB cannot be a cfg"):
            load_cfg(path)

    @pytest.mark.parametrize("text", ["[{}", "{}=1", "[{}]"])
    def test_what_is_quoted_is_cut_at_60_characters(self, text: str) -> None:
        """Whatever line is refused: a bracket missing, an option first, another section first."""
        fixed = 0 if text == "[{}]" else len(text) - 2  # of a section the name is cut
        for length, end in ((60, "x"), (61, "…")):
            line = text.format("x" * (length - fixed))
            with pytest.raises(CfgError) as caught:
                parse_cfg(f"{line}\n[net]\n")
            found = str(caught.value.found)
            assert (found == line) == (length == 60)
            assert len(found) == len(text.format("x" * (60 - fixed)))
            assert (end in found) and ("…" in found) == (length == 61)

    def test_the_most_bytes(self) -> None:
        text = b"[net]\n" + b"#" * ((1 << 20) - 6)
        assert parse_cfg(text).to_bytes() == text
        with pytest.raises(CfgError, match="more than 1 MiB"):
            parse_cfg(text + b"#")

    def test_an_oddity_names_its_own_section(self) -> None:
        with pytest.warns(DarknetWarning, match=r"^line 3: \[conv\]: a: there is no '='"):
            parse_cfg(b"[net]\n[conv]\na\n")
        for length, cut in ((60, False), (61, True)):
            comment = "#" + "x" * (length - 1)
            with pytest.warns(DarknetWarning, match="the comment .* is ignored") as caught:
                parse_cfg(f"[net]\n[conv]{comment}\n")
            assert ("…" in str(caught[0].message)) == cut

    def test_the_most_sections(self) -> None:
        assert len(parse_cfg(b"[net]\n" * 4096).sections) == 4096
        with pytest.raises(CfgError, match=r"line 4097: there are too many sections .*4096"):
            parse_cfg(b"[net]\n" * 5000)

    def test_the_first_of_many_oddities_are_told(self) -> None:
        with pytest.warns(DarknetWarning) as caught:
            cfg = parse_cfg(b"[net]\n" + b"a\n" * 5000)
        assert len(caught) == len(cfg.oddities) == 101
        assert cfg.oddities[0].startswith("line 2: [net]: a: there is no '='")
        assert cfg.oddities[-1] == "and 9899 more odd lines"  # each but the first occurs twice

    def test_messages_can_be_printed_whatever_the_bytes(self) -> None:
        with pytest.warns(DarknetWarning) as caught:
            parse_cfg(b"[net]\n[\xff\x1b]\n\xe9\x07" + b"x" * 500 + b"=\n")
        message = str(caught[0].message)
        assert message.encode("utf-8")
        assert message.isprintable()
        assert len(message) < 200


class TestFiles:
    def test_a_file_is_named_in_every_message(self, tmp_path: Path) -> None:
        path = tmp_path / "net.cfg"
        path.write_bytes(b"[net]\na=1\na=2\n")
        with pytest.warns(DarknetWarning) as caught:
            cfg = load_cfg(path)
        assert str(caught[0].message).startswith(f"{path}:3: ")
        assert caught[0].filename == __file__
        assert cfg.file == str(path)
        assert str(cfg.where(0, "a")) == f"{path}:2: [net]: a"

    @pytest.mark.parametrize("name", ["absent.cfg", ".", "absent/net.cfg", "nul\0byte.cfg"])
    def test_a_file_that_cannot_be_read_is_refused(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(CfgError, match=r"cannot be read: [A-Za-z]"):
            load_cfg(tmp_path / name)

    def test_places_are_told_by_line_section_and_layer(self) -> None:
        cfg = parse_cfg(b"[net]\na=1\n[conv]\nb=2\n", file="x.cfg")
        assert str(cfg.where(0)) == "x.cfg:1: [net]"
        assert str(cfg.where(1)) == "x.cfg:3: [conv] layer 0"
        assert str(cfg.where(1, "b")) == "x.cfg:4: [conv] layer 0: b"
        assert str(cfg.where(1, "c")) == "x.cfg:3: [conv] layer 0: c"


PIECES = (
    b"[net]\n",
    b"[conv]\r\n",
    b"[ route ] \n",
    b"filters=4\n",
    b" filters = 5 # six\r\n",
    b"layers=-1, 0\n",
    b"size\n",
    b"stride=\n",
    b"=9\n",
    b"\n",
    b"\r\n",
    b"   \t\n",
    b"# caf\xe9 \xff\n",
    b"; [net]\n",
    b"a = b = c\n",
    b"\xd0\xba=\xe9\r\n",
)
KEYS = ("filters", "layers", "size", "stride", "a", "", "pad", "\u043a")


def generated(rng: random.Random) -> bytes:
    """Text that reads as a cfg, of pieces that have been seen in the wild, and worse ones."""
    head = rng.choice([b"", b"\xef\xbb\xbf", b"# c\r\n\n"])
    data = head + b"[net]\n" + b"".join(rng.choices(PIECES, k=rng.randrange(30)))
    return data.removesuffix(b"\n") if rng.random() < 0.3 else data


def meaning(cfg: Cfg) -> list[tuple[str, dict[str, str | None]]]:
    """The sections with the options that count."""
    return [
        (section.name, {each.key: each.value for each in reversed(section.options)})
        for section in cfg.sections
    ]


class TestNothingIsLost:
    def test_every_published_cfg_comes_back_byte_for_byte(self, shared: Path) -> None:
        paths = sorted(shared.glob("cfg/*/**/*.cfg"))
        assert len(paths) == 140
        for path in paths:
            assert quiet(path.read_bytes()).to_bytes() == path.read_bytes(), path.name

    def test_generated_text_comes_back_byte_for_byte(self) -> None:
        for seed in range(500):
            data = generated(random.Random(seed))
            assert quiet(data).to_bytes() == data, seed

    def test_an_edit_changes_that_option_and_no_other_byte(self) -> None:
        for seed in range(1000):
            rng = random.Random(seed)
            cfg = quiet(generated(rng))
            number, key = rng.randrange(len(cfg.sections)), rng.choice(KEYS)
            option = cfg.sections[number].find(key)
            edited = cfg.edited({(number, key): "77"})
            expected = meaning(cfg)
            found = edited.sections[number].find(key)
            assert found is not None, seed
            assert found.value is not None, seed
            assert found.value.partition("#")[0] == "77", seed
            expected[number][1][key] = found.value
            assert meaning(edited) == expected, seed
            if option is None:
                kept = list(edited.lines)
                assert kept.pop(found.line - 1).rstrip(b"\r\n") == f"{key}=77".encode(), seed
                assert b"".join(kept).rstrip(b"\r\n") == cfg.to_bytes().rstrip(b"\r\n"), seed
            else:
                assert len(edited.lines) == len(cfg.lines), seed
                changed = [
                    number
                    for number, (a, b) in enumerate(zip(cfg.lines, edited.lines, strict=True), 1)
                    if a != b
                ]
                assert changed == [option.line], seed

    def test_removing_an_option_takes_its_lines_and_no_other(self) -> None:
        removed = 0
        for seed in range(1000):
            rng = random.Random(seed)
            cfg = quiet(generated(rng))
            number, key = rng.randrange(len(cfg.sections)), rng.choice(KEYS)
            gone = {each.line for each in cfg.sections[number].options if each.key == key}
            edited = cfg.edited({(number, key): None})
            assert edited.sections[number].find(key) is None, seed
            kept = [line for at, line in enumerate(cfg.lines, 1) if at not in gone]
            assert list(edited.lines) == kept, seed
            removed += len(gone)
        assert removed > 100

    def test_removing_a_section_takes_its_lines_and_no_other(self) -> None:
        for seed in range(1000):
            rng = random.Random(seed)
            cfg = quiet(generated(rng))
            if len(cfg.sections) < 2:
                continue
            number = rng.randrange(1, len(cfg.sections))
            edited = cfg.without_sections({number})
            expected = meaning(cfg)
            del expected[number]
            assert meaning(edited) == expected, seed
            lines = iter(cfg.lines)
            assert all(line in lines for line in edited.lines), seed  # a part, in order

    def test_several_edits_do_not_disturb_each_other(self) -> None:
        for seed in range(500):
            rng = random.Random(seed)
            cfg = quiet(generated(rng))
            keys = rng.sample(KEYS, 4)
            values = {key: rng.choice([None, "5", "x,y"]) for key in keys}
            number = rng.randrange(len(cfg.sections))
            edited = cfg.edited({(number, key): value for key, value in values.items()})
            one_by_one = cfg
            for key, value in values.items():
                one_by_one = one_by_one.edited({(number, key): value})
            assert meaning(edited) == meaning(one_by_one), seed
