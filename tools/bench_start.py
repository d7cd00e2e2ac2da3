"""Measure the start time of the package and of every ``--help``, compared with numpy's.

All are run in turn, so that other work of the machine affects all alike.  The first round, in which
Python compiles, is ignored.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

import click

from darknet_bn.cli.commands import SHORT_HELP

PROGRAM = ("-m", "darknet_bn")
REMOVED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "PYTHONDONTWRITEBYTECODE")


def starts() -> dict[str, tuple[str, ...]]:
    """Return the programs to start, by name; the others are compared with the first."""
    return {
        "import numpy": ("-c", "import numpy"),
        "Python alone": ("-c", "pass"),
        "import darknet_bn": ("-c", "import darknet_bn"),
        "dn.load": ("-c", "import darknet_bn as dn; dn.load"),
        "--version": (*PROGRAM, "--version"),
        "--help": (*PROGRAM, "--help"),
        **{f"{name} --help": (*PROGRAM, name, "--help") for name in SHORT_HELP},
    }


@click.command()
@click.option("--rounds", default=20, show_default=True, help="How often each is started.")
def main(rounds: int) -> None:
    """Time how long Python takes to start with the package, and each command to show its help.

    Example: tools/bench_start.py --rounds 40
    """
    environment = {name: value for name, value in os.environ.items() if name not in REMOVED}
    times: dict[str, list[float]] = {name: [] for name in starts()}
    for number in range(rounds + 1):
        for name, words in starts().items():
            began = time.perf_counter()
            subprocess.run(
                [sys.executable, *words], env=environment, stdout=subprocess.DEVNULL, check=True
            )
            if number:
                times[name].append(time.perf_counter() - began)
    base = next(statistics.median(values) for values in times.values())
    click.echo(f"median of {rounds}, and the quickest")
    for name, values in times.items():
        median = statistics.median(values)
        click.echo(
            f"  {name:<18} {1e3 * median:6.1f} ms ({1e3 * min(values):.1f})"
            f"  {median / base:4.2f} of numpy"
        )


if __name__ == "__main__":
    main()
