"""The mean of models: of one it is the identity, of several what Darknet's own program writes."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from tests.support.builders import cfg_text, random_model

CFG = cfg_text(
    "[convolutional] filters=6 size=3 activation=leaky batch_normalize=1",
    "[convolutional] filters=2 size=1 activation=linear",
)


def test_the_mean_of_one_is_the_identity() -> None:
    model = random_model(CFG)
    assert dn.average_models([model]) is model


def test_the_mean_of_equals_has_the_same_bits() -> None:
    model = random_model(CFG)
    mean = dn.average_models([model] * 3)
    for one, other in zip(mean.params, model.params, strict=True):
        assert {k: v.tobytes() for k, v in one.items()} == {
            k: v.tobytes() for k, v in other.items()
        }


def test_each_value_is_rounded_once() -> None:
    models = [random_model(CFG, seed=seed) for seed in range(3)]
    mean = dn.average_models(models)
    for index, p in enumerate(mean.params):
        for name, array in p.items():
            values = np.array([each.params[index][name] for each in models], np.float64)
            np.testing.assert_array_equal(array, values.mean(axis=0).astype(np.float32))
            assert not array.flags.writeable


def test_the_header_is_that_of_the_longest_training() -> None:
    model = random_model(CFG)
    mean = dn.average_models([dn.with_header(model, seen=seen) for seen in (64, 640, 6)])
    assert mean.header.seen == 640


def test_shared_weights_stay_shared() -> None:
    conv = "[convolutional] filters=3 size=1 activation=linear"
    cfg = cfg_text(conv, f"{conv} share_index=0")
    mean = dn.average_models([random_model(cfg, seed=seed) for seed in (0, 1)])
    assert mean.params[0] is mean.params[1]


def test_models_that_are_not_alike_are_refused() -> None:
    model = random_model(CFG)
    for other, problem in (
        (random_model(cfg_text("[avgpool]")), "different layers"),
        (random_model(CFG, "pjreddie"), "different dialects"),
        (replace(model, loaded=1), "hold different numbers of layers"),
    ):
        with pytest.raises(dn.DarknetError, match=problem):
            dn.average_models([model, other])
    with pytest.raises(dn.DarknetError, match="nothing to average"):
        dn.average_models([])
    with pytest.raises(dn.DarknetError, match="no layer of the cfg has weights"):
        dn.average_models([random_model(cfg_text("[avgpool]"))])


@pytest.mark.skipif(shutil.which("darknet") is None, reason="Debian's darknet is not installed")
def test_darknet_s_own_program_writes_the_same_without_batch_norm(tmp_path: Path) -> None:
    cfg = cfg_text("[convolutional] filters=6 size=3 activation=leaky", "[connected] output=3")
    files = [tmp_path / "0.weights", tmp_path / "1.weights"]
    for seed, file in enumerate(files):  # a sum of two in float32 is rounded once, then halved
        model = random_model(cfg, "pjreddie", seed=seed)
        dn.save(model, tmp_path / "net.cfg", file, force=True)
    theirs = tmp_path / "theirs.weights"
    subprocess.run(
        ["darknet", "average", tmp_path / "net.cfg", theirs, *files],
        capture_output=True,
        check=True,
    )
    mean = dn.average_models([dn.load(tmp_path / "net.cfg", each) for each in files])
    dn.save(mean, None, tmp_path / "ours.weights")
    assert (tmp_path / "ours.weights").read_bytes()[20:] == theirs.read_bytes()[20:]
