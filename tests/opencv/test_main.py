"""``python -m darknet_bn.opencv`` runs a program as Python itself does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ABOUT = """\
import os, sys
print(sys.argv)
print(__name__, __file__, __spec__, sys.modules["__main__"].__dict__ is globals())
print(sys.path[0])
import beside
print(beside.value, hasattr(sys.modules["cv2"].dnn, "readNetFromDarknet"))
"""
EXITS = {
    "end": ("pass", 0),
    "status": ("import sys; sys.exit(3)", 3),
    "text": ("import sys; sys.exit('too bad')", 1),
    "none": ("raise SystemExit", 0),
    "error": ("def f():\n    raise ValueError('wrong')\nf()", 1),
    "syntax": ("if True print(5)", 1),
    "interrupt": ("raise KeyboardInterrupt", -2),
    "hook": ("import sys\nsys.excepthook = lambda *a: print('mine')\n1/0", 1),
}


def start(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a program in it, and a module that the program imports."""
    pytest.importorskip("cv2", reason="OpenCV is not installed")
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "beside.py").write_text("value = 7\n")
    (tmp_path / "programs" / "about.py").write_text(ABOUT)
    return tmp_path


def test_a_program_finds_what_it_finds_in_python(folder: Path) -> None:
    call = ("programs/about.py", "-h", "dog.jpg", "--thr=0.5")
    result = start("-m", "darknet_bn.opencv", *call, cwd=folder)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines == [
        str(list(call)),
        f"__main__ {folder / 'programs' / 'about.py'} None True",
        str(folder / "programs"),
        "7 True",
    ]
    plain = start(*call, cwd=folder)  # all but the last line: there, nobody has imported OpenCV
    assert plain.stdout.splitlines() == lines[:3]
    assert not list(folder.glob("programs/__pycache__/about*"))


def test_through_a_link_the_folder_is_that_of_the_file(folder: Path) -> None:
    (folder / "link.py").symlink_to(folder / "programs" / "about.py")
    result = start("-m", "darknet_bn.opencv", "link.py", cwd=folder)
    assert result.stdout.splitlines()[2] == str(folder / "programs")


@pytest.mark.parametrize("name", EXITS)
def test_it_ends_as_in_python(folder: Path, name: str) -> None:
    code, status = EXITS[name]
    path = folder / "program.py"
    path.write_text(code + "\n")
    plain, ours = start(path), start("-m", "darknet_bn.opencv", path)
    assert plain.returncode == ours.returncode == status
    assert ours.stdout == plain.stdout
    assert ours.stderr == plain.stderr


def test_what_runs_after_the_program_still_has_it(folder: Path) -> None:
    path = folder / "program.py"
    path.write_text(
        "import atexit, pickle, threading, time\n"
        "class Box:\n    pass\n"
        "def later():\n    time.sleep(0.1)\n    print(type(pickle.loads(pickle.dumps(Box()))))\n"
        "threading.Thread(target=later).start()\n"
        "atexit.register(lambda: print(__name__, Box.__module__))\n"
    )
    result = start("-m", "darknet_bn.opencv", path)
    assert (result.stdout, result.stderr) == ("<class '__main__.Box'>\n__main__ __main__\n", "")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nowhere.py"], 2, "error: nowhere.py: cannot be read: No such file or directory\n"),
        (["."], 2, "error: .: cannot be read: Is a directory\n"),
    ],
)
def test_a_program_that_is_not_there(arguments: list[str], status: int, message: str) -> None:
    result = start("-m", "darknet_bn.opencv", *arguments)
    assert (result.returncode, result.stdout, result.stderr) == (status, "", message)


def test_help_and_no_arguments() -> None:
    for option in ("-h", "--help"):
        result = start("-m", "darknet_bn.opencv", option)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.startswith("usage: python -m darknet_bn.opencv SCRIPT [ARGS...]\n")
        assert max(map(len, result.stdout.splitlines())) <= 80
    bare = start("-m", "darknet_bn.opencv")
    assert (bare.returncode, bare.stdout, bare.stderr) == (2, "", result.stdout)


def test_without_opencv(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("print('never')\n")
    hide = "import sys, runpy; sys.modules['cv2'] = None; sys.argv = ['x', 'program.py']; "
    code = hide + "runpy.run_module('darknet_bn.opencv', run_name='__main__', alter_sys=True)"
    result = start("-c", code, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "error: the package opencv-python-headless is not installed; "
        "pip install opencv-python-headless\n"
    )
