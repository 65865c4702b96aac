"""LFW's 6,000 verification pairs at stage 1: are alignment, colours and scaling as they should be?

    python benchmarks/accuracy/lfw_verification.py ../shared/data/lfw \
        --pairs ../shared/data/lfw_protocol/pairs.txt

Detects the centre face, aligns, embeds, compares by cosine, and prints the ten-fold accuracy with
its standard error, the time, and how many photos had no face. A pair with such a photo counts as
"different": a miss is never dropped. --keep FILE saves the embeddings, so that a second run with
the same detector and network is quick.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from faceflow import FaceAnalyzer, FaceflowError, networks
from faceflow.arrays import Float32
from faceflow.evaluation.data.lfw import read_lfw
from faceflow.evaluation.metrics.pairs import fold_accuracy
from faceflow.faces.detectors import DEFAULT, load_detector


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lfw", type=Path, help="folder with a folder per person")
    parser.add_argument("--pairs", type=Path, required=True, help="LFW's pairs.txt")
    parser.add_argument("--detector", default=DEFAULT)
    parser.add_argument("--colour", choices=("rgb", "bgr"), help="the network's input [its own]")
    parser.add_argument("--keep", type=Path, help="an .npz file to save embeddings in")
    options = parser.parse_args()

    dataset = read_lfw(options.lfw, pairs=options.pairs)
    used = sorted({n for pair in dataset.pairs for n in (pair.a, pair.b)})
    paths = {n: dataset.photos[n].path for n in used}
    spec = networks.spec(networks.DEFAULT)
    network = networks.load_network(spec.name)
    if options.colour:
        other = replace(spec, colour=options.colour)
        network = networks.FaceNetwork(other, partial(networks.graph, spec.name))
    analyzer = FaceAnalyzer(network, load_detector(options.detector))
    started = time.perf_counter()
    found = embed(analyzer, list(paths.values()), options.keep, options.detector)
    seconds = time.perf_counter() - started

    scores = np.array(
        [
            float(found[paths[p.a]] @ found[paths[p.b]])
            if paths[p.a] in found and paths[p.b] in found
            else -1.0
            for p in dataset.pairs
        ]
    )
    same = np.array([p.same for p in dataset.pairs])
    result = fold_accuracy(scores, same, np.array([p.fold for p in dataset.pairs]))
    missed = [path for path in paths.values() if path not in found]
    colour = analyzer.network.spec.colour
    print(f"{spec.name}, {colour}, {options.detector}: {len(dataset.pairs)} pairs")
    print(f"accuracy  {100 * result.mean:.2f} % +- {100 * result.standard_error:.2f}")
    print(f"threshold {result.thresholds.mean():.3f} (cosine, mean over folds)")
    print(f"photos    {len(paths)}, without a face {len(missed)}")
    print(f"time      {seconds:.0f} s, {len(paths) / seconds:.1f} photos/s (0 s when kept)")
    for path in missed:
        print(f"no face in {path.name}")


def embed(
    analyzer: FaceAnalyzer, paths: list[Path], keep: Path | None, detector: str
) -> dict[Path, Float32]:
    """Path -> (D,) unit embedding of its centre face; photos without a face are left out."""
    key = f"{analyzer.network.digest} {detector}"
    if keep is not None and keep.exists():
        with np.load(keep) as saved:
            if str(saved["key"]) == key and set(map(str, paths)) <= set(saved["asked"]):
                return dict(zip(map(Path, saved["paths"]), saved["embeddings"], strict=True))
    found: dict[Path, Float32] = {}
    for done, (path, answer) in enumerate(analyzer.analyze_many(paths, select="centre"), 1):
        if not isinstance(answer, FaceflowError):
            found[path] = answer[0].features.embedding[0]
        if done % 500 == 0:
            print(f"{done} of {len(paths)}", flush=True)
    if keep is not None:
        np.savez(
            keep,
            key=key,
            asked=[str(p) for p in paths],
            paths=[str(p) for p in found],
            embeddings=np.stack(list(found.values())),
        )
    return found


if __name__ == "__main__":
    main()
