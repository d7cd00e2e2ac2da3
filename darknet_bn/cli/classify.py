"""``darknet-bn classify``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

import darknet_bn as dn
from darknet_bn.cli import (
    choices,
    class_names,
    models,
    one_by_one,
    options,
    output,
    pictures,
    places,
    rows,
)

if TYPE_CHECKING:
    from darknet_bn.pictures.prepare import Fit

_COLUMNS = ("file", "class", "name", "probability")


@click.command()
@models.model_and_pictures
@class_names.names_and_data
@click.option(
    "--top",
    type=click.IntRange(min=1),
    help=f"Number of classes to print.  [default: top= of the .data file, else {choices.TOP}]",
)
@options.fit("letterbox", "stretch", "crop")
@options.engine
@options.recursive
@rows.options
@options.json_or_rows
@options.quiet("the classes")
@click.pass_context
def classify(
    ctx: click.Context,
    source: models.Source,
    words: Sequence[str],
    names: class_names.ClassNames,
    top: int | None,
    fit: Fit | None,
    engine: str,
    recursive: bool,
    into: rows.Rows | None,
    as_json: bool,
    as_lines: bool,
    as_csv: bool,
) -> None:
    """Classify pictures (output as in 'darknet classifier predict').

    PICTURE is a file, a folder, a pattern such as 'photos/*.jpg', or a list: a .txt file with one
    path per line.  Without PICTURE, or with '-', the list is read from standard input.  Pictures
    that cannot be read are reported, and the rest are still processed; the exit code is then 1, or
    2 if none could be read.  With --json-lines, a list is read as it comes.

    Example: darknet-bn classify darknet19.cfg darknet19.weights dog.jpg --data imagenet1k.data
    """
    from darknet_bn.pictures.images import require_pillow
    from darknet_bn.pictures.prepare import own_fit, picture_shape
    from darknet_bn.predictions.classification import class_layer, classification_lines

    if into is not None:
        into.prepare({"--json": as_json, "--json-lines": as_lines, "--csv": as_csv})
    require_pillow()
    found: pictures.FoundPictures | pictures.PictureStream
    if into is not None:
        found = places.find(words, recursive=recursive)
    elif as_lines:
        found = pictures.PictureStream(words, recursive)
    else:
        found = pictures.find(words, recursive=recursive)
    model = source.load_for_pictures()
    picture_shape(model.network)
    classes = names.fit(model.network.nodes[class_layer(model.network)].y.size)
    way = fit or own_fit(model)
    count = names.top(top)
    classifier = dn.Classifier(model, names=classes, top=count, engine=engine, fit=way)
    computed_by = classifier.session.engine
    told: list[dict[str, Any]] = []
    tell = output.aside if as_csv or as_lines else output.note
    if not as_json:
        tell(output.dialect(model))
        tell(output.fit(model, way, given=fit is not None))
    if into is not None:
        given = {"engine": computed_by, "fit": way, "top": count}
        facts = rows.facts_of(source, model, classes, given)
        rows.run(ctx, into, found, classifier, facts)
    if as_csv:
        output.text(",".join(_COLUMNS))

    def work(path: str) -> Iterable[str]:
        im = dn.load_image(path, model.network.input.c)
        scores = classifier(im)
        if as_csv:
            return output.as_csv(
                (path, score.class_id, score.label, f"{score.probability:.6f}") for score in scores
            )
        if as_json or as_lines:
            _, height, width = im.shape
            scored = [
                {"class_id": each.class_id, "name": each.label, "confidence": each.probability}
                for each in scores
            ]
            entry = {"file": path, "width": width, "height": height, "classes": scored}
            if as_lines:
                return (output.json_line(entry),)
            told.append(entry)
            return ()
        heading = () if found.single else (f"{path}:",)
        lines = (*heading, *classification_lines(scores, model.dialect))
        return (output.columns(line) for line in lines)

    told_at_once = one_by_one.tell_line if as_lines else None
    outcome = one_by_one.for_each(found, "classifying", work, told_at_once)
    facts = output.about(model, source.cfg, source.weights)
    facts |= {"engine": computed_by, "fit": way, "top": count, "pictures": told} | outcome.facts
    one_by_one.show(facts, (), outcome, as_json=as_json, in_rows=as_csv or as_lines)
    one_by_one.end(ctx, outcome, words)
