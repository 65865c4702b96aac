"""The ``calibrate`` command."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faceflow.cli.loading import load_analyzer, open_gallery
from faceflow.cli.options import DEFAULT_GALLERY, Network, Offline, Threads
from faceflow.cli.output import plural, print_json, print_line, print_table, progress, say
from faceflow.errors import InputError

if TYPE_CHECKING:
    from faceflow.calibration import CalibrationResult
    from faceflow.gallery import Gallery

_CHOICE = "What is calibrated"


def calibrate(
    photos: Annotated[
        Path | None,
        typer.Argument(
            help="A folder with one folder of photos per person, enrolled or not.",
            metavar="[PHOTOS]",
            show_default=False,
        ),
    ] = None,
    gallery: Annotated[
        Path | None,
        typer.Option(
            "--gallery",
            "-g",
            envvar="FACEFLOW_GALLERY",
            help=f"The gallery file (default: {DEFAULT_GALLERY}, unless --network is given).",
            metavar="FILE",
        ),
    ] = None,
    network: Network = None,
    fpir: Annotated[
        float,
        typer.Option(
            "--fpir",
            help="The share of searches for people who are not enrolled that may name somebody.",
            metavar="RATE",
            rich_help_panel=_CHOICE,
        ),
    ] = 0.01,
    no_threshold: Annotated[
        bool,
        typer.Option(
            "--no-threshold",
            help="Choose by rank-1 accuracy and set no threshold; needs no strangers.",
            rich_help_panel=_CHOICE,
        ),
    ] = False,
    covers: Annotated[
        str,
        typer.Option(
            "--covers",
            help="What to draw on the photos, see 'faceflow occlude --list'.",
            metavar="NAME,NAME,...",
            rich_help_panel=_CHOICE,
        ),
    ] = "clean,mask,sunglasses,crop",
    real: Annotated[
        list[str] | None,
        typer.Option(
            "--real",
            help="Photos of really covered faces, one folder per person; may be repeated.",
            metavar="NAME=FOLDER",
            rich_help_panel=_CHOICE,
        ),
    ] = None,
    edited: Annotated[
        list[str] | None,
        typer.Option(
            "--edited",
            help="Copies of PHOTOS that another program covered (NAME_surgical.jpg for NAME.jpg), "
            "or a CSV with the columns edited and source; may be repeated.",
            metavar="NAME=FOLDER",
            rich_help_panel=_CHOICE,
        ),
    ] = None,
    weightings: Annotated[
        str,
        typer.Option(
            "--weightings",
            help="Weights of raw patches to choose from.",
            metavar="NAME,NAME,...",
            rich_help_panel=_CHOICE,
        ),
    ] = "uniform,apc,sc",
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Of the covers, and of who is judged by whom.")
    ] = 0,
    save: Annotated[
        bool, typer.Option("--save/--no-save", help="Keep the result in the gallery.")
    ] = True,
    show: Annotated[
        bool, typer.Option("--show", help="Show the gallery's calibration and do nothing.")
    ] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Drop the gallery's calibration and do nothing else.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            "--json", help="Also write everything as JSON to a file; - for stdout.", metavar="FILE"
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--picture",
            help="Draw errors against the visible share of the face.",
            metavar="FILE.svg",
        ),
    ] = None,
    threads: Threads = None,
    offline: Offline = False,
) -> None:
    """Find the alpha, k, weighting and threshold that suit a gallery, on photos like yours.

    The result is kept in the gallery and used by 'identify'. Photos of people who are not
    enrolled set the threshold: 3 / FPIR of them at least. With --network and without a gallery
    one is made of the photos for the while, and the result is only shown.
    """
    if show and forget:
        raise typer.BadParameter("choose one of --show and --forget")
    if network is not None and gallery is not None:
        raise typer.BadParameter("give a gallery or a network; a gallery has its own network")
    place = gallery or (None if network is not None else DEFAULT_GALLERY)
    if show or forget:
        if place is None or photos is not None:
            raise typer.BadParameter("--show and --forget take a gallery and no photos")
        _look(place, report, drop=forget)
        return
    if photos is None:
        raise typer.BadParameter("give a folder with one folder of photos per person")
    options: dict[str, Any] = {
        "fpir": None if no_threshold else fpir,
        "covers": _names(covers),
        "real": _strata(real or (), "--real"),
        "edited": _strata(edited or (), "--edited"),
        "weightings": _names(weightings),
        "seed": seed,
    }
    if place is None:
        result = _run(photos, None, network, threads, offline, options)
    else:
        with open_gallery(place, readonly=not save) as opened:
            result = _run(photos, opened, None, threads, offline, options | {"save": save})
    record = result.record()
    if picture is not None:
        _draw(picture, result)
    if report is not None and str(report) == "-":
        print_json(record)
        return
    _show(record)
    print_line(_set(record))
    if place is not None and save:
        say(f"kept in {place}, where 'faceflow identify' finds it")
    elif place is None:
        say("nothing was kept: give these to 'faceflow identify', or calibrate with a gallery")
    _write(report, record)


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
    threads: int | None,
    offline: bool,
    options: Mapping[str, Any],
) -> CalibrationResult:
    from faceflow.calibration import calibrate as run

    name = network if gallery is None else gallery.header.network_name
    alignment = None if gallery is None else gallery.header.alignment
    analyzer = load_analyzer(name, alignment=alignment, offline=offline, threads=threads)
    with progress("calibrating") as advance:
        return run(photos, gallery, analyzer=analyzer, progress=advance, **options)


def _look(place: Path, report: Path | None, *, drop: bool) -> None:
    """Show or drop what a gallery keeps."""
    from faceflow.calibration import forget, recall

    with open_gallery(place, readonly=not drop) as opened:
        if drop:
            known = forget(opened)
            print_line(f"{place}: {'calibration dropped' if known else 'there was no calibration'}")
            return
        record, faces = recall(opened), len(opened)
    if record is None:
        raise InputError(
            f"{place} was not calibrated", todo=f"run `faceflow calibrate PHOTOS --gallery {place}`"
        )
    if report is not None and str(report) == "-":
        print_json(record)
        return
    _show(record)
    print_line(_set(record))
    then = record["origin"]["enrolled_faces"]
    if faces != then:
        say(
            f"the gallery had {then:,} faces then and has {faces:,} now; false positives grow "
            "with the gallery, so calibrate again",
            label="note",
            style="yellow",
        )
    _write(report, record)


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


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


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


def _write(report: Path | None, record: Mapping[str, Any]) -> None:
    if report is None:
        return
    from faceflow.system.files import atomic_write

    with atomic_write(report) as file:
        file.write((json.dumps(record, ensure_ascii=False, indent=2) + "\n").encode())
    say(f"written to {report}")
