"""What all commands do alike: help, naming models, errors, exit codes, JSON."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.cli.program import main

from .conftest import ERROR_FIELDS, PICTURE, TINY, Cli, as_classifier

COMMANDS = {
    "info": (),
    "check": (),
    "fold": ("-o", "{}/out"),
    "detect": (f"{PICTURE}",),
    "classify": (f"{PICTURE}",),
    "run": (),
    "record": ("-o", "{}/out"),
    "verify": (f"{TINY}.npz",),
    "evaluate": ("{}/set.npz",),
    "calibrate": (f"{PICTURE}", "-o", "{}/out"),
    "quantize": (f"{PICTURE}", "-o", "{}/out.onnx", "--method", "min-max"),
    "export": ("{}/out.onnx",),
    "compare": ("--with", "onnxruntime"),
    "convert": ("{}/out.safetensors",),
}
# Their words are others: each has all its tests in a file of its own.
OTHERS = {"anchors", "diff", "doctor", "edit", "labels", "report", "train", "which"}


@pytest.fixture(autouse=True)
def examples(tmp_path: Path) -> None:
    """An image without boxes, as a data set."""
    x, y = np.zeros((1, 3, 64, 64), np.float32), np.zeros((1, 1, 5), np.float32)
    np.savez(tmp_path / "set.npz", x=x, y=y)


def words_of(command: str, folder: Path) -> list[str]:
    return [word.format(folder) for word in COMMANDS[command]]


def python(*words: str, **extra: object) -> subprocess.CompletedProcess[str]:
    """Run another Python on some words."""
    options = {"capture_output": True, "text": True, "timeout": 60} | extra
    return subprocess.run([sys.executable, *words], **options)  # type: ignore[call-overload]


@pytest.fixture
def tiny(tiny: Path, request: pytest.FixtureRequest) -> Path:
    """The tiny model, which is a detector; for the command classify a classifier."""
    callspec = getattr(request.node, "callspec", None)
    if callspec is not None and callspec.params.get("command") == "classify":
        as_classifier(tiny)
    return tiny


every_command = pytest.mark.parametrize("command", COMMANDS)


def test_the_commands_of_this_file_are_all_commands() -> None:
    assert set(COMMANDS) | OTHERS == set(main.commands)


# -- help ----------------------------------------------------------------------------------


@every_command
def test_every_command_and_option_has_help(command: str) -> None:
    found = main.commands[command]
    assert found.help
    assert f"Example: darknet-bn {command} " in found.help
    for param in found.params:
        assert isinstance(param, click.Argument) or param.help, param.name


@every_command
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_shown_on_stdout(cli: Cli, command: str, option: str) -> None:
    answer = cli(command, option)
    assert (answer.code, answer.err) == (0, "")
    assert f"darknet-bn {command} [OPTIONS] CFG [WEIGHTS]" in answer.out.replace(
        "main", "darknet-bn"
    )


def test_the_main_help_names_every_command_the_aliases_and_the_exit_codes(cli: Cli) -> None:
    text = " ".join(cli("--help").out.split())
    for word in [
        *COMMANDS,
        *("fuse", "denormalize", "0 success; 1 a difference", "2 an error", "130"),
    ]:
        assert word in text


def test_no_word_at_all_is_answered_with_the_help(cli: Cli) -> None:
    answer = cli()
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == cli("-h").out


def test_version(cli: Cli) -> None:
    assert cli("--version").out == f"darknet-bn {dn.__version__}\n"


# -- wrong usage is 2 ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["fld"],
        ["--nonsense"],
        ["info"],
        ["info", "a", "b", "c"],
        ["info", "a", "--nonsense"],
        ["info", "a", "--dialect", "python"],
        ["check", "model.weights", "model.cfg"],
        ["fold", "a"],
        ["fold", "a", "-o", "folder/"],
        ["fold", "a", "-o", "b", "--tolerance", "nan"],
        ["fold", "a", "-o", "b", "--tolerance", "-1"],
        ["fold", "a", "-o", "b", "--tolerance", "inf"],
        ["run", "a", "b", "c", "d"],
        ["run", "a", "--layers", "some"],
        ["run", "a", "--seed", "-1"],
        ["record", "a"],
        ["verify", "a"],
        ["verify", "a", "b", "c", "d"],
        ["verify", "a", "b", "--tolerance", "much"],
        ["detect", "a"],
        ["detect", "a.cfg", "a.weights"],
        ["detect", "a.weights", "a.cfg", "a.jpg"],
        ["detect", "a", "a.jpg", "--thresh", "1.5"],
        ["detect", "a", "a.jpg", "--thresh", "nan"],
        ["detect", "a", "a.jpg", "--nms", "-0.1"],
        ["detect", "a", "a.jpg", "--json", "--csv"],
        ["detect", "a", "a.jpg", "--csv", "--json-lines"],
        ["classify", "a"],
        ["classify", "a", "a.jpg", "--top", "0"],
        ["classify", "a", "a.jpg", "--json", "--csv"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_told_in_one_line_with_the_right_one(cli: Cli, words: list[str]) -> None:
    answer = cli(*words)
    assert answer.code == 2
    error, usage, more = answer.err.splitlines()
    assert error.startswith("error: ")
    assert usage.startswith("Usage: ")
    path = [word for word in ("main", words[0]) if word in ("main", *main.commands)]
    assert more == f"For help: {' '.join(path)} -h"
    if not {"--json", "--json-lines"} & set(words):
        assert answer.out == ""
    else:
        told = answer.json["error"]
        assert (told["message"], told["hint"]) == (error.removeprefix("error: "), more)


# -- how a model is named ------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ["m-1.1.cfg", "m-1.1.weights"],
        ["m-1.1"],
        ["m-1.1.cfg"],
        ["m-1.1.weights"],
        ["m-1.1", "m-1.1"],
        ["m-1.1", "m-1.1.weights"],
        ["plain", "m-1.1.weights"],
        ["m-1.1.cfg", "plain.weights.backup"],
    ],
    ids=" ".join,
)
def test_a_model_is_found_by_its_files_or_stem(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    for name in ("m-1.1.cfg", "plain"):
        shutil.copy(f"{TINY}.cfg", tmp_path / name)
    for name in ("m-1.1.weights", "plain.weights.backup"):
        shutil.copy(f"{TINY}.weights", tmp_path / name)
    (tmp_path / "m-1.1").mkdir()  # a folder of that name is not a cfg
    monkeypatch.chdir(tmp_path)
    answer = cli("check", *names, "--json")
    assert (answer.code, answer.err) == (0, "")
    for word, name in zip(("cfg", "weights"), names, strict=False):
        assert answer.json[word].startswith(name.removesuffix(".weights").removesuffix(".cfg"))


@every_command
def test_a_missing_model_is_one_line_and_2(cli: Cli, tmp_path: Path, command: str) -> None:
    answer = cli(command, tmp_path / "nothing", *words_of(command, tmp_path))
    assert (answer.code, answer.out) == (2, "")
    assert answer.error == f"{tmp_path}/nothing.cfg: cannot be read: No such file or directory"


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "info"])
def test_missing_weights_are_one_line_and_2(
    cli: Cli, tiny: Path, tmp_path: Path, command: str
) -> None:
    os.remove(f"{tiny}.weights")
    answer = cli(command, f"{tiny}.cfg", *words_of(command, tmp_path))
    assert (answer.code, answer.out) == (2, "")
    assert answer.error == f"{tiny}.weights: cannot be read: No such file or directory"


def test_a_missing_backbone_is_named_as_it_was(cli: Cli, tiny: Path) -> None:
    answer = cli("check", tiny, f"{tiny}.conv.3", "--partial")
    assert answer.error == f"{tiny}.conv.3: cannot be read: No such file or directory"


# -- dialect, warnings, JSON ---------------------------------------------------------------


@every_command
def test_every_command_says_which_dialect_is_in_force_and_why(
    cli: Cli, tiny: Path, tmp_path: Path, command: str
) -> None:
    words = words_of(command, tmp_path)
    auto = cli(command, tiny, *words)
    assert auto.code == 0
    assert "dialect: pjreddie (weights version 0.2.0, no fork-only options)" in auto.out
    force = ["--force"] if "-o" in words or command in ("convert", "export") else []
    given = cli(command, tiny, *words, "--dialect", "hank-ai", *force)
    assert "dialect: hank-ai (given)" in given.out


@every_command
def test_json_is_one_object_that_tells_about_the_model(
    cli: Cli, tiny: Path, tmp_path: Path, command: str
) -> None:
    answer = cli(command, tiny, *words_of(command, tmp_path), "--json")
    assert (answer.code, answer.err) == (0, "")
    facts = answer.json
    assert facts["cfg"] == f"{tiny}.cfg"
    assert facts["weights"] == f"{tiny}.weights"
    assert facts["header"] == {"version": "0.2.0", "bytes": 20, "seen": 0}
    assert facts["dialect"] == "pjreddie"
    assert facts["reason"] == "weights version 0.2.0, no fork-only options"
    assert facts["layers_loaded"] == 12
    assert facts["oddities"] == []


@pytest.mark.parametrize(
    "command", [name for name in COMMANDS if name not in ("fold", "calibrate", "quantize")]
)
def test_json_is_valid_where_values_are_nan(
    cli: Cli, nan_tiny: Path, tmp_path: Path, command: str
) -> None:
    answer = cli(command, nan_tiny, *words_of(command, tmp_path), "--json")
    assert answer.code == (1 if command in ("check", "verify", "compare") else 0)
    assert answer.err == ""
    assert answer.json["dialect"] == "pjreddie"


@every_command
def test_oddities_are_warnings_of_one_line_each(
    cli: Cli, tiny: Path, tmp_path: Path, command: str
) -> None:
    cfg = tiny.with_name("tiny.cfg")
    cfg.write_text(cfg.read_text().replace("filters=8\n", "filters=8\nfilters=9\nfilters=9\n"))
    answer = cli(command, tiny, *words_of(command, tmp_path), "--json")
    assert answer.code == 0
    assert answer.json["oddities"] == [
        f"{cfg}:{line}: [convolutional]: filters: occurs twice; the first, in line 19, is used"
        for line in (20, 21)
    ]
    assert answer.err.splitlines() == [f"warning: {each}" for each in answer.json["oddities"]]


@every_command
def test_a_backbone_file_loads_with_partial_only(
    cli: Cli, tiny: Path, tmp_path: Path, command: str
) -> None:
    weights = tiny.with_name("tiny.weights")
    weights.write_bytes(weights.read_bytes()[: 20 + 4 * (248 + 1216)])  # layers 0 to 2
    words = words_of(command, tmp_path)
    answer = cli(command, tiny, *words)
    assert answer.code == 2
    assert answer.error.startswith(f"{weights}: [convolutional] layer 3: the file ends before")
    assert "'partial'" in answer.error
    answer = cli(command, tiny, *words, "--partial", "--json")
    # Layers 3 and up are not what the fixture of verify was made with.
    assert answer.code == (1 if command == "verify" else 0)
    assert answer.json["layers_loaded"] == 3
    assert answer.err.splitlines() == [
        "warning: the file ends after layer 2 of 11; later layers keep their initial values"
    ]


@every_command
def test_a_refused_file_is_told_in_json_too(
    cli: Cli, tiny: Path, tmp_path: Path, command: str
) -> None:
    weights = tiny.with_name("tiny.weights")
    weights.write_bytes(weights.read_bytes()[:-1000])
    answer = cli(command, tiny, *words_of(command, tmp_path), "--json")
    assert answer.code == 2
    assert f"{weights}: [convolutional] layer 10: the file ends inside the weights" in answer.error
    assert list(answer.json) == ["schema", "error"]
    told = answer.json["error"]
    assert list(told) == ERROR_FIELDS
    assert [told[field] for field in ERROR_FIELDS[:4]] == [f"{weights}", None, "convolutional", 10]
    assert told["message"] == "the file ends inside the weights"
    assert told["expected"].startswith("85512 bytes")
    assert told["found"].startswith("84512 bytes")
    assert told["hint"] == "is this the cfg that the weights were trained with?"


# -- whatever happens, one line ------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (dn.DarknetError("the problem"), 2, "error: the problem\n"),
        (OSError(28, "No space left on device"), 2, "error: No space left on device\n"),
        (OSError(5, "Broken disk", "a.cfg"), 2, "error: a.cfg: Broken disk\n"),
        (MemoryError(), 2, "error: out of memory\n"),
        (MemoryError("1 TiB"), 2, "error: not enough memory: 1 TiB\n"),
        (KeyboardInterrupt(), 130, "\n"),  # after the ^C that the terminal shows
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_is_one_line(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, text: str
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(dn, "load", fail)
    answer = cli("check", "model")
    assert (answer.code, answer.out, answer.err) == (code, "", text)


BROKEN = """
import darknet_bn as dn
from darknet_bn.cli.program import main
dn.load = lambda *a, **k: 1 / 0
"""


def test_a_mistake_of_our_own_is_one_line_too(tmp_path: Path) -> None:
    result = python("-c", f"{BROKEN}main(['check', 'model'])", cwd=tmp_path)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: this is a bug in darknet-bn: ZeroDivisionError: division")
    result = python("-X", "dev", "-c", f"{BROKEN}main(['check', 'model'])", cwd=tmp_path)
    assert "Traceback" in result.stderr


def test_control_characters_of_names_never_reach_the_terminal(cli: Cli) -> None:
    assert cli("info", "a\x1b[31m\nb").error.startswith("a\\x1b[31m b.cfg: cannot be read")


# -- as a program --------------------------------------------------------------------------


def test_python_m_is_the_program() -> None:
    result = python("-m", "darknet_bn", "verify", str(TINY), f"{TINY}.npz")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.endswith("all 12 layers agree within 1e-05 of their largest value\n")
    result = python("-m", "darknet_bn", "nonsense")
    assert result.returncode == 2
    assert "Usage: darknet-bn " in result.stderr


def test_a_pipe_that_closes_early_is_no_error() -> None:
    command = [sys.executable, "-m", "darknet_bn", "info", str(TINY)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_a_full_disk_behind_stdout_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        result = python(
            "-m", "darknet_bn", "info", str(TINY),
            capture_output=False, stdout=full, stderr=subprocess.PIPE,
        )  # fmt: skip
    assert (result.returncode, result.stderr) == (2, "error: No space left on device\n")


def test_names_that_no_locale_can_spell(tmp_path: Path) -> None:
    stem = tmp_path / os.fsdecode(b"\xff\xc3\xa9")
    try:
        shutil.copy(f"{TINY}.cfg", f"{stem}.cfg")
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    shutil.copy(f"{TINY}.weights", f"{stem}.weights")
    folded = f"{stem}-folded"
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    result = python("-m", "darknet_bn", "fold", str(stem), "-o", folded, env=plain)
    # On a busy machine it also says how long it took.
    said = [line for line in result.stderr.splitlines() if not line.startswith("took: ")]
    assert (result.returncode, said) == (0, [])
    assert "\\udcff" in result.stdout
    assert os.path.exists(f"{folded}.weights")
    result = python("-m", "darknet_bn", "info", f"{stem}?", env=plain)
    assert result.returncode == 2
    assert "\\udcff" in result.stderr
