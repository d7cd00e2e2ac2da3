"""Arguments and options that commands share."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

import darknet_bn as dn
from darknet_bn.cli import output, pictures
from darknet_bn.files import require_writable
from darknet_bn.model_files import files_of, with_suffix
from darknet_bn.names import Data, fit_names
from darknet_bn.run import Layers

Command = TypeVar("Command", bound=Callable[..., Any])

_CFG, _WEIGHTS = ".cfg", ".weights"
_INPUTS = (".npy", ".npz", ".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp")  # never weights
_KINDS = (  # of the files that commands read and write
    *(_CFG, _WEIGHTS, ".backup", ".npy", ".npz", ".onnx", ".pt", ".pth", ".safetensors"),
    *(".csv", ".data", ".json", ".names", ".txt", *pictures.SUFFIXES),
)


@dataclass(frozen=True)
class Source:
    """The model that a command line names.

    Attributes
    ----------
    cfg, weights : str
        Its files.
    weights_named : bool
        Whether the weights were named, not only looked for beside the cfg.
    dialect : str
        ``auto``, or the name of one.
    partial : bool
        Whether a backbone file will do.
    """

    cfg: str
    weights: str
    weights_named: bool
    dialect: str
    partial: bool

    @property
    def files(self) -> tuple[str, str]:
        """Both files, which no command writes over unless that is its purpose."""
        return self.cfg, self.weights

    def load(self, seed: int = 0) -> dn.Model:
        """Read the model; warn where its file ends early.  The seed is of initial weights."""
        model = dn.load(
            self.cfg, self.weights, dialect=self.dialect, partial=self.partial, seed=seed
        )
        count = len(model.network.nodes)
        if model.loaded < count:
            output.warning(
                f"the file ends behind layer {model.loaded - 1} of {count - 1}; the layers behind "
                "have initial values"
            )
        return model

    def load_for_pictures(self) -> dn.Model:
        """Read the model for pictures that stand alone, as the programs do: sequences of one."""
        model = self.load()
        return model.with_time_steps(1) if model.network.time_steps > 1 else model


def find_files(names: Sequence[str]) -> tuple[str, str, bool]:
    """Find the two files of a model.

    Parameters
    ----------
    names : one or two str
        The cfg and the weights; or one of them, or their common stem.

    Returns
    -------
    cfg, weights, weights_named : str, str, bool

    Raises
    ------
    click.UsageError
        The weights stand in front of the cfg.
    """
    if len(names) == 2:
        cfg, weights = names
        if cfg.endswith(_WEIGHTS) or weights.endswith(_CFG):
            raise click.UsageError(f"the cfg comes first, then the weights: {weights} {cfg}")
        return with_suffix(cfg, _CFG), with_suffix(weights, _WEIGHTS), True
    (name,) = names
    return *files_of(name), name.endswith(_WEIGHTS)


def without_suffix(name: str, *suffixes: str) -> str:
    """Return a name without one of the suffixes; a stem may have dots of its own."""
    for suffix in suffixes:
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return name


dialect = click.option(
    "--dialect",
    type=click.Choice(["auto", *dn.DIALECTS]),
    default="auto",
    show_default=True,
    help="Whose arithmetic to use; auto decides from the header and from options that only "
    "AlexeyAB's fork knows.",
)
partial = click.option(
    "--partial",
    is_flag=True,
    help="Accept a backbone file such as darknet53.conv.74; the other layers get initial weights.",
)


def model(command: Command) -> Command:
    """Hand ``source`` to a command: ``CFG [WEIGHTS]``, ``--dialect`` and ``--partial``."""
    return _model(command, "CFG [WEIGHTS]", lambda names: (names, {}))


def model_and_fixture(command: Command) -> Command:
    """As `model`, with a last argument ``fixture``."""
    return _model_and(command, "fixture", "the fixture")


def model_and_data(command: Command) -> Command:
    """As `model`, with a last argument ``data``."""
    return _model_and(command, "data", "the data")


def model_and_out(command: Command) -> Command:
    """As `model`, with a last argument ``out``: the file to write."""
    return _model_and(command, "out", "the file to write")


def _model_and(command: Command, last: str, what: str) -> Command:
    def split(names: Sequence[str]) -> tuple[Sequence[str], dict[str, str]]:
        if len(names) < 2:
            raise click.UsageError(f"the model and {what} are both needed")
        return names[:-1], {last: names[-1]}

    return _model(command, f"CFG [WEIGHTS] {last.upper()}", split)


def model_and_input(command: Command) -> Command:
    """As `model`, with ``input_path``: a last argument that may be absent, then None."""
    return _model(command, "CFG [WEIGHTS] [INPUT]", _with_input)


def _with_input(names: Sequence[str]) -> tuple[Sequence[str], dict[str, str | None]]:
    if len(names) > 2 or (len(names) == 2 and names[1].lower().endswith(_INPUTS)):
        return names[:-1], {"input_path": names[-1]}
    return names, {"input_path": None}


def model_other_and_input(command: Command) -> Command:
    """As `model_and_input`, with ``other_weights``: a second file of weights, or None."""

    def split(names: Sequence[str]) -> tuple[Sequence[str], dict[str, str | None]]:
        weights = [at for at, name in enumerate(names) if name.endswith(_WEIGHTS)]
        second = weights[1] if len(weights) > 1 else None
        mine = [name for at, name in enumerate(names) if at != second]
        inner, more = _with_input(mine)
        return inner, more | {"other_weights": None if second is None else names[second]}

    return _model(command, "CFG [WEIGHTS] [INPUT]", split)


def model_and_pictures(command: Command) -> Command:
    """As `model`, with ``words``: the arguments behind, which name pictures."""

    def split(names: Sequence[str]) -> tuple[Sequence[str], dict[str, Sequence[str]]]:
        second = names[1] if len(names) > 1 else ""
        with_weights = second.endswith((_CFG, _WEIGHTS)) or (
            len(names) > 2 and not pictures.may_be(second)
        )
        count = 2 if with_weights else 1
        if len(names) <= count:
            raise click.UsageError("the model and a picture are both needed")
        return names[:count], {"words": names[count:]}

    return _model(command, "CFG [WEIGHTS] PICTURE...", split)


def _model(
    command: Command,
    metavar: str,
    split: Callable[[Sequence[str]], tuple[Sequence[str], dict[str, Any]]],
) -> Command:
    @click.argument("names", nargs=-1, required=True, metavar=metavar)
    @dialect
    @partial
    @functools.wraps(command)
    def wrapped(names: tuple[str, ...], dialect: str, partial: bool, **rest: Any) -> Any:
        mine, more = split(names)
        if len(mine) > 2:
            raise click.UsageError(f"there are too many arguments: expected {metavar}")
        source = Source(*find_files(mine), dialect, partial)
        return command(source=source, **more, **rest)

    return wrapped  # type: ignore[return-value]  # click calls it with names; only it does


json = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object instead of text."
)


def json_or_csv(command: Command) -> Command:
    """Add ``--json`` and ``--csv``."""

    @json
    @click.option(
        "--csv",
        "as_csv",
        is_flag=True,
        help="Print comma-separated values instead of text, and what is not of the table on "
        "stderr.",
    )
    @functools.wraps(command)
    def wrapped(as_json: bool, as_csv: bool, **rest: Any) -> Any:
        if as_json and as_csv:
            raise click.UsageError("--json and --csv exclude each other")
        return command(as_json=as_json, as_csv=as_csv, **rest)

    return wrapped  # type: ignore[return-value]  # as of `_model`


@dataclass(frozen=True)
class ClassNames:
    """Where the names of classes are.

    Attributes
    ----------
    file : str or None
        A ``.names`` file; it counts more than that of ``data``.
    data : Data or None
        A ``.data`` file that has been read.
    """

    file: str | None
    data: Data | None

    @property
    def files(self) -> tuple[str | None, ...]:
        """What the names are read from."""
        data = self.data
        if data is None:
            return (self.file,)
        return (self.file or data.names, data.file)

    def fit(self, classes: int) -> tuple[str, ...]:
        """Return a name for each class; warn where there are not as many as the files say."""
        file = self.file or (self.data.names if self.data is not None else None)
        if self.data is not None and self.data.classes not in (None, classes):
            output.warning(
                f"{self.data.file}: classes: the network has {classes} classes, not "
                f"{self.data.classes}"
            )
        return fit_names(None if file is None else dn.load_names(file), classes, file=file)


def class_names(command: Command) -> Command:
    """Hand ``names`` to a command: ``--names`` and ``--data``."""

    @click.option(
        "--names",
        "names_file",
        metavar="FILE",
        help="The names of the classes, one a line; else they are called class 0 and up.",
    )
    @click.option(
        "--data",
        "data_file",
        metavar="FILE",
        help="A .data file of Darknet, whose names= leads to the names.",
    )
    @functools.wraps(command)
    def wrapped(names_file: str | None, data_file: str | None, **rest: Any) -> Any:
        data = None if data_file is None else dn.load_data(data_file)
        return command(names=ClassNames(names_file, data), **rest)

    return wrapped  # type: ignore[return-value]  # click calls it with the two files


def fit(*ways: str) -> Callable[[Command], Command]:
    """Add ``fit``, how pictures are made the input: an option for each of the ways, or None."""
    texts = {
        "letterbox": "Fit pictures into the input between bars of grey.",
        "stretch": "Stretch pictures to the input.",
        "crop": "Scale the shorter side of pictures to the input, and take the middle.",
    }
    default = "  Without these options, what the dialect does."

    def decorate(command: Command) -> Command:
        for way in reversed(ways):
            text = texts[way] + (default if way == ways[-1] else "")
            command = click.option(f"--{way}", "fit", flag_value=way, default=None, help=text)(
                command
            )
        return command

    return decorate


def part(name: str, default: str, help_text: str) -> Callable[[Command], Command]:
    """Add an option that is a number from 0 to 1; None where it is absent."""
    return click.option(name, type=float, callback=_part, help=f"{help_text}  [default: {default}]")


def _part(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    if value is not None and not 0 <= value <= 1:
        raise click.BadParameter("it must be from 0 to 1")
    return value


def out(
    help_text: str, *, required: bool = True, folder: bool = False
) -> Callable[[Command], Command]:
    """Add ``-o`` and ``--force``; with ``folder``, OUT may be one."""

    def decorate(command: Command) -> Command:
        force = click.option("--force", is_flag=True, help="Replace what is there already.")
        place = click.option(
            "-o",
            "--output",
            "out",
            metavar="OUT",
            required=required,
            help=help_text,
            callback=None if folder else _no_folder,
        )
        return place(force(command))

    return decorate


def _no_folder(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not os.path.basename(value):
        raise click.BadParameter(f"'{value}' names a folder, not a file in it")
    return value


def require_free(targets: Iterable[str], *, force: bool, inputs: Iterable[str | None] = ()) -> None:
    """Check before any work that files may be written, as `require_writable` does."""
    require_writable(targets, force=force, inputs=inputs, how="--force")


def stem(out: str, *suffixes: str) -> str:
    """Return OUT without its suffix, if that is one of those given; a stem may have dots.

    Raises
    ------
    click.UsageError
        It has the suffix of another kind of file, as if an argument were missing.
    """
    given = Path(out).suffix.lower()
    if given in _KINDS and given not in suffixes:
        raise click.UsageError(
            f"OUT is the name of another kind of file: {out} (expected a name without a suffix, "
            f"or with {' or '.join(suffixes)})"
        )
    return without_suffix(out, *suffixes)


def npz(name: str, *, force: bool, inputs: Iterable[str | None]) -> str:
    """Return the ``.npz`` to write, checked as by `require_free`."""
    target = stem(name, ".npz") + ".npz"
    require_free([target], force=force, inputs=inputs)
    return target


def tolerance(default: float) -> Callable[[Command], Command]:
    """Add ``--tolerance``, a part of each layer's largest value."""
    return click.option(
        "--tolerance",
        type=float,
        default=default,
        show_default=True,
        callback=_finite,
        help="The difference to allow, as a part of each layer's largest value.",
    )


def _finite(ctx: click.Context, param: click.Parameter, value: float) -> float:
    if not (math.isfinite(value) and value >= 0):
        raise click.BadParameter("it must be a number, and not below 0")
    return value


def layers(default: str) -> Callable[[Command], Command]:
    """Add ``--layers``."""
    return click.option(
        "--layers",
        default=default,
        callback=_layers,
        show_default=True,
        metavar="outputs|all|3,5",
        help="Of which layers: those that no other reads, all, or the numbers given; a negative "
        "one counts from the last.",
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
            f"'{value}' is none of outputs, all, or numbers such as 3,5,-1"
        ) from error


seed = click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="Where no input is given, it is random with this seed.  [default: 0]",
)
