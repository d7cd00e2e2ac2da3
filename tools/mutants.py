"""Make mutants of a module, and see which of them its tests kill.

A mutant is the module with one change: a comparison turned, a number off by one, a condition
negated, a call left out, a word swapped.  Its tests run against a copy of the package that contains
it, and must fail.  A mutant that survives shows something that no test checks, or changes nothing
(then it is in ``tools/equivalent.txt``, with the reason).

    python tools/mutants.py darknet_bn/formats/cfg.py tests/formats/test_cfg.py --count 60
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PROJECT = Path(__file__).parents[1]
EQUIVALENT = Path(__file__).with_name("equivalent.txt")
_SECONDS = 300  # a mutant that takes longer does not end, and is killed
_TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_SWAPPED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}

Change = tuple[int, str, Callable[[ast.AST], None]]
"""The line, the change in words, and a function that changes the node."""


def changes(node: ast.AST) -> Iterator[tuple[str, Callable[[ast.AST], None]]]:
    """Yield the possible changes of a node: in words, and as a function that changes a copy."""
    match node:
        case ast.Compare(ops=ops):
            for at, op in enumerate(ops):
                new = _TURNED[type(op)]
                yield (
                    f"{type(op).__name__} becomes {new.__name__}",
                    lambda n, at=at, new=new: n.ops.__setitem__(at, new()),
                )
        case ast.BoolOp(op=op):
            other = ast.Or if isinstance(op, ast.And) else ast.And
            yield (
                f"{type(op).__name__} becomes {other.__name__}",
                lambda n, other=other: setattr(n, "op", other()),
            )
        case ast.BinOp(op=op) if type(op) in _SWAPPED:
            new_op = _SWAPPED[type(op)]
            yield (
                f"{type(op).__name__} becomes {new_op.__name__}",
                lambda n, new=new_op: setattr(n, "op", new()),
            )
        case ast.UnaryOp(op=ast.Not()):
            yield "not is left out", lambda n: setattr(n, "op", ast.UAdd())
        case ast.Constant(value=bool(value)):
            yield f"{value} becomes {not value}", lambda n: setattr(n, "value", not n.value)
        case ast.Constant(value=int(value)):
            yield f"{value} becomes {value + 1}", lambda n: setattr(n, "value", n.value + 1)
            yield f"{value} becomes {value - 1}", lambda n: setattr(n, "value", n.value - 1)
        case ast.If() | ast.While() | ast.IfExp():
            yield (
                "the condition is negated",
                lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test)),
            )
        case ast.Expr(value=ast.Call()):
            yield "the call is left out", lambda n: setattr(n, "value", ast.Constant(None))
        case ast.Raise(exc=ast.expr()):
            yield "the error is not raised", lambda n: _to_pass(n)
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            yield "None is returned", lambda n: setattr(n, "value", ast.Constant(None))
        case ast.AugAssign(op=ast.Add()):
            yield "+= becomes -=", lambda n: setattr(n, "op", ast.Sub())
        case ast.Continue():
            yield "continue becomes break", lambda n: _become(n, ast.Break)
        case ast.Break():
            yield "break becomes continue", lambda n: _become(n, ast.Continue)


def _become(node: ast.AST, kind: type[ast.AST]) -> None:
    node.__class__ = kind  # type: ignore[assignment]  # neither has fields


def _to_pass(node: ast.AST) -> None:
    node.__class__ = ast.Pass  # type: ignore[assignment]
    node.__dict__.pop("exc", None)
    node.__dict__.pop("cause", None)


def sites(tree: ast.AST) -> list[tuple[int, int, str]]:
    """Return (number of the node, number of the change, words) of all possible changes."""
    skipped = {id(each) for node in ast.walk(tree) for each in _quiet(node)}
    return [
        (number, which, f"line {getattr(node, 'lineno', 0)}: {words}")
        for number, node in enumerate(ast.walk(tree))
        if id(node) not in skipped
        for which, (words, _) in enumerate(changes(node))
    ]


def _quiet(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below one that only say something: annotations, decorators, docstrings."""
    parts: list[ast.AST] = []
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        parts += node.decorator_list
    if isinstance(node, ast.FunctionDef) and node.returns is not None:
        parts.append(node.returns)
    if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
        parts.append(node.annotation)
    if isinstance(node, ast.keyword) and node.arg == "strict":  # of zip: it only asserts
        parts.append(node.value)
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        parts.append(node)
    for part in parts:
        yield from ast.walk(part)


def mutant(source: str, number: int, which: int) -> str:
    """Return a module with one change."""
    tree = ast.parse(source)
    node = next(each for at, each in enumerate(ast.walk(tree)) if at == number)
    _, change = list(changes(node))[which]
    change(node)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd):
        node.operand = ast.Call(ast.Name("bool", ast.Load()), [copy.copy(node.operand)], [])
    return ast.unparse(ast.fix_missing_locations(tree))


def survives(module: Path, text: str, tests: list[str]) -> bool:
    """Run tests against a package with a mutant; return whether all of them pass."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "project"
        shutil.copytree(PROJECT / "darknet_bn", place / "darknet_bn", symlinks=True)
        (place / module).write_text(text, encoding="utf-8")
        # The tests are part of the copy: pytest puts their folder before all others.
        for each in (*PROJECT.iterdir(), PROJECT.parent / "shared"):
            where = place if each.parent == PROJECT else place.parent
            if each.name not in ("darknet_bn", ".git") and each.exists():
                (where / each.name).symlink_to(each)
        environment = os.environ | {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
        words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
        try:
            result = subprocess.run(
                words, cwd=place, env=environment, capture_output=True, timeout=_SECONDS
            )
        except subprocess.TimeoutExpired:
            return False
    return result.returncode == 0


def known_equivalent(module: Path) -> set[str]:
    """Return the lines of code and changes that are listed as changing nothing."""
    if not EQUIVALENT.exists():
        return set()
    lines = EQUIVALENT.read_text(encoding="utf-8").splitlines()
    rows = (line.split(" | ") for line in lines if line and line[0] != "#")
    return {f"{row[1]} | {row[2]}" for row in rows if row[0] == module.as_posix()}


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("module", type=Path, help="such as darknet_bn/formats/cfg.py")
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    source = (PROJECT / given.module).read_text(encoding="utf-8")
    lines = source.splitlines()
    all_sites = sites(ast.parse(source))
    chosen = random.Random(given.seed).sample(all_sites, min(given.count, len(all_sites)))
    equivalent = known_equivalent(given.module)

    if not survives(given.module, source, given.tests):
        print("the tests do not pass as it is")
        return 2
    if survives(given.module, f"{source}\nraise SystemError\n", given.tests):
        print("the tests do not use the module")
        return 2

    def verdict(site: tuple[int, int, str]) -> tuple[str, str]:
        number, which, words = site
        line = int(words.split(":")[0].removeprefix("line "))
        what = words.partition(": ")[2]
        if f"{lines[line - 1].strip()} | {what}" in equivalent:
            return "equivalent", words
        alive = survives(given.module, mutant(source, number, which), given.tests)
        return "survived" if alive else "killed", f"{words} | {lines[line - 1].strip()}"

    counts = {"killed": 0, "survived": 0, "equivalent": 0}
    with ThreadPoolExecutor(given.jobs) as pool:
        for result, words in pool.map(verdict, sorted(chosen)):
            counts[result] += 1
            if result == "survived":
                print(f"survived: {words}", flush=True)
    real = counts["killed"] + counts["survived"]
    print(
        f"{given.module}: {counts['killed']} of {real} killed "
        f"({counts['killed'] / max(1, real):.1%}), {counts['equivalent']} known to change nothing; "
        f"{len(all_sites)} possible"
    )
    return 1 if counts["survived"] else 0


if __name__ == "__main__":
    sys.exit(main())
