"""The values of options: what a text in a cfg means for a given type and rule."""

from __future__ import annotations

import functools
import math
import re
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from darknet_bn.dialect import Dialect
from darknet_bn.errors import CfgError, Where, quoted
from darknet_bn.formats.cfg import Cfg
from darknet_bn.formats.synonyms import WORDS, hint

_INT = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(
    r"[+-]?(0x([0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(p[+-]?\d+)?|inf(inity)?|nan"
    r"|(\d+\.?\d*|\.\d+)(e[+-]?\d+)?)",
    re.IGNORECASE | re.ASCII,
)
_COMMENT = re.compile("[#;]|//")
_INT_LIMIT = 2**31

T = TypeVar("T")


def once(find_out: Callable[[Any], T]) -> Callable[[Any], T]:
    """Compute a result only once per argument, which is a class or a type."""
    return functools.cache(find_out)


class OptionPlace(NamedTuple):
    """The place of an option; the text is only made if it is needed, as `Cfg.where` does."""

    cfg: Cfg
    number: int
    key: str

    def __str__(self) -> str:
        """Return it as text for a message."""
        return str(self.where)

    @property
    def where(self) -> Where:
        """The place for an error."""
        return self.cfg.where(self.number, self.key)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The values that an option allows, in addition to its type.

    Attributes
    ----------
    at_least : int or None
        The smallest allowed number, for each item of a list.
    choices : collection of str, or None
        The allowed words.
    extended : bool
        Whether only AlexeyAB's fork and its descendants know the key.
    original : bool
        Whether only pjreddie's Darknet knows the key.
    opencv : bool
        Whether OpenCV knows the key, alone or along with the other programs.
    stray : bool
        Whether published cfgs for other programs contain this ``extended`` key, without effect.
    extended_choices : collection of str
        Words in ``choices`` that only these programs know; others use ``fallback``.
    reference : bool
        Whether it names layers; negative numbers are relative to the layer itself.
    required : bool
        Whether the section is meaningless without it.
    content : function or None
        If it names a file: a function that makes the value from its content, or raises CfgError.
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
        """Return the dialect that knows the key, if the given one does not; otherwise None."""
        if self.opencv and dialect.opencv:
            return None
        if self.original:
            return "pjreddie" if dialect.extended else None
        if self.extended:
            return None if dialect.extended else "alexeyab"
        return "opencv" if self.opencv else None


@once
def _parted_kind(kind: Any) -> tuple[bool, Any]:
    """Return whether a type is a tuple, or a tuple or None; and the type of one value."""
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        return True, arguments[0]
    scalar = next((each for each in arguments if each is not type(None)), kind)
    if typing.get_origin(scalar) is tuple:
        return True, typing.get_args(scalar)[0]
    return False, scalar


def convert(
    text: str,
    kind: Any,
    rule: Rule,
    dialect: Dialect,
    place: OptionPlace,
    odd: Callable[[str], None],
) -> Any:
    """Return the value of an option's text.

    Parameters
    ----------
    text : str
    kind : type
        Type of the value, as in the annotation of the field.
    rule : Rule
    dialect : Dialect
    place : OptionPlace
        The place for messages.
    odd : function
        Called with values that are odd but have one clear meaning.

    Raises
    ------
    CfgError
        The text is not a valid value.
    """
    several, scalar = _parted_kind(kind)
    if several:
        return _list(text, scalar, rule, place, odd)
    if scalar is str:
        return _word(text, rule, dialect, place, odd)
    value = _number(text, float if scalar is float else int, rule, place, odd)
    return value != 0 if scalar is bool else value


def content_of(
    name: str,
    parse: Callable[[bytes], Any],
    open_file: Callable[[str], bytes] | None,
    place: OptionPlace,
) -> Any:
    """Return the content of the file that an option names.

    Raises
    ------
    CfgError
        It cannot be read, or its content is not valid.
    """
    try:
        if open_file is None:
            raise CfgError("file names are not allowed here")
        return parse(open_file(name))
    except CfgError as error:
        comment = parted(name)[1]
        hint = f"Darknet treats {quoted(comment)} as part of the name" if comment else None
        problem = f"{quoted(name)}: {error.problem}"
        raise error.as_kind(CfgError, problem, where=place.where, hint=hint) from error


def _list(
    text: str, kind: type, rule: Rule, place: OptionPlace, odd: Callable[[str], None]
) -> tuple[int | float, ...]:
    body, comment = parted(text)
    if "," in comment:
        odd(
            f"{place}: the comment {quoted(comment)} is ignored, but Darknet may read numbers "
            "between its commas; put it on its own line"
        )
    elif re.match(";[-+.]?[0-9]", comment):
        odd(f"{place}: {quoted(comment)} is treated as a comment: commas separate numbers")
    items = body.split(",")
    if len(items) > 1 and not items[-1]:
        items.pop()  # a comma at the end; Darknet would add a 0 here
        odd(f"{place}: the comma at the end is ignored")
    return tuple(_number(item, kind, rule, place, odd) for item in items)


def _number(
    text: str, kind: type, rule: Rule, place: OptionPlace, odd: Callable[[str], None]
) -> int | float:
    pattern, what = (_INT, "an integer") if kind is int else (_FLOAT, "a number")
    match = pattern.match(text)
    if match is None:
        raise CfgError(
            f"{quoted(text)} is not {what}",
            where=place.where,
            expected=what,
            hint="Darknet would silently read 0 here",
        )
    digits = match.group()
    value: int | float
    if kind is int:
        value = int(digits) if len(digits.lstrip("+-0")) < 12 else _INT_LIMIT
        if not -_INT_LIMIT <= value < _INT_LIMIT:
            raise CfgError(
                "the integer does not fit into 32 bits", where=place.where, found=quoted(digits)
            )
    else:
        value = _float(digits)
    rest = text[match.end() :]
    if rest and not _COMMENT.match(rest):
        odd(f"{place}: {quoted(text)} is read as {value}, as Darknet does")
    if rule.at_least is not None and not value >= rule.at_least:
        raise CfgError(
            "the value is too small",
            where=place.where,
            expected=f"at least {rule.at_least}",
            found=f"{value}",
        )
    return value


def _float(digits: str) -> float:
    if "x" not in digits.lower():
        return float(digits)
    try:
        return float.fromhex(digits)
    except OverflowError:  # `float` gives infinity here, as C does
        return -math.inf if digits.startswith("-") else math.inf


def _word(
    text: str, rule: Rule, dialect: Dialect, place: OptionPlace, odd: Callable[[str], None]
) -> str:
    if rule.choices is None:
        return text
    if dialect.comments_end_words:
        text = text.partition("#")[0]
    if place.key == "activation" and text not in rule.choices:
        text = dict(dialect.activation_aliases).get(text, text)
    if text not in rule.choices:
        word, comment = parted(text)
        if comment and word in rule.choices:
            raise CfgError(
                "Darknet treats the comment as part of the word",
                where=place.where,
                expected=f"{word!r} alone",
                found=quoted(text),
                hint="put the comment on its own line",
            )
        raise CfgError(
            "unknown word",
            where=place.where,
            expected=f"one of {', '.join(sorted(rule.choices))}",
            found=quoted(text),
            hint=hint(text, rule.choices, WORDS.get(place.key or "", {})),
        )
    if text in rule.extended_choices and not dialect.extended:
        odd(f"{place}: {text!r} is unknown to {dialect.name}, which uses {rule.fallback!r} instead")
        return rule.fallback or text
    return text


def parted(text: str) -> tuple[str, str]:
    """Split a value into the part that counts and a comment after it."""
    match = _COMMENT.search(text)
    return (text[: match.start()], text[match.start() :]) if match else (text, "")
