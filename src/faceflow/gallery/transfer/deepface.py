"""The pickle that DeepFace keeps in a folder of photos, without executing anything of it.

``DeepFace.find`` writes ``ds_model_MODEL_detector_....pkl`` beside the photos: a list of
dictionaries with ``identity`` (the photo's path), ``embedding``, ``target_x``, ``target_y``,
``target_w`` and ``target_h``. A pickle is a program; ours is the reader of checkpoints
(:mod:`faceflow.weights.pickles`), which knows lists, dictionaries, texts and numbers and refuses
the rest, as the data frames and NumPy objects of some versions.

The embeddings are of use only with the network they come from. Mostly the photos beside the pickle
are worth more: ``faceflow enroll FOLDER`` reads those, and gets patches too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

import numpy as np

from faceflow.errors import FaceflowError, GalleryError, InputError, WeightsError
from faceflow.faces.images import content_hash
from faceflow.gallery.records import Box, ImportReport
from faceflow.gallery.stores.opening import Location
from faceflow.gallery.transfer.foreign import (
    ForeignFace,
    import_faces,
    narrow,
    require_sizes,
    word_for,
)
from faceflow.networks import NetworkSpec
from faceflow.system.files import is_regular, open_regular
from faceflow.weights.pickles import read_pickle

_LARGEST = 2**30
_INSTRUCTIONS = 100_000_000
"""Some 200,000 faces of 512 numbers: a few minutes."""
_TODO = "enroll the photos of that folder instead: `faceflow enroll FOLDER`"


def import_deepface(
    pickled: Path, location: Location, *, network: str, detector: str
) -> ImportReport:
    """See :meth:`faceflow.gallery.gallery.Gallery.import_embeddings`."""
    spec, header = word_for(network, detector, patches=False)
    with open_regular(pickled, limit=_LARGEST, kind="pickle") as file:
        try:
            found, _ = read_pickle(file, pickled.name, instructions=_INSTRUCTIONS)
        except WeightsError as error:
            raise GalleryError(
                f"{pickled} was not read, and nothing in it was run",
                why=error.why or error.what,
                todo=_TODO,
            ) from error
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise GalleryError(
            f"{pickled} is not a list of faces as DeepFace keeps them since version 0.0.90",
            todo=_TODO,
        )
    return import_faces(_faces(found, pickled, spec), header, location)


def _faces(rows: list[dict[Any, Any]], pickled: Path, spec: NetworkSpec) -> Iterator[ForeignFace]:
    for number, row in enumerate(rows):
        vector = row.get("embedding")
        if vector is None:  # no face was found in that photo
            continue
        try:
            identity = row.get("identity")
            if not isinstance(identity, str):
                raise InputError("it names no photo")
            if not isinstance(vector, list) or not all(type(one) is float for one in vector):
                raise InputError("its embedding is not a list of numbers")
            require_sizes(spec, (len(vector),))
            below = _below(identity, pickled.parent)
            photo = pickled.parent.joinpath(*below)
            yield ForeignFace(
                person=_person(below),
                source=identity,
                content_hash=content_hash(photo) if is_regular(photo) else None,
                embedding=narrow(np.array(vector)),
                box=_box(row),
            )
        except FaceflowError as error:
            raise GalleryError(
                f"face {number + 1} of {pickled} cannot be imported", why=str(error), todo=_TODO
            ) from error


def _below(identity: str, folder: Path) -> tuple[str, ...]:
    """The photo's path below the folder of the pickle, as far as it can be told."""
    path: PurePath = PureWindowsPath(identity) if "\\" in identity else PurePath(identity)
    parts = [part for part in path.parts if part not in (path.anchor, "..", ".")]
    if folder.resolve().name in parts[:-1]:
        last = len(parts) - 1 - parts[::-1].index(folder.resolve().name)
        return tuple(parts[last + 1 :])
    return tuple(parts[-2:])


def _person(below: tuple[str, ...]) -> str:
    if len(below) < 2:
        raise InputError(
            "its photo lies in no person's folder",
            todo="put each person's photos into a folder with the person's name",
        )
    return below[0]


def _box(row: dict[Any, Any]) -> Box | None:
    values = [row.get(f"target_{name}") for name in "xywh"]
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        x, y, width, height = map(float, values)  # type: ignore[arg-type]
        if width > 0 and height > 0 and np.isfinite([x, y, x + width, y + height]).all():
            return x, y, x + width, y + height
    return None
