"""The model that a command line names, and the arguments after it."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

import darknet_bn as dn
from darknet_bn.cli import arguments, choices, kinds, output, pictures
from darknet_bn.cli.arguments import Role
from darknet_bn.cli.options import FILE, Command
from darknet_bn.model.model_files import files_of, with_suffix

_CFG, _WEIGHTS = ".cfg", ".weights"


@dataclass(frozen=True)
class Source:
    """The model that a command line names.

    Attributes
    ----------
    cfg, weights : str
        Its files.
    weights_named : bool
        Whether the weights were named, not only looked for next to the cfg.
    dialect : str
        ``auto``, or the name of a dialect.
    partial : bool
        Whether a backbone file is accepted.
    """

    cfg: str
    weights: str
    weights_named: bool
    dialect: str
    partial: bool

    @property
    def files(self) -> tuple[str, str]:
        """Both files, which no command overwrites unless that is its purpose."""
        return self.cfg, self.weights

    def load(self, seed: int = 0) -> dn.Model:
        """Read the model; warn if its file ends early.  The seed is for initial weights."""
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
        """Read the model for separate pictures, as the programs do: sequences of one image."""
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
        The weights come before the cfg.
    DarknetError
        A name is an address on the network.
    """
    kinds.require_local(*names)
    if len(names) == 2:
        cfg, weights = names
        if cfg.endswith(_WEIGHTS) or weights.endswith(_CFG):
            raise click.UsageError(f"expected CFG WEIGHTS: {weights} {cfg}")
        return with_suffix(cfg, _CFG), with_suffix(weights, _WEIGHTS), True
    (name,) = names
    return *files_of(name), name.endswith(_WEIGHTS)


def without_weights(name: str, dialect: str) -> dn.Model:
    """Read only the cfg; drawing initial parameters would take long for a large net.

    Parameters
    ----------
    name : str
        The cfg.
    dialect : str
        ``auto``, or the name of a dialect.
    """
    from darknet_bn.model.network import build_network, detect_dialect

    cfg = dn.load_cfg(name)
    chosen, reason = detect_dialect(cfg) if dialect == "auto" else (dn.DIALECTS[dialect], "given")
    network = build_network(cfg, chosen)
    for oddity in network.oddities:
        output.warning(oddity)
    oddities = (*cfg.oddities, *network.oddities)
    return dn.Model(cfg, network, (), dn.Header(), chosen, reason, 0, oddities)


dialect = click.option(
    "--dialect",
    type=click.Choice(["auto", *choices.DIALECTS]),
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
    """Pass ``source`` to a command: ``CFG [WEIGHTS]``, ``--dialect`` and ``--partial``."""
    return _model(command, (), lambda names: (names, {}))


def model_and_fixture(command: Command) -> Command:
    """Like `model`, with a last argument ``fixture``."""
    return _model_and(command, arguments.FIXTURE)


def model_and_data(command: Command) -> Command:
    """Like `model`, with a last argument ``data``."""
    return _model_and(command, arguments.DATA)


def model_and_out(command: Command) -> Command:
    """Like `model`, with a last argument ``out``: the file to write."""
    return _model_and(command, arguments.OUT)


def _model_and(command: Command, role: Role) -> Command:
    def split(names: Sequence[str]) -> tuple[Sequence[str], dict[str, str]]:
        if len(names) < 2:
            raise click.UsageError(f"missing argument: {role.name}")
        return names[:-1], {role.name.lower(): names[-1]}

    return _model(command, (role,), split)


def model_and_input(command: Command) -> Command:
    """Like `model`, with a last argument ``input_path``, which is None if it is absent."""
    return _model(command, (arguments.INPUT,), _with_input)


def _with_input(names: Sequence[str]) -> tuple[Sequence[str], dict[str, str | None]]:
    is_input = len(names) == 2 and kinds.kind_of(names[1]) in arguments.INPUT.kinds
    if len(names) > 2 or is_input:
        return names[:-1], {"input_path": names[-1]}
    return names, {"input_path": None}


def model_other_and_input(command: Command) -> Command:
    """Like `model_and_input`, with ``other_weights``: a second file of weights, or None."""

    def split(names: Sequence[str]) -> tuple[Sequence[str], dict[str, str | None]]:
        weights = [at for at, name in enumerate(names) if name.endswith(_WEIGHTS)]
        second = weights[1] if len(weights) > 1 else None
        mine = [name for at, name in enumerate(names) if at != second]
        inner, more = _with_input(mine)
        return inner, more | {"other_weights": None if second is None else names[second]}

    return _model(command, (arguments.INPUT,), split)


def model_and_pictures(command: Command) -> Command:
    """Like `model`, with ``words``: the arguments after it, which name pictures.

    It is empty if the pictures are to be read from standard input.
    """
    return _model_and_pictures(command, arguments.PICTURES)


def model_and_pictures_or_video(command: Command) -> Command:
    """Like `model_and_pictures`; a word may name a video too."""
    return _model_and_pictures(command, arguments.PICTURES_OR_VIDEO)


def _model_and_pictures(command: Command, role: Role) -> Command:
    def split(names: Sequence[str]) -> tuple[Sequence[str], dict[str, Sequence[str]]]:
        count = 2 if len(names) > 1 and _are_weights(names[1], last=len(names) == 2) else 1
        return names[:count], {"words": names[count:]}

    return _model(command, (role,), split)


def model_and_weights(command: Command) -> Command:
    """Like `model`, with ``more_weights``: other weights files for the same cfg."""
    more = Role(arguments.WEIGHTS.name, arguments.WEIGHTS.kinds, required=False, many=True)
    return _model(command, (more,), lambda names: (names[:2], {"more_weights": names[2:]}))


def _are_weights(word: str, *, last: bool) -> bool:
    """Return whether a word after the cfg means weights; an ambiguous word is a picture."""
    kind = kinds.kind_of(word)
    if kind in ("cfg", "weights", "model"):
        return True
    if kind in (None, "state") and not last and not pictures.may_be(word):
        return True
    return os.path.isfile(word + _WEIGHTS) and not os.path.exists(word)


def _model(
    command: Command,
    last: Sequence[Role],
    split: Callable[[Sequence[str]], tuple[Sequence[str], dict[str, Any]]],
) -> Command:
    roles = (arguments.CFG, arguments.WEIGHTS, *last)
    metavar = arguments.usage(roles)

    @click.argument("names", nargs=-1, type=FILE, metavar=metavar)
    @dialect
    @partial
    @functools.wraps(command)
    def wrapped(names: tuple[str, ...], dialect: str, partial: bool, **rest: Any) -> Any:
        if not names:
            raise click.UsageError(f"missing argument: {arguments.CFG.name}")
        arguments.require_order(names, roles)
        mine, more = split(names)
        if len(mine) > 2:
            raise click.UsageError(f"too many arguments: expected {metavar}")
        source = Source(*find_files(mine), dialect, partial)
        return command(source=source, **more, **rest)

    return wrapped  # type: ignore[return-value]  # click calls it with names; only it does
