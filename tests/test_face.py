"""What the package offers is imported when it is first asked for, whatever came before."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import darknet_bn as dn
from tests.test_architecture import MODULES

SOURCE = Path(dn.__file__)
HOMES = {
    name.partition("=")[0]: f"{key.value}.{name.rpartition('=')[2]}"
    for table in ast.walk(ast.parse(SOURCE.read_text(encoding="utf-8")))
    if isinstance(table, ast.Dict)
    for key, value in zip(table.keys, table.values, strict=True)
    if isinstance(key, ast.Constant) and isinstance(value, ast.Constant)
    for name in value.value.split()
}


def run(code: str, text: str = "") -> str:
    """What a fresh Python prints."""
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, input=text, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_table_says_what_types_are_checked_by() -> None:
    checked, modules = {}, set()
    for block in ast.parse(SOURCE.read_text(encoding="utf-8")).body:
        if isinstance(block, ast.If):
            assert ast.unparse(block.test) == "TYPE_CHECKING"
            for each in block.body:
                assert isinstance(each, ast.ImportFrom)
                if each.module == "typing":
                    continue
                for alias in each.names:
                    if each.module == "darknet_bn":
                        modules.add(alias.name)
                    else:
                        checked[alias.asname or alias.name] = f"{each.module}.{alias.name}"
    assert checked == HOMES
    assert set(dn.__all__) == {*HOMES, *modules, "__version__"}
    assert len(dn.__all__) == len(set(dn.__all__))
    assert modules == {"kernels"}


def test_all_that_is_public_is_listed_and_starred() -> None:
    assert set(dn.__all__) <= set(dir(dn))
    names: dict[str, object] = {}
    exec("from darknet_bn import *", names)
    assert {name: getattr(dn, name) for name in dn.__all__}.items() <= names.items()


def test_importing_the_package_imports_next_to_nothing() -> None:
    code = "import sys, darknet_bn; print(*(n for n in sys.modules if n.startswith('darknet_bn')))"
    assert set(run(code).split()) == {"darknet_bn", "darknet_bn.version"}
    code = "import sys, darknet_bn.errors; print('numpy' in sys.modules)"
    assert run(code) == "False\n"


def test_no_module_has_the_name_of_something_offered() -> None:
    # Python puts a module on its package once it is imported, and there it would hide the name.
    assert not {name.partition(".")[0] for name in MODULES} & set(HOMES)


def test_every_name_is_what_its_module_has() -> None:
    code = """
import importlib, sys, darknet_bn
for line in sys.stdin:
    name, home = line.split()
    module, _, inside = home.rpartition(".")
    assert getattr(darknet_bn, name) is getattr(importlib.import_module(module), inside), name
    assert getattr(darknet_bn, name) is vars(darknet_bn)[name]
"""
    run(code, "\n".join(" ".join(each) for each in HOMES.items()))


@pytest.mark.parametrize("name", ["kernels", "convert", "layers", "opencv"])
def test_modules_are_imported_as_attributes(name: str) -> None:
    assert run(f"import darknet_bn as dn; print(dn.{name}.__name__)") == f"darknet_bn.{name}\n"


def test_what_is_not_there_is_an_attribute_error() -> None:
    for name in ("lode", "__wrapped__", "_load", "verify_"):
        with pytest.raises(AttributeError, match=rf"'darknet_bn' has no attribute '{name}'"):
            getattr(dn, name)
    with pytest.raises(ImportError, match="cannot import name 'lode'"):
        exec("from darknet_bn import lode")


def test_tools_that_look_at_the_package_see_all() -> None:
    code = (
        "import copy, inspect, pickle, pydoc\nimport darknet_bn as dn\n"
        'assert inspect.getsource(dn).startswith(\'"""Read, run\')\n'
        "text = pydoc.plain(pydoc.render_doc(dn))\n"
        "assert all(name in text for name in ('class Model', 'fold_batchnorm(', 'ALEXEYAB ='))\n"
        "assert dict(inspect.getmembers(dn))['verify'] is dn.verify\n"
        "assert pickle.loads(pickle.dumps([dn.verify, dn.Where])) == [dn.verify, dn.Where]\n"
        "assert pickle.loads(pickle.dumps(dn.PJREDDIE)) == copy.deepcopy(dn.PJREDDIE)\n"
    )
    assert run(code) == ""


def test_an_error_inside_a_module_is_not_taken_for_its_absence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needs.py").write_text("import no_such_package_at_all\n")
    monkeypatch.setattr(dn, "__path__", [*dn.__path__, str(tmp_path)])
    with pytest.raises(ModuleNotFoundError, match="no_such_package_at_all"):
        _ = dn.needs
