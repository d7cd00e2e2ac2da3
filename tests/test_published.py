"""Every cfg that pjreddie and AlexeyAB have published: built, measured, and if small, run."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.layers import LAYERS
from tests.support.published import (
    FORKS,
    NOT_IN_THE_TABLE,
    path_of,
    random_file,
    read,
    small,
    table,
    write_tree_of_9k,
)

# The table gives these the shape before [reorg] extra=1, which makes 362 values of 361.
REORG_EXTRA = {"pjreddie/go.cfg": "362", "pjreddie/go.test.cfg": "362"}

SMALL, LARGEST = 20e6, 60e6  # bytes of weights up to which every net is run
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
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree_of_9k(tmp_path)
    monkeypatch.chdir(tmp_path)


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


def those_to_run(shared: Path, largest: float) -> list[str]:
    """Return the nets up to some size, and larger ones that have something no other has."""
    seen: set[tuple[object, ...]] = set()
    found = []
    for cfg in (*table(shared), *NOT_IN_THE_TABLE):
        network = read(shared, cfg)
        # The same net under another name, or for another size or dialect, says nothing new.
        same = tuple((type(node.layer), node.y.c, node.params) for node in network.nodes)
        large = largest == LARGEST and cfg in LARGE
        if (4 * network.stored_floats <= largest or large) and same not in seen:
            seen.add(same)
            found.append(cfg)
    return found


@pytest.mark.parametrize(
    ("largest", "count"), [(SMALL, 9), pytest.param(LARGEST, 37, marks=pytest.mark.exhaustive)]
)
def test_those_of_moderate_size_compute_finite_outputs(
    shared: Path, largest: float, count: int
) -> None:
    cfgs = those_to_run(shared, largest)
    assert len(cfgs) >= count
    for cfg in cfgs:
        network = read(shared, cfg)
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


def test_only_golden_data_holds_what_no_published_net_has(shared: Path) -> None:
    networks = [read(shared, cfg) for cfg in those_to_run(shared, LARGEST)]
    sections = {node.layer.names[0] for network in networks for node in network.nodes}
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
