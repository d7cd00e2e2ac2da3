"""The cfgs that pjreddie and AlexeyAB have published, and weights to run them with."""

from __future__ import annotations

import csv
import functools
import math
import warnings
from pathlib import Path

import numpy as np

import darknet_bn as dn
from darknet_bn.dialect import DIALECTS
from darknet_bn.formats.cfg import load_cfg
from darknet_bn.model.network import Network, build_network
from darknet_bn.model.weights import Header

_CLASSES_OF_9K = 9418

FORKS = {"pjreddie": "pjreddie", "AlexeyAB": "alexeyab"}

# The table lists the folder cfg itself.  These are one level deeper; of some the floats are
# known because they are pjreddie's nets under other names.
NOT_IN_THE_TABLE = {
    "AlexeyAB/yolov1/tiny-coco.cfg": None,
    "AlexeyAB/yolov1/tiny-yolo.cfg": "pjreddie/yolov1-tiny.cfg",
    "AlexeyAB/yolov1/xyolo.test.cfg": None,
    "AlexeyAB/yolov1/yolo-coco.cfg": None,
    "AlexeyAB/yolov1/yolo-small.cfg": None,
    "AlexeyAB/yolov1/yolo.cfg": "pjreddie/yolov1.cfg",
    "AlexeyAB/yolov1/yolo.train.cfg": "pjreddie/yolov1.cfg",
    "AlexeyAB/yolov1/yolo2.cfg": "pjreddie/yolov1.cfg",
}


def write_tree_of_9k(folder: Path) -> None:
    """Write the file data/9k.tree that three cfgs name; theirs is not here."""
    (folder / "data").mkdir()
    lines = (f"class{i} {-1 if i < 8 else i // 5 - 1}\n" for i in range(_CLASSES_OF_9K))
    (folder / "data" / "9k.tree").write_text("".join(lines), encoding="utf-8")


def table(shared: Path) -> dict[str, dict[str, str]]:
    with (shared / "reference/weights-sizes.csv").open(encoding="utf-8", newline="") as stream:
        rows = {row["cfg"]: row for row in csv.DictReader(stream)}
    return {cfg: row for cfg, row in rows.items() if cfg.split("/")[0] in FORKS}


def path_of(shared: Path, cfg: str) -> Path:
    fork, name = cfg.split("/", 1)
    return shared / "cfg" / FORKS[fork] / name


@functools.cache
def network_of(path: Path, dialect: str) -> Network:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dn.DarknetWarning)
        return build_network(load_cfg(path), DIALECTS[dialect])


def read(shared: Path, cfg: str) -> Network:
    return network_of(path_of(shared, cfg), FORKS[cfg.split("/")[0]])


def random_file(network: Network) -> bytes:
    """Weights so large that the outputs of all layers stay near 1, as a trained net's do."""
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal(1 << 20, np.float32)  # again and again: drawing takes longest
    parts = [Header(revision=5).to_bytes()]
    for _, param in network.stored():
        shape, name = param.stored_shape, param.name.rpartition(".")[2]
        if name == "weights":
            scale = math.sqrt(2 / max(1, math.prod(shape[1:])))
            values = np.resize(numbers * np.float32(scale), shape)
        elif name == "scales":
            values = rng.uniform(0.5, 1.5, shape) * np.where(rng.random(shape) < 1 / 8, -1, 1)
        elif name == "rolling_variance":
            values = rng.uniform(0.3, 2, shape)
        else:
            values = rng.normal(0, 0.2, shape)
        parts.append(values.astype("<f4").tobytes())
    return b"".join(parts)


def small(model: dn.Model) -> dn.Model:
    """The model for one image of a size at which it takes no time, if there is such a size."""
    if model.network.net.time_steps > 1:
        model = model.with_time_steps(1)
    shape = model.network.input
    if shape.flat or min(shape.h, shape.w) <= 64:
        return model
    try:
        return model.resized(64, 64)
    except dn.DarknetError:  # [connected] or [local] has other weights then
        return model
