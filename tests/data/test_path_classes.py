from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.data.lists import ListEntry
from darknet_bn.data.path_classes import class_of_path, load_classes
from darknet_bn.data.truth import fill_truth
from darknet_bn.errors import Where
from tests.support.debian import floats, program

LIST = Where(file="list", line=3)


def of_the_program(path: str, labels: Sequence[str]) -> np.ndarray:
    """The classes of a path, as Debian's Darknet finds them."""
    text = ctypes.c_char_p
    fill = program("fill_truth", text, ctypes.POINTER(text), ctypes.c_int, ctypes.c_void_p)
    truth = np.ones(len(labels), np.float32)
    words = (text * len(labels))(*(each.encode() for each in labels))
    fill(path.encode(), words, len(labels), floats(truth))
    return truth


@pytest.mark.parametrize(
    ("path", "labels", "number"),
    [
        ("train/dog/1.jpg", ("cat", "dog"), 1),
        ("train/000001_c10.png", ("c1x", "c10"), 1),
        ("n02123045_12.JPEG", ("n01440764", "n02123045"), 1),
        ("x/golden retriever/1.jpg", ("cat", "golden retriever"), 1),
        ("x/0007c4.jpg", ("c3", "c4"), 1),  # letters do not continue digits
    ],
)
def test_the_class_is_the_label_in_the_path(
    path: str, labels: tuple[str, ...], number: int
) -> None:
    assert class_of_path(path, labels, LIST) == (number, None)
    assert np.array_equal(of_the_program(path, labels), fill_truth(number, len(labels)))


def test_one_class_and_no_label() -> None:
    assert class_of_path("train/1.jpg", ("cat",), LIST) == (None, None)
    assert not of_the_program("train/1.jpg", ("cat",)).any()


@pytest.mark.parametrize(
    ("path", "labels", "number"),
    [
        ("carpet/1.jpg", ("car", "carpet"), 1),
        ("carpets/1.jpg", ("car", "carpet"), 1),  # the longer one, if neither is a word
        ("cooked/strawberry_1.jpg", ("raw", "cooked"), 1),
        ("woman/1.jpg", ("man", "woman"), 1),
        ("x_c10.jpg", ("c1", "c10"), 1),
        ("golden retriever/1.jpg", ("retriever", "golden retriever"), 1),
        ("catalogue/dog/1.jpg", ("cat", "dog"), 1),
    ],
)
def test_labels_in_words_and_in_longer_labels_do_not_count(
    path: str, labels: tuple[str, ...], number: int
) -> None:
    found, doubt = class_of_path(path, labels, LIST)
    assert found == number
    assert doubt == f"ignoring {labels[1 - number]!r} in {path!r}; the class is {labels[number]!r}"
    assert of_the_program(path, labels).tolist() == [1, 1]  # with both of which it trains


@pytest.mark.parametrize("path", ["obj/strawberry_1.jpg", "x/draws.jpg"])
def test_a_label_that_is_only_a_part_of_a_word_is_told_of(path: str) -> None:
    found, doubt = class_of_path(path, ("raw", "cooked"), LIST)
    assert found == 0
    assert doubt == f"the label 'raw' is only a part of a word in {path!r}"
    assert of_the_program(path, ("raw", "cooked")).tolist() == [1, 0]


def test_paths_that_say_no_class_or_several() -> None:
    with pytest.raises(dn.DarknetError, match=r"^list:3: the path names no class .*'1\.jpg'"):
        class_of_path("1.jpg", ("cat", "dog"), LIST)
    message = r"several classes .*found 'cat', 'dog' in 'cat/dog\.jpg'"
    with pytest.raises(dn.DarknetError, match=message):
        class_of_path("cat/dog.jpg", ("cat", "", "dog"), LIST)
    with pytest.raises(dn.DarknetError, match="several classes"):
        class_of_path("man/woman/1.jpg", ("man", "woman"), LIST)


def entries(*texts: str) -> list[ListEntry]:
    return [
        ListEntry(text, Path(), Where(file="list", line=at)) for at, text in enumerate(texts, 1)
    ]


def test_all_paths_without_a_class_are_named() -> None:
    with pytest.raises(dn.DataError) as caught:
        load_classes(entries("cat/1.jpg", "1.jpg", "dog/2.jpg", "cat/dog.jpg"), ("cat", "dog"))
    error = caught.value
    assert [each.where.line for each in error.problems] == [2, 4]
    assert str(error).startswith(
        "list: 2 of 4 paths do not name exactly one class; the first: list:2: "
    )


def test_doubts_are_told_of_in_one_line() -> None:
    with pytest.warns(dn.DarknetWarning) as caught:
        found = load_classes(entries("cats/1.jpg", "dog/2.jpg", "scatter.jpg"), ("cat", "dog"))
    assert found == [0, 1, 0]
    assert [str(each.message) for each in caught] == [
        "list:1: the label 'cat' is only a part of a word in 'cats/1.jpg' (and 1 more such paths)"
    ]
