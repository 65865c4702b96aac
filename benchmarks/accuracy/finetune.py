"""Does fine-tuning the last layer help with covered faces, and does re-ranking still add to it?

    python benchmarks/accuracy/finetune.py fill FEATURES/ --lfw LFW/ --rof ROF/
    python benchmarks/accuracy/finetune.py choose FEATURES/ --keep chosen.npz
    python benchmarks/accuracy/finetune.py report FEATURES/ --layer chosen.npz

``fill`` computes the features of some 15,700 faces, which takes a core about an hour; it goes on
where it was interrupted. FEATURES/ then holds index.csv (key,photo,cover,person,role) and KEY.npz
for each of its lines, with the raw patch map of the aligned face as ``maps`` (1, C, h, w). LFW
photos (role lfw, photo NAME/NAME_0001.jpg) are clean or carry a cover drawn before detection; ROF
photos (rof-neutral, rof-masked, rof-sunglasses) are real. Photos in which the detector found no
face have no line.

LFW people are divided by the sha256 of their names: an odd one trains, an even one reports. All
choices are made among the odd, a fifth of whom the trainer sets apart; the gallery of this choice
also holds one photo of each of those set apart who have no other. ``report`` then asks about people
that neither training nor choice has seen:

    LFW  gallery: photo _0001 of every even person; queries: photo _0002 of those who have one,
         clean, masked and with sunglasses
    ROF  gallery: all neutral photos; queries: real masks and sunglasses

    ROF, 3 photos  gallery: three neutral photos a person at random, and LFW's gallery besides

Four systems: stage 1 and re-ranking (the default network's own options) with the published layer
and with the trained one. The raw patches are the same in all four; the embedding differs, and with
it what a patch adds to the embedding.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

from faceflow import FaceAnalyzer, MatchOptions, networks
from faceflow.evaluation.metrics.significance import compare, compare_people
from faceflow.faces.alignment import align, template
from faceflow.faces.images import load_image
from faceflow.features import FaceFeatures
from faceflow.matching import covers as patch_model
from faceflow.matching.covers import PatchModel
from faceflow.matching.score import combine, emd_similarity
from faceflow.occlusion import occlude
from faceflow.training.export import last_layer
from faceflow.training.head import TrainedHead, train_head
from faceflow.training.recipe import HeadRecipe
from faceflow.training.samples import Samples, find_face
from faceflow.training.split import validation_people

NETWORK = "lightcnn-v4"
COVERS = (("mask",), ("mask", "sunglasses"))
STEPS = (0.003, 0.01)
PULLS = (0.01, 0.001, 0.0001)
Row = dict[str, str]
Layer = tuple[np.ndarray, np.ndarray]


def trains(person: str) -> bool:
    return int(hashlib.sha256(person.encode()).hexdigest(), 16) % 2 == 1


def read_index(folder: Path) -> list[Row]:
    with (folder / "index.csv").open(newline="") as file:
        rows = {row["key"]: row for row in csv.DictReader(file)}
    return sorted(rows.values(), key=lambda row: (row["photo"], row["cover"], row["key"]))


def read_maps(folder: Path, rows: Iterable[Row]) -> np.ndarray:
    """(N, C, h, w) float16."""
    parts = []
    for row in rows:
        with np.load(folder / f"{row['key']}.npz") as kept:
            parts.append(kept["maps"].astype(np.float16))
    return np.concatenate(parts)


# fill


def wanted(lfw: Path, rof: Path) -> Iterator[tuple[Path, str, str, str]]:
    """(photo below the data's folder, cover, person, role) of all that is needed."""
    for kind in ("neutral", "masked", "sunglasses"):
        for path in sorted((rof / kind).glob("*/*.jpg")):
            yield path, "clean", path.parent.name, f"rof-{kind}"
    for folder in sorted(lfw.iterdir()):
        photos = sorted(folder.glob("*.jpg"))
        several = len(photos) > 1
        for n, path in enumerate(photos[:4]):
            learns, asked = trains(folder.name) and several, n == 1
            if n == 0 or learns or asked:
                yield path, "clean", folder.name, "lfw"
            if learns or asked:
                yield path, "mask", folder.name, "lfw"
            if asked:
                yield path, "sunglasses", folder.name, "lfw"


def fill(folder: Path, lfw: Path, rof: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "index.csv"
    if not index.exists():
        index.write_text("key,photo,cover,person,role\n")
    analyzer = FaceAnalyzer(threads=1)
    done = {row["key"] for row in read_index(folder)}
    for path, cover, person, role in wanted(lfw, rof):
        place = Path(role.replace("-", "/"), path.parent.name, path.name)
        key = hashlib.sha256(f"{place} {cover}".encode()).hexdigest()[:32]
        if key in done or (folder / f"{key}.none").exists():
            continue
        maps = raw_maps(path, cover, "centre" if role == "lfw" else "largest", analyzer)
        if maps is None:
            (folder / f"{key}.none").touch()
            continue
        np.savez(folder / f"{key}.npz", maps=maps.astype(np.float16))
        with index.open("a") as file:
            file.write(f"{key},{path.parent.name}/{path.name},{cover},{person},{role}\n")


def raw_maps(path: Path, cover: str, select: str, analyzer: FaceAnalyzer) -> np.ndarray | None:
    """(1, C, h, w), or None where no face is found."""
    network, image = analyzer.network, load_image(path)
    face = find_face(image, analyzer.detector, select)
    if face is not None and cover != "clean":
        image = occlude(cover, image, face.landmarks).image
        face = find_face(image, analyzer.detector, select)
    if face is None:
        return None
    crop = align(image, face.landmarks, template(network.spec.template))
    return network.run(network.scale(crop[None]))[1]


def codes(values: Iterable[str]) -> np.ndarray:
    return np.unique(list(values), return_inverse=True)[1].astype(np.int64)


# choose


def odd_people(folder: Path, rows: list[Row]) -> tuple[Samples, list[str]]:
    """All that training and choosing may see, and the cover of each."""
    used = ("clean", "mask", "sunglasses")
    chosen = [r for r in rows if r["role"] == "lfw" and trains(r["person"]) and r["cover"] in used]
    people = tuple(sorted({row["person"] for row in chosen}))
    samples = Samples(
        read_maps(folder, chosen),
        np.arange(len(chosen)),
        codes(row["person"] for row in chosen),
        codes(row["photo"] for row in chosen),
        np.array([row["cover"] != "clean" for row in chosen]),
        people,
    )
    return samples, [row["cover"] for row in chosen]


def learning_from(samples: Samples, cover: list[str], covers: tuple[str, ...]) -> Samples:
    """Those set apart, and the others' faces under ``covers`` if they have two photos or more."""
    apart = validation_people(samples.names, HeadRecipe().validation_share)
    judges = np.array([name in apart for name in samples.names])[samples.person]
    pairs = np.unique(np.stack([samples.person, samples.photo]), axis=1)
    several = np.bincount(pairs[0])[samples.person] > 1
    wanted = np.isin(cover, ["clean", *covers])
    return samples.select(judges | (several & wanted))


def choose(folder: Path, keep: Path) -> None:
    samples, cover = odd_people(folder, read_index(folder))
    layer = last_layer(NETWORK)
    found: list[tuple[TrainedHead, str]] = []
    begin = time.process_time()
    for covers, step, pull in itertools.product(COVERS, STEPS, PULLS):
        recipe = HeadRecipe(step=step, pull=pull)
        result = train_head(learning_from(samples, cover, covers), *layer, recipe)
        best, start = result.history[result.best], result.history[0]
        title = f"{'+'.join(covers)}, step {step}, pull {pull}"
        if not found:
            print(f"judged by {result.validation_people} people, {result.validation_queries} faces")
            print(f"published: covered {100 * start.covered:.1f}, clean {100 * start.clean:.1f}")
        print(
            f"{title}: epoch {result.best} of {len(result.history) - 1}, covered "
            f"{100 * best.covered:.1f}, clean {100 * best.clean:.1f}, margin {best.margin:.4f}, "
            f"drift {best.drift:.3f}, {result.people} people, {result.faces} faces",
            flush=True,
        )
        found.append((result, title))
    best, title = max(
        found,
        key=lambda one: (one[0].history[one[0].best].covered, one[0].history[one[0].best].margin),
    )
    print(f"chosen: {title}; {time.process_time() - begin:.0f} s of CPU")
    np.savez(
        keep, weight=best.weight, bias=best.bias, history=str([asdict(e) for e in best.history])
    )


# report


class Faces:
    """Faces of some rows with the published and the trained embedding."""

    def __init__(self, folder: Path, rows: list[Row], layers: tuple[Layer, Layer]) -> None:
        self.maps = read_maps(folder, rows).astype(np.float32)
        self.person = np.array([row["person"] for row in rows])
        flat = self.maps.reshape(len(rows), -1)
        self.features = [
            FaceFeatures.from_maps(flat @ weight.T + bias, self.maps) for weight, bias in layers
        ]
        self.seen = [
            patch_model_of(layer).project(features)
            for layer, features in zip(layers, self.features, strict=True)
        ]


def patch_model_of(layer: Layer) -> PatchModel:
    """The published network's cover model with a layer's contributions."""
    spec = networks.spec(NETWORK)
    published = patch_model.load(spec.name, spec.digest)
    assert published is not None
    weight = layer[0].reshape(spec.embedding_size, spec.channels, -1)  # (D, C, R)
    projection = np.ascontiguousarray(weight.transpose(2, 1, 0), dtype=np.float32)
    return PatchModel(spec.grid, projection, published.cover)


def right(
    queries: FaceFeatures, gallery: FaceFeatures, people: list[np.ndarray], model: PatchModel
) -> np.ndarray:
    """(2, Q) P@1 of stage 1 and after re-ranking."""
    asked, enrolled = people
    options = MatchOptions.resolve(networks.defaults_for(NETWORK), model=model)
    cosine = queries.embedding.astype(np.float64) @ gallery.embedding.astype(np.float64).T
    result = np.zeros((2, len(queries)), bool)
    for n in range(len(queries)):
        top = np.argsort(-cosine[n], kind="stable")[:100]
        query, faces = queries[n], gallery[top]
        emd = emd_similarity(query, faces, weighting=options.weighting).similarity
        score = combine(
            cosine[n, top],
            emd,
            model.visible_cosine(query, faces),
            alpha=options.alpha,
            visible_share=options.visible_share,
        )
        result[0, n] = enrolled[top[0]] == asked[n]
        result[1, n] = enrolled[top[np.argmax(score)]] == asked[n]
    return result


def report(folder: Path, kept: Path) -> None:
    with np.load(kept) as values:
        layers = (last_layer(NETWORK), (values["weight"], values["bias"]))
    rows = read_index(folder)
    even = [row for row in rows if row["role"] == "lfw" and not trains(row["person"])]

    def lfw(number: str, cover: str) -> list[Row]:
        return [r for r in even if r["photo"].endswith(f"_{number}.jpg") and r["cover"] == cover]

    def rof(kind: str) -> list[Row]:
        return [row for row in rows if row["role"] == f"rof-{kind}" and row["cover"] == "clean"]

    for title, enrolled, questions in (
        ("LFW", lfw("0001", "clean"), {c: lfw("0002", c) for c in ("clean", "mask", "sunglasses")}),
        ("ROF", rof("neutral"), {f"real {k}": rof(k) for k in ("masked", "sunglasses")}),
        (
            "ROF, 3 photos",
            [*few(rof("neutral"), 3), *lfw("0001", "clean")],
            {f"real {k}": rof(k) for k in ("masked", "sunglasses")},
        ),
    ):
        gallery = Faces(folder, enrolled, layers)
        people = len(set(gallery.person.tolist()))
        print(f"{title}: {len(enrolled)} faces of {people} people enrolled")
        for cover, asked in questions.items():
            asked = [row for row in asked if row["person"] in set(gallery.person.tolist())]
            table(cover, Faces(folder, asked, layers), gallery, layers)


def few(rows: list[Row], each: int, seed: int = 0) -> list[Row]:
    """So many rows of each person, at random."""
    rng = np.random.default_rng(seed)
    kept: list[Row] = []
    for person in sorted({row["person"] for row in rows}):
        own = [row for row in rows if row["person"] == person]
        kept += [own[n] for n in sorted(rng.permutation(len(own))[:each])]
    return kept


def table(cover: str, queries: Faces, gallery: Faces, layers: tuple[Layer, Layer]) -> None:
    people = [queries.person, gallery.person]
    stage1, both1 = right(queries.seen[0], gallery.seen[0], people, patch_model_of(layers[0]))
    stage2, both2 = right(queries.seen[1], gallery.seen[1], people, patch_model_of(layers[1]))
    systems = {"stage 1": stage1, "tuned": stage2, "re-ranked": both1, "tuned, re-ranked": both2}
    shown = ", ".join(f"{name} {100 * value.mean():.1f}" for name, value in systems.items())
    print(f"  {cover}: {len(stage1)} queries of {len(set(people[0].tolist()))} people: {shown}")
    person = codes(people[0].tolist())
    for first, second in (
        ("stage 1", "tuned"),
        ("stage 1", "re-ranked"),
        ("re-ranked", "tuned, re-ranked"),
        ("tuned", "tuned, re-ranked"),
    ):
        test = compare(systems[first], systems[second])
        by_person = compare_people(systems[first], systems[second], person)
        print(
            f"    {first} -> {second}: {test.wins} won, {test.losses} lost, p {test.p_value:.2g}; "
            f"over people {by_person.wins}, {by_person.losses}, p {by_person.p_value:.2g}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    tasks = parser.add_subparsers(dest="task", required=True)
    for name, option in (("choose", "--keep"), ("report", "--layer")):
        task = tasks.add_parser(name)
        task.add_argument("features", type=Path)
        task.add_argument(option, type=Path, required=True, dest="layer", metavar="FILE.npz")
    task = tasks.add_parser("fill")
    task.add_argument("features", type=Path)
    task.add_argument("--lfw", type=Path, required=True)
    task.add_argument("--rof", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.task == "fill":
        fill(arguments.features, arguments.lfw, arguments.rof)
        return
    {"choose": choose, "report": report}[arguments.task](arguments.features, arguments.layer)


if __name__ == "__main__":
    main()
