"""Ctrl-C and a full disk while an edited model is written: real signals and real file systems.

All runs of a test are made by one process of its own, because starting one takes longest.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .test_edit import VERBS

# What all programs below begin with: a command, and what is in the folder of its results then.
START = """
import json, os, signal, sys
from pathlib import Path
from darknet_bn.cli.program import main

commands, folder = json.loads(sys.argv[1]), Path(sys.argv[2])

def run(words):
    sys.argv = ["darknet-bn", *words]
    try:
        main()
    except SystemExit as end:
        return end.code or 0

def content():
    return {each.name: each.read_bytes().hex() for each in folder.iterdir()}

def begin(names):
    for each in folder.iterdir():
        each.unlink()
    for name in names:
        (folder / name).write_bytes(b"old " + name.encode())
    return content()

found = []
"""
# A real Ctrl-C when a file is flushed, linked, renamed or removed for the n-th time.
INTERRUPTED = """
left = 0
def hit(real):
    def call(*words, **options):
        global left
        left -= 1
        if left == 0:
            signal.raise_signal(signal.SIGINT)
        return real(*words, **options)
    return call

for name in ("link", "replace", "unlink"):
    setattr(os, name, hit(getattr(os, name)))
os.fsync = hit(lambda handle: None)  # it takes long, and no power is cut here
for words, names, most in commands:
    for old in ([], names):
        begin(old)
        assert run([*words, "--force"]) == 0
        new = content()
        for at in range(1, most + 1):
            before = begin(old)
            left = at
            code = run([*words, *["--force"] * bool(old)])
            unhit, left = left > 0, 0
            after = content()
            state = "old" if after == before else "new" if after == new else sorted(after)
            found.append([words[:2], at, code, state])
            if unhit:
                break
print(json.dumps(found))
"""
# A file system of 16 kilobytes that one file has filled, or a limit for the size of files.
FULL = """
def fill():
    if sys.argv[3] == "limit":
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
        return
    with open(folder / "filler", "wb", buffering=0) as stream:
        try:
            while stream.write(bytes(4096)):
                pass
        except OSError:
            pass

for words, names, _ in commands:
    for old in ([], names):
        begin(old)
        fill()
        before = content()
        code = run([*words, *["--force"] * bool(old)])
        found.append([words[:2], 0, code, "old" if content() == before else sorted(content())])
begin([])
print(json.dumps(found))
"""
MOUNT = 'mount -t tmpfs -o size=16k none "$1" && shift && exec "$@"'


def program(text: str, commands: Sequence[object], folder: Path, *more: str) -> list[str]:
    return [sys.executable, "-c", START + text, json.dumps(commands), str(folder), *more]


def answers(command: list[str], folder: Path) -> tuple[list[list[Any]], list[str]]:
    """Return what a program found, and the lines of the errors that the commands printed."""
    done = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *_, line = done.stdout.splitlines()
    found: list[list[Any]] = json.loads(line)
    return found, done.stderr.splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "results"
    path.mkdir()
    return path


@pytest.fixture
def commands(tiny: Path, tmp_path: Path, folder: Path) -> dict[str, list[Any]]:
    """The words of each command, the files that it writes, and how often it may be hit."""
    y = np.zeros((9, 1, 5), np.float32)
    y[:, 0, :2] = 0.5
    y[:, 0, 2:4] = np.array([[6, 12], [20, 20], [50, 40]] * 3) / 64
    boxes = tmp_path / "boxes.npz"
    np.savez(boxes, x=np.zeros((9, 3, 64, 64), np.uint8), y=y)
    out, pair = f"{folder / 'out'}", ["out.cfg", "out.weights"]
    found = {
        verb: [["edit", verb, str(tiny), *map(str, VERBS[verb]), "-o", out], pair, 1]
        for verb in sorted(VERBS)
    }
    found["partial"][1] = ["out.conv.5"]
    found["anchors"] = [["anchors", f"{tiny}.cfg", str(boxes), "-o", out], pair[:1], 1]
    return found


def test_ctrl_c_leaves_the_old_files_or_the_new_ones(
    commands: dict[str, list[Any]], folder: Path
) -> None:
    for each in ("anchors", "header"):  # one file, and a pair
        commands[each][2] = 99
    found, errors = answers(program(INTERRUPTED, list(commands.values()), folder), folder)
    assert "".join(errors) == ""
    for words, at, code, state in found:
        assert (code, state) in ((130, "old"), (130, "new"), (0, "new")), (words, at, code, state)
    first = [(code, state) for _, at, code, state in found if at == 1]
    assert first == [(130, "old")] * 2 * len(commands)
    assert sum(code == 0 for *_, code, _ in found) == 4  # the whole way of two, new and over old


@pytest.mark.parametrize("how", ["limit", "tmpfs"])
def test_a_full_disk_leaves_all_as_it_was(
    commands: dict[str, list[Any]], folder: Path, how: str
) -> None:
    if how == "limit":
        pytest.importorskip("resource", reason="the system has no limits of file sizes")
    command = program(FULL, list(commands.values()), folder, how)
    reason = "File too large"
    if how == "tmpfs":
        mounting = ["unshare", "-rm", "sh", "-c", MOUNT, "sh", str(folder)]
        try:
            subprocess.run([*mounting, "true"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("the system has no unshare, or mounts nothing for a user")
        command, reason = [*mounting, *command], "No space left on device"
    found, errors = answers(command, folder)
    assert [(code, state) for *_, code, state in found] == [(2, "old")] * 2 * len(commands)
    lines = [line for line in errors if not line.startswith("note: ")]
    assert len(lines) == len(found)
    assert all(f"cannot be written: {reason}" in line for line in lines)
    assert list(folder.iterdir()) == []
