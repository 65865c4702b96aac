"""The ``calibrate`` command."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faceflow.cli.loading import load_analyzer, open_gallery
from faceflow.cli.options import (
    COVER,
    DEFAULT_GALLERY,
    GALLERY,
    WEIGHTING,
    Here,
    Network,
    Place,
    Seed,
    said,
)
from faceflow.cli.output import plural, print_json, print_line, print_table, progress, say
from faceflow.errors import InputError

if TYPE_CHECKING:
    from faceflow.calibration import CalibrationResult
    from faceflow.gallery import Gallery

_CHOICE = "What is calibrated"


@dataclass(frozen=True, slots=True)
class Aim:
    """What is calibrated, and on which photos."""

    fpir: Annotated[
        float,
        typer.Option(
            "--fpir",
            help="The share of searches for people who are not enrolled that may name somebody.",
            metavar="RATE",
            rich_help_panel=_CHOICE,
        ),
    ] = 0.01
    no_threshold: Annotated[
        bool,
        typer.Option(
            "--no-threshold",
            help="Choose by rank-1 accuracy and set no threshold; needs no strangers.",
            rich_help_panel=_CHOICE,
        ),
    ] = False
    covers: Annotated[
        list[str] | None,
        said(COVER, "; may be repeated (default: clean, mask, sunglasses and crop)"),
    ] = None
    real: Annotated[
        list[str] | None,
        typer.Option(
            "--real",
            help="Photos of really covered faces, one folder per person; may be repeated.",
            metavar="NAME=FOLDER",
            rich_help_panel=_CHOICE,
        ),
    ] = None
    edited: Annotated[
        list[str] | None,
        typer.Option(
            "--edited",
            help="Copies of PHOTOS that another program covered (NAME_surgical.jpg for NAME.jpg), "
            "or a CSV with the columns edited and source; may be repeated.",
            metavar="NAME=FOLDER",
            rich_help_panel=_CHOICE,
        ),
    ] = None
    weightings: Annotated[
        list[str] | None,
        said(WEIGHTING, "; may be repeated, to choose from (default: uniform, apc and sc)"),
    ] = None
    seed: Seed = 0

    def arguments(self) -> dict[str, Any]:
        """What :func:`faceflow.calibration.calibrate` takes; what was left open is not in it."""
        found: dict[str, Any] = {
            "fpir": None if self.no_threshold else self.fpir,
            "real": _strata(self.real or (), "--real"),
            "edited": _strata(self.edited or (), "--edited"),
            "seed": self.seed,
        }
        if self.covers:
            found["covers"] = tuple(self.covers)
        if self.weightings:
            found["weightings"] = tuple(self.weightings)
        return found


def calibrate(
    photos: Annotated[
        Path | None,
        typer.Argument(
            help="A folder with one folder of photos per person, enrolled or not.",
            metavar="PHOTOS",
            show_default=False,
        ),
    ] = None,
    *,
    gallery: Annotated[Place | None, GALLERY] = None,
    network: Network = None,
    save: Annotated[
        bool, typer.Option("--save/--no-save", help="Keep the result in the gallery.")
    ] = True,
    show: Annotated[
        bool, typer.Option("--show", help="Show the gallery's calibration and do nothing.")
    ] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Drop the gallery's calibration and do nothing else.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Also write everything as JSON.", metavar="FILE"),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--picture",
            help="Draw errors against the visible share of the face.",
            metavar="FILE.svg",
        ),
    ] = None,
    aim: Aim,
    here: Here,
) -> None:
    """Find the alpha, k, weighting and threshold that suit a gallery, on photos like yours.

    The result is kept in the gallery (people.faceflow unless --gallery says otherwise) and used
    by 'identify'. Photos of people who are not enrolled set the threshold: 3 / FPIR of them at
    least. With --network and without a gallery one is made of the photos for the while, and the
    result is only shown.
    """
    if show and forget:
        raise typer.BadParameter("choose one of --show and --forget")
    if network is not None and gallery is not None:
        raise typer.BadParameter("give a gallery or a network; a gallery has its own network")
    place = gallery or (None if network is not None else DEFAULT_GALLERY)
    if show or forget:
        if place is None or photos is not None:
            raise typer.BadParameter("--show and --forget take a gallery and no photos")
        if forget:
            _forget(place)
        else:
            _recall(place, output, as_json=here.as_json)
        return
    if photos is None:
        raise typer.BadParameter("give a folder with one folder of photos per person")
    arguments = aim.arguments()
    with nullcontext() if place is None else open_gallery(place, readonly=not save) as opened:
        result = _run(photos, opened, network, here, {**arguments, "save": save})
    record = result.record()
    if picture is not None:
        _draw(picture, result)
    _answer(record, output, as_json=here.as_json)
    if place is not None and save:
        say(f"kept in {place}, where 'faceflow identify' finds it")
    elif place is None:
        say("nothing was kept: give these to 'faceflow identify', or calibrate with a gallery")


def _draw(picture: Path, result: CalibrationResult) -> None:
    from faceflow.calibration.picture import trust_picture
    from faceflow.system.files import atomic_write

    drawn = trust_picture(result)
    with atomic_write(picture) as file:
        file.write(drawn.encode())
    say(f"drawn in {picture}")


def _run(
    photos: Path,
    gallery: Gallery | None,
    network: str | None,
    here: Here,
    arguments: Mapping[str, Any],
) -> CalibrationResult:
    from faceflow.calibration import calibrate as run

    if gallery is None:
        analyzer = load_analyzer(network, here)
    else:
        header = gallery.header
        analyzer = load_analyzer(header.network_name, here, detector=header.detector)
    with progress("calibrating") as advance:
        return run(photos, gallery, analyzer=analyzer, progress=advance, **arguments)


def _forget(place: Place) -> None:
    from faceflow.calibration import forget

    with open_gallery(place, readonly=False) as opened:
        known = forget(opened)
    print_line(f"{place}: {'calibration dropped' if known else 'there was no calibration'}")


def _recall(place: Place, output: Path | None, *, as_json: bool) -> None:
    """Show what a gallery keeps."""
    from faceflow.calibration import recall

    with open_gallery(place) as opened:
        record, faces = recall(opened), len(opened)
    if record is None:
        raise InputError(
            f"{place} was not calibrated", todo=f"run `faceflow calibrate PHOTOS --gallery {place}`"
        )
    _answer(record, output, as_json=as_json)
    then = record["origin"]["enrolled_faces"]
    if faces != then:
        say(
            f"the gallery had {then:,} faces then and has {faces:,} now; false positives grow "
            "with the gallery, so calibrate again",
            label="note",
            style="yellow",
        )


def _answer(record: Mapping[str, Any], output: Path | None, *, as_json: bool) -> None:
    if output is not None:
        from faceflow.system.files import atomic_write

        with atomic_write(output) as file:
            file.write((json.dumps(record, ensure_ascii=False, indent=2) + "\n").encode())
    if as_json:
        print_json(record)
    else:
        _show(record)
        print_line(_set(record))
    if output is not None:
        say(f"written to {output}")


def _show(record: Mapping[str, Any]) -> None:
    origin, target = record["origin"], record["target"]
    measure = "rank-1" if target is None else f"TPIR at FPIR {target:g}"
    rows = [_row(s["name"], s["rates"], s) for s in record["strata"]]
    print_table(
        ("photos", "mated", "others", f"{measure} (95%)", "stage 1 alone", "FPIR", "best alone"),
        [*rows, _row("all", record["overall"], None)],
        right=("mated", "others"),
    )
    bands = record.get("bands") or []
    if bands:
        print_table(
            ("quality", "mated", "others", f"{measure} (95%)", "stage 1 alone", "FPIR"),
            [_row(name, rates, None)[:-1] for name, rates in bands],
            right=("mated", "others"),
        )
    print_line(record["verdict"])
    for stratum in record["strata"]:
        test = stratum["rates"]["test"]
        if test and test["losses"] > test["wins"] and test["p_value"] < 0.05:
            say(
                f"{stratum['name']}: worse than stage 1 alone for {test['losses']} people, better "
                f"for {test['wins']}",
                label="note",
                style="yellow",
            )
        if stratum["unseen"]:
            say(f"{stratum['name']}: no face was found in {stratum['unseen']:,} covered photos")
    made = "made of the photos" if origin["temporary"] else "the gallery"
    say(
        f"{origin['network']}, {origin['made'][:10]}: {origin['photographs']:,} photographs of "
        f"{plural(origin['people'], 'person', 'people')} ({origin['impostors']:,} not enrolled, "
        f"{origin['impostor_photographs']:,} photographs) searched among "
        f"{plural(origin['enrolled_faces'], 'face')} of {origin['enrolled_people']:,} people "
        f"({made}); rates are of people who had no part in the choice"
    )
    say(
        f"{origin['excluded']:,} comparisons of one photograph with itself were left out; not "
        f"searched for at all: {origin['enrolled_already']:,} photographs that are all the gallery "
        f"has of a person, {origin['repeated']:,} repeats, {origin['misfiled']:,} under two names, "
        f"{origin['left_out']:,} without a usable face"
    )
    if origin["unconfirmed"]:
        say(
            f"{origin['unconfirmed']:,} edited photos could not be seen to show the photo they are "
            "named after (a crop or a large cover, or a wrong name)",
            label="note",
            style="yellow",
        )
    gone = origin["by_picture"] + origin["by_hash"]
    if gone:
        say(
            f"the photos of {gone:,} enrolled faces are gone or changed: {origin['by_picture']:,} "
            f"were compared by the gallery's small pictures, {origin['by_hash']:,} by "
            "their digest alone",
            label="note",
            style="yellow",
        )


def _set(record: Mapping[str, Any]) -> str:
    """What was chosen, in one line."""
    return "set: " + ", ".join(f"{name} {_short(one)}" for name, one in record["match"].items())


def _row(name: str, rates: Mapping[str, Any], stratum: Mapping[str, Any] | None) -> list[str]:
    own = "-"
    if stratum is not None and stratum["own"] is not None:
        own = _setting(stratum["own"])
        if stratum["own_threshold"] is not None:
            own += f", from {stratum['own_threshold']:.3f}"
    return [
        name,
        f"{rates['mated']:,}",
        f"{rates['nonmated']:,}",
        _interval(rates["tpir"]),
        _interval(rates["stage1_tpir"]),
        _interval(rates["fpir"]),
        own,
    ]


def _interval(interval: Mapping[str, Any] | None) -> str:
    if interval is None:
        return "-"
    low, high = 100 * interval["low"], 100 * interval["high"]
    return f"{100 * interval['estimate']:.1f}% ({low:.1f} to {high:.1f})"


def _setting(setting: Mapping[str, Any]) -> str:
    from faceflow.calibration import Setting

    return str(Setting(**setting))


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _strata(given: Sequence[str], option: str) -> dict[str, Path]:
    """NAME=FOLDER, or FOLDER under its own name."""
    found: dict[str, Path] = {}
    for text in given:
        name, sign, folder = text.partition("=")
        path = Path(folder if sign else text)
        key = name if sign else path.resolve().stem
        if key in found:
            raise typer.BadParameter(f"{key!r} is given twice", param_hint=option)
        found[key] = path
    return found
