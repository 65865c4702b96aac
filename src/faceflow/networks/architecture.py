"""A network without weights, which a checkpoint's tensors turn into an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from faceflow.errors import WeightsError
from faceflow.networks.graph_builder import GraphBuilder
from faceflow.networks.spec import NetworkSpec, model_file
from faceflow.weights import CheckpointFile, ModelFile, Tensors

Describe = Callable[[GraphBuilder], None]


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network without weights.

    Attributes:
        title: what errors call it.
        image: shape (channels, H, W) of one input.
        outputs: shape of each output for one face, by name.
        describe: adds the layers, from the value ``image`` to the values named in ``outputs``.
        restore: the state dict, of the constants of a graph; None where building loses it, as
            folding a batch normalisation does. What has it can be trained as a whole.
        graph_name: what the graph calls itself; the title where it is empty.
    """

    title: str
    image: tuple[int, int, int]
    outputs: Mapping[str, tuple[int, ...]]
    describe: Describe
    restore: Callable[[Tensors], Tensors] | None = None
    graph_name: str = ""

    def expected_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every entry the state dict must hold, with its shape, in the order of the layers."""
        builder = GraphBuilder(None)
        self.describe(builder)
        return builder.shapes

    def build(self, tensors: Tensors) -> bytes:
        """The ONNX graph of a state dict.

        Input ``image`` (N, channels, H, W) float32, already scaled; all outputs raw.

        Raises:
            WeightsError: entries are missing, unexpected, of another shape, or NaN or infinite.
        """
        from faceflow.weights.graphs import require_shapes, serialise  # loads onnx

        require_shapes(tensors, self.expected_shapes(), model=self.title)
        builder = GraphBuilder(tensors)
        self.describe(builder)
        return serialise(
            self.graph_name or self.title,
            builder.onnx_nodes(),
            inputs={"image": ["N", *self.image]},
            outputs={name: ["N", *shape] for name, shape in self.outputs.items()},
            tensors=builder.constants(self.title),
        )

    def read(self, graph: bytes) -> Tensors:
        """The state dict that a graph of :meth:`build` was built from, to within rounding.

        Raises:
            WeightsError: the graph is of another network, or building it lost the state dict.
        """
        import onnx

        from faceflow.weights.graphs import require_shapes

        if self.restore is None:
            raise WeightsError(
                f"the graph of {self.title} does not hold its checkpoint's tensors",
                why="normalisations were folded into the layers before them",
            )
        stored = {
            tensor.name: onnx.numpy_helper.to_array(tensor)
            for tensor in onnx.load_from_string(graph).graph.initializer
        }
        tensors = self.restore(stored)
        shapes = self.expected_shapes()
        require_shapes(tensors, shapes, model=self.title)
        return {name: tensors[name] for name in shapes}

    def model(self, spec: NetworkSpec, *, graph_sha256: str = "") -> ModelFile:
        """The model of this architecture with the weights of ``spec.source``.

        Args:
            spec: the network.
            graph_sha256: hex sha256 of the graph, where the weights are published and known.
        """
        shapes = self.expected_shapes if isinstance(spec.source, CheckpointFile) else None
        made = model_file(spec, partial(_build, self, spec.name), shapes)
        return replace(made, graph_sha256={spec.name: graph_sha256}) if graph_sha256 else made


def _build(
    architecture: Architecture, name: str, files: Mapping[str, Tensors]
) -> Mapping[str, bytes]:
    (tensors,) = files.values()
    return {name: architecture.build(tensors)}
