"""The text of a tree of classes, and the files that cfgs name."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.dialect import ALEXEYAB
from darknet_bn.formats.cfg import parse_cfg
from darknet_bn.formats.tree import Tree, parse_tree
from darknet_bn.model.network import build_network
from tests.support.builders import cfg_text, random_input, weights_bytes

# Two roots, two groups under the first, one under the second, one deeper.
TEXT = b"""\
animal -1
thing
cat 0
dog 0
car 1
black_cat 2
red_cat 2
white_cat 2
lone 0
"""
TREE = Tree((-1, -1, 0, 0, 1, 2, 2, 2, 0), (0, 2, 4, 5, 8))


class TestText:
    def test_neighbours_with_the_same_parent_are_a_group(self) -> None:
        tree = parse_tree(TEXT)
        assert tree == TREE
        assert len(tree) == 9
        groups = [list(range(9))[each] for each in tree.groups]
        assert groups == [[0, 1], [2, 3], [4], [5, 6, 7], [8]]

    def test_groups_by_size_are_all_classes_once(self) -> None:
        by_size = [each.tolist() for each in TREE.groups_by_size]
        assert by_size == [[[4], [8]], [[0, 1], [2, 3]], [[5, 6, 7]]]

    def test_generations_and_children(self) -> None:
        assert [each.tolist() for each in TREE.generations] == [[0, 1], [2, 3, 4, 8], [5, 6, 7]]
        assert TREE.children == {-1: 0, 0: 4, 1: 2, 2: 3}  # the last group of class 0's children

    @pytest.mark.parametrize(
        "text",
        [
            TEXT.replace(b"\n", b"\r\n"),
            TEXT.rstrip(),
            TEXT + b"\n \n\n",
            TEXT.replace(b"thing", b"  thing\t-1  and what stands behind it"),
            TEXT.replace(b"cat", b"k\xe4tzchen"),
        ],
        ids=["windows", "no last line end", "empty lines at the end", "blanks", "latin 1"],
    )
    def test_what_does_not_matter(self, text: bytes) -> None:
        assert parse_tree(text) == TREE

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            (b"", r"line 1: there are no classes"),
            (b"\n\n", r"line 1: there are no classes"),
            (b"a\n\nb 0\n", r"line 2: the line is empty"),
            (b"a 0\n", r"line 1: .*expected -1 for none, found '0'\)"),
            (b"a\nb 1\n", r"line 2: .*expected -1 for none, or an earlier class: 0 to 0, f"),
            (b"a\nb -2\n", r"line 2: the parent is not valid .*found '-2'"),
            (b"a\nb 7\n", r"found '7'"),
            (b"a\nred cat 0\n", r"line 2: .*found 'cat'"),
            (b"a\nb 0x0\n", r"found '0x0'"),
            (b"a\nb 99999999999999999999\n", r"found '99999999999999999999'"),
            (b"a\nb " + b"9" * 6000, r"found '9{20}'"),
            (b"a\nb \xff\xfe\n", "line 2: the parent is not"),
            (b"a\0b", "the file contains zero bytes and is not text"),
        ],
    )
    def test_what_is_none_is_refused(self, text: bytes, problem: str) -> None:
        with pytest.raises(dn.CfgError, match=problem):
            parse_tree(text)

    def test_whatever_the_text_it_is_a_tree_or_an_error(self) -> None:
        trees = 0
        for seed in range(1000):
            rng = random.Random(seed)
            text = bytearray(TEXT)
            for _ in range(rng.choice((1, 1, 2, 5))):
                text[rng.randrange(len(text))] = rng.choice(b"-0123456789 \n\r\tax\xff\0")
            try:
                tree = parse_tree(bytes(text))
            except dn.CfgError as error:
                assert str(error).encode("utf-8"), seed
                continue
            assert all(-1 <= parent < number for number, parent in enumerate(tree.parents)), seed
            classes = np.sort(np.concatenate([each.ravel() for each in tree.groups_by_size]))
            np.testing.assert_array_equal(classes, np.arange(len(tree)))
            trees += 1
        assert 100 < trees < 900  # both ways are taken often


CFG = cfg_text("[connected] output=9 activation=linear", "[softmax] tree=data/my.tree")
WEIGHTS = weights_bytes(cfg_text("[connected] output=9 activation=linear"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a cfg in a folder of its own."""
    for name in ("cfg/data", "data"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "cfg" / "my.cfg").write_bytes(CFG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tree_of(model: dn.Model) -> Tree | None:
    tree: Tree | None = model.network.nodes[1].layer.tree
    return tree


class TestFiles:
    def test_it_lies_beside_the_cfg_or_in_the_working_directory(self, folder: Path) -> None:
        other = b"".join(b"root%d\n" % number for number in range(9))
        (folder / "data" / "my.tree").write_bytes(other)
        assert tree_of(dn.load("cfg/my.cfg", WEIGHTS)) == parse_tree(other)
        assert tree_of(dn.load(CFG, WEIGHTS)) == parse_tree(other)
        (folder / "cfg" / "data" / "my.tree").write_bytes(TEXT)
        assert tree_of(dn.load("cfg/my.cfg", WEIGHTS)) == TREE
        assert tree_of(dn.load(folder / "cfg" / "my.cfg", WEIGHTS)) == TREE
        assert tree_of(dn.load(CFG, WEIGHTS)) == parse_tree(other)  # bytes are in no folder

    def test_a_full_path_is_itself(self, folder: Path) -> None:
        path = folder / "elsewhere.tree"
        path.write_bytes(TEXT)
        cfg = CFG.replace(b"data/my.tree", os.fsencode(path))
        assert tree_of(dn.load(cfg, WEIGHTS)) == TREE

    def test_it_is_read_once_in_the_life_of_a_model(self, folder: Path) -> None:
        path = folder / "cfg" / "data" / "my.tree"
        path.write_bytes(TEXT)
        model = dn.load("cfg/my.cfg", WEIGHTS)
        path.unlink()
        os.chdir("/")
        assert tree_of(dn.fold_batchnorm(model)) == TREE
        with pytest.raises(dn.ShapeError, match="different weights at a different image size"):
            model.resized(16, 16)  # and not that the tree is gone
        assert dn.forward(model, random_input(model))[1].shape == (2, 9)

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (
                None,
                r"the file does not exist \(expected cfg/data/my\.tree or data/my\.",
            ),
            (
                TEXT[:-7],
                r"the number of lines in the file differs from the number of classes \(expected "
                r"9, fo.*8",
            ),
            (TEXT.replace(b"lone 0", b"lone 8"), r"line 9: the parent.*: 0 to 7, found '8'\)"),
            (b"", r"line 1: there are no classes"),
            (
                b"x\n" * (5 << 19),
                r"the file is too large \(expected at most 4 MiB, found cfg/da",
            ),
        ],
        ids=["missing", "too short", "circle", "empty", "huge"],
    )
    def test_what_is_wrong_is_told_with_its_place(
        self, folder: Path, content: bytes | None, problem: str
    ) -> None:
        if content is not None:
            (folder / "cfg" / "data" / "my.tree").write_bytes(content)
        with pytest.raises(dn.DarknetError, match=problem) as caught:
            dn.load("cfg/my.cfg", WEIGHTS)
        assert str(caught.value).startswith("cfg/my.cfg:11: [softmax] layer 1: tree: ")

    def test_what_is_no_file_is_not_read(self, folder: Path) -> None:
        os.mkfifo("data/my.tree")  # reading would wait for ever
        with pytest.raises(dn.CfgError, match=r"'data/my\.tree': the file does not exist"):
            dn.load("cfg/my.cfg", WEIGHTS)
        with pytest.raises(dn.CfgError, match="'data': the file does not exist"):
            dn.load(CFG.replace(b"data/my.tree", b"data"), WEIGHTS)

    @pytest.mark.parametrize("name", [b"x" * 5000, b"a/" * 3000, b"\xff", b"..", b"/"])
    def test_hostile_names(self, folder: Path, name: bytes) -> None:
        (folder / "cfg" / "my.cfg").write_bytes(CFG.replace(b"data/my.tree", name))
        with pytest.raises(
            dn.CfgError, match=r"\[softmax\] layer 1: tree: .*the file does"
        ) as caught:
            dn.load("cfg/my.cfg", WEIGHTS)
        assert len(str(caught.value).encode("utf-8")) < 700

    def test_what_is_known_already_is_not_looked_for(self, folder: Path) -> None:
        network = build_network(parse_cfg(CFG), ALEXEYAB, {"data/my.tree": TEXT})
        assert network.files == {"data/my.tree": TEXT}
        assert network.nodes[1].layer.tree == TREE
