"""What is asked of an ONNX graph: reading it, who depends on whom, running pieces of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from onnx import TensorProto, helper

from faceflow.arrays import Float32
from faceflow.errors import WeightsError
from faceflow.networks.foreign.refusals import refuse, refuse_endless_functions
from faceflow.weights.session import open_session

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, eq=False)
class OnnxGraph:
    """A parsed ONNX file.

    Attributes:
        model: its content.
        name: the file's name, for messages.
        sha256: hex sha256 of the file.
    """

    model: onnx.ModelProto
    name: str
    sha256: str

    @property
    def nodes(self) -> Sequence[onnx.NodeProto]:
        """The nodes in the order they run."""
        nodes: Sequence[onnx.NodeProto] = self.model.graph.node
        return nodes

    @cached_property
    def constants(self) -> frozenset[str]:
        """Names of values that do not depend on the input."""
        graph = self.model.graph
        known = {tensor.name for tensor in graph.initializer}
        known |= {tensor.values.name for tensor in graph.sparse_initializer}
        for node in self.nodes:
            if all(name in known for name in reads(node)):
                known.update(name for name in node.output if name)
        return frozenset(known)

    @cached_property
    def inputs(self) -> tuple[onnx.ValueInfoProto, ...]:
        """The inputs that are no initialisers (old files list those among the inputs)."""
        given = {tensor.name for tensor in self.model.graph.initializer}
        return tuple(value for value in self.model.graph.input if value.name not in given)

    @cached_property
    def maker(self) -> dict[str, onnx.NodeProto]:
        """The node that makes each value."""
        return {name: node for node in self.nodes for name in node.output if name}

    def before(self, values: Sequence[str]) -> list[onnx.NodeProto]:
        """The nodes that the values depend on, in the order they run."""
        wanted = set(values)
        kept = []
        for node in reversed(self.nodes):
            if wanted.intersection(node.output):
                kept.append(node)
                wanted.update(reads(node))
        return kept[::-1]

    def after(self, value: str, until: str) -> list[onnx.NodeProto]:
        """The nodes that depend on ``value`` and that ``until`` depends on."""
        reached = {value}
        found = []
        for node in self.before([until]):
            if reached.intersection(reads(node)):
                found.append(node)
                reached.update(node.output)
        return found

    def piece(self, nodes: Sequence[onnx.NodeProto], inputs: Any, outputs: Any) -> bytes:
        """A model of some of the nodes, with the constants they read.

        Args:
            nodes: in the order they run.
            inputs, outputs: ``ValueInfoProto`` each.
        """
        graph = self.model.graph
        used = {name for node in nodes for name in reads(node)}
        made = helper.make_graph(
            list(nodes),
            "piece",
            list(inputs),
            list(outputs),
            [tensor for tensor in graph.initializer if tensor.name in used],
        )
        model = helper.make_model(
            made,
            opset_imports=list(self.model.opset_import),
            ir_version=max(self.model.ir_version, 4),
        )
        return bytes(model.SerializeToString(deterministic=True))

    def run(self, image: Float32, values: Sequence[str]) -> list[Array]:
        """The values that one input image gives."""
        (entry,) = self.inputs
        nodes = self.before(values)
        outputs = [helper.make_empty_tensor_value_info(name) for name in values]
        return run_graph(self.piece(nodes, [entry], outputs), {entry.name: image}, self.name)


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes by name."""
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def reads(node: onnx.NodeProto) -> list[str]:
    """The values a node reads, those of its inner graphs included."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            made = {name for one in inner.node for name in one.output}
            made |= {value.name for value in inner.input}
            names += [n for one in inner.node for n in reads(one) if n not in made]
    return names


def run_graph(graph: bytes, feed: dict[str, Float32], name: str) -> list[Array]:
    """Run a model once in ONNX Runtime; WeightsError in plain words when it cannot."""
    try:
        # One thread: a second reserves memory, and counts as time of its own.
        session = open_session(graph, threads=1, name=name)
    except WeightsError as error:
        raise WeightsError(
            f"ONNX Runtime cannot open {name}",
            why=_plain(error.why),
            todo="export the network again",
        ) from error
    try:
        found: list[Array] = session.run(None, feed)
    except Exception as error:  # ONNX Runtime raises many unrelated types
        raise WeightsError(
            f"{name} cannot be run on a face crop",
            why=_plain(str(error)),
            todo="check that it is a face network that takes one picture at a time",
        ) from error
    return found


def _plain(text: str) -> str:
    """The first line of what a library says of a foreign file, fit for a terminal."""
    first = (text.splitlines() or [""])[0][:500]
    return "".join(c if c.isprintable() else "?" for c in first)


def read_graph(content: bytes, name: str) -> OnnxGraph:
    """Parse an ONNX file; nothing in it is executed.

    Args:
        content: the whole file.
        name: its name, for messages.

    Raises:
        WeightsError: not ONNX, damaged, or one of the graphs that are not to be run: with
            weights in a second file, loops, sizes that depend on pixels, or operators that
            ONNX Runtime does not have.
    """
    not_onnx = WeightsError(
        f"{name} is not an ONNX network",
        why="it is another kind of file, empty, or damaged",
        todo="give the .onnx file of a face network",
    )
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as error:  # protobuf's own type differs between its versions
        raise not_onnx from error
    if not model.graph.node or not model.opset_import:
        raise not_onnx
    if model.functions:
        refuse_endless_functions(model, name)
        try:
            model = onnx.inliner.inline_local_functions(model)
        except Exception as error:  # onnx raises its C++ errors as several types
            raise not_onnx from error
    refuse(model, name)
    return OnnxGraph(model, name, hashlib.sha256(content).hexdigest())


def shape_of(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    """A value's sizes; "?" or a name for an axis that is free."""
    return tuple(
        dim.dim_value if dim.WhichOneof("value") == "dim_value" else dim.dim_param or "?"
        for dim in value.type.tensor_type.shape.dim
    )


def is_float(value: onnx.ValueInfoProto) -> bool:
    """Whether a value is a float32 tensor."""
    return bool(value.type.tensor_type.elem_type == TensorProto.FLOAT)
