"""Would the default network, made smaller than float32, still tell people apart on the CPU?

    python benchmarks/accuracy/network_variants.py ../shared/data/lfw \
        --pairs ../shared/data/lfw_protocol/pairs.txt --work /tmp/network-variants

Makes variants of the network by ONNX Runtime's own tools and holds them against float32:

    fp16 weights   weights stored in 16 bits, computed in float32
    fp16           ONNX Runtime's conversion of the whole graph, its inputs and outputs in float32
    s8s8, u8s8     static quantisation, signed 8-bit weights per output channel, signed or
                   unsigned 8-bit activations, in QDQ form
    ... fc32       the linear layer in float32
    ... end32      also the convolutions and pools that make the patches (conv5)
    ... ends32     also the first convolutions (conv1), which see the photo

Ranges of activations are the least and largest values over --calibration crops of LFW's tuning
half (as in covered.py) that are in none of the pairs. Verification is lfw_verification.py's: same
detector, centre face, ten folds, cosine; --each-fold takes so many pairs of each fold at random,
half of them "same". "Changed" counts pairs judged otherwise than by float32, each by its own
folds' thresholds. Agreement of raw patches and of embeddings is over 200 of the crops, CPU time of
one thread a face is the median of --rounds rounds in which the variants take turns.

What was computed is kept in --work: crops, detections, and each variant's graph and embeddings, so
that a second run continues. The variants are nowhere registered: a gallery cannot be made of them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from covered import half_of
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantType,
    create_calibrator,
)
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.registry import QDQRegistry
from onnxruntime.transformers.float16 import convert_float_to_float16

from faceflow import FaceAnalyzer, FaceflowError, networks
from faceflow.arrays import Float32, UInt8, unit
from faceflow.evaluation.data.dataset import Dataset
from faceflow.evaluation.data.lfw import read_lfw
from faceflow.evaluation.kept_detector import KeptDetector
from faceflow.evaluation.metrics.pairs import FoldAccuracy, fold_accuracy
from faceflow.faces.detectors import DEFAULT, load_detector
from faceflow.networks.runtime import scale_crops
from faceflow.weights.session import Session, open_session

SPEC = networks.spec(networks.DEFAULT)
COMPARED = 200  # crops whose patches and embeddings are compared
BATCHES = (1, 16)


class CropsAlone(networks.FaceNetwork):
    """Computes nothing, so that an analyzer finds and aligns faces and no more."""

    def run(self, images: Float32) -> tuple[Float32, Float32]:
        shapes = (SPEC.embedding_size,), (SPEC.channels, *SPEC.grid)
        one, two = (np.ones((len(images), *shape), np.float32) for shape in shapes)
        return one, two


def read_crops(dataset: Dataset, rows: list[int], work: Path) -> dict[int, UInt8]:
    """Photo -> its centre face, aligned; photos without a face are left out."""
    file = work / "crops.npz"
    if file.exists():
        with np.load(file) as saved:
            if saved["asked"].tolist() == rows:
                return dict(zip(saved["found"].tolist(), saved["crops"], strict=True))
    network = CropsAlone(SPEC, partial(networks.graph, SPEC.name))
    analyzer = FaceAnalyzer(network, KeptDetector(load_detector(DEFAULT), work))
    paths = [dataset.photos[n].path for n in rows]
    answers = analyzer.analyze_many(paths, select="centre")
    crops = {
        n: answer[0].crop
        for n, (_, answer) in zip(rows, answers, strict=True)
        if not isinstance(answer, FaceflowError)
    }
    np.savez(file, asked=rows, found=list(crops), crops=np.stack(list(crops.values())))
    return crops


class Reader(CalibrationDataReader):
    """Crops one by one, as calibration wants them."""

    def __init__(self, crops: UInt8) -> None:
        self._crops = iter(crops)

    def get_next(self) -> dict[str, Float32] | None:
        crop = next(self._crops, None)
        return None if crop is None else {"image": scale_crops(SPEC, crop[None])}


def named_graph() -> onnx.ModelProto:
    """The float32 graph, its nodes called by what they give."""
    model = onnx.load_from_string(networks.graph(SPEC.name))
    for node in model.graph.node:
        node.name = node.output[0]
    return model


def ranges(crops: UInt8, work: Path) -> TensorsData:
    """Least and largest value of every tensor over the crops."""
    file = work / "float32-named.onnx"
    onnx.save(named_graph(), file)
    calibrator = create_calibrator(
        file,
        augmented_model_path=str(work / "calibrated.onnx"),
        calibrate_method=CalibrationMethod.MinMax,
    )
    calibrator.collect_data(Reader(crops))
    return calibrator.compute_data()


def part_of(model: onnx.ModelProto, first: str, behind: str | None = None) -> list[str]:
    """Names of the nodes from the first that reads layer ``first`` until one reads ``behind``."""
    nodes = list(model.graph.node)

    def reads(layer: str) -> int:
        return min(n for n, node in enumerate(nodes) if any(layer in i for i in node.input))

    last = len(nodes) if behind is None else reads(behind)
    return [node.name for node in nodes[reads(first) : last]]


def quantised(activations: QuantType, kept: str, seen: TensorsData) -> onnx.ModelProto:
    """The graph in int8; ``kept``: what stays in float32."""
    model = named_graph()
    float_nodes = {
        "": [],
        "fc32": [node.name for node in model.graph.node if node.op_type == "Gemm"],
        "end32": part_of(model, "conv5."),
        "ends32": [*part_of(model, "conv1.", "block1."), *part_of(model, "conv5.")],
    }[kept]
    quantizer = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=activations,
        tensors_range=seen,
        nodes_to_quantize=[],
        nodes_to_exclude=float_nodes,
        op_types_to_quantize=list(QDQRegistry),
        extra_options={},
    )
    quantizer.quantize_model()
    return quantizer.model.model


def half_weights() -> onnx.ModelProto:
    """The graph with weights in 16 bits, each cast to float32 (once, when a session opens)."""
    model = named_graph()
    casts = []
    for tensor in model.graph.initializer:
        name = tensor.name
        values = onnx.numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, f"{name}.half"))
        casts.append(
            onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT)
        )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def recipes(calibration: UInt8, work: Path) -> dict[str, Callable[[], onnx.ModelProto]]:
    """Variant -> what makes its graph; calibrates once, and only if asked for it."""
    seen: list[TensorsData] = []

    def int8(activations: QuantType, kept: str) -> onnx.ModelProto:
        if not seen:
            seen.append(ranges(calibration, work))
        return quantised(activations, kept, seen[0])

    made: dict[str, Callable[[], onnx.ModelProto]] = {
        "float32": named_graph,
        "fp16 weights": half_weights,
        "fp16": lambda: convert_float_to_float16(named_graph(), keep_io_types=True),
    }
    for kept in ("", "fc32", "end32", "ends32"):
        for name, kind in (("s8s8", QuantType.QInt8), ("u8s8", QuantType.QUInt8)):
            made[f"{name} {kept}".strip()] = partial(int8, kind, kept)
    return made


@dataclass(frozen=True, slots=True, eq=False)
class Variant:
    """A graph that runs; ``path`` without ending is where it is kept."""

    name: str
    session: Session
    path: Path

    def run(self, crops: UInt8) -> tuple[Float32, Float32]:
        """Embeddings (N, D) and patches (N, C, h, w), raw."""
        found = self.session.run(["embedding", "patches"], {"image": scale_crops(SPEC, crops)})
        return found[0], found[1]

    def embed(self, crops: dict[int, UInt8]) -> dict[int, Float32]:
        """Photo -> unit embedding; those in the kept file are not computed again."""
        file = self.path.with_suffix(".npz")
        found: dict[int, Float32] = {}
        if file.exists():
            with np.load(file) as saved:
                found = dict(zip(saved["rows"].tolist(), saved["embeddings"], strict=True))
        new = [n for n in crops if n not in found]
        for done, n in enumerate(new, 1):
            found[n] = unit(self.run(crops[n][None])[0])[0]
            if done % 500 == 0 or done == len(new):
                np.savez(file, rows=list(found), embeddings=np.stack(list(found.values())))
        return {n: found[n] for n in crops}


def open_variant(name: str, make: Callable[[], onnx.ModelProto], work: Path) -> Variant:
    """A variant on one thread, its graph made unless it is kept."""
    file = work / f"{name.replace(' ', '-')}.onnx"
    if not file.exists():
        onnx.save(make(), file)
    return Variant(name, open_session(file.read_bytes(), threads=1, name=name), file)


def chosen_pairs(dataset: Dataset, each_fold: int | None) -> list[int]:
    """Pairs to ask for: all, or so many of each fold, half of them of one person."""
    if each_fold is None:
        return list(range(len(dataset.pairs)))
    random = np.random.default_rng(0)
    groups: dict[tuple[int, bool], list[int]] = {}
    for n, pair in enumerate(dataset.pairs):
        groups.setdefault((pair.fold, pair.same), []).append(n)
    return sorted(int(n) for g in groups.values() for n in random.permutation(g)[: each_fold // 2])


def cosines(a: Float32, b: Float32) -> Float32:
    """Cosines of rows."""
    return np.asarray((unit(a) * unit(b)).sum(axis=-1))


def cells(patches: Float32) -> Float32:
    """(N, C, h, w) -> (N, R, C)."""
    return patches.reshape(*patches.shape[:2], -1).transpose(0, 2, 1)


def show_agreement(variants: list[Variant], crops: UInt8) -> None:
    """Cosines to float32, variant by variant, and file sizes."""
    print(f"\n| {len(crops)} crops | MB | embedding, mean | least | patches, mean | least |")
    print("|---|---|---|---|---|---|")
    kept: tuple[Float32, Float32] | None = None
    for variant in variants:
        parts = [variant.run(crop[None]) for crop in crops]
        embedding, patches = (np.concatenate([p[n] for p in parts]) for n in range(2))
        kept = kept or (embedding, patches)
        e, p = cosines(kept[0], embedding), cosines(cells(kept[1]), cells(patches))
        size = variant.path.stat().st_size / 1e6
        print(
            f"| {variant.name} | {size:.1f} | {e.mean():.6f} | {e.min():.6f} "
            f"| {p.mean():.6f} | {p.min():.6f} |",
            flush=True,
        )


def show_times(variants: list[Variant], crops: UInt8, rounds: int) -> None:
    """CPU milliseconds a face and their ratio to float32's, in turns."""
    print("\n| one thread, CPU ms a face (of float32) |", *(f" batch {b} |" for b in BATCHES))
    print("|---|" + "---|" * len(BATCHES))
    taken = np.zeros((len(variants), len(BATCHES), rounds))
    for turn in range(-1, rounds):  # the first warms up and is written over
        for n, variant in enumerate(variants):
            for b, batch in enumerate(BATCHES):
                started = time.process_time()
                for start in range(0, 16, batch):
                    variant.run(crops[start : start + batch])
                taken[n, b, turn] = (time.process_time() - started) / 16
    # The ratio is taken in each round, where the machine's state was nearly the same.
    ratios = np.median(taken / taken[:1], axis=-1)
    for variant, times, ratio in zip(variants, np.median(taken, axis=-1), ratios, strict=True):
        told = (f"{1000 * t:.1f} ({r:.2f})" for t, r in zip(times, ratio, strict=True))
        print(f"| {variant.name} |", " | ".join(told), "|")


def show_accuracy(
    variants: list[Variant], dataset: Dataset, asked: list[int], crops: dict[int, UInt8]
) -> None:
    """Ten-fold accuracy, and what changed against float32."""
    pairs = [dataset.pairs[n] for n in asked]
    same, folds = np.array([p.same for p in pairs]), np.array([p.fold for p in pairs])
    wanted = sorted({n for p in pairs for n in (p.a, p.b)})
    known = {n: crops[n] for n in wanted if n in crops}
    print(
        f"\n| {len(pairs)} pairs, {len(wanted)} photos, {len(wanted) - len(known)} without a face"
    )
    print(
        "| | accuracy | difference | changed | now right | now wrong | largest change of a cosine |"
    )
    print("|---|---|---|---|---|---|---|")
    first: tuple[FoldAccuracy, np.ndarray, np.ndarray] | None = None
    for variant in variants:
        found = variant.embed(known)
        scores = np.array(
            [found[p.a] @ found[p.b] if p.a in found and p.b in found else -1.0 for p in pairs],
            np.float64,
        )
        result = fold_accuracy(scores, same, folds)
        limits = dict(zip(np.unique(folds), result.thresholds, strict=True))
        right = (scores >= np.array([limits[f] for f in folds])) == same
        first = first or (result, right, scores)
        print(
            f"| {variant.name} | {100 * result.mean:.2f} +- {100 * result.standard_error:.2f} "
            f"| {100 * (result.mean - first[0].mean):+.3f} | {(right != first[1]).sum()} "
            f"| {(right & ~first[1]).sum()} | {(~right & first[1]).sum()} "
            f"| {np.abs(scores - first[2]).max():.4f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lfw", type=Path, help="folder with a folder per person")
    parser.add_argument("--pairs", type=Path, required=True, help="LFW's pairs.txt")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is computed")
    parser.add_argument("--variants", nargs="+", help="only these, besides float32 [all]")
    parser.add_argument("--calibration", type=int, default=300, help="crops to calibrate on")
    parser.add_argument("--each-fold", type=int, help="pairs of each fold [all 600]")
    parser.add_argument("--rounds", type=int, default=7, help="of timing")
    parser.add_argument(
        "--show",
        nargs="+",
        choices=("agreement", "times", "accuracy"),
        default=("agreement", "times", "accuracy"),
    )
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)

    dataset = read_lfw(options.lfw, pairs=options.pairs)
    used = sorted({n for pair in dataset.pairs for n in (pair.a, pair.b)})
    tuning = {n for n, photo in enumerate(dataset.photos) if half_of(photo.person) == "tuning"}
    free = np.random.default_rng(0).permutation(sorted(tuning - set(used)))
    spare = [int(n) for n in free[: options.calibration]]
    crops = read_crops(dataset, [*used, *spare], options.work)
    calibration = np.stack([crops[n] for n in spare if n in crops])

    made = recipes(calibration, options.work)
    unknown = set(options.variants or ()) - set(made)
    if unknown:
        parser.error(f"no variant {', '.join(sorted(unknown))}; there are {', '.join(made)}")
    names = ["float32", *(n for n in options.variants or made if n != "float32")]
    variants = [open_variant(name, made[name], options.work) for name in names]
    drawn = np.random.default_rng(1).permutation([n for n in used if n in crops])[:COMPARED]
    sample = np.stack([crops[int(n)] for n in drawn])
    print(f"ONNX Runtime {onnxruntime.__version__}, {len(calibration)} crops for calibration")
    if "agreement" in options.show:
        show_agreement(variants, sample)
    if "times" in options.show:
        show_times(variants, sample, options.rounds)
    if "accuracy" in options.show:
        show_accuracy(variants, dataset, chosen_pairs(dataset, options.each_fold), crops)


if __name__ == "__main__":
    main()
