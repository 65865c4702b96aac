"""What is done with a foreign graph in a child process: the two functions that are called there.

Reading a graph, running it and comparing can hang, eat the memory or crash in ``onnx`` or ONNX
Runtime. :mod:`faceflow.system.child` bounds that; everything heavy is imported here, so that
libraries do not count towards a graph's memory.
"""

from __future__ import annotations

import dataclasses
from typing import BinaryIO

import numpy as np

from faceflow.networks.foreign.conversion import Wanted, convert
from faceflow.networks.foreign.graph import read_graph
from faceflow.networks.foreign.inspection import inspect_graph
from faceflow.system.child import Answer


def look(data: BinaryIO, *, name: str, embedding: str | None) -> Answer:
    """See :func:`faceflow.networks.foreign.inspect`; the value holds the fields of Inspection."""
    graph = read_graph(data.read(), name)
    return Answer(dataclasses.asdict(inspect_graph(graph, embedding=embedding).found))


def make(
    data: BinaryIO,
    *,
    name: str,
    embedding: str,
    patches: str,
    input_size: tuple[int, int],
    colour: str,
) -> Answer:
    """See :func:`faceflow.networks.foreign.conversion.convert`; the graph is an array of bytes."""
    height, width = input_size
    wanted = Wanted(embedding, patches, (height, width), colour)
    made = convert(read_graph(data.read(), name), wanted)
    value = {
        "sha256": made.sha256,
        "embedding_size": made.embedding_size,
        "channels": made.channels,
        "grid": made.grid,
    }
    return Answer(value, {"graph": np.frombuffer(made.graph, np.uint8)})
