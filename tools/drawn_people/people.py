"""Write folders of synthetic people, one folder per person, to enroll and to query."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from drawn_people.identity import identity
from drawn_people.portrait import Portrait, portrait
from faceflow.errors import InputError

NOTICE = "Synthetic face drawn by faceflow from random numbers. It shows no real person."
INDEX_NAME = "synthetic.json"
_NAME_LIST = """
Ada Alba Bruno Celia Dario Edda Fabio Greta Hugo Ines Jonas Kaia Leon Mira Nico Orla Pablo Quin
Rosa Sami Tessa Ugo Vera Willem Xenia Yann Zora Anton Britt Caspar Dina Elio Flora Gil Hanna Ivo
Juna Karl Lena Milo
"""


def person_name(seed: int) -> str:
    """A first name for a synthetic person; numbered from the second round of names on."""
    names = _NAME_LIST.split()
    name, turn = names[seed % len(names)], seed // len(names)
    return name if turn == 0 else f"{name}-{turn + 1}"


def write_people(
    folder: str | Path,
    *,
    people: int = 12,
    photos_each: int = 3,
    seed: int = 0,
    first_photo: int = 0,
    size: int = 256,
    file_format: str = "png",
) -> list[Path]:
    """Write photos of synthetic people as ``FOLDER/NAME/NAME_0001.png``.

    Every file says in its metadata that it is synthetic, and ``FOLDER/synthetic.json`` lists
    the files with their seeds and landmarks. The same arguments write the same pictures.

    Args:
        folder: made when missing; files of the same names are replaced.
        people, photos_each: how many, at least one each.
        seed: number of the first person; the others follow it.
        first_photo: number of each person's first photo: with 3, photos 3, 4, ... are written,
            so that queries can be drawn apart from the photos 0, 1, 2 that were enrolled.
        size: side of the square photos in pixels.
        file_format: "png" or "jpeg" (quality 92).

    Returns:
        The paths written, person by person.

    Raises:
        InputError: a count below one, a negative number, or another format.
    """
    if people < 1 or photos_each < 1 or seed < 0 or first_photo < 0:
        raise InputError(
            f"cannot draw {people} people with {photos_each} photos each from seed {seed}",
            why="counts start at 1, seeds and photo numbers at 0",
        )
    if file_format not in ("png", "jpeg"):
        raise InputError(f"photos cannot be written as {file_format!r}", todo="use png or jpeg")
    root = Path(folder)
    written: list[Path] = []
    entries: list[dict[str, Any]] = []
    for who in (identity(seed + i) for i in range(people)):
        name = person_name(who.seed)
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(first_photo, first_photo + photos_each):
            drawn = portrait(who, number, size=size)
            suffix = "jpg" if file_format == "jpeg" else "png"
            path = root / name / f"{name}_{number + 1:04d}.{suffix}"
            path.write_bytes(encode(drawn, file_format))
            written.append(path)
            entries.append(
                {
                    "file": path.relative_to(root).as_posix(),
                    "person": name,
                    "person_seed": who.seed,
                    "photo": number,
                    "landmarks": [[round(float(v), 2) for v in p] for p in drawn.landmarks],
                }
            )
    index = {"notice": NOTICE, "photos": entries}
    (root / INDEX_NAME).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    return written


def encode(drawn: Portrait, file_format: str = "png") -> bytes:
    """A portrait as PNG or JPEG bytes whose metadata say that it is synthetic."""
    picture, buffer = Image.fromarray(drawn.image), io.BytesIO()
    if file_format == "jpeg":
        exif = Image.Exif()
        exif[0x010E] = NOTICE  # ImageDescription
        exif[0x0131] = "faceflow drawn_people"  # Software
        picture.save(buffer, "JPEG", quality=92, exif=exif, comment=NOTICE.encode())
    else:
        info = PngInfo()
        info.add_text("Description", NOTICE)
        info.add_text("Software", "faceflow drawn_people")
        picture.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()
