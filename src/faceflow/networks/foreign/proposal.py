"""A TOML description to start from, made of what a network's file shows."""

from __future__ import annotations

import json

from faceflow.errors import WeightsError
from faceflow.faces.alignment import TEMPLATES
from faceflow.networks.foreign.findings import Inspection
from faceflow.networks.spec import UNCALIBRATED


def propose(found: Inspection) -> str:
    """A description of the network, ready to be checked and completed by its user.

    A file does not say how its pictures were scaled and aligned, in which order their
    channels were, nor under which terms it may be used: those lines are marked ``CHECK``.

    Raises:
        WeightsError: nothing in the network can serve as a patch grid.
    """
    if not found.patches:
        raise WeightsError(
            f"{found.name} has no patch grid",
            why="between its input and its embedding no value has from 2x2 to 32x32 places",
            todo="use it for nothing but its embedding elsewhere; faceflow needs patches",
        )
    patches = found.patches[0]
    (height, width), gray = found.input_size, found.input_channels == 1
    channels = found.input_channels
    fitting = [one.name for one in TEMPLATES.values() if one.size == found.input_size]
    mean, std = ([0.0], [1.0]) if found.scales_itself else ([127.5], [127.5])
    scaling = (
        "the graph scales its input itself"
        if found.scales_itself
        else "(pixel - mean) / std; this is the usual choice"
    )
    grid = f"{patches.grid[0]}x{patches.grid[1]}x{patches.channels}"
    size_note = "" if found.fixed_size else "  # CHECK: the file leaves it free"
    template_note = (
        "  # CHECK: how its training photos were aligned"
        if fitting
        else "  # no template has this size: this cannot work as it is"
    )
    others = [
        f"#   {_text(one.tensor)}  {one.grid[0]}x{one.grid[1]}x{one.channels}"
        for one in found.patches[1:]
    ]
    lines = [
        f"# {_text(found.name)}, sha256 {found.sha256}",
        f"title = {_text(f'{found.name}, {height}x{width}, {grid} patches')}",
        f"input_size = [{height}, {width}]{size_note}",
        f'colour = "{"gray" if gray else "rgb"}"'
        + ("" if gray else "  # CHECK: rgb or bgr, as it was trained"),
        f"mean = {mean * channels}  # CHECK: {scaling}",
        f"std = {std * channels}  # CHECK",
        f'template = "{fitting[0] if fitting else ""}"{template_note}',
        f"embedding = {_text(found.embeddings[0][0])}  # {found.embeddings[0][1]} numbers",
        f"patches = {_text(patches.tensor)}  # {grid}",
        *(["# other values that could be the patches:", *others] if others else []),
        "",
        "[licence]",
        'weights = ""  # CHECK: terms of the weights; "unknown" where they are',
        'training_data = ""  # CHECK: what it was trained on; "unknown" where it is',
        "",
        "[defaults]  # cautious; calibrate them on photos like yours",
        f"alpha = {UNCALIBRATED.alpha}",
        f'weighting = "{UNCALIBRATED.weighting}"',
        f"k = {UNCALIBRATED.k}",
        "",
    ]
    return "\n".join(lines)


def _text(value: str) -> str:
    """A TOML string: JSON's escapes are among TOML's, which wants them for control codes."""
    escaped = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in escaped)
