"""What a student for covered queries brings, on people that it never saw.

    python benchmarks/accuracy/student.py tuning LFW/ tuning.csv
    faceflow train covers tuning.csv --name STUDENT --face centre
    python benchmarks/accuracy/student.py report STUDENT LFW/ ROF/

``tuning`` lists up to --photos photos of everybody in LFW's tuning half, which covered.py never
reports on. ``report`` enrolls with the teacher and asks with both:

    LFW  gallery: the first photo of all 5,749 people; queries: the second photo of the people of
         the report half who have one, clean and under each cover, drawn as covered.py draws them
    ROF  gallery: three neutral photos of each of 127 people at random, and LFW's gallery besides;
         queries: real masks and real sunglasses

Four systems: the teacher at stage 1 and re-ranked (the default options), and the student likewise
in the same gallery. Photos without a detected face count as failures. The sign tests are over
queries: student against teacher at stage 1, and the student re-ranked against the default. With
--by-visibility a further row asks with the student only where the teacher sees less than that share
of the face, and with the teacher elsewhere. Features are cached in --cache as in covered.py.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np
from covered import Cache, Query, enroll, half_of, lfw, rof

from faceflow import FaceAnalyzer, FaceFeatures, Gallery, identify
from faceflow.evaluation.metrics.significance import PairedTest, compare
from faceflow.faces.images import iter_images
from faceflow.matching.options import MatchOptions
from faceflow.networks import available, load_network, spec

COVERS = ("mask", "sunglasses", "hat", "hand", "scarf", "clean")
Hits = tuple[np.ndarray, np.ndarray]


def write_tuning(root: Path, file: Path, photos: int) -> None:
    """At most so many photos of everybody in the half that nothing is reported on."""
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["path", "person"])
        for folder in sorted(root.iterdir()):
            if half_of(folder.name) == "tuning":
                listed = sorted(iter_images(folder))[:photos]
                rows.writerows((path.resolve(), folder.name) for path in listed)


def right(
    queries: list[Query], found: list[FaceFeatures | None], gallery: Gallery, options: MatchOptions
) -> Hits:
    """(Q,) whether each query's best person is its own, at stage 1 and re-ranked."""
    first, second = (np.zeros(len(queries), bool) for _ in range(2))
    there = [n for n, features in enumerate(found) if features is not None]
    asked = FaceFeatures.concatenate([f for f in found if f is not None])
    for n, answer in zip(there, identify(asked, gallery, options), strict=True):
        nearest = min(answer.faces, key=lambda face: face.stage1_rank)
        first[n] = nearest.person == queries[n].person
        second[n] = answer.people[0].person == queries[n].person
    return first, second


def told(test: PairedTest) -> str:
    return f"{test.wins} won, {test.losses} lost, p {test.p_value:.2g}"


def report(
    title: str,
    queries: list[Query],
    gallery: Gallery,
    caches: tuple[Cache, Cache],
    share: float | None,
) -> None:
    options = gallery.options()
    found = [
        [
            cache.features(q.path, "clean" if q.cover.startswith("real") else q.cover)
            for q in queries
        ]
        for cache in caches
    ]
    teacher, student = (right(queries, f, gallery, options) for f in found)
    systems: dict[str, tuple[np.ndarray, ...]] = {"student": student}
    if share is not None and options.model is not None:
        below = np.zeros(len(queries), bool)
        for n, features in enumerate(found[0]):
            seen = None if features is None else options.model.see(features).visibility
            below[n] = seen is not None and seen.mean() < share
        systems[f"student below {share:g} visible"] = tuple(
            np.where(below, theirs, own) for theirs, own in zip(student, teacher, strict=True)
        )
    there = sum(features is not None for features in found[0])
    one, two = (100 * hits.mean() for hits in teacher)
    print(f"{title}: {there}/{len(queries)} found; teacher {one:.1f} -> {two:.1f}")
    for name, hits in systems.items():
        one, two = (100 * h.mean() for h in hits)
        print(
            f"  {name}: {one:.1f} -> {two:.1f}; stage 1: {told(compare(teacher[0], hits[0]))}; "
            f"against the default: {told(compare(teacher[1], hits[1]))}",
            flush=True,
        )


def run(arguments: argparse.Namespace) -> None:
    pupil = spec(arguments.student)
    (teacher,) = (
        one.name for one in available() if one.source.member_sha256 and one.digest == pupil.teacher
    )
    analyzers = [
        FaceAnalyzer(load_network(name, threads=arguments.threads), threads=arguments.threads)
        for name in (teacher, pupil.name)
    ]
    caches = (
        Cache(arguments.cache, analyzers[0], "centre"),
        Cache(arguments.cache, analyzers[1], "centre"),
    )
    choice = argparse.Namespace(
        half="report", people=None, covers=COVERS, each=3, seed=0, distractors=arguments.lfw
    )
    sets = [lfw(arguments.lfw, choice)]
    if arguments.rof is not None:
        sets.append(rof(arguments.rof, choice))
    for photos, queries in sets:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "teacher.faceflow"
            network = analyzers[0].network
            with Gallery.open_or_create(place, network, thumbnails=False) as gallery:
                enroll(gallery, photos, caches[0])
                print(f"{len(gallery)} faces of {len(gallery.people())} people enrolled")
                for cover in dict.fromkeys(query.cover for query in queries):
                    asked = [query for query in queries if query.cover == cover]
                    report(cover, asked, gallery, caches, arguments.by_visibility)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    tasks = parser.add_subparsers(dest="task", required=True)
    task = tasks.add_parser("tuning")
    task.add_argument("lfw", type=Path)
    task.add_argument("file", type=Path)
    task.add_argument("--photos", type=int, default=4, help="of a person, at most")
    task = tasks.add_parser("report")
    task.add_argument("student")
    task.add_argument("lfw", type=Path)
    task.add_argument("rof", type=Path, nargs="?")
    task.add_argument("--by-visibility", type=float, metavar="SHARE")
    task.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "faceflow-bench")
    task.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.task == "tuning":
        write_tuning(arguments.lfw, arguments.file, arguments.photos)
    else:
        run(arguments)


if __name__ == "__main__":
    main()
