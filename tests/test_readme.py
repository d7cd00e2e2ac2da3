"""README.md is true: its commands print what it shows, its Python runs, its table is proven."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import darknet_bn as dn
from darknet_bn.cli import main
from darknet_bn.layers import LAYERS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# The last digits of errors depend on the order in which a processor's BLAS adds up.
NOISE = re.compile(r"\d(\.\d+)?e-0\d|worst is layer \d+")


def shown_commands() -> list[tuple[str, str]]:
    """Return every command of a console block, with the output shown under it."""
    commands: list[tuple[str, str]] = []
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            commands.append((command, output))
    return commands


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like the repository to the commands, and may be written to."""
    (tmp_path / "tests").mkdir()
    for folder in ("tiny", "layers/conv_basic"):
        shutil.copytree(ROOT / "tests" / "fixtures" / folder, tmp_path / "tests/fixtures" / folder)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def normal(text: str) -> str:
    return re.sub(r" +", " ", NOISE.sub("~", text))


def test_commands_print_what_is_shown(checkout: Path) -> None:
    commands = shown_commands()
    assert {command.split()[1] for command, _ in commands} >= {"check", "info", "fold", "verify"}
    for command, expected in commands:
        program, *arguments = command.split()
        assert program == "darknet-bn"
        result = CliRunner().invoke(main, arguments)
        assert normal(result.output) == normal(expected), command


def test_the_first_line_folds_and_verifies(checkout: Path) -> None:
    line = next(line for line in README.splitlines() if "darknet-bn fold" in line)
    calls = re.findall(r"darknet-bn (\w+ .*?)(?: &&|$)", line)
    assert len(calls) == 2
    for call in calls * 2:  # the line works a second time too
        assert CliRunner().invoke(main, call.split()).exit_code == 0


def test_python_runs(checkout: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    assert (checkout / "folded.weights").exists()
    assert isinstance(names["outputs"], dict)


@pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")
def test_the_table_names_proofs() -> None:
    rows = re.findall(r"^\| (`\w+`.*?) \| (\S+) \| (\S+) \|$", README, re.MULTILINE)
    proven = {name: cells for names, *cells in rows for name in re.findall(r"`(\w+)`", names)}
    kinds = {kind.names[0] for kind in LAYERS.values()}
    assert kinds <= set(proven)
    for section in kinds:
        for dialect, case in zip(("pjreddie", "alexeyab"), proven[section], strict=True):
            if case == "–":
                continue
            folder = ROOT / "tests" / "fixtures" / "layers" / case
            assert (folder / f"{dialect}.npz").exists(), (section, case)
            cfg = dn.load_cfg(folder / "model.cfg")
            assert any(LAYERS[each.name].names[0] == section for each in cfg.sections[1:])


def test_ci_finds_the_line_that_tests() -> None:
    lines = [line for line in README.splitlines() if "-m pytest" in line]
    assert len(lines) == 1
    assert "'.[test]'" in lines[0]
