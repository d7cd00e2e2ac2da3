"""Typed options: dataclass fields that know how to read themselves from a section."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import re
import typing
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from darknet_bn.dialect import PJREDDIE, Dialect
from darknet_bn.errors import CfgError, Oddities, Where
from darknet_bn.formats.cfg import Cfg, Section
from darknet_bn.formats.synonyms import OPTIONS, WORDS, hint
from darknet_bn.values import brief

_INT = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(
    r"[+-]?(0x([0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(p[+-]?\d+)?|inf(inity)?|nan"
    r"|(\d+\.?\d*|\.\d+)(e[+-]?\d+)?)",
    re.IGNORECASE | re.ASCII,
)
_COMMENT = re.compile("[#;]|//")
_INT_LIMIT = 2**31

O = TypeVar("O", bound="Options")  # noqa: E741  # the class that reads itself


class Declared(NamedTuple):
    """What a class declares of an option."""

    field: str  # the key, with a `_` behind it where the key is a word of Python
    kind: Any
    rule: Rule
    default: Callable[[Dialect], Any] | None


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What an option may be, beside its type.

    Attributes
    ----------
    at_least : int or None
        The smallest number, of each item in a list.
    choices : collection of str, or None
        The words that may stand there.
    extended : bool
        Whether only AlexeyAB's fork and its descendants know the key.
    original : bool
        Whether only pjreddie's Darknet knows the key.
    opencv : bool
        Whether OpenCV knows the key: beside who else does, or alone.
    stray : bool
        Whether an ``extended`` key stands, without effect, in published cfgs of the others too.
    extended_choices : collection of str
        Words of ``choices`` that only they know, with ``fallback`` for what the others take.
    reference : bool
        Whether it names layers: negative is relative to the layer itself.
    required : bool
        Whether the section means nothing without it.
    content : function or None
        Where it names a file: makes the value of what that holds, or raises a CfgError.
    """

    at_least: int | None = None
    choices: frozenset[str] | None = None
    extended: bool = False
    original: bool = False
    opencv: bool = False
    stray: bool = False
    extended_choices: frozenset[str] = frozenset()
    fallback: str | None = None
    reference: bool = False
    required: bool = False
    content: Callable[[bytes], Any] | None = None

    def unknown_to(self, dialect: Dialect) -> str | None:
        """Return the dialect that knows the key, if the one given does not; else None."""
        if self.opencv and dialect.opencv:
            return None
        if self.original:
            return "pjreddie" if dialect.extended else None
        if self.extended:
            return None if dialect.extended else "alexeyab"
        return "opencv" if self.opencv else None


def option(default: Any, *, choices: Iterable[str] | None = None, **rule: Any) -> Any:
    """Declare an option: its default (or a function of the dialect), and its `Rule`."""
    words = frozenset(choices) if choices is not None else None
    metadata = {"rule": Rule(choices=words, **rule)}
    if callable(default):
        return dataclasses.field(
            default_factory=lambda: default(PJREDDIE), metadata={**metadata, "default": default}
        )
    return dataclasses.field(default=default, metadata=metadata)


def fact(of_dialect: Callable[[Dialect], Any]) -> Any:
    """Declare a field that no cfg sets: something that the dialect says of such a section."""
    return dataclasses.field(
        default_factory=lambda: of_dialect(PJREDDIE), metadata={"fact": of_dialect}
    )


@dataclass(frozen=True, kw_only=True)
class Options:
    """A section whose options are the fields of a class, each with its type and `Rule`."""

    def __init_subclass__(cls) -> None:
        """Keep the ``__repr__`` below: a dataclass makes its own, with every option, of none."""
        super().__init_subclass__()
        cls.__repr__ = Options.__repr__  # type: ignore[method-assign]

    def __repr__(self) -> str:
        """Return the options that are not what they are by default, in one line."""
        facts = [
            f"{each.name}={getattr(self, each.name)!r}"
            for each in dataclasses.fields(self)
            if getattr(self, each.name) != _default(each)
        ]
        return brief(self, ", ".join(facts))

    @classmethod
    def read(
        cls: type[O],
        cfg: Cfg,
        number: int,
        dialect: Dialect,
        odd: Callable[[str], None],
        open_file: Callable[[str], bytes] | None = None,
    ) -> O:
        """Read the options of section ``number``.

        Parameters
        ----------
        odd : function
            Is told what is odd but has one clear meaning.
        open_file : function, optional
            Returns the content of a file that an option names, or raises a CfgError.

        Raises
        ------
        CfgError
            A value cannot be what its type and rule ask for, or two contradict each other.
        """
        with _placed(cfg, number):
            options = cls._read(cfg, number, dialect, odd, open_file)
            for key, text in options.check(dialect):
                odd(f"{cfg.where(number, key)}: {text}")
        return options

    @classmethod
    def _read(
        cls: type[O],
        cfg: Cfg,
        number: int,
        dialect: Dialect,
        odd: Callable[[str], None],
        open_file: Callable[[str], bytes] | None,
    ) -> O:
        section = cfg.sections[number]
        values: dict[str, Any] = {
            each.name: each.metadata["fact"](dialect)
            for each in dataclasses.fields(cls)
            if "fact" in each.metadata
        }
        for key, (name, kind, rule, default) in cls.declared().items():
            found, last = section.find(key), section.last(key)
            if dialect.opencv and last is not None and last is not found:
                where = cfg.where(number, key)
                odd(f"{where}: for {dialect.name} the last counts, in line {last.line}")
                found = last
            if found is None or found.value is None or rule.unknown_to(dialect):
                if rule.required:
                    raise CfgError(
                        f"the option {key!r} is missing",
                        where=cfg.where(number),
                        expected=f"{key}=",
                    )
                if default is not None:
                    values[name] = default(dialect)
                continue
            where = cfg.where(number, key)
            if rule.content is not None:
                values[name] = _content(found.value, rule.content, open_file, where)
                continue
            values[name] = _convert(found.value, kind, rule, dialect, where, odd)
        _say_unknown(cls, section, cfg, number, dialect, odd)
        return cls(**values)

    def check(self, dialect: Dialect) -> Iterator[tuple[str, str]]:
        """Hold the options against each other, where one counts or indexes what another says.

        Yields
        ------
        key, text : str, str
            The option that is odd but has one clear meaning, and what is taken.

        Raises
        ------
        CfgError
            No program can mean this; the place has the key of the option.
        """
        return iter(())

    @classmethod
    def declared(cls) -> dict[str, Declared]:
        """Return what is declared of every option, by key."""
        return _declared(typing.cast("Hashable", cls))

    @classmethod
    def extended_keys(cls) -> frozenset[str]:
        """Return the keys that tell a cfg of AlexeyAB's fork from all others."""
        return frozenset(
            key
            for key, each in cls.declared().items()
            if each.rule.extended and not each.rule.stray
        )

    @classmethod
    def extended_words(cls) -> dict[str, frozenset[str]]:
        """Return the keys of which only AlexeyAB's fork knows some words, with these words."""
        return {
            key: each.rule.extended_choices
            for key, each in cls.declared().items()
            if each.rule.extended_choices
        }

    @classmethod
    def reference_keys(cls) -> tuple[str, ...]:
        """Return the keys that name other layers."""
        return tuple(key for key, each in cls.declared().items() if each.rule.reference)

    def references(self, key: str) -> tuple[int, ...]:
        """Return the layers that an option names, as they stand in the cfg."""
        value = getattr(self, self.declared()[key].field)
        return () if value is None else value if isinstance(value, tuple) else (value,)


@contextlib.contextmanager
def _placed(cfg: Cfg, number: int) -> Iterator[None]:
    """Within, give errors their place, and say what may have made the value another one."""
    try:
        yield
    except CfgError as error:
        key = error.where.key
        error.where = cfg.where(number, key)
        error.hint = error.hint if key is None else _suspect(cfg, number, key) or error.hint
        raise


def _suspect(cfg: Cfg, number: int, key: str) -> str | None:
    """Say that blanks have joined numbers of an option or of another, or that a comment is read."""
    section = cfg.sections[number]
    for each in (key, *(option.key for option in section.options if option.key != key)):
        joined = cfg.joined_numbers(number, each)
        if joined:
            return joined if each == key else f"in {each}=, {joined}"
    option = section.find(key)
    comment = _parted(option.value or "")[1] if option else ""
    if "," in comment:
        return f"what follows from {_shown(comment)} on is taken for a comment"
    return None


def _default(field: dataclasses.Field[Any]) -> object:
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()


@functools.cache
def _declared(cls: Any) -> dict[str, Declared]:
    hints = typing.get_type_hints(cls)
    return {
        each.name.removesuffix("_"): Declared(
            each.name, hints[each.name], each.metadata["rule"], each.metadata.get("default")
        )
        for each in dataclasses.fields(cls)
        if "rule" in each.metadata
    }


def _say_unknown(
    cls: type[Options],
    section: Section,
    cfg: Cfg,
    number: int,
    dialect: Dialect,
    odd: Callable[[str], None],
) -> None:
    declared = cls.declared()
    for key in dict.fromkeys(each.key for each in section.options):
        where = cfg.where(number, key)
        if key not in declared:
            told = not (isinstance(odd, Oddities) and odd.full)
            more = hint(key, declared, OPTIONS) if told else None
            odd(f"{where}: unknown option, not used{f'; {more}' if more else ''}")
        elif knows := declared[key].rule.unknown_to(dialect):
            odd(f"{where}: unknown to {dialect.name}, not used ({knows} knows it)")


def _convert(
    text: str, kind: Any, rule: Rule, dialect: Dialect, where: Where, odd: Callable[[str], None]
) -> Any:
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        return _list(text, arguments[0], rule, where, odd)
    scalar = next((each for each in arguments if each is not type(None)), kind)
    if typing.get_origin(scalar) is tuple:
        return _list(text, typing.get_args(scalar)[0], rule, where, odd)
    if scalar is str:
        return _word(text, rule, dialect, where, odd)
    value = _number(text, float if scalar is float else int, rule, where, odd)
    return value != 0 if scalar is bool else value


def _content(
    name: str, parse: Callable[[bytes], Any], open_file: Callable[[str], bytes] | None, where: Where
) -> Any:
    try:
        if open_file is None:
            raise CfgError("files cannot be named here")
        return parse(open_file(name))
    except CfgError as error:
        comment = _parted(name)[1]
        raise CfgError(
            f"{_shown(name)}: {error.problem}",
            where=where,
            expected=error.expected,
            found=error.found,
            hint=f"Darknet takes {_shown(comment)} for a part of the name" if comment else None,
        ) from error


def _list(
    text: str, kind: type, rule: Rule, where: Where, odd: Callable[[str], None]
) -> tuple[int | float, ...]:
    body, comment = _parted(text)
    if "," in comment:
        odd(
            f"{where}: the comment {_shown(comment)} is ignored, but Darknet may read numbers "
            "between its commas; put it on a line of its own"
        )
    elif re.match(";[-+.]?[0-9]", comment):
        odd(f"{where}: {_shown(comment)} is taken for a comment: commas separate numbers")
    items = body.split(",")
    if len(items) > 1 and not items[-1]:
        items.pop()  # a comma at the end; Darknet would add a 0 here
        odd(f"{where}: a comma stands at the end; nothing is taken to follow it")
    return tuple(_number(item, kind, rule, where, odd) for item in items)


def _number(
    text: str, kind: type, rule: Rule, where: Where, odd: Callable[[str], None]
) -> int | float:
    pattern, what = (_INT, "an integer") if kind is int else (_FLOAT, "a number")
    match = pattern.match(text)
    if match is None:
        raise CfgError(
            f"{_shown(text)} is not {what}",
            where=where,
            expected=what,
            hint="Darknet would read 0 here without a word",
        )
    digits = match.group()
    value: int | float
    if kind is int:
        value = int(digits) if len(digits.lstrip("+-0")) < 12 else _INT_LIMIT
        if not -_INT_LIMIT <= value < _INT_LIMIT:
            raise CfgError("the integer does not fit 32 bits", where=where, found=_shown(digits))
    else:
        value = _float(digits)
    rest = text[match.end() :]
    if rest and not _COMMENT.match(rest):
        odd(f"{where}: {_shown(text)} is read as {value}, as Darknet does")
    if rule.at_least is not None and not value >= rule.at_least:
        raise CfgError(
            "the value is too small",
            where=where,
            expected=f"at least {rule.at_least}",
            found=f"{value}",
        )
    return value


def _float(digits: str) -> float:
    if "x" not in digits.lower():
        return float(digits)
    try:
        return float.fromhex(digits)
    except OverflowError:  # `float` gives infinity here, and so does C
        return -math.inf if digits.startswith("-") else math.inf


def _word(text: str, rule: Rule, dialect: Dialect, where: Where, odd: Callable[[str], None]) -> str:
    if rule.choices is None:
        return text
    if dialect.comments_end_words:
        text = text.partition("#")[0]
    if where.key == "activation" and text not in rule.choices:
        text = dict(dialect.activation_aliases).get(text, text)
    if text not in rule.choices:
        word, comment = _parted(text)
        if comment and word in rule.choices:
            raise CfgError(
                "Darknet takes the comment for a part of the word",
                where=where,
                expected=f"{word!r} alone",
                found=_shown(text),
                hint="put the comment on a line of its own",
            )
        raise CfgError(
            "unknown word",
            where=where,
            expected=f"one of {', '.join(sorted(rule.choices))}",
            found=_shown(text),
            hint=hint(text, rule.choices, WORDS.get(where.key or "", {})),
        )
    if text in rule.extended_choices and not dialect.extended:
        odd(f"{where}: {text!r} is unknown to {dialect.name}, which takes {rule.fallback!r}")
        return rule.fallback or text
    return text


def _parted(text: str) -> tuple[str, str]:
    """Cut a value into what is meant and a comment after it."""
    match = _COMMENT.search(text)
    return (text[: match.start()], text[match.start() :]) if match else (text, "")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "…")
