"""From sections to layers: read, linked to each other, and with their shapes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from darknet_bn.dialect import ALEXEYAB, PJREDDIE, Dialect, dialect_named
from darknet_bn.errors import CfgError, Oddities, ShapeError, Where
from darknet_bn.formats.cfg import Cfg
from darknet_bn.formats.synonyms import SECTIONS, hint
from darknet_bn.formats.writing import read_beside
from darknet_bn.layers import LAYERS
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.net import Net
from darknet_bn.layers.parameters import Param
from darknet_bn.layers.shape import Shape, Shapes, resolve
from darknet_bn.layers.shapes import (
    NoImageError,
    UnequalImagesError,
    UnevenImageError,
    unequal_images,
)
from darknet_bn.layers.shared.head import Head, as_head
from darknet_bn.model.image_sizes import ancestors, divisible_sizes, equal_sizes
from darknet_bn.values import brief, counted, fields_of

_MAX_VALUES = 1 << 40  # floats in one layer's output; more than that means a mistyped option


@dataclass(frozen=True)
class Node:
    """A layer at its place in a network.

    Attributes
    ----------
    layer : Layer
    sources : tuple of int
        The layers it reads; -1 is the network's input.
    xs, y : tuple of Shape, Shape
        Shapes of the inputs and the output, for one image.
    params : tuple of Param
        Its own parameters in file order; shared parameters belong to their owner.
    owner : int
        The layer whose parameters it uses: itself, unless it shares those of another layer.
    """

    layer: Layer
    sources: tuple[int, ...]
    xs: Shapes
    y: Shape
    params: tuple[Param, ...]
    owner: int

    def __repr__(self) -> str:
        """Return a one-line description."""
        xs = ", ".join(str(each) for each in self.xs)
        return brief(self, f"[{self.layer.names[0]}]: {xs} -> {self.y}")


@dataclass(frozen=True)
class Network:
    """What a cfg describes: ``[net]``, and the layers with their links and shapes.

    Attributes
    ----------
    net : Net
        The options of ``[net]``.
    nodes : tuple of Node
        The layers; layer i is ``nodes[i]``.
    oddities : tuple of str
        Warnings: options that are odd but have one clear meaning.
    files : mapping from name to bytes
        The contents of the files that options name.
    """

    net: Net
    nodes: tuple[Node, ...]
    oddities: tuple[str, ...]
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False, compare=False)

    def __repr__(self) -> str:
        """Return a one-line description."""
        outputs = f"outputs of {', '.join(str(each) for each in self.outputs)}"
        return brief(self, f"{counted(len(self.nodes), 'layer')}, input {self.input}, {outputs}")

    def __getstate__(self) -> dict[str, object]:
        """Return the state to pickle."""
        return fields_of(self)

    @property
    def input(self) -> Shape:
        """The shape of one input image."""
        return self.net.input_shape

    @cached_property
    def outputs(self) -> tuple[int, ...]:
        """The layers whose output no other layer reads: the detection heads, or the last layer.

        A layer that only computes a loss is skipped, as in Darknet.
        """
        read = {s for node in self.nodes if not node.layer.is_loss for s in node.sources}
        return tuple(
            index
            for index, node in enumerate(self.nodes)
            if index not in read and not node.layer.is_loss
        )

    @cached_property
    def heads(self) -> Mapping[int, Head]:
        """The detection heads, by layer number."""
        heads = {index: as_head(node.layer) for index, node in enumerate(self.nodes)}
        return {index: head for index, head in heads.items() if head is not None}

    @property
    def is_detector(self) -> bool:
        """Whether there is a detection head."""
        return bool(self.heads)

    @property
    def last_head(self) -> Head | None:
        """The last layer, for which truths are made in training, if it is a detection head."""
        return self.heads.get(len(self.nodes) - 1)

    @cached_property
    def recurrent(self) -> bool:
        """Whether some layer remembers earlier images of a sequence."""
        return any(node.layer.recurrent for node in self.nodes)

    @property
    def time_steps(self) -> int:
        """How many images make a sequence: 1 if no layer is recurrent."""
        return self.net.time_steps if self.recurrent else 1

    def ancestors(self, wanted: Iterable[int]) -> tuple[int, ...]:
        """Return the given layers and all layers that they need, in order."""
        return ancestors(self.nodes, wanted)

    def stored(self) -> Iterator[tuple[int, Param]]:
        """Yield (layer, parameter) for every array of the file, in file order."""
        return iter(self._stored)

    @cached_property
    def _stored(self) -> tuple[tuple[int, Param], ...]:
        return tuple(
            (index, param)
            for index, node in enumerate(self.nodes)
            if node.owner == index
            for param in node.params
            if param.stored_size
        )

    @cached_property
    def stored_floats(self) -> int:
        """How many floats a complete file holds after its header."""
        return sum(param.stored_size for _, param in self._stored)


def build_network(
    cfg: Cfg, dialect: Dialect | str, files: Mapping[str, bytes] | None = None
) -> Network:
    """Turn the sections of a cfg into layers with known sources and shapes.

    Parameters
    ----------
    cfg : Cfg
    dialect : Dialect or str
    files : mapping from name to bytes, optional
        Contents already known of files that options name; the others are read.

    Raises
    ------
    CfgError
        A section is unknown, an option or the file that it names is not valid, or a layer reads a
        layer that does not come before it.
    ShapeError
        Layers do not fit together.
    """
    dialect = dialect_named(dialect)
    odd = Oddities()
    net = Net.read(cfg, 0, dialect, odd)
    if net.input_shape.size < 1:
        raise CfgError(
            "the size of the input is missing",
            where=cfg.where(0),
            expected="width=, height= and channels=, or inputs=",
        )
    if net.inputs not in (None, net.input_shape.size):
        raise CfgError(
            "inputs= contradicts width=, height= and channels=",
            where=cfg.where(0, "inputs"),
            expected=f"{net.input_shape.size}",
            found=f"{net.inputs}",
        )
    if len(cfg.sections) < 2:
        raise CfgError("there are no layers", where=cfg.where(0))
    known = dict(files or {})

    def open_file(name: str) -> bytes:
        if name not in known:
            known[name] = read_beside(name, cfg.file)
        return known[name]

    nodes: list[Node] = []
    for number in range(1, len(cfg.sections)):
        kind = _kind(cfg, number, dialect)
        layer = kind.read(cfg, number, dialect, odd, open_file)
        try:
            node = _link(cfg, layer, number - 1, net.input_shape, nodes, dialect)
        except ShapeError as error:
            raise _explained(error, cfg, layer, net.input_shape, nodes) from error.__cause__
        makers = [_maker(source, nodes) for source in node.sources]
        for key, text in layer.check_inputs(makers, node.xs, dialect):
            odd(f"{cfg.where(number, key)}: {text}")
        nodes.append(node)
    return Network(net, tuple(nodes), odd.texts, known)


def detect_dialect(cfg: Cfg) -> tuple[Dialect, str]:
    """Decide from the options alone which Darknet a cfg is for, and why.

    Returns
    -------
    dialect, reason : Dialect, str
        `ALEXEYAB` if there is a section, key or word that only that fork knows, unless a section
        that the fork does not know comes before it.
    """
    for number, section in enumerate(cfg.sections):
        kind = Net if number == 0 else LAYERS.get(section.name)
        if kind is None:
            continue
        if number and LAYERS[section.name].original:
            return PJREDDIE, f"[{section.name}] in line {section.line} is pjreddie-only"
        if number and LAYERS[section.name].extended:
            return ALEXEYAB, f"[{section.name}] in line {section.line} is fork-only"
        words = kind.extended_words()
        for each in section.options:
            if each.key in kind.extended_keys():
                return ALEXEYAB, f"{each.key}= in line {each.line} is fork-only"
            if each.value in words.get(each.key, ()):
                return ALEXEYAB, f"{each.key}={each.value} in line {each.line} is fork-only"
    return PJREDDIE, "no fork-only options"


def _kind(cfg: Cfg, number: int, dialect: Dialect) -> type[Layer]:
    name = cfg.sections[number].name
    kind = LAYERS.get(name)
    if kind is None:
        raise CfgError(
            "the section is unknown",
            where=cfg.where(number),
            hint=hint(name, LAYERS, SECTIONS, "[{}]"),
        )
    knows = kind.section_unknown_to(dialect)
    if knows is not None:
        raise CfgError(
            f"{dialect.name} has no such section",
            where=cfg.where(number),
            hint=f"the dialect {knows} has it",
        )
    return kind


def _link(
    cfg: Cfg, layer: Layer, index: int, first: Shape, nodes: list[Node], dialect: Dialect
) -> Node:
    _check_references(cfg, layer, index)
    sources = layer.sources(index)
    xs = tuple(first if source < 0 else nodes[source].y for source in sources)
    y = layer.out_shape(xs)
    if y.size > _MAX_VALUES:
        raise ShapeError(
            "the output is too large",
            expected=f"at most {_MAX_VALUES} values",
            found=f"{y}",
        )
    params = layer.params(xs, dialect)
    if layer.dontload:
        params = tuple(replace(param, stored=False) for param in params)
    return Node(layer, sources, xs, y, params, _owner(cfg, layer, index, params, nodes))


def _explained(
    error: ShapeError, cfg: Cfg, layer: Layer, first: Shape, nodes: list[Node]
) -> ShapeError:
    """Add to an error the place of the layer after ``nodes``, or of the layer at fault."""
    index = len(nodes)
    sources = layer.sources(index)
    where, hint = cfg.where(index + 1, error.where.key), error.hint
    if isinstance(error, UnequalImagesError):
        pair = (sources[error.pair[0]], sources[error.pair[1]])
        return _unequal(error.problem, where, error.expected, pair, first, nodes)
    if isinstance(error, UnevenImageError):
        hint = divisible_sizes(nodes, first, sources[0], error.divisor)
    if isinstance(error, NoImageError):
        route = _unequal_route(next(iter(sources), -1), nodes)
        if route is not None:
            at, pair = route
            return _unequal(
                "its layers differ in size", cfg.where(at + 1), None, pair, first, nodes
            )
    return error.as_kind(ShapeError, where=where, hint=hint)


def _unequal_route(at: int, nodes: list[Node]) -> tuple[int, tuple[int, int]] | None:
    """Find the layer that flattened images, and two of its inputs that differ in size."""
    while at >= 0 and nodes[at].y.flat:
        node = nodes[at]
        pair = unequal_images(node.xs)
        if pair is not None and not any(node.xs[number].flat for number in pair):
            return at, (node.sources[pair[0]], node.sources[pair[1]])
        if not node.layer.is_alias(node.xs):
            return None
        at = node.sources[0]
    return None


def _unequal(
    problem: str,
    where: Where,
    expected: str | None,
    pair: tuple[int, int],
    first: Shape,
    nodes: list[Node],
) -> ShapeError:
    """Say which layers do not fit together, and which input size would help."""
    shapes = [first if number < 0 else nodes[number].y for number in pair]
    same = (shapes[0].h, shapes[0].w) == (shapes[1].h, shapes[1].w)
    said = [
        f"{f'layer {number}' if number >= 0 else 'the input'} is "
        + (f"{shape}" if same else f"{shape.w} x {shape.h}")
        for number, shape in zip(pair, shapes, strict=True)
    ]
    hint = None if same else equal_sizes(nodes, first, pair)
    return ShapeError(f"{problem}: {' and '.join(said)}", where=where, expected=expected, hint=hint)


def _maker(source: int, nodes: list[Node]) -> Layer | None:
    """Return the layer that computes the output of a source; None for the network's input."""
    while source >= 0 and nodes[source].layer.is_alias(nodes[source].xs):
        source = nodes[source].sources[0]
    return nodes[source].layer if source >= 0 else None


def _check_references(cfg: Cfg, layer: Layer, index: int) -> None:
    for key in layer.reference_keys():
        for each in layer.references(key):
            target = resolve(each, index)
            if not 0 <= target < index:
                raise CfgError(
                    "the layer refers to a layer that does not come before it",
                    where=cfg.where(index + 1, key),
                    expected=f"a layer from 0 to {index - 1}"
                    if index
                    else "none: this is the first layer",
                    found=f"{each}" if each == target else f"{each}, which is {target}",
                )


def _owner(cfg: Cfg, layer: Layer, index: int, params: tuple[Param, ...], nodes: list[Node]) -> int:
    key = layer.shares
    named = () if key is None else layer.references(key)
    if not named:
        return index
    shared = resolve(named[0], index)
    theirs = {param.name: param.shape for param in nodes[shared].params}
    for param in params:
        if theirs.get(param.name) != param.shape:
            raise ShapeError(
                f"the {param.name} of layer {shared} do not fit this layer, which shares them",
                where=cfg.where(index + 1, key),
                expected=f"{param.shape}",
                found=f"{theirs.get(param.name, 'none')}",
            )
    return nodes[shared].owner
