"""Networks in ONNX files: the command that inspects one, and how one is imported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faceflow.cli.options import Json
from faceflow.cli.output import print_json, print_line, say
from faceflow.errors import InputError

if TYPE_CHECKING:
    from faceflow.networks.foreign import Inspection

_SHOWN = 8


def inspect(
    file: Annotated[Path, typer.Argument(help="A face network.", metavar="FILE.onnx")],
    as_json: Json = False,
) -> None:
    """Look inside an ONNX network and print a TOML description of it, to complete and import.

    The description goes to stdout, what was found to stderr, so that `> network.toml` keeps
    the first.
    """
    from faceflow.networks.foreign import inspect as look
    from faceflow.networks.foreign import propose

    found = look(file)
    text = propose(found) if found.patches else ""
    if as_json:
        print_json(_record(found) | {"description": text})
        return
    for kind, values in (("input", found.inputs), ("output", found.outputs)):
        for name, sizes in values:
            say(f"{kind} {name}: {' x '.join(map(str, sizes))}")
    if found.freed:
        say("the file fixes how many pictures it takes at a time; at import it is freed of that")
    elif found.batch is not None and found.batch > 1:
        say(f"it is run on {found.batch} pictures at a time, the last repeated to fill up")
    for name, size in found.embeddings:
        say(f"may be the embedding: {name}, {size} numbers")
    for one in found.patches:
        linear = {True: "a linear layer of them", False: "no linear layer of them"}
        how = "depends on more than them" if one.linear is None else f"is {linear[one.linear]}"
        h, w = one.grid
        say(
            f"may be the patches: {one.tensor} ({one.made_by}), {h}x{w} of {one.channels} numbers, "
            f"{one.layout}; the embedding {how} ({_chain(one.between)})"
        )
    if not found.patches:
        propose(found)  # says why there can be no description
    for line in text.splitlines():
        print_line(line)
    say(
        "complete the lines marked CHECK, save them, and run: faceflow models import NAME FILE "
        "--spec FILE.toml"
    )


def _chain(operators: tuple[str, ...]) -> str:
    """The operators between patches and embedding; of many, their number."""
    if len(operators) > _SHOWN:
        return f"{len(operators)} operators later"
    return " > ".join(operators) or "nothing between"


def import_onnx(name: str, file: Path, spec: Path | None, *, as_json: bool) -> None:
    """Import one ONNX network; the half of ``models import`` that is for these files."""
    from faceflow.networks.foreign import import_network, read_file

    if spec is None:
        raise InputError(
            "An ONNX network needs a description",
            todo=f"run `faceflow models inspect {file} > network.toml`, complete it, and add "
            "--spec network.toml",
        )
    description = read_file(spec)
    terms = description.licence
    say(
        f"{name}: code {terms.code}; weights {terms.weights}; trained on: {terms.training_data}. "
        f"{terms.note}."
    )
    made = import_network(name, file, description, progress=say)
    if as_json:
        print_json(
            {
                "network": made.name,
                "digest": made.digest,
                "embedding_size": made.embedding_size,
                "grid": list(made.grid),
                "channels": made.channels,
            }
        )
        return
    h, w = made.grid
    print_line(
        f"{made.name} is ready: {made.embedding_size} numbers and {h}x{w}x{made.channels} patches "
        f"a face, digest {made.digest[:12]}"
    )


def _record(found: Inspection) -> dict[str, Any]:
    return {
        "file": found.name,
        "sha256": found.sha256,
        "inputs": [{"name": n, "sizes": list(s)} for n, s in found.inputs],
        "outputs": [{"name": n, "sizes": list(s)} for n, s in found.outputs],
        "input_size": list(found.input_size),
        "input_channels": found.input_channels,
        "input_layout": found.input_layout,
        "batch": found.batch,
        "freed": found.freed,
        "embeddings": [{"name": n, "size": d} for n, d in found.embeddings],
        "patches": [
            {
                "tensor": one.tensor,
                "made_by": one.made_by,
                "channels": one.channels,
                "grid": list(one.grid),
                "layout": one.layout,
                "between": list(one.between),
                "linear": one.linear,
            }
            for one in found.patches
        ],
    }
