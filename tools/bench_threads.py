"""A service: images from several threads of one process.  ``tools/bench.py threads`` calls it.

Run as a program it is one engine: for every line of input, which names a way and a number of
images, it answers with a line of JSON: seconds per image, and MiB of memory before and after.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import darknet_bn as dn

THREADS = 4
PAGES_PER_MIB = 256

Work = Callable[[], None]
Way = Callable[[int], None]


def ways(cfg: str, weights: str) -> dict[str, Way]:
    """Return the ways to compute a number of images, by name."""
    works = [_work(cfg, weights) for _ in range(THREADS)]
    crew = ThreadPoolExecutor(THREADS)

    def main_thread(images: int) -> None:
        for _ in range(images):
            works[0]()

    def one_model(images: int) -> None:
        for done in [crew.submit(works[0]) for _ in range(images)]:
            done.result()

    def own_models(images: int) -> None:
        def several(work: Work) -> None:
            for _ in range(images // THREADS):
                work()

        list(crew.map(several, works))

    def fresh_threads(images: int) -> None:
        for _ in range(images // THREADS):
            threads = [threading.Thread(target=works[0]) for _ in range(THREADS)]
            for each in threads:
                each.start()
            for each in threads:
                each.join()

    return {
        "main thread": main_thread,
        f"{THREADS} threads": one_model,
        f"{THREADS} threads, {THREADS} models": own_models,
        "fresh threads": fresh_threads,
    }


def _work(cfg: str, weights: str) -> Work:
    model = dn.load(cfg, weights)
    x = np.random.default_rng(0).random((1, *model.network.input.dims), np.float32)

    def work() -> None:  # returns nothing: futures would keep all the outputs
        dn.forward(model, x)

    return work


def _resident() -> float:
    try:
        with open("/proc/self/statm", encoding="ascii") as stream:
            return int(stream.read().split()[1]) / PAGES_PER_MIB
    except FileNotFoundError:  # a system that does not report it
        return float("nan")


def main() -> None:
    """Be an engine."""
    ready = ways(*sys.argv[1:3])
    print(json.dumps(list(ready)), flush=True)
    for line in sys.stdin:
        name, _, images = line.strip().rpartition(" ")
        before, start = _resident(), time.perf_counter()
        ready[name](int(images))
        seconds = (time.perf_counter() - start) / int(images)
        print(json.dumps([seconds, before, _resident()]), flush=True)


if __name__ == "__main__":
    main()
