"""tools/check_dist.py finds what an sdist or a wheel must not have, and what it lacks."""

from __future__ import annotations

import importlib
import io
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.paths import TOOLS

FILES = {"README.md", "darknet_bn/__init__.py", "tests/test_a.py"}
INFO = "darknet_bn-0.1.0.dist-info"
METADATA = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
WHEEL = {"darknet_bn/__init__.py", *(f"{INFO}/{name}" for name in METADATA)}


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    sys.path.insert(0, str(TOOLS))
    try:
        return importlib.import_module("check_dist")
    finally:
        sys.path.remove(str(TOOLS))


def wrong(tool: ModuleType, folder: Path, sdist: set[str], wheel: set[str]) -> list[str]:
    with tarfile.open(folder / "s.tar.gz", "w:gz") as archive:
        for name in sorted(sdist):
            archive.addfile(tarfile.TarInfo(f"darknet_bn-0.1.0/{name}"), io.BytesIO())
    path = folder / "darknet_bn-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(wheel):
            archive.writestr(name, b"")
    return tool.wrong_files(folder / "s.tar.gz", path, FILES)


def test_the_files_of_the_repository_are_right(tool: ModuleType, tmp_path: Path) -> None:
    assert wrong(tool, tmp_path, FILES | {"PKG-INFO"}, WHEEL) == []


def test_what_is_too_much_and_what_is_missing_is_named(tool: ModuleType, tmp_path: Path) -> None:
    sdist = {"PKG-INFO", "README.md", "tests/test_a.py", "shared/yolov3.weights"}
    wheel = (WHEEL | {"tests/test_a.py"}) - {f"{INFO}/licenses/LICENSE"}
    assert wrong(tool, tmp_path, sdist, wheel) == [
        "s.tar.gz: shared/yolov3.weights must not be in it",
        "s.tar.gz: darknet_bn/__init__.py is missing",
        "darknet_bn-0.1.0-py3-none-any.whl: tests/test_a.py must not be in it",
        f"darknet_bn-0.1.0-py3-none-any.whl: {INFO}/licenses/LICENSE is missing",
    ]
