"""What learned covers bring to a network: stage 1 against the options that every comparison takes.

    faceflow covers learn TUNING.csv --network mobilefacenet --face centre
    python benchmarks/accuracy/any_network.py mobilefacenet LFW/ ROF/

TUNING.csv lists the photos of LFW's tuning half (``--tuning-csv TUNING.csv`` writes it and
stops), so nobody below was learned from. Queries are the second photos of the first 300 people of
the report half who have one, clean, with a drawn mask and with drawn sunglasses, among the first
photos of these people and of 1,700 others of that half; and ROF's real masks and every third of
its sunglasses, with three neutral photos a person enrolled beside those 2,000. Photos without a
detected face count as failures. Won and lost are against stage 1, with the two-sided sign test.
Features are cached in --cache as in covered.py.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from covered import Cache, half_of, kept_detector, sign_test

from faceflow import FaceAnalyzer, FaceFeatures, MatchOptions
from faceflow.faces.detectors import DEFAULT
from faceflow.faces.images import iter_images
from faceflow.matching.options import options_for
from faceflow.matching.score import rerank
from faceflow.networks import load_network

Named = tuple[str, Path]
K = 100


def by_person(root: Path) -> dict[str, list[Path]]:
    people: dict[str, list[Path]] = {}
    for path in iter_images(root):
        people.setdefault(path.parent.name, []).append(path)
    return dict(sorted(people.items()))


def write_tuning(lfw: Path, file: Path) -> None:
    """The photos of the half that nothing is reported on."""
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["path", "person"])
        for name, paths in by_person(lfw).items():
            if half_of(name) == "tuning":
                rows.writerows((path.resolve(), name) for path in paths)


def gather(photos: Sequence[Named], cover: str, cache: Cache) -> tuple[FaceFeatures, np.ndarray]:
    """Features of the photos that show a face, and whose they are."""
    found = [(name, cache.features(path, cover)) for name, path in photos]
    known = [(name, features) for name, features in found if features is not None]
    return FaceFeatures.concatenate([f for _, f in known]), np.array([name for name, _ in known])


def search(
    title: str,
    photos: Sequence[Named],
    cover: str,
    gallery: tuple[FaceFeatures, np.ndarray],
    options: MatchOptions,
    cache: Cache,
) -> None:
    queries, people = gather(photos, cover, cache)
    faces, names = gallery
    first, second = (np.zeros(len(queries), bool) for _ in range(2))
    for n, (query, person) in enumerate(zip(queries, people, strict=True)):
        cosine = faces.embedding @ query.embedding[0]
        near = np.argsort(-cosine, kind="stable")[:K]
        right = names[near] == person
        first[n], second[n] = right[0], right[rerank(query, faces[near], options).score.argmax()]
    won, lost = int((second & ~first).sum()), int((first & ~second).sum())
    one, two = (100 * hits.sum() / len(photos) for hits in (first, second))
    print(
        f"{title:<16}{len(queries):>5}/{len(photos):<5}{one:>8.1f}{two:>9.1f}{won:>6}{lost:>6}"
        f"{sign_test(won, lost):>10.2g}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network")
    parser.add_argument("lfw", type=Path)
    parser.add_argument("rof", type=Path, nargs="?")
    parser.add_argument("--people", type=int, default=300)
    parser.add_argument("--strangers", type=int, default=1700)
    parser.add_argument("--tuning-csv", type=Path, help="write this list and stop")
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "faceflow-bench"
    )
    parser.add_argument("--detector", default=DEFAULT, help="what finds and aligns the faces")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.tuning_csv:
        write_tuning(arguments.lfw, arguments.tuning_csv)
        return
    network = load_network(arguments.network, threads=arguments.threads)
    analyzer = FaceAnalyzer(network, kept_detector(arguments))
    cache = Cache(arguments.cache, analyzer, "centre")
    options = options_for(analyzer.digest)
    print(options)
    print(f"{'queries':<16}{'found':>11}{'stage 1':>8}{'stage 2':>9}{'won':>6}{'lost':>6}{'p':>10}")

    people = by_person(arguments.lfw)
    half = [name for name in people if half_of(name) == "report"]
    asked = [name for name in half if len(people[name]) > 1][: arguments.people]
    others = [name for name in half if name not in set(asked)]
    drawn = np.random.default_rng(0).permutation(len(others))[: arguments.strangers]
    enrolled = [(n, people[n][0]) for n in asked + [others[i] for i in sorted(drawn)]]
    gallery = gather(enrolled, "clean", cache)
    for cover in ("clean", "mask", "sunglasses"):
        search(cover, [(n, people[n][1]) for n in asked], cover, gallery, options, cache)
    if arguments.rof is None:
        return
    neutral, rng = by_person(arguments.rof / "neutral"), np.random.default_rng(0)
    three = [
        (name, paths[n])
        for name, paths in neutral.items()
        for n in sorted(rng.permutation(len(paths))[:3])
    ]
    faces, names = gather(three, "clean", cache)
    both = FaceFeatures.concatenate([gallery[0], faces]), np.concatenate([gallery[1], names])
    for kind, step in (("masked", 1), ("sunglasses", 3)):
        real = [(path.parent.name, path) for path in iter_images(arguments.rof / kind)][::step]
        search(f"real {kind}", real, "clean", both, options, cache)


if __name__ == "__main__":
    main()
