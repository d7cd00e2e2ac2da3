"""Batch norm, measured on handwritten digits; docs/batch-norm explains the results.

    python examples/batchnorm/batchnorm.py                    all measurements, two to three minutes
    python examples/batchnorm/batchnorm.py depth rates        two of them
    python examples/batchnorm/batchnorm.py -o docs/batch-norm also draw the pictures there, and put
                                                              the tables into the pages

Needs the extra ``examples``: scikit-learn for the digits, matplotlib for the pictures.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

import averages
import descent
import equations
import practice
import problem
import style
import whitening
from experiment import FULL, SMALL, Result, Setting

PARTS: dict[str, Callable[[Setting], Result]] = {
    part.__name__: part
    for part in (
        problem.depth,
        problem.curves,
        problem.rates,
        whitening.outside,
        whitening.linear_part,
        whitening.frozen,
        equations.equations,
        equations.channels,
        averages.averages,
        descent.descent,
        descent.sizes,
        practice.dropout,
        practice.features,
        practice.order,
        practice.two_batches,
    )
}


def measure(name: str, setting: Setting) -> Result:
    """Measure one part, in the style that all pictures share."""
    with style.look():
        return PARTS[name](setting)


def put_into(page: str, name: str, table: str) -> str:
    """Return a page with the table of a part in its place, if the page has one for it."""
    block = re.compile(rf"(<!-- measured: {name} -->\n```text\n).*?(^```$)", re.DOTALL | re.M)
    return block.sub(lambda found: f"{found[1]}{table}\n{found[2]}", page)


def write(folder: Path, name: str, result: Result) -> None:
    """Save the picture of a part, and put its table into the pages of the folder."""
    if result.figure is not None:
        style.save(result.figure, folder / "pictures" / f"{name}.svg")
    for path in sorted(folder.glob("*.md")):
        before = path.read_text(encoding="utf-8")
        after = put_into(before, name, result.table)
        if after != before:
            path.write_text(after, encoding="utf-8")


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description="Measure what batch norm does to training.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="pictures and pages")
    parser.add_argument("--small", action="store_true", help="a few steps only, as a test does")
    given = parser.parse_args()
    if unknown := [part for part in given.parts if part not in PARTS]:
        parser.error(f"no part is called {', '.join(unknown)}")
    for name in given.parts or PARTS:
        result = measure(name, SMALL if given.small else FULL)
        print(f"{name}:\n{result.table}\n" if result.table else f"{name}: a picture\n")
        if given.output:
            write(given.output, name, result)


if __name__ == "__main__":
    main()
