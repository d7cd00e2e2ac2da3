"""The card: which files, whose arithmetic, how large, and how much each head sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from darknet_bn.checks.report.markup import escaped, link, size, whole


def card(facts: Mapping[str, Any]) -> str:
    """Return the card as a list of terms."""
    header, memory = facts["header"], facts["memory"]
    entries = [
        ("cfg", _file(facts["files"]["cfg"])),
        ("weights", _file(facts["files"]["weights"])),
        (
            "header",
            f"version {escaped(header['version'])}, {header['bytes']} bytes; "
            f"{whole(header['seen'])} images seen in training",
        ),
        ("dialect", f"{escaped(facts['dialect'])} ({escaped(facts['reason'])})"),
        ("input", escaped(facts["input"])),
        ("parameters", f"{whole(facts['parameters'])}, {size(memory['weights'])}"),
        ("arithmetic", _operations(facts["bflops"])),
        (
            "memory of a run",
            f"{size(memory['weights'])} weights and {size(memory['outputs'])} outputs of layers, "
            "for one image; working memory of convolutions comes on top",
        ),
        ("outputs", "<br>".join(map(_output, facts["outputs"]))),
    ]
    if facts["oddities"]:
        entries.append(("odd on loading", "<br>".join(map(escaped, facts["oddities"]))))
    rows = "\n".join(f"<dt>{term}</dt><dd>{text}</dd>" for term, text in entries)
    return f"<dl>{rows}</dl>"


def _operations(billions: float) -> str:
    if billions < 1e-3:
        return f"{whole(round(billions * 1e9))} floating-point operations for an image"
    return f"{billions:.3f} BFLOPs for an image"


def _file(facts: Mapping[str, Any] | None) -> str:
    if facts is None:
        return "no file"
    return (
        f"{escaped(facts['file'])}, {whole(facts['bytes'])} bytes<br>"
        f"<code>SHA-256 {facts['sha256']}</code>"
    )


def _output(facts: Mapping[str, Any]) -> str:
    sees = facts["sees"]
    seen = "the whole input" if sees == "all" else f"{escaped(sees)} pixels of the input"
    return (
        f"layer {link(facts['layer'])} [{escaped(facts['section'])}]: {escaped(facts['shape'])}; "
        f"a value depends on {seen}"
    )
