"""Files that broke a reader once, or are made to: read again with little memory, by all readers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import PROJECT

HOSTILE = PROJECT / "tests/fixtures/hostile"
TOOL = PROJECT / "tools/fuzz.py"

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="the system does not tell how much memory is used"
)


def run(*words: str) -> str:
    result = subprocess.run([sys.executable, str(TOOL), *words], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_every_hostile_file_keeps_the_contract() -> None:
    """An error of the family or a value, in a second, with 300 MB; nothing waits or crashes."""
    files = [path for path in HOSTILE.rglob("*") if path.is_file()]
    found = re.fullmatch(r"(\d+) files, 0 broken\n", run("--replay"))
    assert found is not None
    assert int(found[1]) >= len(files) + 40  # and the malformed ones


# What the tool does in a new process for each reader, in copies of one that has imported all.
COPIES = """
import os, sys; sys.path.insert(0, 'tools')
import fuzz, fuzz_readers, onnx
for name in fuzz_readers.READERS:
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = fuzz._work(name, 7, range(60), None)
        finally:
            sys.stdout.flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        print(f'{name} ended with {code}')
"""


def test_mutated_files_keep_it_too() -> None:
    """A sample of what ``tools/fuzz.py`` does in numbers, of every reader."""
    words = [sys.executable, "-c", COPIES]
    result = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    told = result.stdout.splitlines()
    assert len([line for line in told if line.startswith("worst ")]) >= 16
    assert not [line for line in told if not line.startswith(("at ", "worst "))]


@pytest.mark.parametrize("names", [("npy",), pytest.param((), marks=pytest.mark.exhaustive)])
def test_the_tool_shares_its_cases_out(names: tuple[str, ...]) -> None:
    told = run(*names, "--cases", "60", "--seed", "7", "--jobs", "2")
    assert ("60 cases, seed 7, 0 parts broken" if names else " 0 parts broken") in told


def test_equal_numbers_give_equal_files() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tools'); import fuzz, hashlib;"
        "print(hashlib.sha256(b''.join(data for name in ('cfg', 'npy', 'labels')"
        " for _, data in fuzz.cases(name, 3, range(50)))).hexdigest())"
    )
    words = [sys.executable, "-c", code]
    runs = [subprocess.run(words, cwd=PROJECT, capture_output=True, text=True) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout != ""


BREAKS = {  # what a reader does, and how it is reported
    "raise ValueError('x')": "ValueError at ",
    "raise dn.DarknetError('x')": "None",
    "import warnings; warnings.warn('x', RuntimeWarning)": "RuntimeWarning at ",
    "import warnings; warnings.warn('x', dn.DarknetWarning)": "None",
    "import time; t = time.process_time()\n while time.process_time() < t + 1.1: pass": "s of CPU",
    "bytearray(2 << 30)": "MemoryError at ",
}


@pytest.fixture(scope="module")
def noticed() -> dict[str, str]:
    """The report on each."""
    code = f"""
import sys; sys.path.insert(0, 'tools')
import tempfile; from pathlib import Path
import fuzz, fuzz_readers, darknet_bn as dn
fuzz.limit_memory(fuzz.MOST_BYTES)
for code in {list(BREAKS)}:
    names = dict(dn=dn)
    exec('def read(path):\\n ' + code, names)
    fuzz_readers.READERS['npy'] = fuzz_readers.Reader('.npy', lambda folder: [], names['read'])
    with tempfile.TemporaryDirectory() as folder:
        print(fuzz.Check('npy', Path(folder))(b''))
"""
    words = [sys.executable, "-c", code]
    result = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return dict(zip(BREAKS, result.stdout.splitlines(), strict=True))


@pytest.mark.parametrize("data", BREAKS)
def test_what_breaks_the_contract_is_noticed(noticed: dict[str, str], data: str) -> None:
    assert BREAKS[data] in noticed[data]
