"""What every layer has: options, sources, shapes, parameters, inference, training, a cost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.errors import ExportError, TrainingError
from darknet_bn.formats.tree import Tree
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.layers.norm import NO_NORM, Norm
from darknet_bn.layers.options import Options, option
from darknet_bn.layers.parameters import Param, Params
from darknet_bn.layers.passes import Inference, InferenceContext, Trained, TrainingContext
from darknet_bn.layers.shape import Shape, Shapes

Channels: TypeAlias = Literal["weighted", "kept", "joined", "added", "shared out", "mixed"]
"""What the channels of an output are: sums of the input's, each with its own weights; each made of
one channel of the input; those of all inputs, one input after the other; sums of one channel of
each input; shares of all channels, which add up to 1; or anything else."""


@dataclass(frozen=True)
class Cost:
    """The cost of a layer for one image: floating-point operations (a multiply-add is two)."""

    flops: int = 0


@dataclass(frozen=True, kw_only=True)
class Layer(Options, ABC):
    """A section of a cfg after ``[net]``: one subclass per kind, in its own file.

    A subclass gives the names of its section in ``names`` (Darknet's long name first), declares its
    options as fields, and overrides whatever differs from a layer without parameters that keeps the
    shape of its input.
    """

    names: ClassVar[tuple[str, ...]]
    is_loss: ClassVar[bool] = False  # computes nothing in inference: never an output
    is_end: ClassVar[bool] = False  # makes boxes or shares of what the last weights give
    recurrent: ClassVar[bool] = False  # remembers earlier images of a sequence
    channels: ClassVar[Channels] = "mixed"
    shares: ClassVar[str | None] = None  # the option that names a layer whose parameters it uses

    dontload: bool = option(False)
    dontloadscales: bool = option(False)
    dontsave: bool = option(False, original=True)
    numload: int = option(0, at_least=0, original=True)
    learning_rate: float = option(1.0)
    stopbackward: int = option(0)
    onlyforward: bool = option(False)
    clip: float | None = option(None)
    truth: bool = option(False, original=True)
    smooth: float = option(0.0, original=True)
    dont_update: int = option(0, extended=True)
    burnin_update: float = option(0.0, extended=True)
    train_only_bn: bool = option(False, extended=True)

    def sources(self, index: int) -> tuple[int, ...]:
        """Return the layers whose outputs layer ``index`` reads; -1 is the network's input."""
        return (index - 1,)

    def out_shape(self, xs: Shapes) -> Shape:
        """Return the shape of the output.

        Raises
        ------
        ShapeError
            The inputs do not fit; network.py adds the place.
        """
        return xs[0]

    def check_inputs(
        self, makers: Sequence[Layer | None], xs: Shapes, dialect: Dialect
    ) -> Iterator[tuple[str | None, str]]:
        """Check the options against the layer's inputs, as ``check`` does among the options.

        Parameters
        ----------
        makers : sequence of Layer or None
            The layer that made each input: the source, or what it passes on unchanged; None for the
            network's input.
        xs : tuple of Shape
        dialect : Dialect

        Yields
        ------
        key, text : str or None, str
        """
        return iter(())

    def params(self, xs: Shapes, dialect: Dialect) -> tuple[Param, ...]:
        """Return the parameters, in file order."""
        return ()

    def is_alias(self, xs: Shapes) -> bool:
        """Whether the output is the first input itself, so that nothing needs to be computed."""
        return False

    @abstractmethod
    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Build the inference step for inputs of these shapes."""

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """Add the layer's computation in inference to a graph, and return the output.

        Parameters
        ----------
        graph : GraphBuilder
        values : sequence of Value
            The outputs of the sources.
        xs : tuple of Shape
            Their shapes.
        p : mapping from name to float32 array
            Values to compute other arrays from; unchanged arrays are added by `graph.parameter`.

        Raises
        ------
        ExportError
            ONNX operators cannot express it; convert/build.py adds the place.
        """
        raise ExportError(f"[{self.names[0]}] cannot be exported to ONNX")

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Compute the output in training, and prepare the backward pass.

        All arrays may also be float64, for gradient checks; then the results are float64 too.

        Parameters
        ----------
        xs : sequence of float32 arrays (n, *shape)
            The outputs of the sources; they must not be changed.
        p : mapping from name to float32 array
        context : TrainingContext

        Raises
        ------
        ShapeError
            The truth does not fit.
        TrainingError
            The layer cannot be trained.
        """
        raise TrainingError(f"[{self.names[0]}] has no gradient: it is for inference only")

    def learns(self, dialect: Dialect) -> bool:
        """Whether an update changes the parameters for which ``back`` returns updates."""
        return not self.dont_update

    def cost(self, xs: Shapes) -> Cost:
        """Return the cost of the layer for one image."""
        return Cost()

    def size_text(self) -> str:
        """Return the column ``size/stride`` of Darknet's table."""
        return ""

    @property
    def tree(self) -> Tree | None:
        """The tree that its classes form, if there is one."""
        return None

    @property
    def norm(self) -> Norm:
        """The batch norm that the layer has or absorbs; by default none."""
        return NO_NORM


def as_inferred(layer: Layer, xs: Sequence[F32], p: Params, context: TrainingContext) -> F32:
    """Compute the output as in inference, for a layer whose step also takes float64."""
    shapes = tuple(map(Shape.of, xs))
    y = context.arena.empty((len(xs[0]), *layer.out_shape(shapes).dims), xs[0].dtype)
    layer.infer(shapes, p, InferenceContext(context.dialect, exact=True))(xs, y)
    return y
