"""The options that several commands share, so that they read the same everywhere.

Values are checked by the library, whose errors list what it knows; nothing heavy is imported
here, or ``faceflow --help`` would be slow.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from faceflow.system.threads import MAX_THREADS

DEFAULT_GALLERY = Path("people.faceflow")

_SCORING = "Scoring"
_FACES = "Faces in a photo"


Choose = Literal["largest", "centre", "all"]
ChooseOne = Literal["largest", "centre"]
WholeImage = Literal["never", "fallback", "always"]

GalleryPath = Annotated[
    Path,
    typer.Option(
        "--gallery",
        "-g",
        envvar="FACEFLOW_GALLERY",
        help="The gallery file.",
        metavar="FILE",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON on stdout.")]
Offline = Annotated[
    bool,
    typer.Option(
        "--offline",
        envvar="FACEFLOW_OFFLINE",
        help="Never fetch network weights; fail when they are not there.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        max=MAX_THREADS,
        help="CPU threads for the networks (default: all cores).",
    ),
]
Network = Annotated[
    str | None,
    typer.Option("--network", help="Face network, see 'faceflow models list'.", metavar="NAME"),
]
Alignment = Annotated[
    str | None,
    typer.Option(
        "--alignment",
        help="Whose landmarks align a face: mtcnn, fan-2d or fan-3d (default: mtcnn).",
        metavar="NAME",
    ),
]

FaceChoice = Annotated[
    Choose,
    typer.Option("--face", help="Which face of a photo with several.", rich_help_panel=_FACES),
]
OneFaceChoice = Annotated[
    ChooseOne,
    typer.Option("--face", help="Which face of a photo with several.", rich_help_panel=_FACES),
]
Whole = Annotated[
    WholeImage,
    typer.Option(
        "--whole-image",
        help="Take a photo as a face crop: never, when no face is detected, or always.",
        rich_help_panel=_FACES,
    ),
]

Alpha = Annotated[
    float | None,
    typer.Option(
        "--alpha",
        help="Share of the EMD similarity in the score, 0 to 1 (default: what measured best).",
        metavar="SHARE",
        rich_help_panel=_SCORING,
    ),
]
Weighting = Annotated[
    str | None,
    typer.Option(
        "--weighting",
        help="Patch weights: uniform, apc, sc, cc, lmk, norm or uncovered (default: what measured "
        "best).",
        metavar="NAME",
        rich_help_panel=_SCORING,
    ),
]
Shortlist = Annotated[
    int | None,
    typer.Option(
        "--k",
        "-k",
        help="How many faces of stage 1 are re-ranked (default: what measured best).",
        metavar="FACES",
        rich_help_panel=_SCORING,
    ),
]
Epsilon = Annotated[
    float | None,
    typer.Option(
        "--epsilon",
        help="Regularisation of the transport (default: 0.05).",
        metavar="NUMBER",
        rich_help_panel=_SCORING,
    ),
]
PatchGrid = Annotated[
    str | None,
    typer.Option(
        "--grid",
        help="Pool patches to this grid first, e.g. 4x4 (default: the network's own).",
        metavar="HxW",
        rich_help_panel=_SCORING,
    ),
]
PatchKind = Annotated[
    Literal["raw", "projected"] | None,
    typer.Option(
        "--patches",
        help="What is transported: raw patches, or projected ones, what each adds to the "
        "embedding (default: what measured best).",
        rich_help_panel=_SCORING,
    ),
]
VisibleShare = Annotated[
    float | None,
    typer.Option(
        "--visible-share",
        help="Share, 0 to 1, that the cosine of what both faces show has in the cosine "
        "(default: what measured best).",
        metavar="SHARE",
        rich_help_panel=_SCORING,
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        "-t",
        help="The least score that counts as the same person.",
        metavar="SCORE",
        rich_help_panel=_SCORING,
    ),
]


def parse_grid(text: str | None) -> tuple[int, int] | None:
    """ "4x4" -> (4, 4).

    Raises:
        typer.BadParameter: anything else.
    """
    if text is None:
        return None
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise typer.BadParameter(f"{text!r} is not a grid; write e.g. 4x4", param_hint="--grid")
    return int(height), int(width)
