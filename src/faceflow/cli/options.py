"""The options that several commands share, each written once, and the groups they come in.

A command takes whole groups (:mod:`faceflow.cli.groups`); a group's small methods turn it into what
the library takes. Values are checked by the library, whose errors list what it knows; nothing
heavy is imported here, or ``faceflow --help`` would be slow.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from faceflow.system.threads import MAX_THREADS

if TYPE_CHECKING:
    from faceflow.gallery import GalleryLocation
    from faceflow.matching.options import Changes

    Place = Path | GalleryLocation
else:
    Place = Path  # typer gets its parser; loading the gallery would make --help slow

DEFAULT_GALLERY = Path("people.faceflow")

_SCORING = "Scoring"
_FACES = "Faces in a photo"
_BEST = "(default: what measured best)"

ChooseOne = Literal["largest", "centre"]


def said(option: Any, more: str, **fields: Any) -> Any:
    """The option with more behind its help: what it means stays, what it defaults to may differ.

    ``fields`` are those of typer's option that differ too: a bound, the panel it stands in.
    """
    longer = copy.copy(option)
    for name, value in fields.items():
        setattr(longer, name, value)
    longer.help = f"{option.help.rstrip('.')}{more}."
    return longer


def repeated(option: Any) -> Any:
    """The option as one that may be given several times, for a list."""
    return said(option, "; may be repeated")


# One by one


def _place(text: str | Path) -> Path | GalleryLocation:
    """A path, or the URL of a server: which shows no password, and is no path at all."""
    if "://" not in str(text):
        return Path(text)
    from faceflow.gallery import GalleryLocation

    return GalleryLocation(str(text))


GALLERY = typer.Option(
    "--gallery",
    "-g",
    envvar="FACEFLOW_GALLERY",
    parser=_place,
    help="The gallery: a file, or a postgresql:// address.",
    metavar="FILE",
)
NETWORK = typer.Option(
    "--network", help="Face network, see 'faceflow models list'.", metavar="NAME"
)
COVER = typer.Option(
    "--cover", "-c", help="A cover, see 'faceflow occlude --list'.", metavar="NAME"
)
WEIGHTING = typer.Option(
    "--weighting",
    help="Patch weights: uniform, apc, sc, cc, lmk, norm or uncovered.",
    metavar="NAME",
    rich_help_panel=_SCORING,
)

DETECTOR = typer.Option(
    "--detector",
    help="What finds and aligns faces, see 'faceflow models list'; or fan-2d, fan-3d (default: "
    "the gallery's own, or centerface).",
    metavar="NAME",
)
DEVICE = typer.Option(
    "--device",
    help="Where to compute: cpu, cuda (or cuda:1, ...), mps, or auto, which says what it "
    "took (default: FACEFLOW_DEVICE, else cpu).",
    metavar="NAME",
)
CLUSTER = typer.Option(
    "--cluster",
    envvar="FACEFLOW_CLUSTER",
    help="Ray cluster to work on: its head's host:port, or auto for the one on this machine.",
    metavar="ADDRESS",
    rich_help_panel="Cluster",
)
SEED = typer.Option(
    "--seed", min=0, help="Another seed draws otherwise whatever is drawn.", metavar="NUMBER"
)
FACES = typer.Option("--faces", help="Faces that the gallery holds.", metavar="NUMBER")
FACE = typer.Option("--face", help="Which face of a photo with several.", rich_help_panel=_FACES)
WHOLE_IMAGE = typer.Option(
    "--whole-image",
    help="Take a photo as a face crop: never, when no face is detected, or always.",
    rich_help_panel=_FACES,
)

PEOPLE = typer.Argument(
    help="A folder with one folder of photos per person, or a CSV file with the columns path and "
    "person.",
    metavar="PHOTOS",
)

GalleryPath = Annotated[Place, GALLERY]
PeopleFolders = Annotated[list[Path], PEOPLE]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON on stdout.")]
Person = Annotated[
    str | None, typer.Option("--person", "-p", help="Whose photos these are.", metavar="NAME")
]
ReportTo = Annotated[
    Path | None,
    typer.Option(
        "--report",
        help="Write what became of each photo to this .csv or .parquet file.",
        metavar="FILE",
    ),
]
Offline = Annotated[
    bool,
    typer.Option(
        "--offline",
        envvar="FACEFLOW_OFFLINE",
        help="Never fetch network weights; fail when they are not there.",
    ),
]
Network = Annotated[str | None, NETWORK]
Networks = Annotated[list[str] | None, repeated(NETWORK)]
Weightings = Annotated[list[str] | None, said(WEIGHTING, f"; may be repeated {_BEST}")]
Seed = Annotated[int, SEED]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there by that name.")]
Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        help="Where what is computed of the photos is kept, so that a run can go on (default: in "
        "the user's cache folder).",
        metavar="FOLDER",
    ),
]
QueryNetwork = Annotated[
    str | None,
    typer.Option(
        "--query-network",
        help="A student of the gallery's network that looks at the query, see 'faceflow train "
        "covers'.",
        metavar="NAME",
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
Alpha = Annotated[
    float | None,
    typer.Option(
        "--alpha",
        help="Share of the EMD similarity in the score, 0 to 1 (default: what measured best).",
        metavar="SHARE",
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
WholeImage = Annotated[Literal["never", "fallback", "always"], WHOLE_IMAGE]


# In groups


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine lends."""

    device: Annotated[str | None, DEVICE] = None

    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            min=1,
            max=MAX_THREADS,
            help="CPU threads (default: all cores).",
            metavar="NUMBER",
        ),
    ] = None
    offline: Offline = False


@dataclass(frozen=True, slots=True)
class Here(Machine):
    """What this machine lends, and how it answers."""

    as_json: Json = False


@dataclass(frozen=True, slots=True)
class Spread:
    """A gallery that is spread over a cluster, and what to do when parts of it are gone."""

    cluster: Annotated[str | None, CLUSTER] = None
    allow_partial: Annotated[
        bool,
        typer.Option(
            "--allow-partial",
            help="Answer from the other shards when one is gone; the answer says so.",
            rich_help_panel="Cluster",
        ),
    ] = False
    allow_stale: Annotated[
        bool,
        typer.Option(
            "--allow-stale",
            help="Answer from what shards have loaded when the database is gone; the answer says "
            "so.",
            rich_help_panel="Cluster",
        ),
    ] = False


@dataclass(frozen=True, slots=True)
class Maker:
    """What finds and describes faces, where no gallery says it."""

    network: Network = None
    detector: Annotated[str | None, DETECTOR] = None


@dataclass(frozen=True, slots=True)
class OneFace:
    """Which face a photo is about."""

    face: Annotated[ChooseOne, FACE] = "largest"
    whole_image: WholeImage = "never"


@dataclass(frozen=True, slots=True)
class AnyFace:
    """Which faces of a photo are asked about."""

    face: Annotated[Literal["largest", "centre", "all"], FACE] = "largest"
    whole_image: WholeImage = "never"
    min_quality: Annotated[
        Literal["good", "fair", "poor"] | None,
        typer.Option(
            "--min-quality",
            help='Say "unsure" of faces worse than this: too covered, small, blurred or turned. '
            '"poor" answers always (default: as the gallery says).',
            rich_help_panel=_FACES,
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class Patches:
    """How patches are compared; None for what was left open."""

    alpha: Alpha = None
    epsilon: Annotated[
        float | None,
        typer.Option(
            "--epsilon",
            help="Regularisation of the transport (default: 0.05).",
            metavar="NUMBER",
            rich_help_panel=_SCORING,
        ),
    ] = None
    grid: Annotated[
        str | None,
        typer.Option(
            "--grid",
            help="Pool patches to this grid first, e.g. 4x4 (default: the network's own).",
            metavar="HxW",
            rich_help_panel=_SCORING,
        ),
    ] = None
    patches: Annotated[
        Literal["raw", "projected"] | None,
        typer.Option(
            "--patches",
            help="What is transported: raw patches, or projected ones, what each adds to the "
            "embedding (default: what measured best).",
            rich_help_panel=_SCORING,
        ),
    ] = None
    visible_share: Annotated[
        float | None,
        typer.Option(
            "--visible-share",
            help="Share, 0 to 1, that the cosine of what both faces show has in the cosine "
            "(default: what measured best).",
            metavar="SHARE",
            rich_help_panel=_SCORING,
        ),
    ] = None

    def changes(self) -> Changes:
        """What was given, as ``options(**changes)`` of the library takes it."""
        found: Changes = {}
        if self.alpha is not None:
            found["alpha"] = self.alpha
        if self.epsilon is not None:
            from faceflow.matching.transport import Sinkhorn

            found["solver"] = Sinkhorn(epsilon=self.epsilon)
        if self.grid is not None:
            found["grid"] = parse_grid(self.grid)
        if self.patches is not None:
            found["patches"] = self.patches
        if self.visible_share is not None:
            found["visible_share"] = self.visible_share
        return found


@dataclass(frozen=True, slots=True)
class Scoring(Patches):
    """How two faces are compared."""

    weighting: Annotated[str | None, said(WEIGHTING, f" {_BEST}")] = None

    def changes(self) -> Changes:
        """As for :class:`Patches`."""
        # Not super(): a dataclass with slots is another class than the one written here.
        found = Patches.changes(self)
        return found if self.weighting is None else {**found, "weighting": self.weighting}


@dataclass(frozen=True, slots=True)
class Ranking(Scoring):
    """How people are ranked."""

    k: Shortlist = None
    best_faces: Annotated[
        int,
        typer.Option(
            "--best-faces",
            min=1,
            help="Score a person by the mean of this many of their best faces.",
            metavar="FACES",
            rich_help_panel=_SCORING,
        ),
    ] = 1

    def changes(self) -> Changes:
        """As for :class:`Patches`."""
        found = Scoring.changes(self)
        return found if self.k is None else {**found, "k": self.k}


def parse_grid(text: str) -> tuple[int, int]:
    """ "4x4" -> (4, 4).

    Raises:
        typer.BadParameter: anything else.
    """
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise typer.BadParameter(f"{text!r} is not a grid; write e.g. 4x4", param_hint="--grid")
    return int(height), int(width)
