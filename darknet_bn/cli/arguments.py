"""The words of a command line: what is missing or misplaced, and what to type instead."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import click

from darknet_bn.cli import kinds
from darknet_bn.cli.kinds import Kind

TYPED = "darknet_bn.cli.typed"  # the key of a context for the words after the name of the command
_PROGRAM = "darknet-bn"


@dataclass(frozen=True)
class Role:
    """The purpose of an argument.

    Attributes
    ----------
    name : str
        As in the help.
    kinds : tuple of str
        The kinds of word that are accepted; a word of no known kind may be anything.
    required : bool
    many : bool
        Whether there may be several.
    moving : bool
        Whether it may be a video, a stream or a camera.
    """

    name: str
    kinds: tuple[Kind, ...]
    required: bool = True
    many: bool = False
    moving: bool = False


CFG = Role("CFG", ("cfg", "model"))
WEIGHTS = Role("WEIGHTS", ("weights",), required=False)
PICTURES = Role("PICTURE", ("picture", "list", "video", "remote"), required=False, many=True)
PICTURES_OR_VIDEO = replace(PICTURES, moving=True)
INPUT = Role("INPUT", ("array", "archive", "picture", "list", "video", "remote"), required=False)
FIXTURE = Role("FIXTURE", ("archive",))
DATA = Role("DATA", ("data", "archive", "picture", "list", "annotations", "video", "remote"))
OUT = Role("OUT", ("onnx",))

_OPTIONS: dict[Kind, tuple[str, ...]] = {  # the options that a word may belong to
    "names": ("--names",),
    "data": ("--data",),
    "onnx": ("--with",),
    "archive": ("--with", "--input"),
    "array": ("--input",),
    "picture": ("--input", "--picture"),
}


def require_order(words: Sequence[str], roles: Sequence[Role]) -> None:
    """Refuse words in the wrong order, or where an option is needed.

    Parameters
    ----------
    words : sequence of str
        The arguments, in the order in which they were typed.
    roles : sequence of Role
        The roles in the right order.

    Raises
    ------
    click.UsageError
        The words show what each is meant as, but their order is wrong; or one is missing, or there
        is one too many.
    DarknetError
        A word is an address on the network, a camera or a video.
    """
    _require_one_model(words)
    places = [_place(word, roles) for word in words]
    options = {
        word: option
        for word, place in zip(words, places, strict=True)
        if place is None and (option := _option(word)) is not None
    }
    known = [place for place in places if place is not None]
    misplaced = bool(options) or known != sorted(known)
    _require_usable(words, roles, misplaced=misplaced)
    if misplaced:
        raise click.UsageError(_right_order(words, roles, options))
    if roles == (CFG, WEIGHTS):
        _require_files_of_models(words)
    # Either file leads to the other.
    leads = tuple(at for at, role in enumerate(roles) if role in (CFG, WEIGHTS))
    if len(known) < len(words):
        if places[0] not in (None, *leads):
            raise click.UsageError(f"expected {usage(roles)}; the first argument is {words[0]}")
        return
    for at, role in enumerate(roles):
        if role.required and not set(leads if role is CFG else (at,)) & set(known):
            raise click.UsageError(f"missing argument: {role.name}")


def _right_order(words: Sequence[str], roles: Sequence[Role], options: Mapping[str, str]) -> str:
    """Return which words are expected, and if the kind of each is known, the line to type."""
    arguments = {word: _place(word, roles) for word in words if word not in options}
    moved = [each for word, option in options.items() for each in (option, word)]
    if None in arguments.values():
        return f"expected {' '.join([usage(roles), *moved])}"
    ordered = sorted(arguments, key=lambda word: arguments[word] or 0)
    names = dict.fromkeys(_name(word, roles) for word in ordered)
    last = roles[-1]
    if len(roles) - 1 not in arguments.values() and (last.required or last.many):
        names[last.name] = None
        ordered.append(last.name)
    return f"expected {' '.join([*names, *moved])}; try: {line(ordered, more=moved)}"


def _require_usable(words: Sequence[str], roles: Sequence[Role], *, misplaced: bool) -> None:
    """Refuse addresses, cameras and videos, unless the command reports them itself."""
    answered = any("remote" in role.kinds for role in roles) and not misplaced
    moving = any(role.moving for role in roles)
    for at, word in enumerate(words):
        error = None if moving and kinds.is_moving(word) else kinds.refusal(word)
        if error is not None and (at == 0 or not answered):
            raise error


def _require_files_of_models(words: Iterable[str]) -> None:
    """Refuse a word that is known not to be a file of a model."""
    for word in words:
        if kinds.kind_of(word) in (*INPUT.kinds, *DATA.kinds, "names"):
            raise click.UsageError(f"unexpected argument: {word}; expected {usage((CFG, WEIGHTS))}")


def require_cfg_first(words: Sequence[str]) -> None:
    """Refuse a cfg after other words, if their kinds do not show their order.

    Raises
    ------
    click.UsageError
        A cfg is not the first word; a word that exists is taken for an input.
    """
    _require_one_model(words)
    if any(word.endswith(".cfg") for word in words[1:]):
        first = sorted(
            words, key=lambda word: (not word.endswith(".cfg"), not os.path.exists(word))
        )
        raise click.UsageError(f"the cfg comes first; try: {line(first)}")


def usage(roles: Iterable[Role]) -> str:
    """Return the arguments as the help shows them."""
    shown = []
    for role in roles:
        name = f"{role.name}..." if role.many else role.name
        shown.append(name if role.required else f"[{name}]")
    return " ".join(shown)


def line(
    words: Iterable[str] | None = None, more: Iterable[str] = (), without: Iterable[str] = ()
) -> str:
    """Return a command line to type, quoted for a shell.

    Parameters
    ----------
    words : iterable of str, optional
        The arguments; by default the typed ones.
    more : iterable of str
        Options to add.
    without : iterable of str
        Flags to leave out, if they were typed.
    """
    ctx = click.get_current_context()
    typed: Sequence[str] = ctx.meta.get(TYPED, ())
    arguments, options = _parted(ctx.command, typed)
    chosen = arguments if words is None else list(words)
    kept = [each for each in options if each not in set(without)]
    return shlex.join([_PROGRAM, *_path(ctx), *chosen, *kept, *more])


def _path(ctx: click.Context) -> list[str]:
    """Return the name of the command, after the name of its group if it is in one."""
    own = [str(ctx.info_name)]
    inner = ctx.parent is not None and ctx.parent.parent is not None
    return _path(ctx.parent) + own if inner and ctx.parent is not None else own


def _parted(command: click.Command, typed: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split typed words into arguments, and options with their values."""
    takes_value = {
        name: not param.is_flag and not param.count
        for param in command.params
        if isinstance(param, click.Option)
        for name in param.opts
    }
    arguments: list[str] = []
    options: list[str] = []
    rest = list(typed)
    while rest:
        word = rest.pop(0)
        if word == "--":
            arguments += rest
            break
        if not word.startswith("-") or word == kinds.STDIN:
            arguments.append(word)
            continue
        options.append(word)
        if takes_value.get(word) and rest:
            options.append(rest.pop(0))
    return arguments, options


def _place(word: str, roles: Sequence[Role]) -> int | None:
    """Return the number of the role that a word is for; None if its kind does not show one."""
    kind = kinds.kind_of(word)
    return next((at for at, role in enumerate(roles) if kind in role.kinds), None)


def _name(word: str, roles: Sequence[Role]) -> str:
    """Return the name of a word in the help; a stem stands for cfg and weights."""
    place = _place(word, roles)
    if place is None or kinds.kind_of(word) == "model":
        return "MODEL"
    return roles[place].name


def _option(word: str) -> str | None:
    """Return the option of the command that a word belongs to, if it is not an argument."""
    command = click.get_current_context().command
    known = {name for param in command.params for name in param.opts}
    kind = kinds.kind_of(word)
    options = _OPTIONS.get(kind, ()) if kind is not None else ()
    return next((each for each in options if each in known), None)


def _require_one_model(words: Sequence[str]) -> None:
    """Refuse the cfgs of two models."""
    models = [word for word in words if kinds.kind_of(word) in CFG.kinds]
    if len({word.removesuffix(".cfg") for word in models}) > 1:
        one, other, *_ = models
        together = shlex.join([_PROGRAM, "compare", one, "--with", other])
        raise click.UsageError(f"expected one model; for two: {together}")
