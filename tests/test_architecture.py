"""Wings import only from wings above them, and each module can be imported alone."""

from __future__ import annotations

import ast
import functools
import importlib.util
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

import darknet_bn
from darknet_bn import dialect
from darknet_bn.dialect import Dialect
from darknet_bn.layers import KINDS
from darknet_bn.layers.layer import Layer

PACKAGE = Path(darknet_bn.__file__).parent

# Top to bottom as the data flows: a file in a wing imports from its own wing and from those above.
# What every wing may use is on its own, in single files, and comes first.
GROUND = ("version", "arrays", "errors", "values", "dialect", "optional")
WINGS = (
    "formats",
    "work",
    "kernels",
    "graph",
    "layers",
    "model",
    "pictures",
    "run",
    "transforms",
    "data",
    "training",
    "predictions",
    "convert",
    "engines",
    "opencv",
    "checks",
)
ABOVE = ("", "cli", "__main__")  # what users import, the commands, and the program
ROOMS = (*GROUND, *WINGS, *ABOVE)


def name_of(path: Path) -> str:
    """The name inside the package: ``""`` is the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room_of(name: str) -> str:
    room = name.partition(".")[0]
    assert room in ROOMS, f"the module {name!r} has no room yet"
    return room


def place_of(name: str) -> int:
    """How far down the room is; those of the ground stand side by side."""
    room = room_of(name)
    return 0 if room in GROUND else ROOMS.index(room)


@functools.cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


@functools.cache
def nodes_of(name: str) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree_of(name)))


def nodes_in(names: Iterable[str]) -> Iterator[tuple[str, ast.AST]]:
    """Each piece of code of some modules, with the name of its module."""
    return ((name, node) for name in names for node in nodes_of(name))


def imports_of(name: str) -> set[str]:
    """The modules of this package that a module imports, wherever in it."""
    found: set[str] = set()
    for node in nodes_of(name):
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
    """The name inside the package of a full name; None for names of others."""
    if module == "darknet_bn":
        return ""
    return module.removeprefix("darknet_bn.") if module.startswith("darknet_bn.") else None


def test_imports_come_from_the_same_wing_or_from_above() -> None:
    pairs = ((name, each) for name in MODULES for each in imports_of(name))
    for name, imported in pairs:
        above = place_of(imported) < place_of(name)
        neighbour = place_of(imported) == place_of(name)
        assert above or neighbour, f"{name or 'darknet_bn'} imports {imported or 'darknet_bn'}"


def visit(graph: Mapping[str, set[str]]) -> dict[str, int]:
    """The floor of each node: one above the highest that it imports.  No circle may close."""
    floors: dict[str, int] = {}

    def floor(name: str, path: tuple[str, ...]) -> int:
        assert name not in path, " -> ".join((*path, name))
        if name not in floors:
            floors[name] = 1 + max((floor(each, (*path, name)) for each in graph[name]), default=0)
        return floors[name]

    for name in graph:
        floor(name, ())
    return floors


def test_no_circle_closes() -> None:
    visit({name: imports_of(name) for name in MODULES})


def test_the_house_stays_small() -> None:
    rooms: dict[str, set[str]] = {room: set() for room in ROOMS}
    for name in MODULES:
        rooms[room_of(name)] |= {room_of(each) for each in imports_of(name)} - {room_of(name)}
    assert len(rooms) <= 25
    assert max(visit(rooms).values()) <= 15


def test_every_room_of_the_list_is_there() -> None:
    assert set(ROOMS) == {name.partition(".")[0] for name in MODULES}


def test_no_module_of_ours_is_imported_unseen() -> None:
    # By importlib an import would be one that no check here counts, but for the tables of names of
    # ours, which tests/test_face.py and tests/cli/test_commands.py hold to what is there.
    for name, node in nodes_in(MODULES.keys() - {"", "cli.commands", "optional"}):
        unseen = {"import_module", "__import__"}
        assert not (isinstance(node, ast.Attribute) and node.attr in unseen), name
        assert not (isinstance(node, ast.Name) and node.id in unseen), name


def subclasses_of_packages() -> dict[str, str]:
    """The modules that have classes of a package that may be absent, and so import it."""
    found = {}
    for name in MODULES.keys() - {"optional"}:
        for node in tree_of(name).body:
            value = node.value if isinstance(node, ast.AnnAssign) else None
            if isinstance(value, ast.Call) and ast.unparse(value.func) == "load_extra":
                found[name] = ast.literal_eval(value.args[0])
    return found


def test_few_modules_import_a_package_that_may_be_absent() -> None:
    found = subclasses_of_packages()
    names = ("batch_norm", "functions", "module")
    assert found == {f"convert.pytorch.{name}": "torch" for name in names}
    for name in MODULES.keys() - found:  # what imports them does so when it is called
        for node in tree_of(name).body:
            if isinstance(node, ast.ImportFrom):
                assert inside(str(node.module)) not in found, name


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
    for name, package in subclasses_of_packages().items():
        if importlib.util.find_spec(package) is None:
            names.remove(f"darknet_bn.{name}")
    face = place_of("")
    bare = ["bare" if place_of(str(inside(name))) < face else "whole" for name in names]
    lines = [" ".join(pair) for pair in zip(names, bare, strict=True)]
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


def test_a_library_never_prints_and_answers_users_with_errors() -> None:
    for name, node in nodes_in(MODULES):
        at = f"{name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("print", "eval", "exec"), at
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None), at
        assert not isinstance(node, ast.Assert), at
        assert not isinstance(node, ast.Global), at


def test_every_module_says_what_it_is_for_and_stays_small() -> None:
    for name, path in MODULES.items():
        assert ast.get_docstring(tree_of(name)), name
        assert path.read_text(encoding="utf-8").count("\n") <= 450, name
        assert path.stem != "utils"


def test_an_error_gets_its_place_and_its_reason_in_one_way() -> None:
    # By `errors.located` the former, by `errors.reason_of` the latter.
    for name, node in nodes_in(MODULES):
        if name != "errors" and isinstance(node, ast.Attribute):
            placed = node.attr == "where" and isinstance(node.ctx, ast.Store)
            assert not placed and node.attr != "strerror", f"{name}:{node.lineno}"


def test_texts_are_utf8_on_every_system() -> None:
    """Files opened as text give their encoding: the system's default may be any."""
    for name, node in nodes_in(MODULES):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.id if isinstance(node.func, ast.Name) else None
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("read_text", "write_text"):
            called = node.func.attr
        if called not in ("open", "read_text", "write_text"):
            continue
        modes = [each.value for each in node.args[1:2] if isinstance(each, ast.Constant)]
        binary = called == "open" and any("b" in str(each) for each in modes)
        keywords = {each.arg for each in node.keywords}
        assert binary or "encoding" in keywords, f"{name}:{node.lineno}"
        assert binary or called == "read_text" or "newline" in keywords, f"{name}:{node.lineno}"


def test_a_layer_is_asked_few_questions() -> None:
    (layer,) = (
        node
        for node in tree_of("layers.layer").body
        if isinstance(node, ast.ClassDef) and node.name == "Layer"
    )
    assert sum(isinstance(node, ast.FunctionDef) for node in layer.body) <= 13


def layer_classes(kind: type[Layer] = Layer) -> set[str]:
    """The names of all classes of layers, abstract ones too."""
    below = (layer_classes(each) for each in kind.__subclasses__())
    return {kind.__name__}.union(*below)


OF_ONE_KIND = {inside(kind.__module__) for kind in KINDS}
LAYER_CLASSES = layer_classes()
OUTSIDE_LAYERS = [name for name in MODULES if room_of(name) != "layers"]
NAMES_KINDS = ("opencv", "convert")  # they have the names that other programs give to kinds
DIALECT_VALUES = {name for name, value in vars(dialect).items() if isinstance(value, Dialect)}
BUILT_IN = {"str", "int", "float", "bool", "bytes", "dict", "list", "tuple"}


def test_nobody_outside_layers_imports_a_single_kind() -> None:
    for name in OUTSIDE_LAYERS:
        assert not imports_of(name) & OF_ONE_KIND, name
    for name, node in nodes_in(OUTSIDE_LAYERS):
        if isinstance(node, ast.ImportFrom) and node.module == "darknet_bn.layers":
            assert not {alias.name for alias in node.names} & LAYER_CLASSES, name


def is_layer(node: ast.expr) -> bool:
    """Whether an expression is called as layers are: ``node.layer``, ``last_head`` …"""
    while isinstance(node, ast.Subscript):
        node = node.value
    text = ast.unparse(node).rpartition(".")[2]
    return text.rpartition("_")[2] in ("layer", "head") or text == "last"


def asks_for_the_kind(node: ast.AST) -> bool:
    """Whether code asks what kind a layer is, or what it may have, instead of asking the layer."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
        return False
    if node.func.id in ("isinstance", "issubclass"):
        kinds = {each.id for each in ast.walk(node.args[1]) if isinstance(each, ast.Name)}
        kinds |= {each.attr for each in ast.walk(node.args[1]) if isinstance(each, ast.Attribute)}
        return bool(kinds & LAYER_CLASSES) or (is_layer(node.args[0]) and not kinds <= BUILT_IN)
    return node.func.id in ("getattr", "hasattr", "type") and is_layer(node.args[0])


def test_nobody_outside_layers_asks_what_kind_a_layer_is() -> None:
    for name, node in nodes_in(OUTSIDE_LAYERS):
        at = f"{name}:{getattr(node, 'lineno', 0)}"
        assert not asks_for_the_kind(node), at
        if isinstance(node, ast.Compare) and room_of(name) not in NAMES_KINDS:
            sides = (ast.unparse(each) for each in (node.left, *node.comparators))
            assert not any(each.endswith(".names[0]") for each in sides), at


def test_only_the_reader_of_options_asks_which_family_a_dialect_is_of() -> None:
    # Any other difference is a value of `Dialect` with a name of its own.
    asking = {
        name
        for name, node in nodes_in(MODULES)
        if isinstance(node, ast.Attribute)
        and node.attr == "extended"
        and ast.unparse(node.value).rpartition(".")[2] in {"dialect", *DIALECT_VALUES}
    }
    assert asking <= {"layers.options", "layers.option_values"}
