"""What is made ahead comes in order, is the same for any number of threads, and not too early."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.training import train
from darknet_bn.training.ahead import made_ahead
from tests.support.labelled import box_set
from tests.support.paths import FIXTURES
from tests.support.train_builders import Squares, small_model


@pytest.mark.parametrize("workers", [0, 1, 3, 20])
def test_the_order_is_that_of_the_keys(workers: int) -> None:
    def slow_at_first(key: int) -> int:
        time.sleep(0.01 / (1 + key))
        return key * key

    assert list(made_ahead(slow_at_first, range(9), workers)) == [key * key for key in range(9)]
    assert list(made_ahead(slow_at_first, (), workers)) == []


def test_it_works_while_the_caller_does_and_never_further_ahead() -> None:
    begun, lock, go_on = [], threading.Lock(), threading.Event()

    def make(key: int) -> int:
        with lock:  # which of two threads comes first is open
            begun.append(key)
            if len(begun) == 3:
                go_on.set()
        return key

    found = made_ahead(make, range(10), 2)
    assert next(found) == 0
    assert go_on.wait(60)  # 1 and 2 are made, although nobody has asked for them
    time.sleep(0.05)
    assert sorted(begun) == [0, 1, 2]
    found.close()
    time.sleep(0.05)
    assert sorted(begun) == [0, 1, 2]


def test_an_error_comes_when_its_turn_comes() -> None:
    def make(key: int) -> int:
        if key == 2:
            raise dn.DarknetError("it broke")
        return key

    found = made_ahead(make, range(5), 3)
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(dn.DarknetError, match="it broke"):
        next(found)


def test_numpy_treats_errors_there_as_here() -> None:
    with np.errstate(divide="raise"):
        (found,) = made_ahead(lambda _: np.geterr()["divide"], (0,), 1)
    assert found == "raise"


@pytest.mark.parametrize("workers", [1, 3])
def test_training_gives_the_same_bits(workers: int) -> None:
    def weights(workers: int) -> list[bytes]:
        state = dn.train_state(small_model(), 5)
        *_, end = train(state, Squares(), iterations=7, workers=workers)
        return [array.tobytes() for each in end.state.model.params for array in each.values()]

    assert weights(workers) == weights(0)


def test_pictures_of_random_sizes_give_the_same_bits(tmp_path: Path) -> None:
    text = (FIXTURES / "tiny/tiny.cfg").read_bytes().replace(b"random=0", b"random=1.5")
    model = dn.load(text.replace(b"batch=1", b"batch=2"), None, dialect="alexeyab")
    boxes = {"gray_21x12": [(0, 0.5, 0.5, 0.2, 0.3)], "gradient_31x17": [(1, 0.4, 0.5, 0.3, 0.3)]}
    data = dn.load_dataset(box_set(tmp_path, boxes), model, train=True)

    def losses(workers: int) -> list[float]:
        state = dn.train_state(model, 5)
        return [now.loss for now in dn.train(state, data, iterations=12, workers=workers)]

    assert losses(2) == losses(0)
