"""What an examination finds: one record a finding, and all of them together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from darknet_bn.values import brief, brief_fields, counted

Verdict = Literal["wrong", "note", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """One finding.

    Attributes
    ----------
    verdict : "wrong", "note" or "unknown"
        Whether outputs cannot be right; whether it is only unusual; or whether the pictures are too
        few to tell.
    kind : str
        A short name of what was looked at, such as ``activation``; the same in every version.
    what : str
        What was found, in plain words, with its figure.
    do : str
        What to do about it; empty if there is nothing to do.
    layer : int or None
        The first layer that shows it; None if it concerns the whole model.
    section : str or None
        The section of that layer.
    figure : float or None
        The number that decided.
    """

    verdict: Verdict
    kind: str
    what: str
    do: str = ""
    layer: int | None = None
    section: str | None = None
    figure: float | None = None

    __repr__ = brief_fields


@dataclass(frozen=True)
class SeenLayer:
    """What one batch norm sees in the pictures, against what it saw in training.

    Attributes
    ----------
    layer, section : int, str
    values : int
        How many values of each channel were seen.
    shift : float
        How far the mean of a channel is from the stored mean, in units of the stored sigma; the
        median over the channels.
    worst_shift : float
        The largest of them.
    divergence : float
        How far both distributions are from each other, taken as normal ones: Kullback and
        Leibler's divergence in nats, at most 20 a channel; the mean over the channels.
    """

    layer: int
    section: str
    values: int
    shift: float
    worst_shift: float
    divergence: float

    __repr__ = brief_fields


@dataclass(frozen=True)
class Examination:
    """All that was found.

    Attributes
    ----------
    findings : tuple of Diagnosis
        What is wrong comes first.
    layers : tuple of SeenLayer
        What each batch norm sees; empty without pictures.
    images : int
        How many pictures were looked at.
    """

    findings: tuple[Diagnosis, ...]
    layers: tuple[SeenLayer, ...] = ()
    images: int = 0

    @property
    def wrong(self) -> bool:
        """Whether something is wrong."""
        return any(each.verdict == "wrong" for each in self.findings)

    def __repr__(self) -> str:
        """Return a one-line description."""
        bad = sum(each.verdict == "wrong" for each in self.findings)
        seen = f", with {counted(self.images, 'image')}" if self.images else ""
        return brief(self, f"{counted(len(self.findings), 'finding')}, {bad} wrong{seen}")
