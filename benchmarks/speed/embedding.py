"""The default network: ours (ONNX Runtime) against PyTorch, and other ways to run it.

    python benchmarks/speed/embedding.py                    # needs torch, `faceflow models pull`
    python benchmarks/speed/embedding.py --variants --crops FOLDER

Both get the same images and the same number of threads, in one run that takes every way once a
round in an order shuffled anew. The PyTorch module has random weights of the same shapes: time
does not depend on them. Timed is the network alone, without decoding or scaling a photo.

``--variants`` times ONNX Runtime's levels of graph optimisation, weights rounded to int8 (dynamic
quantisation) and two sessions of one thread side by side against one of two; with ``--crops``
(folder of .npz files with a uint8 ``crop``) it also says how far each one's embeddings lie from
those of the ordinary session.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Clock, load, machine

from faceflow.arrays import unit
from faceflow.errors import FaceflowError
from faceflow.networks import FaceNetwork, load_network

Run = Callable[[np.ndarray], Any]


def pytorch() -> Callable[[int], Run]:
    """A run of the same network in PyTorch, by number of threads."""
    import torch

    from faceflow.networks.torch import build

    module = build("lightcnn-v4").eval()

    def with_threads(threads: int) -> Run:
        def run(images: np.ndarray) -> Any:
            torch.set_num_threads(threads)
            with torch.inference_mode():
                return module(torch.from_numpy(images))

        return run

    return with_threads


def variants(network: FaceNetwork) -> dict[str, Run]:
    """Other ways to run the network's graph, two threads each."""
    import onnxruntime as ort
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph, levels = network._read_graph(), ort.GraphOptimizationLevel

    def session(model: bytes, threads: int, level: Any = levels.ORT_ENABLE_ALL) -> Run:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.graph_optimization_level, options.log_severity_level = level, 3
        opened = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        entry = opened.get_inputs()[0].name
        return lambda images: opened.run(None, {entry: images})

    with tempfile.TemporaryDirectory() as folder:
        plain, small = Path(folder) / "plain.onnx", Path(folder) / "small.onnx"
        plain.write_bytes(graph)
        quantize_dynamic(plain, small, weight_type=QuantType.QUInt8)
        rounded = small.read_bytes()
    pair, pool = [session(graph, 1), session(graph, 1)], ThreadPoolExecutor(2)

    def side_by_side(images: np.ndarray) -> Any:
        half = -(-len(images) // 2)
        parts = [part for part in (images[:half], images[half:]) if len(part)]
        done = list(pool.map(lambda run, part: run(part), pair, parts))
        return [np.concatenate(both) for both in zip(*done, strict=True)]

    return {
        "all optimisations": session(graph, 2),
        "extended": session(graph, 2, levels.ORT_ENABLE_EXTENDED),
        "basic": session(graph, 2, levels.ORT_ENABLE_BASIC),
        "none": session(graph, 2, levels.ORT_DISABLE_ALL),
        "dynamic int8": session(rounded, 2),
        "2 sessions of 1 thread": side_by_side,
    }


def crops_of(folder: Path, count: int) -> np.ndarray:
    found = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as file:
            if "crop" in file:
                found.append(file["crop"])
        if len(found) == count:
            break
    return np.stack(found)


def measure(runs: dict[str, Run], images: np.ndarray, rounds: int) -> Clock:
    clock, rng = Clock(), np.random.default_rng(0)
    for run in runs.values():
        run(images)
    for _ in range(rounds):
        for name in rng.permutation(list(runs)):
            with clock.measure(str(name)):
                runs[str(name)](images)
    return clock


def show(clock: Clock, batch: int, base: str) -> None:
    for name in clock.wall:
        wall, cpu = np.array(clock.wall[name]), np.array(clock.cpu[name])
        low, mid, high = np.percentile(batch / wall, [25, 50, 75])
        ratio = np.median(np.array(clock.wall[base]) / wall)
        print(
            f"  batch {batch:2}  {name:24}{mid:7.1f} ({low:.1f}-{high:.1f}) images/s"
            f"{np.median(cpu) / batch * 1e3:9.1f} CPU ms an image   {ratio:5.2f}x {base}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the default network.")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--variants", action="store_true")
    parser.add_argument("--crops", type=Path)
    options = parser.parse_args()
    print(machine())
    network = load_network(threads=1)
    size = network.scale(np.zeros((1, *network.spec.input_size, 3), np.uint8)).shape[1:]
    images = np.random.default_rng(0).random((max(options.batches), *size), np.float32)
    if options.variants:
        runs = variants(network)
        for batch in options.batches:
            rounds = max(2, options.rounds * 8 // max(batch, 8))
            show(measure(runs, images[:batch], rounds), batch, "all optimisations")
        if options.crops:
            faces = network.scale(crops_of(options.crops, 200))
            truth = unit(network.run(faces)[0])
            for name, run in runs.items():
                got = next(a for a in run(faces) if a.ndim == 2)
                cosine = (unit(got) * truth).sum(axis=1)
                print(
                    f"  {name:24} cosine to the ordinary embedding of {len(faces)} crops: "
                    f"mean {cosine.mean():.6f}, least {cosine.min():.6f}"
                )
    else:
        try:
            other = pytorch()
        except (ImportError, FaceflowError) as error:
            parser.exit(1, f"no comparison: {error}\n")
        for threads in options.threads:
            print(f"\n{threads} thread(s); {load()}")
            runs = {"ours": load_network(threads=threads).run, "PyTorch": other(threads)}
            for batch in options.batches:
                rounds = max(2, options.rounds * 8 // max(batch, 8))
                show(measure(runs, images[:batch], rounds), batch, "PyTorch")
    print(load())


if __name__ == "__main__":
    main()
