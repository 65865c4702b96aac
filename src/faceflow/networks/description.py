"""The one format networks are described in: TOML that users write, JSON that the cache keeps.

A description says what a network's weights cannot say: how its crops were aligned, scaled and
coloured, under which terms it may be used, and with which options its patches are compared. What
faceflow keeps beside a network that was imported or trained here has these fields too, and the
sizes and the source besides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from faceflow.networks.field_reader import Fields
from faceflow.networks.spec import UNCALIBRATED, MatchDefaults, NetworkSpec, current_names
from faceflow.weights import Licence, OnnxFile, TrainedHere

Colour = Literal["rgb", "bgr", "gray"]
_COLOURS = ("rgb", "bgr", "gray")
_LARGEST_SIDE = 1024  # of a crop
_LARGEST_SIZE = 65536  # of an embedding, and the channels of its patches
_LARGEST_K = 1_000_000
NOTE = "The description was written by the user who imported the network"


@dataclass(frozen=True, slots=True)
class Description:
    """What every description says; the fields are those of :class:`NetworkSpec`."""

    title: str
    input_size: tuple[int, int]
    colour: Colour
    mean: tuple[float, ...]
    std: tuple[float, ...]
    template: str
    licence: Licence
    defaults: MatchDefaults = UNCALIBRATED


def read_description(fields: Fields) -> Description:
    """Take a description out of a table.

    Raises:
        InputError: a field is missing or wrong; the message names it.
    """
    colour = cast("Colour", fields.choice("colour", _COLOURS))
    channels = 1 if colour == "gray" else 3
    mean, std = fields.numbers("mean", channels), fields.numbers("std", channels)
    if min(std) <= 0:
        raise fields.wrong("std", "positive numbers")
    return Description(
        title=fields.text("title"),
        input_size=fields.sides("input_size", 8, _LARGEST_SIDE),
        colour=colour,
        mean=mean,
        std=std,
        template=fields.text("template"),
        licence=_read_licence(fields.table("licence")),
        defaults=read_defaults(fields.table("defaults"))
        if fields.has("defaults")
        else UNCALIBRATED,
    )


def read_spec(values: Mapping[str, Any], where: str) -> NetworkSpec:
    """A network as the cache keeps it; ``where`` names the file in errors.

    Raises:
        InputError: a field is missing, unknown or wrong.
    """
    fields = Fields(values, where)
    described = read_description(fields)
    found = NetworkSpec(
        **{name: getattr(described, name) for name in Description.__slots__},
        name=fields.text("name"),
        source=_read_source(fields.table("source")),
        embedding_size=fields.whole("embedding_size", 1, _LARGEST_SIZE),
        grid=fields.sides("grid", 1, _LARGEST_SIDE),
        channels=fields.whole("channels", 1, _LARGEST_SIZE),
        patch_output=fields.text("patch_output"),
        model=fields.text("model", empty=True),
        # Records from before there were students do not name a teacher.
        teacher=fields.text("teacher", empty=True) if fields.has("teacher") else "",
    )
    fields.require_no_more()
    return found


def _read_licence(table: Fields) -> Licence:
    def known(name: str, otherwise: str) -> str:
        return table.text(name) if table.has(name) else otherwise

    found = Licence(
        code=known("code", "not stated"),
        weights=table.text("weights"),
        training_data=table.text("training_data"),
        note=known("note", NOTE),
    )
    table.require_no_more()
    return found


def read_defaults(table: Fields) -> MatchDefaults:
    """Matching options out of a table.

    Raises:
        InputError: a field is missing, unknown or wrong.
    """
    patches = table.choice("patches", ("raw", "projected")) if table.has("patches") else "raw"
    # Records from before 0.2 may speak of the share and the weighting under former names.
    share = "visible" if table.has("visible") else "visible_share"
    weighting = current_names({"weighting": table.text("weighting")})["weighting"]
    found = MatchDefaults(
        alpha=table.number("alpha", 0, 1),
        weighting=weighting,
        k=table.whole("k", 1, _LARGEST_K),
        patches=cast('Literal["raw", "projected"]', patches),
        visible_share=table.number(share, 0, 1) if table.has(share) else 0.0,
    )
    table.require_no_more()
    return found


def _read_source(table: Fields) -> OnnxFile | TrainedHere:
    """A file that was imported has a name; what was trained here has none."""
    size = table.whole("size", 0, 10**11)
    upstream = table.text("upstream")
    found: OnnxFile | TrainedHere
    if table.has("file_name"):
        found = OnnxFile(table.text("file_name"), table.text("sha256"), size, upstream)
    else:
        patches = table.text("patches", empty=True)
        found = TrainedHere(table.text("member_sha256"), size, upstream, patches)
    table.require_no_more()
    return found
