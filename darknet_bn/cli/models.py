"""The model that a command line names, and what stands after it."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

import darknet_bn as dn
from darknet_bn.cli import output, pictures
from darknet_bn.cli.options import FILE, Command, without_suffix

_CFG, _WEIGHTS = ".cfg", ".weights"
_INPUTS = (".npy", ".npz", ".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp")  # never weights


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
                f"the file ends after layer {model.loaded - 1} of {count - 1}; later layers keep "
                "their initial values"
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
        return _with_suffix(cfg, _CFG), _with_suffix(weights, _WEIGHTS), True
    (name,) = names
    stem = without_suffix(name, _CFG, _WEIGHTS)
    cfg = stem + _CFG
    if not os.path.exists(cfg) and os.path.exists(stem) and not os.path.isdir(stem):
        cfg = stem  # a cfg without the suffix, or /dev/stdin
    return cfg, stem + _WEIGHTS, name.endswith(_WEIGHTS)


def _with_suffix(name: str, suffix: str) -> str:
    """Return ``name`` with the suffix where only such a file exists."""
    longer = name + suffix
    return longer if os.path.isfile(longer) and not os.path.isfile(name) else name


dialect = click.option(
    "--dialect",
    type=click.Choice(["auto", *dn.DIALECTS]),
    default="auto",
    show_default=True,
    help="Which Darknet's arithmetic to follow; auto detects it from the weights header and cfg "
    "options.",
)
partial = click.option(
    "--partial",
    is_flag=True,
    help="Accept weights for the first layers only (e.g. darknet53.conv.74) and initialise the "
    "rest.",
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
    @click.argument("names", nargs=-1, required=True, type=FILE, metavar=metavar)
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
