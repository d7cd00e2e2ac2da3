"""Look into what is to be published: ``python tools/check_dist.py dist``.

The sdist has to hold the files of the repository, all of them and nothing else; the wheel, those of
the package.  Then the wheel is installed into a fresh environment, where the program and the import
have to work with what it declares alone.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Iterable
from pathlib import Path

PROJECT = Path(__file__).parents[1]
PACKAGE = "darknet_bn"
WRITTEN_IN_SDIST = {"PKG-INFO"}
WRITTEN_IN_WHEEL = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}


def in_sdist(path: Path) -> set[str]:
    """Return the files of an sdist, without the folder that all are in."""
    with tarfile.open(path) as archive:
        return {each.name.partition("/")[2] for each in archive if not each.isdir()}


def in_wheel(path: Path) -> set[str]:
    """Return the files of a wheel."""
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def tracked() -> set[str]:
    """Return the files of the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    return {name for name in listed.stdout.split("\0") if name}


def differences(what: str, found: Iterable[str], expected: Iterable[str]) -> list[str]:
    """Return a line for each file that is there and should not be, or the other way round."""
    found, expected = set(found), set(expected)
    return [
        *(f"{what}: {name} must not be in it" for name in sorted(found - expected)),
        *(f"{what}: {name} is missing" for name in sorted(expected - found)),
    ]


def wrong_files(sdist: Path, wheel: Path, files: set[str]) -> list[str]:
    """Return what is wrong with the contents of both, given the files of the repository."""
    info = "-".join(wheel.name.split("-")[:2]) + ".dist-info"
    package = {name for name in files if name.startswith(f"{PACKAGE}/")}
    return [
        *differences(sdist.name, in_sdist(sdist), files | WRITTEN_IN_SDIST),
        *differences(
            wheel.name, in_wheel(wheel), package | {f"{info}/{name}" for name in WRITTEN_IN_WHEEL}
        ),
    ]


def run_installed(wheel: Path, folder: Path) -> list[str]:
    """Install a wheel into a fresh environment, and return what the program and the import say."""
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    commands: list[list[str | Path]] = [
        [programs / "python", "-m", "pip", "install", "-q", wheel.resolve()],
        [programs / "python", "-m", "pip", "check"],
        [programs / "darknet-bn", "--help"],
        [programs / "python", "-c", f"import {PACKAGE}; print({PACKAGE}.__version__)"],
    ]
    done = [
        subprocess.run(each, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
        for each in commands
    ]
    return [each.stdout for each in done]


def main() -> int:
    """Print what is wrong with the files in a folder, and return 1 if anything is."""
    folder = Path(sys.argv[1])
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    wrong = wrong_files(sdist, wheel, tracked())
    with tempfile.TemporaryDirectory() as place:
        *_, help_text, version = run_installed(wheel, Path(place))
    if not help_text.startswith("Usage: darknet-bn"):
        wrong.append(f"{wheel.name}: --help prints {help_text[:80]!r}")
    if wheel.name.split("-")[1] != version.strip():
        wrong.append(f"{wheel.name}: the package calls itself {version.strip()}")
    print("\n".join(wrong) or f"{sdist.name} and {wheel.name} hold what they should, and run")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
