"""Rank-1 identification of covered faces, stage 1 against stage 2, without the same-photo leak.

    python benchmarks/accuracy/covered.py lfw LFW/ --half tuning
    python benchmarks/accuracy/covered.py lfw LFW/ --half report
    python benchmarks/accuracy/covered.py rof ROF/ --each 3 --distractors LFW/
    python benchmarks/accuracy/covered.py rof ROF/

rof: neutral photos are enrolled, all or --each of every person; real sunglasses and real masks
     are the queries. --distractors enrolls the first photo of everybody in another folder too.
     Photos in which the detector finds no face are counted, and counted as failures in a
     second column.
lfw: one mate per person among many faces: the first photo of everybody is enrolled; the second
     photo of people with two or more is the query. People fall into halves by a hash of their
     names: what is chosen is chosen on "tuning" and reported on "report". Queries are clean,
     masked, with sunglasses, or a random 70% crop, drawn by faceflow.occlusion on the photo
     before detection. "aligned-crop" is the paper's crop: a random 70% window of the aligned
     face, enlarged and given to the network as it is; "aligned-crop-found" gives the same
     picture to the detector first, as a user's photo would be.

Every --method is PATCHES,WEIGHTING,VISIBLE, e.g. raw,uniform,0 (the paper's way) or
projected,uncovered,0.3; each is shown with every --alpha. Features are cached by photo in
--cache, so a second run with other options is quick. The last columns are queries won and lost
by stage 2 against stage 1, with the two-sided sign test.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from faceflow import (
    FaceAnalyzer,
    FaceFeatures,
    FaceflowError,
    Gallery,
    MatchOptions,
    identify,
)
from faceflow.errors import NoFaceError
from faceflow.evaluation.kept_detector import KeptDetector
from faceflow.faces.detectors import DEFAULT, load_detector
from faceflow.faces.images import content_hash, iter_images, load_image
from faceflow.gallery import Enrolment
from faceflow.matching import covers as patch_model
from faceflow.matching.identification import Match, Matches
from faceflow.occlusion import occlude

COVERS = ("clean", "mask", "sunglasses", "crop", "aligned-crop", "aligned-crop-found")


@dataclass(frozen=True)
class Query:
    person: str
    path: Path
    cover: str


class Cache:
    """Features of photos on disk, one small file each, so that an interrupted run goes on."""

    def __init__(self, folder: Path, analyzer: FaceAnalyzer, select: str) -> None:
        self.folder, self.analyzer, self.select = folder, analyzer, select
        # Whatever is measured, the pictures are the same: covers lie where MTCNN sees the face.
        self.drawer = KeptDetector(load_detector("mtcnn"), folder)
        folder.mkdir(parents=True, exist_ok=True)

    def features(self, path: Path, cover: str) -> FaceFeatures | None:
        """Features of the chosen face, or None where no face was found."""
        key = f"{content_hash(path)} {cover} {self.select} {self.analyzer.network.digest}"
        key += f" {self.analyzer.detector_name}"
        file = self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"
        if not file.exists():
            part = file.with_suffix(f".{os.getpid()}.npz")
            np.savez(part, **self._compute(path, cover))
            part.replace(file)  # whole or not at all: another run may be reading
        with np.load(file) as kept:
            if "maps" not in kept:
                return None
            return FaceFeatures.from_maps(
                kept["embedding"], kept["maps"].astype(np.float32), digest=self.analyzer.digest
            )

    def _landmarks(self, image: np.ndarray) -> np.ndarray:
        """Of the face nearest to the middle: the covers are drawn on LFW photos."""
        middle = np.array(image.shape[1::-1]) / 2
        found = self.drawer.detect(image)
        if not found:
            raise NoFaceError("No face to cover")
        return min(found, key=lambda d: np.linalg.norm(d.landmarks[2] - middle)).landmarks

    def _window(self, path: Path, image: np.ndarray, *, again: bool) -> FaceFeatures:
        """Of a random 70% window of the aligned face."""
        crop = self.analyzer.analyze(image, select=self.select)[0].crop
        height, width = crop.shape[:2]
        rng = np.random.default_rng(int(content_hash(path)[:8], 16))
        y, x = rng.integers(0, round(0.3 * height) + 1), rng.integers(0, round(0.3 * width) + 1)
        window = crop[y : y + round(0.7 * height), x : x + round(0.7 * width)]
        window = cv2.resize(window, (width, height), interpolation=cv2.INTER_LINEAR)
        if not again:
            return self.analyzer.embed(window[None])
        return self.analyzer.analyze(window, select=self.select, whole_image="fallback")[0].features

    def _compute(self, path: Path, cover: str) -> dict[str, np.ndarray]:
        try:
            image = load_image(path)
            if cover.startswith("aligned-crop"):
                features = self._window(path, image, again=cover.endswith("found"))
            else:
                if cover != "clean":
                    image = occlude(cover, image, self._landmarks(image)).image
                features = self.analyzer.analyze(image, select=self.select)[0].features
        except FaceflowError:
            return {}
        n, _, channels = features.patches.shape
        maps = features.raw_patches.transpose(0, 2, 1).reshape(n, channels, *features.grid)
        return {"embedding": features.embedding, "maps": maps.astype(np.float16)}


def enroll(gallery: Gallery, photos: Iterable[tuple[str, Path]], cache: Cache) -> int:
    """Enroll photos; returns how many showed no face."""
    missed = 0

    def items() -> Iterator[Enrolment]:
        nonlocal missed
        for person, path in photos:
            features = cache.features(path, "clean")
            if features is None:
                missed += 1
            else:
                yield Enrolment(person, path.name, content_hash(path), features)

    gallery.enroll(items())
    return missed


def sign_test(wins: int, losses: int) -> float:
    """Two-sided exact sign test."""
    n = wins + losses
    tail = sum(math.comb(n, i) for i in range(min(wins, losses) + 1)) / 2**n
    return min(1.0, 2 * tail) if n else 1.0


def report(
    queries: list[Query],
    gallery: Gallery,
    cache: Cache,
    methods: list[str],
    alphas: list[float],
    k: int,
) -> dict[str, dict[str, bool]]:
    """Print the table; returns which queries stage 2 put right, by row and photo."""
    right: dict[str, dict[str, bool]] = {}
    header = gallery.header
    model = patch_model.load(header.network_name, header.digest)
    print(f"gallery: {len(gallery)} faces of {len(gallery.people())} people")
    head = f"{'queries':<16}{'found':>10}{'method':>24}{'alpha':>6}"
    print(head + "  stage 1  stage 2  (misses as failures)  won  lost      p")
    for cover in dict.fromkeys(q.cover for q in queries):
        asked = [q for q in queries if q.cover == cover]
        found = [
            (q, f) for q in asked if (f := cache.features(q.path, _drawn(q.cover))) is not None
        ]
        people = np.array([q.person for q, _ in found])
        features = FaceFeatures.concatenate([f for _, f in found])
        for method in methods:
            patches, weighting, share = method.split(",")
            options = MatchOptions(
                0.5, weighting, k=k, patches=patches, visible_share=float(share), model=model
            )
            answers = identify(features, gallery, options)
            first = _top(answers, 0.0, 0.0) == people
            for alpha in alphas:
                second = _top(answers, alpha, options.visible_share) == people
                _row(cover, len(found), len(asked), method, alpha, first, second)
                row = right[f"{cover} {method} {alpha}"] = {str(q.path): False for q in asked}
                row.update(
                    (str(q.path), bool(ok)) for (q, _), ok in zip(found, second, strict=True)
                )
    return right


def _row(
    cover: str,
    found: int,
    asked: int,
    method: str,
    alpha: float,
    first: np.ndarray,
    second: np.ndarray,
) -> None:
    won, lost = int((second & ~first).sum()), int((first & ~second).sum())
    share = found / asked
    print(
        f"{cover:<16}{found:>5}/{asked:<4}{method:>24}{alpha:>6.2f}"
        f"{100 * first.mean():>9.1f}{100 * second.mean():>9.1f}"
        f"   {100 * first.mean() * share:>8.1f}{100 * second.mean() * share:>8.1f}"
        f"{won:>9}{lost:>6}{sign_test(won, lost):>8.3f}",
        flush=True,
    )


def _drawn(cover: str) -> str:
    return cover if cover in COVERS else "clean"


def _top(answers: list[Matches], alpha: float, share: float) -> np.ndarray:
    """The best person at any alpha: every face carries all parts of its score."""

    def score(face: Match) -> float:
        whole = face.cosine
        if share:
            whole = (1 - share) * whole + share * face.visible_cosine
        return alpha * face.emd + (1 - alpha) * whole

    return np.array([max(sorted(a.faces, key=_rank), key=score).person for a in answers])


def _rank(face: Match) -> int:
    return face.stage1_rank


def rof(root: Path, arguments: argparse.Namespace) -> tuple[list[tuple[str, Path]], list[Query]]:
    by_person = _by_person(root / "neutral")
    rng = np.random.default_rng(arguments.seed)
    photos = []
    for name, paths in sorted(by_person.items()):
        chosen = rng.permutation(len(paths))[: arguments.each]
        photos += [(name, paths[n]) for n in sorted(chosen)]
    if arguments.distractors:
        others = _by_person(arguments.distractors)
        photos += [(f"distractor {name}", paths[0]) for name, paths in sorted(others.items())]
    queries = [
        Query(path.parent.name, path, f"real {kind}")
        for kind in ("sunglasses", "masked")
        for path in iter_images(root / kind)
    ]
    return photos, queries


def lfw(root: Path, arguments: argparse.Namespace) -> tuple[list[tuple[str, Path]], list[Query]]:
    by_person = _by_person(root)
    mates = [
        name
        for name, paths in sorted(by_person.items())
        if len(paths) > 1 and arguments.half in ("all", half_of(name))
    ][: arguments.people]
    photos = [(name, paths[0]) for name, paths in sorted(by_person.items())]
    queries = [
        Query(name, by_person[name][1], cover) for cover in arguments.covers for name in mates
    ]
    return photos, queries


def _by_person(root: Path) -> dict[str, list[Path]]:
    people: dict[str, list[Path]] = {}
    for path in sorted(iter_images(root)):
        people.setdefault(path.parent.name, []).append(path)
    return people


def half_of(person: str) -> str:
    """Which half a person falls into: what is chosen on one is reported on the other."""
    odd = int(hashlib.sha256(person.encode()).hexdigest(), 16) % 2 == 1
    return "tuning" if odd else "report"


SETS: dict[str, Callable] = {"rof": rof, "lfw": lfw}


def make_parser(description: str) -> argparse.ArgumentParser:
    """Options shared with variants.py."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", choices=SETS)
    parser.add_argument("root", type=Path)
    parser.add_argument("--covers", nargs="+", default=COVERS, choices=COVERS, help="lfw")
    parser.add_argument("--half", choices=("tuning", "report", "all"), default="report")
    parser.add_argument("--people", type=int, help="lfw: ask for the first so many people only")
    parser.add_argument("--each", type=int, help="rof: enroll so many photos a person [all]")
    parser.add_argument("--distractors", type=Path, help="rof: a folder per person, one photo each")
    parser.add_argument("--seed", type=int, default=0, help="rof: which photos with --each")
    parser.add_argument("--alpha", type=float, nargs="+", default=[0.1, 0.3, 0.5, 0.7])
    parser.add_argument("--method", nargs="+", default=["raw,uniform,0", "projected,uncovered,0.3"])
    parser.add_argument("--k", type=int, default=100, help="faces to re-rank")
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "faceflow-bench"
    )
    parser.add_argument("--detector", default=DEFAULT, help="what finds and aligns the faces")
    parser.add_argument("--keep", type=Path, help="write which queries were right, as JSON")
    parser.add_argument("--threads", type=int, help="CPU threads; default the physical cores")
    parser.add_argument(
        "--fill", choices=("photos", "queries"), help="only compute these features, then stop"
    )
    return parser


def make_analyzer(arguments: argparse.Namespace) -> FaceAnalyzer:
    """The analyzer that the options ask for."""
    return FaceAnalyzer(detector=kept_detector(arguments), threads=arguments.threads)


def kept_detector(arguments: argparse.Namespace) -> KeptDetector:
    """The detector that the options ask for, which looks at each picture once."""
    detector = load_detector(arguments.detector, threads=arguments.threads)
    return KeptDetector(detector, arguments.cache)


def main() -> None:
    parser = make_parser(__doc__ or "")
    arguments = parser.parse_args()
    analyzer = make_analyzer(arguments)
    cache = Cache(arguments.cache, analyzer, "centre")
    photos, queries = SETS[arguments.set](arguments.root, arguments)
    if arguments.fill:
        wanted = [(path, "clean") for _, path in photos]
        if arguments.fill == "queries":
            wanted = [(query.path, _drawn(query.cover)) for query in queries]
        for path, cover in wanted:
            cache.features(path, cover)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.faceflow"
        with Gallery.open_or_create(
            path, analyzer.network, thumbnails=False, detector=analyzer.detector_name
        ) as gallery:
            missed = enroll(gallery, photos, cache)
            print(f"photos to enroll: {len(photos)}, without a detected face: {missed}")
            right = report(queries, gallery, cache, arguments.method, arguments.alpha, arguments.k)
            if arguments.keep:
                arguments.keep.write_text(json.dumps(right))


if __name__ == "__main__":
    main()
