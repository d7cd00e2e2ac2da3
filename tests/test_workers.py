"""Threads that share work: what all of them have in common."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from darknet_bn.workers import Workers


def test_all_threads_handle_floating_point_errors_as_the_caller_does() -> None:
    both = threading.Barrier(2, timeout=10)
    results = []

    def overflow(item: int) -> None:
        both.wait()  # neither thread can take both items
        results.append(np.full(4, 1e38, np.float32) * np.float32(item))

    with np.errstate(over="ignore"):
        Workers(2).run(overflow, [1000, 2000])  # a warning would be an error here
    assert np.isinf(results).all()
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        Workers(2).run(overflow, [1000, 2000])
