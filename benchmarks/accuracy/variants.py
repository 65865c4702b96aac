"""What else could compare patches? Variants of stage 2 on covered faces, in one table.

    python benchmarks/accuracy/variants.py lfw LFW/ --half tuning
    python benchmarks/accuracy/variants.py rof ROF/ --each 3 --distractors LFW/

For every query, stage 1's best k faces are scored by each variant, and P@1 is shown for
``(1 - share) * cosine + share * variant`` at several shares. Sets, options and the cache of
features are those of covered.py. A variant is SPACE METHOD [uncovered]:

    raw         patches of the feature map
    projected   what each adds to the embedding
    centred     projected, less what an average face adds there
    emd         transport with uniform weights (APC: emd-apc)
    maxsim      each query patch with its most similar gallery patch (late interaction)
    same-place  each patch with the one in the same cell
    uncovered   weights that drop what is covered on either face; the last rows are the cosine of
                embeddings summed anew from what both show, centred or not
"""

from __future__ import annotations

import numpy as np
from covered import SETS, Cache, Query, _drawn, make_parser

from faceflow import FaceAnalyzer, FaceFeatures
from faceflow.arrays import unit
from faceflow.matching import covers
from faceflow.matching.covers import PatchModel
from faceflow.matching.transport import Sinkhorn
from faceflow.matching.weighting import weigh

SHARES = (0.1, 0.3, 0.5, 0.7, 1.0)


def variants(query: FaceFeatures, faces: FaceFeatures, model: PatchModel) -> dict[str, np.ndarray]:
    """(k,) similarity of one query to k faces, by variant."""
    found: dict[str, np.ndarray] = {}
    first, second = model.project(query), model.project(faces)
    spaces = {
        "raw": (model.see(query), model.see(faces)),
        "projected": (first, second),
        "centred": (_less(first, model.mean_contribution), _less(second, model.mean_contribution)),
    }
    for space, (q, g) in spaces.items():
        similar = np.matmul(g.patches, q.patches[0].T).transpose(0, 2, 1)  # (k, R, R)
        for weighting, suffix in (("uniform", ""), ("apc", "-apc"), ("uncovered", " uncovered")):
            u, v = weigh(weighting, q, g)
            found[f"{space} emd{suffix}"] = Sinkhorn()(q.patches[0], g.patches, u, v).similarity
            if weighting == "apc":
                continue
            found[f"{space} maxsim{suffix}"] = (similar.max(axis=2) * u).sum(axis=1)
            place = np.diagonal(similar, axis1=1, axis2=2)
            found[f"{space} same-place{suffix}"] = (place * u).sum(axis=1)
    shown = first.visibility * second.visibility
    a = np.einsum("nr,rd->nd", shown, first.raw_patches[0])
    b = np.einsum("nr,nrd->nd", shown, second.raw_patches)
    found["embedding of what both show"] = (unit(a) * unit(b)).sum(axis=1)
    found["the same, centred"] = model.visible_cosine(first, second)
    return found


def _less(features: FaceFeatures, mean: np.ndarray) -> FaceFeatures:
    """Contributions less the mean ones."""
    h, w = features.grid
    raw = features.raw_patches - mean
    maps = raw.transpose(0, 2, 1).reshape(len(raw), -1, h, w)
    moved = FaceFeatures.from_maps(features.embedding, maps)
    return FaceFeatures(
        moved.embedding,
        moved.patches,
        moved.norms,
        moved.pooled,
        moved.grid,
        visibility=features.visibility,
        digest=features.digest,
    )


def table(
    asked: list[Query], people: np.ndarray, gallery: FaceFeatures, cache: Cache, k: int
) -> None:
    spec = cache.analyzer.network.spec
    model = covers.load(spec.name, spec.digest)
    if model is None:
        raise SystemExit(f"{spec.name} has no patch model")
    right: dict[str, list[list[bool]]] = {}
    first: list[bool] = []
    for query in asked:
        features = cache.features(query.path, _drawn(query.cover))
        if features is None:
            continue
        cosine = gallery.embedding @ features.embedding[0]
        best = np.argsort(-cosine, kind="stable")[:k]
        mate = people[best] == query.person
        first.append(bool(mate[0]))
        for name, value in variants(features, gallery[best], model).items():
            scores = [(1 - share) * cosine[best] + share * value for share in SHARES]
            right.setdefault(name, []).append([bool(mate[np.argmax(s)]) for s in scores])
    print(f"\n{asked[0].cover}: {len(first)} queries, stage 1 {100 * np.mean(first):.1f}")
    print(f"{'variant':<32}" + "".join(f"{share:>8.1f}" for share in SHARES))
    for name, rows in right.items():
        print(f"{name:<32}" + "".join(f"{100 * p:>8.1f}" for p in np.mean(rows, axis=0)))


def main() -> None:
    arguments = make_parser(__doc__ or "").parse_args()
    analyzer = FaceAnalyzer(threads=arguments.threads)
    cache = Cache(arguments.cache, analyzer, "centre")
    photos, queries = SETS[arguments.set](arguments.root, arguments)
    kept = [(n, f) for n, path in photos if (f := cache.features(path, "clean")) is not None]
    people = np.array([name for name, _ in kept])
    gallery = FaceFeatures.concatenate([features for _, features in kept])
    for cover in dict.fromkeys(query.cover for query in queries):
        table([q for q in queries if q.cover == cover], people, gallery, cache, arguments.k)


if __name__ == "__main__":
    main()
