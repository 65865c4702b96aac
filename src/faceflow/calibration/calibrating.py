"""Calibrate alpha, weighting, k and the threshold on a user's own photos."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from faceflow import __version__, networks
from faceflow.analyzer import FaceAnalyzer
from faceflow.arrays import Bools
from faceflow.calibration.choice import INNER_FOLDS, LEAST_PEOPLE, OUTER_FOLDS, decide, judge
from faceflow.calibration.evidence import ALPHAS, SHORTLISTS, Evidence, settings_grid
from faceflow.calibration.keeping import remember
from faceflow.calibration.leaks import Leaks, find_leaks
from faceflow.calibration.material import CLEAN, Material, check_covers, gather
from faceflow.calibration.result import CalibrationResult, Origin, Stratum
from faceflow.calibration.searches import (
    Searches,
    among_themselves,
    collect_evidence,
    in_gallery,
    photographs,
    transport_runs,
)
from faceflow.calibration.summing_up import own_choice, rates
from faceflow.calibration.trust import by_band, by_visible, query_quality
from faceflow.errors import InputError
from faceflow.evaluation.data import Photo, pair_by_name, pair_by_table, read
from faceflow.evaluation.data.edited import sources_of
from faceflow.evaluation.data.near_duplicates import confirm
from faceflow.faces import detectors
from faceflow.gallery import Gallery
from faceflow.matching import covers as patch_model
from faceflow.networks import defaults_for
from faceflow.quality import Quality

Progress = Callable[[int, int, str], None]
"""Called with (done, in all, of what)."""

# Of raw patches; what is left out needs more than patches, or did not measure well.
WEIGHTINGS = ("uniform", "apc", "sc")
COVERS = (CLEAN, "mask", "sunglasses", "crop")


def calibrate(
    photos: str | Path,
    gallery: Gallery | None = None,
    *,
    analyzer: FaceAnalyzer | None = None,
    fpir: float | None = 0.01,
    covers: Sequence[str] = COVERS,
    real: Mapping[str, str | Path] | None = None,
    edited: Mapping[str, str | Path] | None = None,
    weightings: Sequence[str] = WEIGHTINGS,
    alphas: Sequence[float] = ALPHAS,
    ks: Sequence[int] = SHORTLISTS,
    seed: int = 0,
    save: bool = True,
    progress: Progress | None = None,
) -> CalibrationResult:
    """Choose how a gallery, or a network, should match, and measure what that gives.

    The choice and the numbers reported for it never come from the same people, and no photo is
    compared with its own photograph among the enrolled. See docs/calibrate.md.

    Args:
        photos: a folder with one folder of photos per person, enrolled or not; those who are
            not are the impostors that the threshold is set on.
        gallery: the enrolled people. None makes one of the photos: one photo of about half of
            the people is enrolled, the others stay out.
        analyzer: for the gallery's network; None loads that, or the default one.
        fpir: the share of searches for people who are not enrolled that may name somebody.
            None sets no threshold and chooses by rank-1 accuracy.
        covers: strata to draw on the photos: "clean" and names of
            :func:`faceflow.occlusion.alterations`.
        real: further strata: name -> folder, as ``photos``, of really covered faces.
        edited: further strata: name -> folder or CSV of copies of ``photos`` that another
            program covered, see :mod:`faceflow.evaluation.data.edited`.
        weightings, alphas, ks: what to choose from; stage 1 alone always is. Weightings are
            for raw patches. Where the network's patch model is known, projected patches
            weighted by what both faces show are tried too.
        seed: of covers, folds, and who stays out.
        save: keep the result in the gallery, where ``identify`` finds it.
        progress: told how far the work is.

    Raises:
        InputError: an option out of range, or too few people or impostors; the message says
            how many are needed.
        GalleryMismatchError: the analyzer's network or alignment is not the gallery's.
        GalleryError: the gallery cannot be written.
    """
    folders = {str(name): Path(folder) for name, folder in (real or {}).items()}
    copies = {str(name): Path(place) for name, place in (edited or {}).items()}
    check_covers(covers, [*folders, *copies])
    if fpir is not None and not 0 < fpir < 1:
        raise InputError(f"the target FPIR is {fpir}", why="it must lie between 0 and 1")
    if gallery is not None and save:
        gallery.update_settings({})  # a gallery that cannot be written must say so now
    name, digest = _network(gallery, analyzer)
    model = patch_model.load(name, digest)
    defaults = defaults_for(name)
    covers_alone = model is not None and not model.linear
    settings = settings_grid(
        (*weightings, "uncovered") if covers_alone else weightings,
        alphas=alphas,
        ks=ks,
        unranked_k=defaults.k,
        visible_shares=(0.0, defaults.visible_share) if model is not None and model.linear else (),
    )
    runs = transport_runs(settings, model)  # a weighting that cannot be had must say so now
    clean = read("folder", photos).photos
    covered = {
        stratum: tuple(
            replace(photo, source_id=f"{stratum}: {photo.source_id}")
            for photo in read("folder", folder).photos
        )
        for stratum, folder in folders.items()
    }
    unconfirmed = 0
    for stratum, place in copies.items():
        covered[stratum], unknown = _copies(place, clean)
        unconfirmed += unknown
    if gallery is not None and fpir is not None:
        # At best; photos without a face and repeats are found out later.
        known = {who.name for who in gallery.people()}
        everybody = [*clean, *(photo for some in covered.values() for photo in some)]
        strangers = {p.source_id: p.person for p in everybody if p.person not in known}
        require_impostors(len(strangers), len(set(strangers.values())), fpir)
    strata = (*covers, *folders, *copies)
    analyzer = analyzer or _analyzer(name, gallery)
    if gallery is not None:
        gallery.require_network(analyzer.network)
        gallery.require_alignment(analyzer.alignment)

    def told(what: str) -> Callable[[int, int], None]:
        return lambda done, total: None if progress is None else progress(done, total, what)

    material = gather(
        clean, analyzer, covers=covers, real=covered, seed=seed, progress=told("photos")
    )
    originals = {photo.source_id: photo for photo in reversed(material.photos)}
    leaks = find_leaks(list(originals.values())[::-1], material.pictures, gallery)
    searches = (
        among_themselves(material, leaks, strata, seed=seed)
        if gallery is None
        else in_gallery(
            material,
            leaks,
            gallery,
            strata,
            landmarks=any(options.needs_landmarks for options in runs.values()),
        )
    )
    everything = searches
    searches = searches.without_the_enrolled(leaks)
    evidence = collect_evidence(
        searches, leaks, settings, strata, model=model, progress=told("searches")
    )
    origin = replace(
        _origin(analyzer, everything, searches, evidence, material, leaks, gallery is None, seed),
        unconfirmed=unconfirmed,
        patch_model=None if model is None else model.digest,
    )
    if fpir is not None:
        require_impostors(origin.impostor_photographs, origin.impostors, fpir)
    quality = query_quality(material, searches, model)
    result = conclude(evidence, fpir, origin, unseen=material.unseen, quality=quality)
    if gallery is not None and save:
        remember(gallery, result)
    return result


def conclude(
    evidence: Evidence,
    fpir: float | None,
    origin: Origin,
    *,
    unseen: Mapping[str, int] | None = None,
    quality: Sequence[Quality] = (),
) -> CalibrationResult:
    """Decide on all people, and judge decisions made the same way by other people.

    Args:
        evidence: the searches.
        fpir: the target; None sets no threshold.
        origin: how they were made.
        unseen: stratum -> photos whose face was no longer found under the cover.
        quality: of the queries, one for each search, or none.

    Raises:
        InputError: fewer than ``choice.LEAST_PEOPLE`` people could be found.
    """
    mated_people = len(np.unique(evidence.person[evidence.mated]))
    if mated_people < LEAST_PEOPLE:
        raise InputError(
            f"{mated_people} people with another enrolled photo were searched for",
            why=f"choosing on some and reporting on others takes at least {LEAST_PEOPLE}",
            todo="add photos of enrolled people, other than the enrolled ones",
        )
    decision = decide(evidence, fpir, seed=origin.seed)
    judged = judge(evidence, fpir, seed=origin.seed)
    threshold = fpir is not None
    everything = np.ones(len(evidence), dtype=np.bool_)
    strata = []
    for n, name in enumerate(evidence.strata):
        own, own_threshold = own_choice(evidence, n, fpir, origin.seed)
        strata.append(
            Stratum(
                name,
                rates(evidence, judged, evidence.stratum == n, threshold=threshold),
                own,
                own_threshold,
                (unseen or {}).get(name, 0),
            )
        )
    return CalibrationResult(
        setting=evidence.settings[decision.setting],
        threshold=decision.threshold,
        target=fpir,
        helps=decision.setting > 0,
        candidate=evidence.settings[decision.candidate],
        test=decision.test,
        overall=rates(evidence, judged, everything, threshold=threshold),
        strata=tuple(strata),
        folds=tuple(evidence.settings[fold.setting] for fold in judged.decisions),
        origin=origin,
        bands=by_band(evidence, judged, quality, threshold=threshold),
        visible=by_visible(evidence, judged, quality, threshold=threshold),
    )


def impostors_needed(fpir: float) -> int:
    """The least impostor photographs that can back an FPIR: 3 / FPIR (the rule of three)."""
    # Rounded before it is rounded up: 3 / 0.003 is 1000.0000000000001.
    return math.ceil(round(3 / fpir, 9))


def require_impostors(found: int, people: int, fpir: float) -> None:
    """Refuse a target FPIR that so many photographs of so many impostors cannot back.

    Raises:
        InputError: how many are needed, and why.
    """
    needed = impostors_needed(fpir)
    if found < needed:
        least = "" if found < 4 else f", a higher FPIR (these {found:,} can back {3 / found:.2g})"
        raise InputError(
            f"{found:,} photographs of people who are not enrolled cannot back an FPIR of {fpir:g}",
            why=f"{needed:,} are needed, 3 / FPIR: even if none of so many raises an alarm, the "
            "rate may still be as high as the target (95% confidence); covers drawn on one "
            "photograph do not count anew",
            todo=f"add photos of people who are not enrolled{least}, or set no threshold",
        )
    if people < LEAST_PEOPLE:
        raise InputError(
            f"only {people} people who are not enrolled were given",
            why=f"a threshold is set on some of them and judged on others, which takes "
            f"{LEAST_PEOPLE} (folds: {OUTER_FOLDS} outside, {INNER_FOLDS} inside)",
            todo="add photos of other people who are not enrolled, or set no threshold",
        )


def _copies(place: Path, sources: Sequence[Photo]) -> tuple[tuple[Photo, ...], int]:
    """Edited copies with their sources' ids, and how many could not be seen to be theirs."""
    pair = pair_by_table if place.is_file() else pair_by_name
    photos = pair(place, sources).photos
    return photos, sum(found is None for found in confirm(list(sources_of(photos, sources))))


def _network(gallery: Gallery | None, analyzer: FaceAnalyzer | None) -> tuple[str, str]:
    """Name and digest of the network to calibrate."""
    if gallery is not None:
        return gallery.header.network_name, gallery.header.digest
    if analyzer is not None:
        return analyzer.network.spec.name, analyzer.network.digest
    spec = networks.spec(networks.DEFAULT)
    return spec.name, spec.digest


def _analyzer(name: str, gallery: Gallery | None) -> FaceAnalyzer:
    aligned_by = detectors.DEFAULT if gallery is None else gallery.header.alignment
    return FaceAnalyzer(networks.load_network(name), alignment=aligned_by)


def _origin(
    analyzer: FaceAnalyzer,
    everything: Searches,
    searches: Searches,
    evidence: Evidence,
    material: Material,
    leaks: Leaks,
    temporary: bool,
    seed: int,
) -> Origin:
    nonmated: Bools = ~evidence.mated
    network = analyzer.network
    return Origin(
        made=datetime.now(UTC),
        version=__version__,
        network=network.spec.name,
        digest=network.digest,
        enrolled_people=searches.enrolled,
        enrolled_faces=len(searches.gallery),
        temporary=temporary,
        people=len(np.unique(evidence.person)),
        impostors=len(np.unique(evidence.person[nonmated])),
        photographs=photographs(searches.queries),
        impostor_photographs=photographs(searches.queries, nonmated),
        excluded=len(everything.protocol(leaks).excluded),
        enrolled_already=photographs(everything.queries) - photographs(searches.queries),
        repeated=len(leaks.repeated),
        misfiled=len(leaks.misfiled),
        left_out=len(material.left_out),
        unconfirmed=0,
        compared=leaks.compared,
        by_picture=leaks.by_picture,
        by_hash=leaks.by_hash,
        seed=seed,
    )
