"""Make and gather fixtures: what the real Darknet programs computed, layer by layer.

``make`` runs any model through Debian's Darknet (``apt-get install darknet``) with
``darknet_driver.c``; ``random`` writes weights for a cfg; ``tiny`` does both for the model of the
README; ``copy`` copies the committed selection from the folder of golden data.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from golden_selection import copy_selection, sha256, tolerances, write_provenance

import darknet_bn
from darknet_bn.arrays import F32
from darknet_bn.checks.fixture import save_fixture
from darknet_bn.errors import DarknetError
from darknet_bn.model.weights import write_weights

TINY_SEED = 1
DRIVER = Path(__file__).resolve().with_name("darknet_driver.c")
DEBIAN = Path("/usr/lib/darknet")
FIXTURES = Path(__file__).resolve().parents[1] / "tests" / "fixtures"


@click.group()
def main() -> None:
    """Make and gather fixtures: what the real Darknet programs computed, layer by layer."""


class Refusal(click.ClickException):
    """Something is missing or does not fit: one line, and status 2."""

    exit_code = 2


# -- truth from Debian's Darknet -----------------------------------------------------------------

a_file = click.Path(path_type=Path, exists=True, dir_okay=False)
an_output = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The file to write.",
)
a_seed = click.option("--seed", type=int, default=0, show_default=True, help="Of the numbers.")
darknet_options = (
    click.option(
        "--darknet",
        type=click.Path(path_type=Path),
        default=DEBIAN,
        show_default=True,
        help="Folder of libdarknet.so and include/darknet.h.",
    ),
    click.option("--cc", default="cc", show_default=True, help="The C compiler."),
)


def with_darknet(command: Any) -> Any:
    """Add the options that say where Darknet and the compiler are."""
    for add in reversed(darknet_options):
        command = add(command)
    return command


@main.command()
@click.argument("cfg", type=a_file)
@click.argument("weights", type=a_file)
@an_output
@a_seed
@click.option("--input", "source", type=a_file, help="Take `input` of this npz, not random values.")
@with_darknet
def make(
    cfg: Path, weights: Path, output: Path, seed: int, source: Path | None, darknet: Path, cc: str
) -> None:
    """Run a model through Darknet.

    Writes an npz of the input and the output of every layer. The input is uniform in 0..1, as
    pictures are. Mind that this Darknet leaves out the stride and padding of convolutions with
    size=1 when it runs on the CPU.

    Example: tools/make_fixtures.py make tiny.cfg tiny.weights -o tiny.npz --seed 7
    """
    make_fixture(cfg, weights, output, seed, source, darknet, cc)
    click.echo(f"{output}: {output.stat().st_size} bytes")


def make_fixture(
    cfg: Path, weights: Path, output: Path, seed: int, source: Path | None, darknet: Path, cc: str
) -> dict[str, Any]:
    """Run a model through Darknet; write input, layers and provenance to an npz.

    Parameters
    ----------
    cfg, weights, output : Path
        The model, and the path of the npz to write.
    seed : int
        The seed of the random input.
    source : Path, optional
        An npz with the input (n, c, h, w) or (n, inputs), if it is not random.
    darknet : Path
        The folder of the library and its header.
    cc : str
        The C compiler.

    Returns
    -------
    provenance : dict
        What the npz holds under that name, as JSON.
    """
    given = None if source is None else read_input(source)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        driver = compile_driver(folder, darknet, cc)
        shape = input_shape(driver, cfg, folder)
        if given is None:
            x = np.random.default_rng(seed).random(shape, dtype=np.float32)
        elif given.size == math.prod(shape):
            x = given.reshape(shape)
        else:
            raise Refusal(f"the input is {given.shape}, the network takes {shape}")
        layers = run_network(driver, cfg, weights, x, folder)
    command = f"tools/make_fixtures.py make {cfg.name} {weights.name} -o {output.name}"
    provenance = {
        "program": "pjreddie/darknet",
        "version": version_of(darknet / "libdarknet.so"),
        "dialect": "pjreddie",
        "command": f"{command} --input {source.name}" if source else f"{command} --seed {seed}",
        "seed": None if source else seed,
        "cfg_sha256": sha256(cfg),
        "weights_sha256": sha256(weights),
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    save_fixture(output, x, dict(enumerate(layers)), provenance)
    return provenance


def read_input(path: Path) -> F32:
    """Return the array ``input`` of an npz."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return np.asarray(archive["input"], dtype=np.float32)
    except (KeyError, ValueError, OSError) as error:
        raise Refusal(f"{path}: no npz with an array `input`: {error}") from error


def compile_driver(folder: Path, darknet: Path, cc: str) -> Path:
    """Compile the driver against Darknet's library and return the program."""
    library = darknet / "libdarknet.so"
    for needed in (library, darknet / "include" / "darknet.h"):
        if not needed.is_file():
            raise Refusal(
                f"{needed} is not there: apt-get install darknet, or name its folder by --darknet"
            )
    if shutil.which(cc) is None:
        raise Refusal(f"no C compiler {cc}: apt-get install gcc, or name one by --cc")
    program = folder / "darknet_driver"
    command = [cc, "-std=c99", "-O2", f"-I{darknet / 'include'}", str(DRIVER), "-o", str(program)]
    command += [str(library), f"-Wl,-rpath,{darknet.resolve()}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise Refusal(f"the driver does not compile: {last_line(result.stderr)}")
    return program


def call_driver(driver: Path, cfg: Path, *arguments: Path | str) -> None:
    """Run the driver in the folder of the cfg, which may name other files."""
    result = subprocess.run(
        [str(driver), *map(str, arguments)], cwd=cfg.parent, capture_output=True, check=False
    )
    if result.returncode:  # below zero: a signal
        message = last_line(result.stderr.decode(errors="replace"))
        raise Refusal(f"{cfg}: Darknet failed with status {result.returncode}: {message}")


def input_shape(driver: Path, cfg: Path, folder: Path) -> tuple[int, ...]:
    """Return the shape of the network's input, (n, c, h, w) or (n, inputs), as Darknet sees it."""
    out = folder / "shape"
    call_driver(driver, cfg, "shape", cfg.resolve(), out)
    if not out.is_file():
        raise Refusal(f"{cfg}: Darknet does not read it")
    return tuple(int(n) for n in np.fromfile(out, np.int32))


def run_network(driver: Path, cfg: Path, weights: Path, x: F32, folder: Path) -> list[F32]:
    """Return the output of every layer for an input (n, c, h, w) or (n, inputs)."""
    source, out, saved = folder / "input", folder / "output", folder / "saved.weights"
    x.tofile(source)
    call_driver(driver, cfg, "run", cfg.resolve(), weights.resolve(), source, out, saved)
    if not out.is_file():
        raise Refusal(f"{cfg}: Darknet stopped without a result")
    floats, expected = payload_bytes(weights), payload_bytes(saved)
    if floats != expected:
        raise Refusal(
            f"{weights}: {floats} bytes of parameters, but Darknet reads {expected} for {cfg}"
        )
    return list(read_layers(out.read_bytes()))


def payload_bytes(weights: Path) -> int:
    """Return the bytes after the header of a weights file.

    Notes
    -----
    C: ``load_weights_upto`` in ``src/parser.c``: the counter has 64 bits from version 0.2 on.
    """
    data = weights.read_bytes()
    if len(data) < 16:
        raise Refusal(f"{weights}: too short for a weights file")
    major, minor = (int(n) for n in np.frombuffer(data, np.int32, 2))
    wide = major * 10 + minor >= 2 and major < 1000 and minor < 1000
    return len(data) - (20 if wide else 16)


def read_layers(data: bytes) -> Iterator[F32]:
    """Yield the arrays of the driver's output."""
    at = 0
    while at < len(data):
        ndim = int(np.frombuffer(data, np.int32, 1, at)[0])
        dims = tuple(int(n) for n in np.frombuffer(data, np.int32, ndim, at + 4))
        at += 4 * (1 + ndim)
        y = np.frombuffer(data, np.float32, math.prod(dims), at).reshape(dims)
        at += y.nbytes
        yield y


def version_of(library: Path) -> str:
    """Return the Debian package and version of a library, or else its hash."""
    if library.resolve() == DEBIAN / "libdarknet.so" and shutil.which("dpkg-query"):
        query = ["dpkg-query", "-W", "darknet"]
        result = subprocess.run(query, capture_output=True, text=True, check=False)
        if result.returncode == 0:
            return f"Debian package {' '.join(result.stdout.split())}"
    return f"libdarknet.so with sha256 {sha256(library)}"


def last_line(text: str) -> str:
    """Return the last line that is not empty."""
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")


# -- random weights ------------------------------------------------------------------------------


def draw(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> F32:
    """Draw parameters as a trained model might have them, so that outputs stay near 1.

    Parameters
    ----------
    name : str
        Darknet's word: ``weights``, ``biases``, ``scales``, ``rolling_mean``, ``rolling_variance``.
    shape : tuple of int
        Its first axis is the filter or output.
    rng : Generator

    Returns
    -------
    values : float32 array of that shape
        One scale in eight is negative; folding must handle that.
    """
    if name == "weights":
        values = rng.normal(0, math.sqrt(2 / max(1, math.prod(shape[1:]))), shape)
    elif name == "scales":
        values = rng.uniform(0.5, 1.5, shape) * np.where(rng.random(shape) < 1 / 8, -1, 1)
    elif name == "rolling_variance":
        values = rng.uniform(0.3, 2, shape)
    else:
        values = rng.normal(0, 0.2, shape)
    return values.astype(np.float32)


@main.command("random")
@click.argument("cfg", type=a_file)
@an_output
@a_seed
def random_command(cfg: Path, output: Path, seed: int) -> None:
    """Write random weights for a cfg.

    They are scaled so that the outputs of all layers stay near 1.

    Example: tools/make_fixtures.py random tiny.cfg -o tiny.weights --seed 1
    """
    random_weights(cfg, output, seed)
    click.echo(f"{output}: {output.stat().st_size} bytes")


def random_weights(cfg: Path, output: Path, seed: int) -> None:
    """Write random weights for a cfg; layers and parameters are drawn in the order of the file.

    Parameters
    ----------
    cfg, output : Path
        The cfg, and the path of the weights to write.
    seed : int
    """
    try:
        model = darknet_bn.load(cfg, None)
    except DarknetError as error:
        raise Refusal(str(error)) from error
    rng = np.random.default_rng(seed)
    drawn = [
        {param.name: draw(param.name, param.shape, rng) for param in node.params}
        if node.owner == index
        else {}
        for index, node in enumerate(model.network.nodes)
    ]
    params = tuple(drawn[node.owner] for node in model.network.nodes)
    with output.open("wb") as stream:
        write_weights(stream, model.header, model.network, params)


# -- the model of the README ---------------------------------------------------------------------


@main.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=FIXTURES / "tiny",
    help="Where tiny.* and provenance.json go.  [default: tests/fixtures/tiny]",
)
@with_darknet
def tiny(output: Path, darknet: Path, cc: str) -> None:
    """Make the small detector of the README.

    Writes its weights, what Darknet computes with them, and provenance.json.

    Example: tools/make_fixtures.py tiny
    """
    cfg, weights, npz = (output / f"tiny.{ending}" for ending in ("cfg", "weights", "npz"))
    output.mkdir(parents=True, exist_ok=True)
    if not cfg.exists():
        shutil.copyfile(FIXTURES / "tiny" / "tiny.cfg", cfg)
    random_weights(cfg, weights, TINY_SEED)
    made = make_fixture(cfg, weights, npz, TINY_SEED, None, darknet, cc)
    command = f"tools/make_fixtures.py random tiny.cfg -o tiny.weights --seed {TINY_SEED}"
    records: dict[str, dict[str, Any]] = {
        "tiny.cfg": {"source": "written for this project", "sha256": sha256(cfg)},
        "tiny.weights": {"command": command, "seed": TINY_SEED, "sha256": sha256(weights)},
        "tiny.npz": {**made, "sha256": sha256(npz), "tolerance": tolerances(npz)},
    }
    write_provenance(output, records)
    click.echo(f"{output}: written")


# -- the committed selection of the golden data --------------------------------------------------


@main.command()
@click.argument("golden", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=FIXTURES,
    help="Where the cases go.  [default: tests/fixtures]",
)
def copy(golden: Path, output: Path) -> None:
    """Copy the committed part of the golden data.

    Names change, bytes do not; each folder gets a provenance.json.

    Example: tools/make_fixtures.py copy ../shared/golden
    """
    copy_selection(golden, output)
    click.echo(f"{output}: layers, fold and detections copied")


if __name__ == "__main__":
    main()
