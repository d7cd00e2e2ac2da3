"""Two processes of torchrun train as one does: losses, statistics, files."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.engines.torch_processes import device_of_process, is_first, process_count
from darknet_bn.engines.torch_training import TorchStep
from tests.support.paths import PROJECT
from tests.support.train_builders import Squares, small_model

torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")
torch.set_num_threads(1)  # small nets are faster so, beside other tests

# A net with every dialect's batch norm, and a head that averages nothing over the batch.
TRAIN = """
import json, os, sys
import numpy as np
import torch
import darknet_bn as dn
from tests.support.train_builders import Squares, small_model

torch.set_num_threads(1)


def trained(dialect, subdivisions, **options):
    text = small_model("", dialect).cfg.to_bytes().replace(b"probability=0.2", b"probability=0")
    text = text.replace(b"leaky", b"elu").replace(b"batch=6", b"batch=8")
    text = text.replace(b"subdivisions=2", b"subdivisions=%d" % subdivisions)
    model = dn.load(text, None, dialect=dialect)
    steps = [*dn.train(dn.train_state(model), Squares(24), iterations=12, **options)]
    arrays = steps[-1].state.model.params[0]
    return {
        "losses": [step.loss for step in steps],
        "seen": steps[-1].state.seen,
        **{name: array.ravel().tolist() for name, array in arrays.items()},
    }


if __name__ == "__main__":
    found = {
        f"{dialect} {parts} {sync}": trained(
            dialect, parts, engine="torch", sync_batch_norm=sync
        )
        for dialect in ("pjreddie", "alexeyab")
        for parts in (1, 2)
        for sync in (False, True)
    }
    if os.environ["RANK"] == "0":
        with open(sys.argv[1], "w", encoding="utf-8") as stream:
            json.dump(found, stream)
"""


TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}


def torchrun(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [*TORCHRUN, *map(str, words)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=ENVIRONMENT,
        timeout=300,
    )


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What two processes come to: losses and arrays by dialect, parts and kind of batch norm."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "two.py").write_text(TRAIN, encoding="utf-8")
    done = torchrun("two.py", "found.json", cwd=folder)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    return found


def alone(dialect: str, parts: int) -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": "alone"}
    exec(compile(TRAIN, "two.py", "exec"), space)
    found: dict[str, Any] = space["trained"](dialect, parts, engine="torch")
    return found


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
@pytest.mark.parametrize("parts", [1, 2])
def test_batch_norm_of_all_processes_is_that_of_one(
    of_two: dict[str, Any], dialect: str, parts: int
) -> None:
    found, expected = of_two[f"{dialect} {parts} True"], alone(dialect, parts)
    assert found["seen"] == expected["seen"] == 96
    # float32 sums in another order; 4e-7 was seen.
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
@pytest.mark.parametrize("parts", [1, 2])
def test_batch_norm_of_each_process_is_that_of_twice_the_parts(
    of_two: dict[str, Any], dialect: str, parts: int
) -> None:
    found, expected = of_two[f"{dialect} {parts} False"], alone(dialect, 2 * parts)
    for name in expected.keys() - {"rolling_mean", "rolling_variance"}:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5, err_msg=name)
    # Parts move the rolling statistics one after the other, processes at the same time.
    assert not np.allclose(found["rolling_mean"], expected["rolling_mean"], rtol=1e-3)


def test_only_the_first_process_writes_and_speaks(tmp_path: Path) -> None:
    (tmp_path / "net.cfg").write_bytes(small_model().cfg.to_bytes().replace(b"=6\n", b"=8\n", 1))
    np.savez(tmp_path / "data.npz", x=Squares().x, y=Squares().kinds)
    words = ("-m", "darknet_bn", "train", "net.cfg", "data.npz", "--iterations", 6)
    done = torchrun(*words, "--engine", "torch", "-o", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained: 6 iterations, 48 images") == 1
    with (tmp_path / "out/net_log.csv").open(newline="") as stream:
        assert [row["iteration"] for row in csv.DictReader(stream)] == list("123456")
    assert dn.load(tmp_path / "net.cfg", tmp_path / "out/net.weights").header.seen == 48
    refused = torchrun(*words, "-o", "other", cwd=tmp_path)
    assert refused.returncode != 0
    assert "our own engine trains in one process (found 2 of torchrun)" in refused.stderr
    assert not (tmp_path / "other").exists()


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="Windows has no groups of processes")
def test_an_interrupted_run_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    """Ctrl-C reaches all processes; the first saves."""
    (tmp_path / "net.cfg").write_bytes(small_model().cfg.to_bytes().replace(b"=6\n", b"=8\n", 1))
    np.savez(tmp_path / "data.npz", x=Squares().x, y=Squares().kinds)
    words = ("-m", "darknet_bn", "train", "net.cfg", "data.npz", "--engine", "torch")
    with (tmp_path / "said.txt").open("w") as said:
        command = [*TORCHRUN, *words, "--iterations", "100000", "-o", "cut"]
        running = subprocess.Popen(
            command, cwd=tmp_path, env=ENVIRONMENT, start_new_session=True, stderr=said
        )
        log, until = tmp_path / "cut/net_log.csv", time.monotonic() + 300
        while not log.exists() or log.read_text().count("\n") < 6:
            assert time.monotonic() < until and running.poll() is None
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGINT)
        assert running.wait(300) != 0
    assert "resume with: darknet-bn train" in (tmp_path / "said.txt").read_text()
    model = dn.load(tmp_path / "net.cfg", tmp_path / "cut/net.backup")
    state = dn.load_checkpoint(model, tmp_path / "cut/net.backup")
    assert state is not None
    end = ("--iterations", state.iteration + 3)
    for more in (("cut/net.backup", "-o", "rest"), ("-o", "whole")):
        done = torchrun(*words, *more, *end, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    rest, whole = ((tmp_path / each / "net.weights").read_bytes() for each in ("rest", "whole"))
    assert rest == whole


def test_a_batch_that_cannot_be_divided(tmp_path: Path) -> None:
    (tmp_path / "net.cfg").write_bytes(small_model().cfg.to_bytes())  # 6 in 2 parts
    np.savez(tmp_path / "data.npz", x=Squares().x, y=Squares().kinds)
    words = ("-m", "darknet_bn", "train", "net.cfg", "data.npz", "--engine", "torch")
    done = torchrun(*words, cwd=tmp_path)
    assert done.returncode != 0
    assert "the batch cannot be divided among the processes" in done.stderr


def test_each_process_names_the_pictures_that_it_computes() -> None:
    model = small_model()  # two subdivisions
    found = []
    for rank in (0, 1):
        step = TorchStep()
        assert step.places(model.network, 12) is None  # alone
        step._processes.rank, step._processes.count = rank, 2
        found.append(step.places(model.network, 12))
    assert found == [[0, 1, 2, 6, 7, 8], [3, 4, 5, 9, 10, 11]]


def test_what_torchrun_says_of_a_process() -> None:
    second = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}
    assert (process_count(second), is_first(second)) == (2, False)
    assert is_first({**second, "RANK": "0"})
    assert device_of_process("cuda", second) == "cuda:1"
    assert device_of_process("cuda:3", second) == "cuda:3"
    assert device_of_process("cpu", second) == "cpu"
    others = {"WORLD_SIZE": "2", "RANK": "1"}  # of a batch system, without torchrun
    assert (process_count(others), is_first(others), device_of_process("cuda", others)) == (
        *(1, True, "cuda"),
    )
