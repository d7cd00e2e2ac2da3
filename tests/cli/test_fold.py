from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.model.model import Model
from darknet_bn.run.random_input import random_input

from .conftest import FIXTURES, TINY, Cli


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A stem in an empty folder."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "folded"


def test_the_files_are_those_of_the_library(cli: Cli, out: Path) -> None:
    answer = cli("fold", f"{TINY}.cfg", f"{TINY}.weights", "-o", out)
    assert (answer.code, answer.err) == (0, "")
    folded = dn.fold_batchnorm(dn.load(f"{TINY}.cfg", f"{TINY}.weights"))
    dn.save(folded, out.with_name("expected.cfg"), out.with_name("expected.weights"))
    files = files_in(out.parent)
    assert files["folded.cfg"] == files["expected.cfg"]
    assert files["folded.weights"] == files["expected.weights"]


def test_the_text_tells_what_was_done(cli: Cli, out: Path) -> None:
    lines = cli("fold", TINY, "-o", out).out.splitlines()
    dialect, folded, checked, written = lines
    assert dialect.startswith("dialect: pjreddie (")
    assert folded == "folded: the batch norm of 6 of 6 layers"
    assert checked.startswith("checked: relative difference at most ")
    assert "(allowed 0.0001; worst is layer " in checked
    assert written == f"written: {out}.cfg and {out}.weights, 85512 -> 84072 bytes"


def test_what_the_folded_pair_computes_is_what_darknet_did_before(cli: Cli, out: Path) -> None:
    assert cli("fold", TINY, "-o", out).code == 0
    assert cli("verify", out, f"{TINY}.npz").code == 0


def test_a_recurrent_net_too(cli: Cli, out: Path) -> None:
    case = FIXTURES / "layers" / "lstm"
    answer = cli("fold", case / "model", "-o", out, "--dialect", "pjreddie")
    assert answer.out.splitlines()[1] == "folded: the batch norm of 1 of 1 layers"
    folded = cli("verify", out, case / "pjreddie.npz", "--dialect", "pjreddie")
    assert folded.code == 0


def test_json_tells_of_every_batch_norm(cli: Cli, out: Path) -> None:
    facts = cli("fold", TINY, "-o", out, "--json").json
    assert [row["layer"] for row in facts["batch_norms"]] == [0, 2, 3, 4, 6, 9]
    assert all(row["into"] == row["layer"] for row in facts["batch_norms"])
    assert (facts["proof"]["ok"], facts["proof"]["tolerance"]) == (True, 1e-4)
    assert 0 <= facts["proof"]["worst"]["relative"] <= 1e-4
    assert len(facts["proof"]["differences"]) == 12
    assert facts["written"] == {"cfg": f"{out}.cfg", "weights": f"{out}.weights"}
    assert (facts["bytes_before"], facts["bytes_after"]) == (85512, 84072)


@pytest.mark.parametrize("alias", ["fuse", "denormalize"])
def test_the_names_of_other_programs(cli: Cli, out: Path, alias: str) -> None:
    assert cli("fold", TINY, "-o", out).code == 0
    assert cli(alias, TINY, "-o", out.with_name("alias")).code == 0
    files = files_in(out.parent)
    assert files["alias.weights"] == files["folded.weights"]


@pytest.mark.parametrize("name", ["f-1.1", "f-1.1.cfg", "f-1.1.weights"])
def test_the_output_is_a_stem_or_one_of_the_files(cli: Cli, out: Path, name: str) -> None:
    assert cli("fold", TINY, "-o", out.with_name(name)).code == 0
    assert set(files_in(out.parent)) == {"f-1.1.cfg", "f-1.1.weights"}


def test_a_batch_norm_that_stays_is_named_with_the_reason(cli: Cli, out: Path) -> None:
    model = FIXTURES / "layers" / "batchnorm_first" / "model"
    answer = cli("fold", model, "-o", out)
    assert answer.code == 0
    (line,) = [line for line in answer.out.splitlines() if line.startswith("layer ")]
    assert line.startswith("layer 0 [batchnorm] keeps its batch norm: it is the first layer")


def test_nothing_to_fold_is_said_and_the_model_is_written(cli: Cli, out: Path) -> None:
    assert cli("fold", TINY, "-o", out).code == 0
    answer = cli("fold", out, "-o", f"{out}-again")
    assert answer.code == 0
    assert "folded: nothing; the model has no batch norm and is written unchanged" in answer.out
    files = files_in(out.parent)
    assert files["folded-again.cfg"] == files["folded.cfg"]
    assert files["folded-again.weights"] == files["folded.weights"]


# -- what is there already -----------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".cfg", ".weights"])
def test_nothing_is_overwritten_and_no_work_is_done_for_nothing(
    cli: Cli, out: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    def load(*args: object, **options: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(dn, "load", load)
    there = out.with_name(f"folded{suffix}")
    there.write_text("mine")
    answer = cli("fold", TINY, "-o", out)
    assert (answer.code, answer.out) == (2, "")
    assert answer.error == f"{there}: the file already exists; use --force to overwrite it"
    assert files_in(out.parent) == {there.name: b"mine"}


def test_force_replaces(cli: Cli, out: Path) -> None:
    for suffix in (".cfg", ".weights"):
        out.with_name(f"folded{suffix}").write_text("old")
    assert cli("fold", TINY, "-o", out, "--force").code == 0
    assert cli("verify", out, f"{TINY}.npz").code == 0


def test_with_force_a_model_may_replace_itself(cli: Cli, tiny: Path) -> None:
    original = files_in(tiny.parent)
    assert cli("fold", tiny, "-o", tiny).code == 2
    assert files_in(tiny.parent) == original
    assert cli("fold", tiny, "-o", tiny, "--force").code == 0
    assert cli("verify", tiny, f"{TINY}.npz").code == 0
    assert "folded: nothing" in cli("fold", tiny, "-o", tiny, "--force").out
    assert set(files_in(tiny.parent)) == set(original)


def test_a_missing_folder_is_named_before_any_work(cli: Cli, tmp_path: Path) -> None:
    answer = cli("fold", tmp_path / "nothing", "-o", tmp_path / "no" / "out")
    assert (answer.code, answer.error) == (2, f"{tmp_path}/no: the folder does not exist")


# -- nothing wrong is left behind ----------------------------------------------------------


def damaging(change: Callable[[np.ndarray], None], layer: int, name: str) -> Callable[..., Model]:
    """A folding that then changes one array."""

    def fold(model: Model) -> Model:
        folded = fold_batchnorm(model)
        array = folded.params[layer][name].copy()
        change(array)
        params = list(folded.params)
        params[layer] = {**params[layer], name: array}
        return replace(folded, params=tuple(params))

    fold_batchnorm = dn.fold_batchnorm
    return fold


def off_by_a_hundredth(array: np.ndarray) -> None:
    array.flat[np.argmax(np.abs(array))] *= 1.01


def not_a_number(array: np.ndarray) -> None:
    array.flat[0] = np.nan


@pytest.mark.parametrize("name", ["weights", "biases"])
@pytest.mark.parametrize("layer", [0, 2, 3, 4, 6, 9, 10])
@pytest.mark.parametrize("change", [off_by_a_hundredth, not_a_number])
def test_a_wrong_fold_leaves_nothing_on_disk(
    cli: Cli,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[np.ndarray], None],
    layer: int,
    name: str,
) -> None:
    monkeypatch.setattr("darknet_bn.checks.fold.fold_batchnorm", damaging(change, layer, name))
    answer = cli("fold", TINY, "-o", out)
    assert (answer.code, answer.out) == (1, "")
    assert f"[convolutional] layer {layer}: the folded model does not agree" in answer.error
    assert files_in(out.parent) == {}


def test_the_tolerance_decides(cli: Cli, out: Path) -> None:
    answer = cli("fold", TINY, "-o", out, "--tolerance", "1e-9")
    assert answer.code == 1
    assert "a relative difference of at most 1e-09, largest value" in answer.error
    assert files_in(out.parent) == {}


def test_statistics_that_cannot_be_folded_are_refused(cli: Cli, tiny: Path, out: Path) -> None:
    weights = tiny.with_name("tiny.weights")
    data = bytearray(weights.read_bytes())
    data[20 + 4 * 24 : 20 + 4 * 25] = np.float32(-1).tobytes()  # a variance of layer 0
    weights.write_bytes(data)
    answer = cli("fold", tiny, "-o", out)
    assert (answer.code, answer.out) == (2, "")
    assert "layer 0: the statistics do not give finite factors for 1 channel (0)" in answer.error
    assert files_in(out.parent) == {}


def test_weights_that_are_nan_are_refused(cli: Cli, nan_tiny: Path, out: Path) -> None:
    answer = cli("fold", nan_tiny, "-o", out)
    assert (answer.code, answer.out) == (1, "")
    assert answer.error.endswith("; layer 0 [convolutional]: 1 of 216 weights are NaN or infinite")
    assert files_in(out.parent) == {}


def untrain(stem: Path, scale: float) -> None:
    """Set all rolling statistics of a model to zero, as a program does before it trains."""
    model = dn.load(f"{stem}.cfg", f"{stem}.weights")
    factors = {"rolling_mean": 0.0, "rolling_variance": 0.0, "scales": scale}
    params = [
        {name: array * np.float32(factors.get(name, 1)) for name, array in each.items()}
        for each in model.params
    ]
    dn.save(replace(model, params=tuple(params)), None, f"{stem}.weights", force=True)


UNTRAINED = "layer 0 [convolutional] and 5 others: all rolling statistics are zero, never trained"


def test_a_model_that_was_never_trained_and_overflows(cli: Cli, tiny: Path, out: Path) -> None:
    untrain(tiny, 1e3)
    answer = cli("fold", tiny, "-o", out)
    assert (answer.code, answer.out) == (1, "")
    assert "the folded model does not agree with the original; nothing was written" in answer.error
    assert answer.error.endswith(f"; {UNTRAINED}")
    assert files_in(out.parent) == {}


def test_a_model_that_was_never_trained_is_a_warning(cli: Cli, tiny: Path, out: Path) -> None:
    untrain(tiny, 1)
    answer = cli("fold", tiny, "-o", out)
    assert (answer.code, answer.err) == (0, f"warning: {UNTRAINED}\n")


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_the_same_value_that_is_not_finite_in_both_is_agreement(
    cli: Cli, tiny: Path, out: Path, value: float
) -> None:
    weights = tiny.with_name("tiny.weights")
    data = bytearray(weights.read_bytes())
    last = len(data) - 4 * (21 + 21 * 32)  # the biases of layer 10, which has no batch norm
    data[last : last + 4] = np.float32(value).tobytes()
    weights.write_bytes(data)
    answer = cli("fold", tiny, "-o", out)
    assert answer.code == 0
    assert answer.err == ("warning: layer 10 [convolutional]: 1 of 21 biases are NaN or infinite\n")


@pytest.mark.parametrize(
    ("error", "code"),
    [(OSError(errno.ENOSPC, "No space left on device"), 2), (KeyboardInterrupt, 130)],
)
@pytest.mark.parametrize("there", [{}, {"folded.cfg": b"old", "folded.weights": b"old"}])
def test_what_stops_writing_leaves_all_as_it_was(
    cli: Cli,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    there: dict[str, bytes],
) -> None:
    def write(stream: BinaryIO, *args: Any) -> None:
        stream.write(b"half of it")
        raise error

    for name, content in there.items():
        out.with_name(name).write_bytes(content)
    monkeypatch.setattr("darknet_bn.model.model.write_weights", write)
    answer = cli("fold", TINY, "-o", out, "--force")
    assert (answer.code, answer.out) == (code, "")
    if code == 2:
        assert answer.error == f"{out}.weights: cannot be written: No space left on device"
    assert files_in(out.parent) == there


def test_a_net_in_which_float32_is_rough(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of this image the noise is above 1e-4 with any code of BLAS; of most it is not.
    monkeypatch.setattr(
        "darknet_bn.checks.fold.random_input", lambda network, _: random_input(network, 7)
    )
    net = FIXTURES / "reports" / "export-float-noise" / "net"
    words = ("fold", net, "-o", tmp_path / "out", "--dialect", "alexeyab", "--force")
    answer = cli(*words)
    assert (answer.code, answer.err) == (0, "")
    assert "float32 rounding alone gives " in answer.out
    assert cli(*words, "--json").json["proof"]["worst"]["rounding"] > 2.5e-5
    answer = cli(*words, "--tolerance", 1e-4)
    assert answer.code == 1
    assert "the folded model does not agree with the original; nothing was written" in answer.error
