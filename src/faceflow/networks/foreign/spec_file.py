"""The TOML description of an ONNX face network: what its file cannot say about itself."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceflow.errors import FaceflowError, InputError
from faceflow.faces.alignment import TEMPLATES
from faceflow.networks.description import Description, read_description
from faceflow.networks.field_reader import Fields
from faceflow.networks.spec import WEIGHTING_NAMES
from faceflow.system.files import read_regular

_LARGEST_FILE = 2**20  # bytes; a description has one or two thousand


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxDescription(Description):
    """What a network wants to see, and which of its values are what.

    Attributes:
        embedding: the graph's output that holds the embedding.
        patches: the value in the graph that holds the patch grid.
        upstream: where the file comes from.
    """

    embedding: str
    patches: str
    upstream: str = "not stated"


def read_file(file: str | Path) -> OnnxDescription:
    """Read a description.

    Raises:
        InputError: the file cannot be read or is not TOML, or a field is missing, unknown or
            wrong; the message names the field.
    """
    path = Path(file)
    try:
        content = read_regular(path, limit=_LARGEST_FILE, kind="description")
        values = tomllib.loads(content.decode("utf-8"))
    except (FaceflowError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} cannot be read as TOML",
            why=error.why if isinstance(error, FaceflowError) else str(error),
            todo="`faceflow models inspect FILE.onnx` prints a description to start from",
        ) from error
    return parse(values, str(path))


def parse(values: Mapping[str, Any], where: str) -> OnnxDescription:
    """A description from the values of a TOML file; ``where`` names the file in errors."""
    fields = Fields(values, where)
    shared = read_description(fields)
    height, width = shared.input_size
    if shared.template not in TEMPLATES or TEMPLATES[shared.template].size != shared.input_size:
        known = ", ".join(f"{t.name} ({t.size[0]}x{t.size[1]})" for t in TEMPLATES.values())
        raise fields.wrong("template", f"a template of {height}x{width} pixels; there are {known}")
    _check_defaults(fields, shared)
    found = OnnxDescription(
        **{name: getattr(shared, name) for name in Description.__slots__},
        embedding=fields.text("embedding"),
        patches=fields.text("patches"),
        upstream=fields.text("upstream") if fields.has("upstream") else "not stated",
    )
    fields.require_no_more()
    return found


def _check_defaults(fields: Fields, shared: Description) -> None:
    """Only what needs no patch model, which a network that comes from a file does not have."""
    if not fields.has("defaults"):
        return
    table, defaults = fields.table("defaults"), shared.defaults
    known = tuple(name for name in WEIGHTING_NAMES if name != "uncovered")
    if defaults.weighting not in known:
        raise table.wrong("weighting", f"one of {', '.join(known)}")
    if defaults.patches != "raw":
        raise table.wrong("patches", '"raw": nothing is known of what the patches add')
    if defaults.visible_share:
        raise table.wrong("visible_share", "0: nothing is known of which patches are covered")
