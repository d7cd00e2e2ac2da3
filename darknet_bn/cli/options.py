"""Options that commands share."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from darknet_bn.cli import kinds, output
from darknet_bn.engines.base import DEFAULT, ENGINES, VARIABLE

if TYPE_CHECKING:
    from darknet_bn.run.run import Layers

Command = TypeVar("Command", bound=Callable[..., Any])

_KINDS = (  # of the files that commands read and write
    *(".cfg", ".weights", ".backup", ".npy", ".npz", ".onnx", ".pt", ".pth", ".safetensors"),
    *(".csv", ".data", ".json", ".names", ".txt", *kinds.PICTURES),
)


class Name(click.Path):
    """The name of a file or folder, which shells complete.

    Whether it exists is only checked when it is read or written, with our own errors.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the name as it is, unless it is an option in the wrong place."""
        if ctx is not None and isinstance(param, click.Option):
            options = {name for each in ctx.command.params for name in each.opts}
            if value in options:
                name = param.opts[0]
                raise click.BadOptionUsage(name, f"{name} needs a value, but {value} follows", ctx)
        return value


FILE, FOLDER = Name(), Name(file_okay=False)

json = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object instead of text."
)


def json_or_rows(command: Command) -> Command:
    """Add ``--json``, ``--json-lines`` and ``--csv``."""

    @json
    @click.option(
        "--json-lines",
        "as_lines",
        is_flag=True,
        help="Print a line of JSON for each picture as soon as it is done, errors too; other "
        "messages go to stderr.",
    )
    @click.option(
        "--csv",
        "as_csv",
        is_flag=True,
        help="Print CSV; other messages go to stderr.",
    )
    @functools.wraps(command)
    def wrapped(as_json: bool, as_lines: bool, as_csv: bool, **rest: Any) -> Any:
        forms = {"--json": as_json, "--json-lines": as_lines, "--csv": as_csv}
        given = [name for name, chosen in forms.items() if chosen]
        if len(given) > 1:
            raise click.UsageError(f"{given[0]} and {given[1]} cannot be used together")
        return command(as_json=as_json, as_lines=as_lines, as_csv=as_csv, **rest)

    return wrapped  # type: ignore[return-value]  # click calls it with all flags


def quiet(what: str) -> Callable[[Command], Command]:
    """Add ``--quiet``; ``what`` says what is still printed."""
    return click.option(
        "-q",
        "--quiet",
        is_flag=True,
        expose_value=False,
        callback=output.be_quiet,
        help=f"Print only {what}.",
    )


def fit(*ways: str) -> Callable[[Command], Command]:
    """Add ``fit``, how pictures are made the input: an option for each of the ways, or None."""
    texts = {
        "letterbox": "Keep the aspect ratio and pad with grey.",
        "stretch": "Stretch pictures to the input size.",
        "crop": "Scale the shorter side of pictures to the input and take the middle.",
    }
    default = "  Default: depends on the dialect."

    def decorate(command: Command) -> Command:
        for way in reversed(ways):
            text = texts[way] + (default if way == ways[-1] else "")
            command = click.option(f"--{way}", "fit", flag_value=way, default=None, help=text)(
                command
            )
        return command

    return decorate


def batch_size(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> int | Literal["any"] | None:
    """Return the number of images that a word says a file takes, or ``any``."""
    if value is None or value == "any":
        return value  # type: ignore[return-value]  # it is the one word
    try:
        return int(value)
    except ValueError as error:
        raise click.BadParameter(f"'{value}' is neither a number nor any") from error


skip_proof = click.option(
    "--skip-proof", is_flag=True, help="Write the file without running it first."
)

engine = click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default=DEFAULT,
    show_default=True,
    envvar=VARIABLE,
    show_envvar=True,
    help="The engine that runs the network: numpy (this program itself), or another package, which "
    "must be installed.",
)

recursive = click.option("--recursive", is_flag=True, help="Search subfolders too.")


def part(name: str, default: str, help_text: str) -> Callable[[Command], Command]:
    """Add an option that is a number from 0 to 1; None if it is absent."""
    return click.option(name, type=float, callback=_part, help=f"{help_text}  [default: {default}]")


def _part(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    if value is not None and not 0 <= value <= 1:
        raise click.BadParameter("must be from 0 to 1")
    return value


def out(
    help_text: str, *, required: bool = True, folder: bool = False
) -> Callable[[Command], Command]:
    """Add ``-o`` and ``--force``; with ``folder``, OUT may be a folder."""

    def decorate(command: Command) -> Command:
        force = click.option("--force", is_flag=True, help="Overwrite existing files.")
        place = click.option(
            "-o",
            "--output",
            "out",
            type=FILE,
            metavar="OUT",
            required=required,
            help=help_text,
            callback=None if folder else _no_folder,
        )
        return place(force(command))

    return decorate


def _no_folder(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not os.path.basename(value):
        raise click.BadParameter(f"'{value}' is a folder, not a file")
    return value


def require_free(targets: Iterable[str], *, force: bool, inputs: Iterable[str | None] = ()) -> None:
    """Check before any work that files may be written, as `require_writable` does."""
    from darknet_bn.formats.writing import require_writable

    require_writable(targets, force=force, inputs=inputs, how="--force")


def stem(out: str, *suffixes: str) -> str:
    """Return OUT without its suffix, if that is one of those given; a stem may contain dots.

    Raises
    ------
    click.UsageError
        It has the suffix of another kind of file, as if an argument were missing.
    """
    given = Path(out).suffix.lower()
    if given in _KINDS and given not in suffixes:
        raise click.UsageError(
            f"OUT has the suffix of a different kind of file: {out} (expected a name without a "
            "suffix, "
            f"or with {' or '.join(suffixes)})"
        )
    return without_suffix(out, *suffixes)


def without_suffix(name: str, *suffixes: str) -> str:
    """Return a name without one of the suffixes; a stem may contain dots of its own."""
    for suffix in suffixes:
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return name


def npz(name: str, *, force: bool, inputs: Iterable[str | None]) -> str:
    """Return the ``.npz`` to write, checked as by `require_free`."""
    target = stem(name, ".npz") + ".npz"
    require_free([target], force=force, inputs=inputs)
    return target


def tolerance(default: float | str, of: str = "layer") -> Callable[[Command], Command]:
    """Add ``--tolerance``, relative to each layer's largest value; None for a default in words."""
    return click.option(
        "--tolerance",
        type=float,
        default=None if isinstance(default, str) else default,
        callback=_finite,
        help=f"Largest allowed difference, relative to each {of}'s largest value.  "
        f"[default: {default if isinstance(default, str) else f'{default:g}'}]",
    )


def _finite(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise click.BadParameter("must be a number of at least 0")
    return value


def layers(default: str) -> Callable[[Command], Command]:
    """Add ``--layers``."""
    return click.option(
        "--layers",
        default=default,
        callback=_layers,
        show_default=True,
        metavar="outputs|all|3,5",
        help="Layers to write: outputs (those that no other layer reads), all, or numbers such as "
        "3,5,-1 (negative: counted from the last).",
    )


def _layers(ctx: click.Context, param: click.Parameter, value: str) -> Layers:
    if value == "outputs":
        return "outputs"
    if value == "all":
        return "all"
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError as error:
        raise click.BadParameter(
            f"'{value}' is not valid (expected outputs, all, or numbers such as 3,5,-1)"
        ) from error


seed = click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="Seed for the random input used when none is given.  [default: 0]",
)
