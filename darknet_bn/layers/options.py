"""Typed options: dataclass fields that can read themselves from a section."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar

from darknet_bn.dialect import PJREDDIE, Dialect
from darknet_bn.errors import CfgError, Oddities, located, quoted
from darknet_bn.formats.cfg import Cfg, Section
from darknet_bn.formats.synonyms import OPTIONS, hint
from darknet_bn.layers.option_values import (
    OptionPlace,
    Rule,
    content_of,
    convert,
    once,
    parted,
)
from darknet_bn.values import brief

O = TypeVar("O", bound="Options")  # noqa: E741  # the class that reads itself


class Declared(NamedTuple):
    """What a class declares about an option."""

    field: str  # the key, followed by `_` if the key is a Python keyword
    kind: Any
    rule: Rule
    default: Callable[[Dialect], Any] | None


def option(
    default: Any, *, original_default: Any = ..., choices: Iterable[str] | None = None, **rule: Any
) -> Any:
    """Declare an option: its default (or a function of the dialect), and its `Rule`.

    With ``original_default``, ``default`` applies to AlexeyAB's fork, and ``original_default`` to
    the other programs.
    """
    if original_default is not ...:
        return option(
            lambda dialect: default if dialect.extended else original_default,
            choices=choices,
            **rule,
        )
    words = frozenset(choices) if choices is not None else None
    metadata = {"rule": Rule(choices=words, **rule)}
    if callable(default):
        return dataclasses.field(
            default_factory=lambda: default(PJREDDIE), metadata={**metadata, "default": default}
        )
    return dataclasses.field(default=default, metadata=metadata)


def fact(of_dialect: Callable[[Dialect], Any]) -> Any:
    """Declare a field that no cfg sets: a property of such a section in a dialect."""
    return dataclasses.field(
        default_factory=lambda: of_dialect(PJREDDIE), metadata={"fact": of_dialect}
    )


@dataclass(frozen=True, kw_only=True)
class Options:
    """A section whose options are the fields of a class, each with its type and `Rule`."""

    extended: ClassVar[bool] = False  # only AlexeyAB's fork has the section
    original: ClassVar[bool] = False  # only pjreddie's Darknet has it

    def __init_subclass__(cls) -> None:
        """Keep the ``__repr__`` below: a dataclass would generate one that lists every option."""
        super().__init_subclass__()
        cls.__repr__ = Options.__repr__  # type: ignore[method-assign]

    def __repr__(self) -> str:
        """Return the options that differ from their defaults, on one line."""
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
            Called with values that are odd but have one clear meaning.
        open_file : function, optional
            Returns the content of a file that an option names, or raises CfgError.

        Raises
        ------
        CfgError
            A value does not match its type or rule, or two options contradict each other.
        """
        try:
            with located(lambda inner: cfg.where(number, inner.key), CfgError):
                options = cls._read(cfg, number, dialect, odd, open_file)
                for key, text in options.check(dialect):
                    odd(f"{cfg.where(number, key)}: {text}")
        except CfgError as error:
            error.hint = _suspect(cfg, number, error.where.key) or error.hint
            raise
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
        values: dict[str, Any] = {name: tell(dialect) for name, tell in _facts(cls)}
        declared, always = cls.declared(), _never_left_out(cls)
        given = {option.key for option in section.options}
        for key in [key for key in declared if key in given or key in always]:
            name, kind, rule, default = declared[key]
            found = section.find(key)
            if found is not None and dialect.opencv:
                last = section.last(key)
                if last is not None and last is not found:
                    place = OptionPlace(cfg, number, key)
                    odd(f"{place}: {dialect.name} uses the last one, in line {last.line}")
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
            place = OptionPlace(cfg, number, key)
            if rule.content is not None:
                values[name] = content_of(found.value, rule.content, open_file, place)
                continue
            values[name] = convert(found.value, kind, rule, dialect, place, odd)
        _say_unknown(cls, section, cfg, number, dialect, odd)
        return cls(**values)

    def check(self, dialect: Dialect) -> Iterator[tuple[str, str]]:
        """Check options against each other, if one of them counts or indexes another.

        Yields
        ------
        key, text : str, str
            The option that is odd but has one clear meaning, and the value that is used.

        Raises
        ------
        CfgError
            No program can interpret this; the place includes the key of the option.
        """
        return iter(())

    @classmethod
    def declared(cls) -> dict[str, Declared]:
        """Return the declaration of every option, by key."""
        return _declared(cls)

    @classmethod
    def section_unknown_to(cls, dialect: Dialect) -> str | None:
        """Return the dialect that knows the section, if the given one does not; otherwise None."""
        if cls.original:
            return "pjreddie" if dialect.extended else None
        return "alexeyab" if cls.extended and not dialect.extended else None

    @classmethod
    def extended_keys(cls) -> frozenset[str]:
        """Return the keys that distinguish cfgs of AlexeyAB's fork from all others."""
        return _extended_keys(cls)

    @classmethod
    def extended_words(cls) -> dict[str, frozenset[str]]:
        """Return the keys with words that only AlexeyAB's fork knows, and these words."""
        return _extended_words(cls)

    @classmethod
    def reference_keys(cls) -> tuple[str, ...]:
        """Return the keys that name other layers."""
        return _reference_keys(cls)

    def value(self, key: str, default: Any = None) -> Any:
        """Return the value of an option by its key; ``default`` if there is no such option."""
        known = self.declared().get(key)
        return default if known is None else getattr(self, known.field)

    def references(self, key: str) -> tuple[int, ...]:
        """Return the layers that an option names, with the numbers as in the cfg."""
        value = self.value(key)
        return () if value is None else value if isinstance(value, tuple) else (value,)


def _suspect(cfg: Cfg, number: int, key: str | None) -> str | None:
    """Say that spaces have joined numbers, in this option or another, or that a comment is read."""
    if key is None:
        return None
    section = cfg.sections[number]
    for each in (key, *(option.key for option in section.options if option.key != key)):
        joined = cfg.joined_numbers(number, each)
        if joined:
            return joined if each == key else f"in {each}=, {joined}"
    option = section.find(key)
    comment = parted(option.value or "")[1] if option else ""
    if "," in comment:
        return f"the text from {quoted(comment)} on is treated as a comment"
    return None


def _default(field: dataclasses.Field[Any]) -> object:
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()


@once
def _declared(cls: Any) -> dict[str, Declared]:
    hints = typing.get_type_hints(cls)
    return {
        each.name.removesuffix("_"): Declared(
            each.name, hints[each.name], each.metadata["rule"], each.metadata.get("default")
        )
        for each in dataclasses.fields(cls)
        if "rule" in each.metadata
    }


@once
def _facts(cls: Any) -> tuple[tuple[str, Callable[[Dialect], Any]], ...]:
    """Return the fields that no cfg sets, and the functions that give their values."""
    fields = dataclasses.fields(cls)
    return tuple((each.name, each.metadata["fact"]) for each in fields if "fact" in each.metadata)


@once
def _never_left_out(cls: Any) -> frozenset[str]:
    """Return the keys that need handling even if they are missing."""
    each = _declared(cls).items()
    return frozenset(key for key, (_, _, rule, default) in each if rule.required or default)


@once
def _extended_keys(cls: Any) -> frozenset[str]:
    rules = {key: each.rule for key, each in _declared(cls).items()}
    return frozenset(key for key, rule in rules.items() if rule.extended and not rule.stray)


@once
def _extended_words(cls: Any) -> dict[str, frozenset[str]]:
    rules = {key: each.rule for key, each in _declared(cls).items()}
    return {key: rule.extended_choices for key, rule in rules.items() if rule.extended_choices}


@once
def _reference_keys(cls: Any) -> tuple[str, ...]:
    return tuple(key for key, each in _declared(cls).items() if each.rule.reference)


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
        place = OptionPlace(cfg, number, key)
        if key not in declared:
            told = not (isinstance(odd, Oddities) and odd.full)
            more = hint(key, declared, OPTIONS) if told else None
            odd(f"{place}: unknown option, not used{f'; {more}' if more else ''}")
        elif knows := declared[key].rule.unknown_to(dialect):
            odd(f"{place}: unknown to {dialect.name}, not used ({knows} knows it)")
