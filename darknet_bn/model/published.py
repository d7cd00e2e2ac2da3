"""The forms of published cfgs: a table that ``tools/published_cfgs.py`` makes.

It holds facts about the cfgs that pjreddie, AlexeyAB and hank-ai have published, not their text.
Cfgs of the same form share a row.
"""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from darknet_bn.formats.reading import read_file
from darknet_bn.model.form import ClassLayer, Form

TABLE = Path(__file__).with_name("published.csv")
_MOST = 1 << 20  # bytes
_Key: TypeAlias = "tuple[int, tuple[int, ...], tuple[str, ...], tuple[ClassLayer, ...], int]"
_COLUMNS = (
    *("names", "programs", "layers", "floats", "input"),
    *("classes", "per_class", "activations", "heads", "sizes"),
)


@functools.cache
def published_forms() -> tuple[Form, ...]:
    """Return the forms of published cfgs, the smallest first."""
    text = read_file(TABLE, _MOST).decode("utf-8")
    return tuple(map(_form, csv.DictReader(io.StringIO(text))))


def table_of(forms: Iterable[Form]) -> str:
    """Return the text of the table for these forms; equal ones share a row.

    Parameters
    ----------
    forms : iterable of Form
    """
    rows: dict[_Key, list[Form]] = {}
    for form in forms:
        rows.setdefault(_key(form), []).append(form)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for key in sorted(rows):
        same = rows[key]
        first = same[0]
        names = dict.fromkeys(name for form in same for name in form.names)
        programs = dict.fromkeys(program for form in same for program in form.programs)
        writer.writerow(
            [
                " ".join(names),
                " ".join(programs),
                len(first.sizes),
                first.floats,
                first.input.replace(" ", ""),
                "" if first.classes is None else first.classes,
                " ".join(map(str, first.per_class)),
                first.activations,
                first.heads,
                " ".join(str(size) if size else "-" for size in first.sizes),
            ]
        )
    return stream.getvalue()


def _key(form: Form) -> _Key:
    classes = -1 if form.classes is None else form.classes
    told = (form.input, form.activations, form.heads)
    return form.floats, form.sizes, told, form.per_class, classes


def _form(row: dict[str, str]) -> Form:
    return Form(
        names=tuple(row["names"].split()),
        programs=tuple(row["programs"].split()),
        input=row["input"].replace("x", " x "),
        classes=int(row["classes"]) if row["classes"] else None,
        per_class=tuple(map(_class_layer, row["per_class"].split())),
        activations=row["activations"],
        heads=row["heads"],
        sizes=tuple(0 if size == "-" else int(size) for size in row["sizes"].split()),
    )


def _class_layer(text: str) -> ClassLayer:
    layer, _, rest = text.partition(":")
    outputs, _, floats = rest.partition("x")
    return ClassLayer(int(layer), int(outputs), int(floats))
