"""The part of YAML that is read; the rest is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

import darknet_bn as dn
from darknet_bn.data.layouts.simple_yaml import load_yaml

KEYS = ("path", "train", "val", "names", "nc")
# The texts, and what PyYAML 6.0.4 makes of them, with numbers as texts.
TEXTS = {
    "names: [a, 'b c', \"d\"]\n": {"names": ["a", "b c", "d"]},
    "names: ['it''s', \"a, b\", c]  # end\n": {"names": ["it's", "a, b", "c"]},
    "names:\n- a\n- b  # bee\n- 'c # d'\n": {"names": ["a", "b", "c # d"]},
    "names:\n  - a\n  - b\n": {"names": ["a", "b"]},
    "names:\n  0: person\n  1: traffic light\n": {"names": {"0": "person", "1": "traffic light"}},
    "names: {0: a, 1: 'b: c'}\n": {"names": {"0": "a", "1": "b: c"}},
    "names: [a,\n  b,\n  c]\nnc: 3\n": {"names": ["a", "b", "c"], "nc": "3"},
    "# top\n---\npath: ../x # here\ntrain: images/a b\n": {"path": "../x", "train": "images/a b"},
    "path:\ntrain: ~\nval: null\nnc: 1\n": {"nc": "1"},
    "'names': [a]\ntrain:\n- x\n\n- y\n": {"names": ["a"], "train": ["x", "y"]},
    "download: |\n  train: no\n  - x\nnc: 2\n": {"nc": "2"},
    "roboflow:\n  names: [x]\n  license: CC\nnames: [y]\n": {"names": ["y"]},
    'names: ["caf\\xE9", "\\u732B", "a\\\\b"]\n': {"names": ["caf\xe9", "\u732b", "a\\b"]},
    "names: [it's, b''c, d]\n": {"names": ["it's", "b''c", "d"]},
    "path: 'C:\\x'\nurl: https://x/y#z\n": {"path": "C:\\x"},
}


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(text, encoding="utf-8")
    assert load_yaml(str(path), KEYS) == TEXTS[text]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("names: [a, [b]]\n", "this kind of YAML value is not read"),
        ("names: &x [a]\n", "this kind of YAML value is not read"),
        ("names: *x\n", "this kind of YAML value is not read"),
        ("names: |\n  a\n", "this kind of YAML value is not read"),
        ("names: [a, b\nnc: 2\n", "the bracket is not closed"),
        ("names:\n  a\n  b\n", "expected a number and a name"),
        ("- a\n- b\n", "this is not a data.yaml"),
        ("{names: [a]}\n", "this is not a data.yaml"),
        ("<html>\n", "this is an HTML page"),
        ("names\n", "this is not a data.yaml"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(dn.DarknetError, match=problem) as caught:
        load_yaml(str(path), KEYS)
    assert "\n" not in str(caught.value)
