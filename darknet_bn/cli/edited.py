"""What the verbs of ``edit`` have in common: options, the proof, and the answer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import darknet_bn as dn
from darknet_bn.cli import models, options, output, tables
from darknet_bn.cli.options import FILE, Command
from darknet_bn.cli.terminal import RIGHT

if TYPE_CHECKING:
    from darknet_bn.arrays import F32
    from darknet_bn.checks.edit import ChangedLayer, ChangedLine, Claim
    from darknet_bn.formats.writing import Writer

_HEADINGS = ("layer", "section", "output", "parameters")
_MOST_LINES = 20


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the options of a verb say that all verbs have.

    Attributes
    ----------
    source : Source
        The model.
    out : str or None
        What is to be written; None for a dry run.
    force : bool
    picture : str or None
        What the model is run on, besides random values.
    tolerance : float or None
    as_json : bool
    """

    source: models.Source
    out: str | None
    force: bool
    picture: str | None
    tolerance: float | None
    as_json: bool

    def targets(self, *more: str, first: int | None = None) -> list[str] | None:
        """Return the files to write, checked before any work; None for a dry run.

        With ``first`` that is one file: the weights of the first layers.
        """
        if self.out is None:
            return None
        if first is not None:
            name = options.stem(self.out, ".weights", f".conv.{first}") + f".conv.{first}"
            options.require_free([name], force=self.force, inputs=self.source.files)
            return [name]
        stem = options.stem(self.out, ".cfg", ".weights")
        cfg, weights, *others = f"{stem}.cfg", f"{stem}.weights", *(stem + each for each in more)
        options.require_free([cfg], force=self.force, inputs=[self.source.weights])
        options.require_free([weights], force=self.force, inputs=[self.source.cfg])
        options.require_free(others, force=self.force, inputs=self.source.files)
        return [cfg, weights, *others]

    def inputs(self, model: dn.Model) -> dict[str, F32]:
        """Read what the edited model is run on."""
        from darknet_bn.cli.inputs import read_input

        if self.picture is None:
            return {}
        return {self.picture: read_input(self.picture, None, model).x}


def common(command: Command, named: Callable[[Command], Command] = models.model) -> Command:
    """Pass ``wanted`` to a verb: the model, and the options that all verbs have.

    ``named`` passes the model to it.
    """

    @options.out(
        "Write OUT.cfg and OUT.weights; without it, only say what would change.", required=False
    )
    @click.option(
        "--picture",
        type=FILE,
        metavar="FILE",
        help="Also run the model on this picture, .npy or .npz file.",
    )
    @options.tolerance("1e-5, or 4 times float32 rounding", "output")
    @options.json
    @options.quiet("warnings and errors")
    @functools.wraps(command)
    def wrapped(
        out: str | None,
        force: bool,
        picture: str | None,
        tolerance: float | None,
        as_json: bool,
        source: models.Source,
        **rest: Any,
    ) -> Any:
        wanted = Wanted(
            source=source,
            out=out,
            force=force,
            picture=picture,
            tolerance=tolerance,
            as_json=as_json,
        )
        return command(wanted=wanted, **rest)

    return named(wrapped)  # type: ignore[arg-type]  # click calls it with all options


@dataclass(frozen=True, kw_only=True)
class More:
    """What a verb adds to the files and to the answer.

    Attributes
    ----------
    files : mapping from suffix to function
        Other files to write.
    facts : mapping
        For JSON.
    notes : sequence of str
        What to know about the result.
    lines : sequence of str or Line
        Printed before the proof.
    """

    files: Mapping[str, Writer] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    lines: Sequence[output.Line | str] = ()


def finish(
    verb: str,
    wanted: Wanted,
    model: dn.Model,
    edited: dn.Model,
    claim: Claim,
    more: More | None = None,
    *,
    first: int | None = None,
    against: dn.Model | None = None,
    proof: dn.Report | None = None,
) -> None:
    """Prove an edit, write it if that is wanted, and answer.

    With ``first``, only the weights of the first layers are written.  ``against`` is what the
    edited model is compared with, if it is not the model itself; ``proof`` is a comparison that has
    been made already, instead of one of the outputs.
    """
    from darknet_bn.checks.edit import (
        changed_layers,
        changed_lines,
        edit_files,
        prove_edit,
        require_proof,
    )

    more = more or More()
    targets = wanted.targets(*more.files, first=first)
    inputs = wanted.inputs(model if claim.at_the_old_size else edited)
    lines = changed_lines(model.cfg, edited.cfg)
    layers = changed_layers(model, edited)
    if targets is None:
        report = prove_edit(against or model, edited, claim, inputs, tolerance=wanted.tolerance)
        require_proof(model, report, claim)
    else:
        cfg, weights, *others = targets if first is None else ["", *targets]
        report = edit_files(
            against or model,
            edited,
            claim,
            cfg or None,
            weights,
            first=first,
            more=dict(zip(map(Path, others), more.files.values(), strict=True)),
            inputs=inputs,
            tolerance=wanted.tolerance,
            force=wanted.force,
        )
    report = proof or report
    counts = [each.network.stored_floats for each in (model, edited)]
    notes = [*more.notes, *_not_numbers(model)]
    if targets is not None and first is None:
        notes += _not_beside(edited, targets[0])
    facts = output.about(model, wanted.source.cfg, wanted.source.weights)
    facts |= {
        "verb": verb,
        "lines": lines,
        "layers": layers,
        "parameters": counts[0],
        "new_parameters": counts[1],
        "equal": claim.words,
        "to_the_bit": claim.to_the_bit,
        "proof": report.json(),
        "notes": notes,
        "written": targets,
    }
    answer: output.Lines = [
        output.dialect(model),
        *_lines(lines),
        *_layers(layers, counts),
        *(part for line in more.lines for part in output.folded(line)),
        *(part for note in notes for part in output.folded(f"note: {note}")),
        *(part for line in _proven(report, claim) for part in output.folded(line)),
        "nothing was written; -o OUT writes the model"
        if targets is None
        else f"written: {' and '.join(map(output.printable, targets))}",
    ]
    output.show(facts | dict(more.facts), answer, as_json=wanted.as_json)


def _not_numbers(model: dn.Model) -> Iterator[str]:
    """Yield a note if the weights make outputs NaN: these are equal, whatever is compared."""
    from darknet_bn.model.summary import inspect

    for each in inspect(model):
        if each.fatal:
            place = f"layer {each.layer} [{each.section}]"
            yield f"{place}: {each.what}; NaN in both models proves nothing"
            return


def _not_beside(edited: dn.Model, cfg: str) -> Iterator[str]:
    """Yield a note for each file that the cfg names, and that is not where it is looked for."""
    folder = Path(cfg).parent
    for name in edited.network.files:
        if not (folder / name).is_file():
            yield (
                f"the cfg names the file {output.printable(name)}, which is not in the folder of "
                "the new cfg"
            )


def _lines(lines: Sequence[ChangedLine]) -> Iterator[str]:
    if not lines:
        yield "cfg: no line changes"
        return
    for each in lines[:_MOST_LINES]:
        before, after = (
            None if text is None else output.printable(text) for text in (each.before, each.after)
        )
        if before is None:
            yield f"cfg line {each.line}: new: {after}"
        else:
            yield f"cfg line {each.line}: {before} -> {after or 'removed'}"
    if len(lines) > _MOST_LINES:
        yield f"and {len(lines) - _MOST_LINES} more lines; --json lists all"


def _layers(layers: Sequence[ChangedLayer], counts: Sequence[int]) -> Iterator[str]:
    if not layers:
        yield f"layers: none changes; {counts[0]} parameters"
        return
    rows = [
        (
            f"{each.layer}",
            each.section,
            " -> ".join(dict.fromkeys((each.shape, each.new_shape))),
            " -> ".join(dict.fromkeys((f"{each.parameters}", f"{each.new_parameters}"))),
        )
        for each in layers
    ]
    yield from tables.aligned([_HEADINGS, *rows], "><<>")
    yield f"parameters: {' -> '.join(dict.fromkeys(map(str, counts)))}"


def _proven(report: dn.Report, claim: Claim) -> Iterator[output.Line | str]:
    worst = report.worst
    if claim.to_the_bit or worst.error == 0:
        yield output.Line(f"proven: {claim.words}: equal to the bit", RIGHT, found=False)
        return
    difference = f"relative difference at most {worst.relative:.2g}"
    yield output.Line(f"proven: {claim.words}: {difference}", RIGHT, found=False)
    because = worst.because(report.precision)
    limits = f"allowed {worst.allowed:.3g}; worst is layer {worst.layer}"
    limits += "" if worst.input is None else f" on {worst.input}"
    yield f"  ({because}; {limits})" if because else f"  ({limits})"
