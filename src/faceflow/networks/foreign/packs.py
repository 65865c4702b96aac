"""Import a whole pack of InsightFace: its detector and its face network, from a user's own copy.

The layout is taken from InsightFace's documentation: a folder such as
``~/.insightface/models/buffalo_l`` with a detector, a face network, and models of other kinds.
Files are known by the names they were published under; nothing else in the folder is opened. No
real pack could be tried here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from faceflow.errors import InputError
from faceflow.faces.detectors import MODELS
from faceflow.networks.foreign.importing import import_network, inspect
from faceflow.networks.foreign.spec_file import OnnxDescription
from faceflow.weights import Licence, ModelFile, import_onnx

_DETECTORS: Mapping[str, ModelFile] = MappingProxyType(
    {source.requirement: one for one in MODELS if one.rewrite for source in one.sources}
)
_NETWORKS = ("w600k_r50.onnx", "w600k_mbf.onnx", "glintr100.onnx")
_TERMS = "for non-commercial research only, by InsightFace's own statement"
_TRAINED_ON: Mapping[str, str] = MappingProxyType(
    {"w600k": "WebFace600K (InsightFace's model zoo)", "glintr": "Glint360K (the same)"}
)


@dataclass(frozen=True, slots=True)
class Imported:
    """One model that a pack gave.

    Attributes:
        file: the file's name.
        kind: "detector" or "network".
        name: what it is called from now on.
    """

    file: str
    kind: str
    name: str


def import_pack(
    folder: Path, *, progress: Callable[[str], None] | None = None
) -> tuple[tuple[Imported, ...], tuple[str, ...]]:
    """Import the detector and the face network of a pack.

    The network is called as the folder is; the detector has its own name. Pictures are
    scaled as InsightFace scales them: (pixel - 127.5) / 127.5 in RGB, unless the graph does it.

    Args:
        folder: with the pack's files.
        progress: told what happens.

    Returns:
        What was imported, and the names of the ``.onnx`` files that were left alone.

    Raises:
        InputError: it is no folder, or holds neither, or the folder's name cannot be a network's.
        WeightsError: a file is not what its name says. What was imported before it stays.
    """
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix == ".onnx")
    except OSError as error:
        raise InputError(
            f"{folder} cannot be read as a folder", why=error.strerror or str(error)
        ) from error
    found = []
    for file in files:
        if file.name in _DETECTORS:
            detector = _DETECTORS[file.name]
            import_onnx(detector, file, progress=progress)
            found.append(Imported(file.name, "detector", detector.name))
        elif file.name in _NETWORKS:
            name = folder.resolve().name.lower()
            import_network(name, file, _describe(file), progress=progress)
            found.append(Imported(file.name, "network", name))
    if not found:
        raise InputError(
            f"{folder} holds no detector and no face network of InsightFace",
            todo=f"files are known by name: {', '.join((*_DETECTORS, *_NETWORKS))}",
        )
    used = {one.file for one in found}
    return tuple(found), tuple(file.name for file in files if file.name not in used)


def _describe(file: Path) -> OnnxDescription:
    found = inspect(file)
    if not found.patches:
        raise InputError(f"{file} has no patch grid", why="faceflow re-ranks by patches")
    scale = 1.0 if found.scales_itself else 127.5
    shift = 0.0 if found.scales_itself else 127.5
    trained_on = next((t for key, t in _TRAINED_ON.items() if file.name.startswith(key)), "unknown")
    return OnnxDescription(
        title=f"{file.stem} of InsightFace's pack {file.resolve().parent.name}",
        input_size=found.input_size,
        colour="rgb",
        mean=(shift,) * 3,
        std=(scale,) * 3,
        template="arcface-112",
        embedding=found.embeddings[0][0],
        patches=found.patches[0].tensor,
        licence=Licence(
            code="MIT",
            weights=_TERMS,
            training_data=trained_on,
            note="Described from InsightFace's documentation; no real file was tried",
        ),
        upstream="InsightFace by Jia Guo and Jiankang Deng",
    )
