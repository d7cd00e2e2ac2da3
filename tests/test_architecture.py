"""Modules import only from what lies before them, and each can be imported alone."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

import darknet_bn

PACKAGE = Path(darknet_bn.__file__).parent

# Top to bottom as the data flows.  A module imports only from rows above its own; those that end
# in `*` also from their neighbours in it, so long as no circle closes.
ROWS = (
    ("arrays", "columns", "errors", "values", "version"),
    ("dialect", "extras", "reading", "crew", "blas_limit"),
    ("workers", "memory", "files", "model_files", "cfg", "tree", "names", "npz", "graph"),
    ("synonyms", "weights_formats"),
    ("kernels.*",),
    ("kernels",),
    ("layers.options", "images"),
    ("drawing",),
    ("layers.base",),
    ("layers.*",),
    ("image_sizes", "layers"),
    ("network",),
    ("weights",),
    ("weights_diagnosis",),
    ("model",),
    ("plan",),
    ("run", "prepare"),
    ("batches", "rounding"),
    ("data.*",),
    ("data",),
    ("training.*",),
    ("training",),
    ("detection.*",),
    ("detection",),
    ("classification", "average_precision"),
    ("evaluation",),
    ("opencv.*",),
    ("opencv",),
    ("fold", "fixture", "summary", "provenance", "calibrate", "differences", "export_heads"),
    ("verify", "export_graph"),
    ("onnx_file",),
    ("onnx_graph",),
    ("convert.*",),
    ("convert",),
    ("onnx_export", "proof_boxes"),
    ("engines.*",),
    ("engines",),
    ("compare", "proof"),
    ("",),  # what users import, and the commands too
    ("cli.*",),
    ("cli",),
    ("__main__", "opencv.__main__"),
)


def name_of(path: Path) -> str:
    """The name inside the package: ``""`` is the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def row_of(name: str) -> int:
    for number, row in enumerate(ROWS):
        if name in row:
            return number
    package = name.rpartition(".")[0]
    for number, row in enumerate(ROWS):
        if f"{package}.*" in row:
            return number
    raise AssertionError(f"the module {name!r} has no row yet")


@functools.cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def imports_of(name: str) -> set[str]:
    """The modules of this package that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute"
            base = str(node.module)
            whole = [f"{base}.{alias.name}" for alias in node.names]
            inner = [each for each in whole if inside(each) in MODULES]
            names = inner if len(inner) == len(whole) else [*inner, base]
        else:
            continue
        found |= {str(inside(each)) for each in names if inside(each) in MODULES}
    return found


def inside(module: str) -> str | None:
    """The name inside the package of a full name; None for those of others."""
    if module == "darknet_bn":
        return ""
    return module.removeprefix("darknet_bn.") if module.startswith("darknet_bn.") else None


@pytest.mark.parametrize("name", MODULES)
def test_imports_come_from_rows_above(name: str) -> None:
    row = row_of(name)
    for imported in imports_of(name):
        above = row_of(imported) < row
        neighbour = row_of(imported) == row and ROWS[row][0].endswith("*")
        assert above or neighbour, f"{name or 'darknet_bn'} imports {imported or 'darknet_bn'}"


def test_no_circle_closes() -> None:
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in done:
            for imported in imports_of(name):
                visit(imported, (*path, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())


def test_every_module_that_the_rows_name_is_there() -> None:
    named = {name for row in ROWS for name in row if not name.endswith("*")}
    assert named <= set(MODULES)


ALONE = """
import importlib, sys, types

for line in sys.stdin:
    name, bare = line.split()
    for each in [each for each in sys.modules if each.partition(".")[0] == "darknet_bn"]:
        del sys.modules[each]
    # The packages around a module of the library, without what their own files import.
    parts = name.split(".")[:-1]
    for end in range(1, len(parts) + 1 if bare == "bare" else 1):
        package = types.ModuleType(".".join(parts[:end]))
        package.__path__ = [sys.argv[1] + "".join("/" + part for part in parts[1:end])]
        sys.modules[package.__name__] = package
    importlib.import_module(name)
    print(name)
"""


@pytest.mark.exhaustive
def test_each_module_imports_alone_in_a_fresh_interpreter() -> None:
    names = [".".join(filter(None, ("darknet_bn", name))) for name in MODULES]
    names.remove("darknet_bn.__main__")  # importing it runs the program
    face = row_of("")
    lines = [f"{name} {'bare' if row_of(str(inside(name))) < face else 'whole'}" for name in names]
    result = subprocess.run(
        [sys.executable, "-c", ALONE, str(PACKAGE)],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == names


def test_importing_the_package_imports_neither_a_command_nor_an_optional_library() -> None:
    code = (
        "import sys, darknet_bn; print([n for n in sys.modules if n.split('.')[0] in "
        "('click', 'onnx', 'onnxruntime', 'cv2', 'PIL', 'torch', 'safetensors') "
        "or n.startswith('darknet_bn.cli')])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", MODULES)
def test_a_library_never_prints_and_answers_users_with_errors(name: str) -> None:
    for node in ast.walk(tree_of(name)):
        at = f"{name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("print", "eval", "exec"), at
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None), at
        assert not isinstance(node, ast.Assert), at
        assert not isinstance(node, ast.Global), at


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_for_and_stays_small(name: str) -> None:
    assert ast.get_docstring(tree_of(name)), name
    assert MODULES[name].read_text(encoding="utf-8").count("\n") <= 450, name
    assert MODULES[name].stem != "utils"
