"""The tool that asks the real program: it regenerates what is committed, and refuses politely."""

from __future__ import annotations

import functools
import importlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner

from tests.support.paths import PROJECT, TOOLS

FIXTURES = PROJECT / "tests" / "fixtures"
TINY = FIXTURES / "tiny"
TOOL = TOOLS / "make_fixtures.py"

needs_darknet = pytest.mark.skipif(
    not Path("/usr/lib/darknet/libdarknet.so").is_file() or shutil.which("cc") is None,
    reason="Debian's package darknet or a C compiler is absent",
)

# The same program on the same data: another release of its package, or another compiler, may
# order float32 sums in another way, which the float64 computations of the golden data bound by
# 1e-6 of the largest value on either side.
SAME_PROGRAM = 2e-6


Answer = subprocess.CompletedProcess[str]
Tool = Callable[..., Answer]


def program(*arguments: object) -> Answer:
    command = [sys.executable, str(TOOL), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def tool() -> Iterator[Tool]:
    """Call the tool in this process; what it makes of one compiler and one Darknet, it keeps."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.syspath_prepend(TOOLS)
        module = importlib.import_module("make_fixtures")
        compile_driver = module.compile_driver
        kept = functools.cache(lambda *given: compile_driver(Path(folder), *given))
        patch.setattr(module, "compile_driver", lambda _, *given: kept(*given))

        def call(*arguments: object) -> Answer:
            result = CliRunner().invoke(module.main, list(map(str, arguments)))
            assert result.exception is None or isinstance(result.exception, SystemExit)
            return subprocess.CompletedProcess(
                arguments, result.exit_code, result.stdout, result.stderr
            )

        yield call


def assert_same_run(made: Path, committed: Path) -> None:
    with np.load(made) as one, np.load(committed) as other:
        assert set(one.files) - {"provenance"} == set(other.files) - {"provenance"}
        for name in set(one.files) - {"provenance"}:
            x: npt.NDArray[np.float32] = one[name]
            y: npt.NDArray[np.float32] = other[name]
            assert x.dtype == np.float32
            assert x.shape == y.shape
            np.testing.assert_allclose(
                x, y, rtol=0, atol=SAME_PROGRAM * float(np.abs(y).max()), err_msg=name
            )


@needs_darknet
def test_tiny_is_regenerated(tmp_path: Path) -> None:
    result = program("tiny", "-o", tmp_path)
    assert result.returncode == 0, result.stderr
    assert_same_run(tmp_path / "tiny.npz", TINY / "tiny.npz")
    for name in ("tiny.cfg", "tiny.weights"):
        assert (tmp_path / name).read_bytes() == (TINY / name).read_bytes()
    made = json.loads((tmp_path / "provenance.json").read_text(encoding="utf-8"))
    committed = json.loads((TINY / "provenance.json").read_text(encoding="utf-8"))
    assert made["files"].keys() == committed["files"].keys()
    assert made["files"]["tiny.weights"] == committed["files"]["tiny.weights"]
    assert made["files"]["tiny.npz"]["command"] == committed["files"]["tiny.npz"]["command"]


@needs_darknet
@pytest.mark.parametrize(
    "case",
    [
        "conv_bn_stack",
        *(pytest.param(each, marks=pytest.mark.exhaustive) for each in ("dropout", "header_0_1")),
    ],
)
def test_a_golden_case_of_pjreddie_is_reproduced(tool: Tool, case: str, tmp_path: Path) -> None:
    folder = FIXTURES / "layers" / case
    out = tmp_path / "out.npz"
    committed = folder / "pjreddie.npz"
    model = (folder / "model.cfg", folder / "model.weights")
    result = tool("make", *model, "-o", out, "--input", committed)
    assert result.returncode == 0, result.stderr
    assert_same_run(out, committed)
    with np.load(out) as archive:
        provenance = json.loads(str(archive["provenance"]))
    assert provenance["dialect"] == "pjreddie"
    assert provenance["command"].endswith("model.weights -o out.npz --input pjreddie.npz")
    record = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))["files"]
    assert provenance["cfg_sha256"] == record["model.cfg"]["sha256"]
    assert provenance["weights_sha256"] == record["model.weights"]["sha256"]


@needs_darknet
@pytest.mark.parametrize(
    ("cut", "message"),
    [(-4, "bytes of parameters, but Darknet reads"), (10, "too short for a weights file")],
)
def test_weights_that_do_not_fit_are_no_truth(
    tool: Tool, tmp_path: Path, cut: int, message: str
) -> None:
    weights = tmp_path / "cut.weights"
    weights.write_bytes((TINY / "tiny.weights").read_bytes()[:cut])
    out = tmp_path / "out.npz"
    assert_refused(tool("make", TINY / "tiny.cfg", weights, "-o", out), message)
    assert not out.exists()


@needs_darknet
def test_a_cfg_that_darknet_refuses(tool: Tool, tmp_path: Path) -> None:
    cfg = tmp_path / "no_net.cfg"
    cfg.write_text("[maxpool]\nsize=2\n")
    result = tool("make", cfg, TINY / "tiny.weights", "-o", tmp_path / "out.npz")
    assert_refused(result, "Darknet failed")


@needs_darknet
def test_an_input_of_another_size(tool: Tool, tmp_path: Path) -> None:
    source = tmp_path / "input.npz"
    np.savez(source, input=np.zeros((1, 3, 8, 8), np.float32))
    model = (TINY / "tiny.cfg", TINY / "tiny.weights")
    result = tool("make", *model, "-o", tmp_path / "out.npz", "--input", source)
    assert_refused(result, "the network takes (1, 3, 64, 64)")


def test_an_input_without_its_array(tool: Tool, tmp_path: Path) -> None:
    source = tmp_path / "input.npz"
    np.savez(source, other=np.zeros(3, np.float32))
    model = (TINY / "tiny.cfg", TINY / "tiny.weights")
    result = tool("make", *model, "-o", tmp_path / "out.npz", "--input", source)
    assert_refused(result, "no npz with an array `input`")


def test_without_darknet(tool: Tool, tmp_path: Path) -> None:
    model = (TINY / "tiny.cfg", TINY / "tiny.weights")
    result = tool("make", *model, "-o", tmp_path / "out.npz", "--darknet", tmp_path / "nowhere")
    assert_refused(result, "apt-get install darknet")


def test_without_a_compiler(tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "include").mkdir()
    for name in ("libdarknet.so", "include/darknet.h"):
        (tmp_path / name).touch()
    model = (TINY / "tiny.cfg", TINY / "tiny.weights")
    options = ("--darknet", tmp_path, "--cc", "no-such-compiler")
    result = tool("make", *model, "-o", tmp_path / "out.npz", *options)
    assert_refused(result, "no C compiler no-such-compiler")


def assert_refused(result: Answer, message: str) -> None:
    assert result.returncode == 2
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert result.stdout == ""


def test_random_weights_depend_on_the_seed_only(tool: Tool, tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        result = tool("random", TINY / "tiny.cfg", "-o", tmp_path / name, "--seed", seed)
        assert result.returncode == 0, result.stderr
    one, again, other = ((tmp_path / name).read_bytes() for name in ("one", "again", "other"))
    assert one == again
    assert one != other
    assert len(one) == len(other) == (TINY / "tiny.weights").stat().st_size
    assert np.isfinite(np.frombuffer(one, "<f4", offset=20)).all()


def test_copy_gives_the_committed_files(tool: Tool, shared: Path, tmp_path: Path) -> None:
    result = tool("copy", shared / "golden", "-o", tmp_path)
    assert result.returncode == 0, result.stderr
    copied = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    folders = [FIXTURES / name for name in ("layers", "fold", "detections")]
    committed = {path.relative_to(FIXTURES) for folder in folders for path in folder.rglob("*.*")}
    assert copied == committed
    for path in copied:
        assert content(tmp_path / path) == content(FIXTURES / path), path


def content(path: Path) -> object:
    """What a copied file holds: of parts of an npz, whose packing depends on zlib, the arrays."""
    if path.suffix == ".npz":
        with np.load(path) as archive:
            return {name: archive[name].tobytes() for name in archive.files}
    if path.name == "provenance.json":
        return re.sub(r'"sha256": "\w+"', "", path.read_text(encoding="utf-8"))
    return path.read_bytes()


@pytest.mark.parametrize("command", ["make", "random", "tiny", "copy"])
def test_every_command_has_help(tool: Tool, command: str) -> None:
    result = tool(command, "--help")
    assert result.returncode == 0
    assert "Example: tools/make_fixtures.py" in result.stdout
