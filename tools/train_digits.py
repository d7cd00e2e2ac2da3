"""Train the classifier of handwritten digits in ``tests/fixtures/digits``.

The digits are scikit-learn's (UCI's optical recognition of handwritten digits): 8 x 8 pixels with
values from 0 to 16.  360 of the 1797 are held out, in ``test.npz``; the others are in
``train.npz``.  All training is this package's.  The recorded outputs are those that Debian's
Darknet computes with the weights.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
from golden_selection import sha256, tolerances, write_provenance
from make_fixtures import DEBIAN, FIXTURES, compile_driver, make_fixture, run_network
from sklearn.datasets import load_digits

import darknet_bn as dn
from darknet_bn.arrays import F32

HELD_OUT = 360
SEED = 1
_NAMES = ("digits.weights", "train.npz", "test.npz", "digits.npz", "outputs.npz")


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=FIXTURES / "digits",
    help="Where the weights and what belongs to them go.  [default: tests/fixtures/digits]",
)
@click.option("--iterations", type=click.IntRange(min=1), help="Updates; by default, max_batches.")
def main(output: Path, iterations: int | None) -> None:
    """Train the classifier of handwritten digits, and record what Darknet makes of it."""
    cfg = FIXTURES / "digits" / "digits.cfg"
    weights, train, test, layers, outputs = (output / name for name in _NAMES)
    output.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    x = (digits.images / 16).astype(np.float32)[:, None]
    y = digits.target.astype(np.uint8)
    order = np.random.default_rng(SEED).permutation(len(y))
    held_out, rest = order[:HELD_OUT], order[HELD_OUT:]
    np.savez_compressed(test, x=x[held_out], y=y[held_out])
    # Half the bytes, and exact: the values are multiples of 1/16.
    np.savez_compressed(train, x=x[rest].astype(np.float16), y=y[rest])

    with tempfile.TemporaryDirectory() as folder:
        model = dn.load(cfg, None, dialect="pjreddie", seed=SEED)
        examples = dn.load_dataset(train, model, train=True)
        state = dn.train_state(model, SEED)
        for progress in dn.train(state, examples, iterations=iterations):
            if progress.iteration % 100 == 0:
                click.echo(f"{progress.iteration}: loss {progress.average:.4f}")
            state = progress.state
        dn.save(state.model, Path(folder) / "digits.cfg", weights, force=True)
    right = int((_classes(dn.load(cfg, weights), x[held_out]) == y[held_out]).sum())
    click.echo(f"{right} of {HELD_OUT} digits that were held out are recognised")

    with tempfile.TemporaryDirectory() as folder:
        answers, made = _record(Path(folder), cfg, weights, x[held_out], layers)
    program = {key: made[key] for key in ("program", "version", "dialect")}
    np.savez_compressed(outputs, outputs=answers)
    made_by = {"command": "tools/train_digits.py"}
    records: dict[str, dict[str, Any]] = {
        "digits.cfg": {"source": "written for this project"},
        "digits.names": {"source": "written for this project"},
        "digits.weights": made_by | {"seed": SEED},
        "train.npz": made_by | {"examples": f"{len(rest)} of scikit-learn's digits"},
        "test.npz": made_by | {"examples": f"{HELD_OUT} of scikit-learn's digits, held out"},
        "digits.npz": made | {"tolerance": tolerances(layers)},
        "outputs.npz": made_by | program | {"tolerance": tolerances(outputs)},
    }
    if output.resolve() == cfg.parent.resolve():
        for name, record in records.items():
            record["sha256"] = sha256(output / name)
        about = "the weights are trained by this project's own code; the digits are scikit-learn's"
        write_provenance(output, records, about=about)


def _classes(model: dn.Model, x: F32) -> Any:
    (outputs,) = dn.forward(model, x).values()
    return outputs.argmax(axis=1)


def _record(
    folder: Path, cfg: Path, weights: Path, x: F32, layers: Path
) -> tuple[F32, dict[str, Any]]:
    """Let Darknet record all layers of the first batch, and the outputs of all digits."""
    batch = 8  # of the cfg: batch divided by subdivisions
    source = folder / "input.npz"
    np.savez(source, input=x[:batch])
    made = make_fixture(cfg, weights, layers, 0, source, DEBIAN, "cc")
    made |= {"command": f"tools/train_digits.py: the first {batch} digits of test.npz"}
    return darknet_outputs(folder, cfg, weights, x), made


def darknet_outputs(folder: Path, cfg: Path, weights: Path, x: F32) -> F32:
    """Return what Darknet gives for any number of digits, as one batch."""
    wider = folder / "digits.cfg"
    edits = {(0, "batch"): str(len(x)), (0, "subdivisions"): "1"}
    wider.write_bytes(dn.load_cfg(cfg).edited(edits).to_bytes())
    driver = compile_driver(folder, DEBIAN, "cc")
    return run_network(driver, wider, weights, x, folder)[-1]


if __name__ == "__main__":
    main()
