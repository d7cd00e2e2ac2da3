"""From a model to a graph of ONNX's operators: inputs, outputs, and their form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from darknet_bn.convert.heads import (
    Form,
    decoded,
    joined_boxes,
    suppressed,
    yolov5_rows,
    yolov8_columns,
)
from darknet_bn.errors import ExportError, Where, located
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import FLOAT, HALF, Dims, Value
from darknet_bn.kernels.boxes.nms import DEFAULT_OVERLAP
from darknet_bn.layers.shape import Shape
from darknet_bn.model.model import Model
from darknet_bn.model.network import Network
from darknet_bn.predictions.boxes import heads_of
from darknet_bn.run.heads import layers_before_heads
from darknet_bn.transforms.fold import fold_batchnorm, fold_report


@dataclass(frozen=True)
class ExportOptions:
    """The options of an exported file.

    Attributes
    ----------
    opset : int
        The version of ONNX's operators.
    fold : bool
        Whether to fold batch norm into the weights.
    head : str
        The form of a detector's outputs: ``raw``, what Darknet's layers store; ``decoded``, corners
        of all boxes and a score for each class; ``yolov5`` and ``yolov8``, the rows that programs
        for these expect; ``nms``, the boxes after suppression.
    batch : int or None
        How many images it takes; None for any number.
    fixed_size : bool
        Whether it takes images of the cfg's size only.
    half : bool
        Whether it computes in float16; inputs and outputs are float32.
    threshold, nms : float
        For ``nms``: the score that a box must exceed, and how much boxes may overlap.
    heads : bool
        Whether the heads are in it; if not, the layers before them come out.
    """

    opset: int
    fold: bool = True
    head: Form = "raw"
    batch: int | None = 1
    fixed_size: bool = True
    half: bool = False
    threshold: float = 0.5
    nms: float = DEFAULT_OVERLAP
    heads: bool = True


@dataclass(frozen=True)
class Tensor:
    """The type of a value: its dimensions, with names for open ones, and whether float16."""

    dims: Dims
    half: bool = False


@dataclass(frozen=True)
class ExportGraph:
    """A graph, and what the file says about it.

    Attributes
    ----------
    graph : GraphBuilder
    input : Tensor
    outputs : mapping from name to Tensor
    values : mapping from name to Tensor
        The output of each layer that is in the graph.
    layers : mapping from layer number to name
        The value that is the output of each layer.  A layer whose own batch norm is folded is
        included; a layer that has absorbed a section of batch norm after it is not.
    notes : tuple of str
        The ways in which the file differs from the program.
    model : Model
        The model of the graph: with batch norm folded, if that was asked for.
    arrays : mapping from layer number and name to name
        The names of the model's parameters that are in the graph unchanged.
    """

    graph: GraphBuilder
    input: Tensor
    outputs: Mapping[str, Tensor]
    values: Mapping[str, Tensor]
    layers: Mapping[int, str]
    notes: tuple[str, ...]
    model: Model
    arrays: Mapping[tuple[int, str], str]


def build_graph(model: Model, options: ExportOptions) -> ExportGraph:
    """Express a model in ONNX's operators.

    Parameters
    ----------
    model : Model
    options : ExportOptions

    Returns
    -------
    graph : ExportGraph

    Raises
    ------
    ExportError
        A layer cannot be expressed, or not with these options; the message names it.
    """
    steps = model.network.time_steps
    if options.batch is not None and options.batch % steps:
        raise ExportError(
            "the batch ends inside a sequence",
            where=model.cfg.where(0, "time_steps"),
            expected=f"a multiple of {steps}",
            found=f"{options.batch}",
        )
    if options.half and steps > 1:
        raise ExportError("sequences cannot be exported in float16")
    if options.head != "raw" and not options.fixed_size:
        raise ExportError(
            "decoded boxes need a fixed input size", hint="use --head raw or drop --any-size"
        )
    numbers = _numbers(model, fold=options.fold)
    source = fold_batchnorm(model) if options.fold else model
    network = source.network
    heads = heads_of(network) if options.head != "raw" else {}
    outputs = tuple(heads) or (network.outputs if options.heads else layers_before_heads(network))
    if -1 in outputs:
        raise ExportError(
            "nothing is left of the net without its head", where=model.cfg.where(len(numbers))
        )
    graph = GraphBuilder(
        options.opset,
        model.dialect,
        time_steps=steps,
        half=options.half,
        fixed_size=options.fixed_size,
    )
    if options.half:
        graph.images = graph.add("Cast", graph.images, to=HALF)
    places = {-1: graph.images}
    values: dict[str, Tensor] = {}
    layers: dict[int, str] = {}
    for index in network.ancestors(outputs):
        node, (number, shown) = network.nodes[index], numbers[index]
        is_output, is_head = index in outputs, index in network.heads
        inputs = sources = [places[each] for each in node.sources]
        params = source.params[index]
        with graph.layer(f"layer_{shown:03d}", node.owner, params):
            with located(model.cfg.where(number + 1), ExportError):
                if options.half and is_output and is_head:
                    inputs = [graph.add("Cast", each, to=FLOAT) for each in inputs]
                with graph.single() if is_output and is_head else nullcontext():
                    value = node.layer.onnx(graph, inputs, node.xs, params)
            if is_output and options.half and not is_head:
                value = graph.add("Cast", value, to=FLOAT)
            if is_output and value in sources:
                value = graph.add("Identity", value)
        if value not in sources:
            graph.names[value] = f"layer_{shown:03d}"
            dims, is_half = _dims(options, node.y), options.half and not is_output
            values[graph.name(value)] = Tensor(dims, half=is_half)
        places[index], layers[shown] = value, graph.name(value)
    notes: tuple[str, ...] = ()
    if heads:
        wheres = {index: model.cfg.where(numbers[index][0] + 1) for index in heads}
        boxes = {index: places[index] for index in heads}
        made, notes = _box_outputs(graph, network, boxes, wheres, options)
    else:
        made = {places[index]: values[graph.name(places[index])] for index in outputs}
    graph.outputs = [*made]
    x = Tensor(_dims(options, network.input, names=("height", "width")))
    arrays = {
        (layer, name): graph.name(value)
        for (layer, name, half), value in graph.parameters.items()
        if not half
    }
    named = {graph.name(value): tensor for value, tensor in made.items()}
    return ExportGraph(graph, x, named, values, layers, notes, source, arrays)


def _box_outputs(
    graph: GraphBuilder,
    network: Network,
    places: Mapping[int, Value],
    wheres: Mapping[int, Where],
    options: ExportOptions,
) -> tuple[dict[Value, Tensor], tuple[str, ...]]:
    """Add the boxes of all heads, given the heads' outputs, in the form asked for."""
    heads = {index: network.heads[index] for index in places}
    net, kinds = network.input, {head.classes for head in heads.values()}
    if len(kinds) > 1:
        raise ExportError(
            "heads with different numbers of classes cannot share rows",
            found=f"{sorted(kinds)} classes",
        )
    (classes,) = kinds
    parts = []
    with graph.single():
        for index, head in heads.items():
            scope = graph.within(f"{graph.name(places[index])}.boxes")
            with scope, located(wheres[index], ExportError):
                shape = network.nodes[index].y
                parts.append(head.box_graph(graph, places[index], shape, net))
        with graph.within("boxes"):
            boxes = joined_boxes(graph, parts)
        with graph.within(options.head):
            if options.head == "decoded":
                made = decoded(graph, boxes, classes)
            elif options.head == "yolov5":
                made = yolov5_rows(graph, boxes, classes, net)
            elif options.head == "yolov8":
                made = yolov8_columns(graph, boxes, classes, net)
            else:
                made = suppressed(graph, boxes, options.threshold, options.nms)
    if options.head == "nms":
        suppression = next(iter(heads.values())).suppression
        notes = _suppression_notes(suppression.kind)
        return {value: Tensor(("found", *dims)) for value, dims in made.items()}, notes
    batch = "batch" if options.batch is None else options.batch
    return {value: Tensor((batch, *dims)) for value, dims in made.items()}, ()


def _suppression_notes(kind: str) -> tuple[str, ...]:
    if kind in ("greedynms", "diounms"):
        return (
            f"ONNX suppresses boxes by their IoU alone; nms_kind={kind} in the cfg, which also "
            "uses their distance, keeps some more",
        )
    return ()


def _numbers(model: Model, *, fold: bool) -> list[tuple[int, int]]:
    """Return for each layer after the fold its old number, and the old number of its output.

    They differ if the layer has absorbed sections of batch norm after it.
    """
    nodes = model.network.nodes
    taken: dict[int, int] = {}
    for row in fold_report(model) if fold else ():
        if row.into is not None and nodes[row.layer].layer.norm.batch_norm == "alone":
            taken[row.layer] = row.into
    return [
        (index, max([index, *(layer for layer, into in taken.items() if into == index)]))
        for index in range(len(nodes))
        if index not in taken
    ]


def _dims(options: ExportOptions, shape: Shape, names: Sequence[str | None] = (None, None)) -> Dims:
    """Return the dimensions of a value, with names for open ones."""
    batch = "batch" if options.batch is None else options.batch
    if shape.flat or options.fixed_size:
        return (batch, *shape.dims)
    return (batch, shape.c, *names)
