"""Every cfg that pjreddie and AlexeyAB have published: built, measured, and where small, run."""

from __future__ import annotations

import csv
import functools
import math
import warnings
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.cfg import load_cfg
from darknet_bn.dialect import DIALECTS
from darknet_bn.layers import LAYERS
from darknet_bn.network import Network, build_network
from darknet_bn.weights import Header

FORKS = {"pjreddie": "pjreddie", "AlexeyAB": "alexeyab"}

# The table lists what lies in the folder cfg itself.  These lie one deeper; of some the floats are
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
# The table gives these the shape in front of [reorg] extra=1, which makes 362 values of 361.
REORG_EXTRA = {"pjreddie/go.cfg": "362", "pjreddie/go.test.cfg": "362"}
CLASSES_OF_9K = 9418

LARGEST = 60e6  # bytes of weights up to which every net is run
MOST_FLOPS = 6e9  # of one image; most take a small one
# Beyond that size, for what no smaller one has: a head with uncertainties, [lstm], [sam],
# [detection], a tree of classes in [region].
LARGE = (
    "AlexeyAB/Gaussian_yolov3_BDD.cfg",
    "AlexeyAB/lstm.train.cfg",
    "AlexeyAB/yolov4-sam-mish-csp-reorg-bfm.cfg",
    "pjreddie/yolo9000.cfg",
    "pjreddie/yolov1-tiny.cfg",
)


@pytest.fixture(autouse=True)
def tree_of_9k(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a tree where three cfgs name one, data/9k.tree; theirs is not here."""
    (tmp_path / "data").mkdir()
    lines = (f"class{i} {-1 if i < 8 else i // 5 - 1}\n" for i in range(CLASSES_OF_9K))
    (tmp_path / "data" / "9k.tree").write_text("".join(lines), encoding="utf-8")
    monkeypatch.chdir(tmp_path)


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


def test_every_file_is_in_the_table_or_known_not_to_be(shared: Path) -> None:
    files = {
        f"{fork}/{path.relative_to(shared / 'cfg' / folder).as_posix()}"
        for fork, folder in FORKS.items()
        for path in (shared / "cfg" / folder).rglob("*.cfg")
    }
    rows = set(table(shared))
    assert len(files) == 140
    assert len(rows) == 45 + 87
    assert rows < files
    assert files - rows == set(NOT_IN_THE_TABLE)


def test_the_third_fork_s_cfgs_are_not_here(shared: Path) -> None:
    # Its 52 rows in the table have no files; were they added, they would have to be checked.
    assert not (shared / "cfg/hank-ai").exists()


def test_every_one_asks_for_the_floats_and_bytes_that_its_program_writes(shared: Path) -> None:
    for cfg, row in table(shared).items():
        network = read(shared, cfg)
        assert network.stored_floats == int(row["floats"]), cfg
        assert 20 + 4 * network.stored_floats == int(row["bytes"]), cfg
        assert len(network.nodes) == int(row["layers"]), cfg
        assert str(network.input).replace(" ", "") == row["input_shape"], cfg
        last = network.nodes[-1]
        headless = last.layer.names[0] in ("softmax", "cost", "detection", "contrastive")
        shown = last.xs[0] if headless else last.y  # the table shows what these read
        expected = REORG_EXTRA.get(cfg, row["output_shape"])
        assert str(shown).replace(" ", "") == expected, cfg


def test_those_that_are_not_in_the_table_are_built_too(shared: Path) -> None:
    for cfg, same in NOT_IN_THE_TABLE.items():
        network = read(shared, cfg)
        assert network.nodes[-1].layer.names == ("detection",), cfg
        if same is not None:
            assert network.stored_floats == read(shared, same).stored_floats, cfg


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
    """The model for one image of a size at which it takes no time, where it can be had."""
    if model.network.net.time_steps > 1:
        model = model.with_time_steps(1)
    shape = model.network.input
    if shape.flat or min(shape.h, shape.w) <= 64:
        return model
    try:
        return model.resized(64, 64)
    except dn.DarknetError:  # [connected] or [local] has other weights then
        return model


def test_those_of_moderate_size_compute_finite_outputs(shared: Path) -> None:
    seen: set[tuple[object, ...]] = set()
    sections: set[str] = set()
    for cfg in (*table(shared), *NOT_IN_THE_TABLE):
        network = read(shared, cfg)
        # The same net under another name, or for another size or dialect, says nothing new.
        same = tuple((type(node.layer), node.y.c, node.params) for node in network.nodes)
        if (4 * network.stored_floats > LARGEST and cfg not in LARGE) or same in seen:
            continue
        seen.add(same)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dn.DarknetWarning)
            dialect = FORKS[cfg.split("/")[0]]
            model = small(dn.load(path_of(shared, cfg), random_file(network), dialect=dialect))
        nodes = model.network.nodes
        assert sum(node.layer.cost(node.xs).flops for node in nodes) < MOST_FLOPS, cfg
        x = np.random.default_rng(1).random((1, *model.network.input.dims), np.float32)
        for layer, y in dn.forward(model, x).items():
            assert np.isfinite(y).all(), f"{cfg} layer {layer}"
            assert np.ptp(y) > 0, f"{cfg} layer {layer}"
        sections |= {node.layer.names[0] for node in nodes}
    assert len(seen) >= 44
    # What no published net has is tested by golden data alone.
    assert sections >= {kind.names[0] for kind in LAYERS.values()} - {
        "activation",
        "batchnorm",
        "conv_lstm",
        "deconvolutional",
        "empty",
        "history",
        "implicit",
        "iseg",
        "l2norm",
        "local",
        "logistic",
        "normalization",
    }
