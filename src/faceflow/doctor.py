"""Is this computer ready for the main job? Versions, processor, models, gallery, a self-test."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from faceflow import __version__
from faceflow.errors import FaceflowError, MissingExtraError, WeightsError

if TYPE_CHECKING:
    from faceflow.gallery import GalleryLocation

Verdict = Literal["ok", "note", "problem"]

PACKAGES = (
    "numpy",
    "onnx",
    "opencv-python-headless",
    "pillow",
    "safetensors",
    "jinja2",
)
# What the transport and the networks gain most from, in the words of /proc/cpuinfo.
_INSTRUCTIONS = (
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx_vnni",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
)
_LOW_DISK = 200_000_000


@dataclass(frozen=True, slots=True)
class Check:
    """One finding.

    Attributes:
        name: what was looked at.
        verdict: "ok", "note" (worth knowing) or "problem" (the main job cannot run).
        detail: what was found, and for a problem what to do.
        error: behind a problem.
    """

    name: str
    verdict: Verdict
    detail: str
    error: FaceflowError | None = None


def examine(*, gallery: str | Path | GalleryLocation | None = None) -> list[Check]:
    """Look at everything the main job needs; takes about two seconds.

    Args:
        gallery: also read every byte of this gallery.
    """
    checks = [
        Check("faceflow", "ok", __version__),
        Check("python", "ok", f"{platform.python_version()} at {sys.executable}"),
        Check("system", "ok", platform.platform()),
        *(_package(name) for name in PACKAGES),
        onnx_runtime(),
        Check("processor", "ok", _processor()),
        Check("cores", "ok", _cores()),
        Check("instructions", "ok", _instructions()),
    ]
    if not any(check.verdict == "problem" for check in checks):
        checks += [_guarded("onnxruntime providers", _providers), pytorch(), device(), _transport()]
        checks += [_cache(), *_models()]
        if not any(check.verdict == "problem" for check in checks):
            checks.append(_guarded("self-test", _self_test))
    if gallery is not None:
        checks.append(_guarded("gallery", lambda: _gallery(gallery)))
    return checks


def _guarded(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, "ok", look())
    except FaceflowError as error:
        return Check(name, "problem", str(error), error)
    except ImportError as error:
        missing = MissingExtraError(
            f"A package does not load: {error}", todo="install faceflow again"
        )
        return Check(name, "problem", str(missing), missing)


def _package(name: str) -> Check:
    try:
        return Check(name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        pass
    # OpenCV has several packages with one module; any of them will do.
    if name.startswith("opencv") and importlib.util.find_spec("cv2") is not None:
        return Check(name, "ok", "installed from another package")
    error = MissingExtraError(f"{name} is not installed", todo=f"run `pip install {name}`")
    return Check(name, "problem", str(error), error)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _cores() -> str:
    from faceflow.weights.session import physical_cores

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{usable} usable, {physical_cores()} physical"


def _instructions() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "not known on this system"
    flags = next(
        (line for line in text.splitlines() if line.lower().startswith(("flags", "features"))), ""
    )
    present = set(flags.partition(":")[2].split())
    return " ".join(name for name in _INSTRUCTIONS if name in present) or "none of note"


def _providers() -> str:
    import onnxruntime

    return ", ".join(onnxruntime.get_available_providers())


def onnx_runtime() -> Check:
    """Which of its packages is installed, and whether one lies over another."""
    from faceflow.weights import devices

    found = devices.installed()
    if not found:
        error = MissingExtraError(
            "onnxruntime is not installed", todo="run `pip install onnxruntime`"
        )
        return Check("onnxruntime", "problem", str(error), error)
    versions = ", ".join(f"{version} ({name})" for name, version in found.items())
    if len(found) == 1:
        return Check("onnxruntime", "ok", versions.removesuffix(" (onnxruntime)"))
    return Check(
        "onnxruntime",
        "note",
        f"{versions}: both install into one folder, where now the files of "
        f"{devices.in_the_folder() or 'one of them'} lie; keep one: {devices.REPAIR}",
    )


def device() -> Check:
    """Where networks run when nobody says otherwise, and why not on a GPU."""
    from faceflow.weights import devices

    try:
        chosen = devices.resolve()
    except FaceflowError as error:
        return Check("device", "problem", str(error), error)
    asked = os.environ.get(devices.VARIABLE, "").strip()
    detail = f"{chosen}, chosen by {devices.VARIABLE}={asked}" if asked else chosen
    if asked.lower() == "auto" and (missing := devices.why_no_cuda()) is not None:
        detail += f": {missing.why or missing.what}"
    if chosen != "cpu":
        detail += f"; networks by {devices.engine(chosen)}, {_comparing(chosen)}"
    if not asked:
        detail += f"; others by --device or {devices.VARIABLE}: {', '.join(devices.CHOICES)}"
    return Check("device", "ok", detail)


def _comparing(device: str) -> str:
    from faceflow.matching.transport.device import fused
    from faceflow.weights import pytorch

    missing = pytorch.why_not(device)
    if missing is not None:
        return f"faces searched and compared by the CPU, because {missing.why}"
    why = fused.why_not(device, 64, 64, 1e-3)
    return "faces compared by " + ("the fused kernel" if why is None else f"PyTorch ({why})")


def pytorch() -> Check:
    """What PyTorch and Triton, which are optional, see and offer."""
    if importlib.util.find_spec("torch") is None:
        return Check(
            "pytorch",
            "ok",
            "not installed; it is needed for training and on GPUs (faceflow[torch])",
        )
    import torch

    from faceflow.weights.pytorch import why_not

    seen = [f"cuda:{n} ({torch.cuda.get_device_name(n)})" for n in range(torch.cuda.device_count())]
    if why_not("mps") is None:
        seen.append("mps")
    triton = "with Triton" if importlib.util.find_spec("triton") else "without Triton"
    return Check(
        "pytorch", "ok", f"{torch.__version__}, {triton}; GPUs: {', '.join(seen) or 'none'}"
    )


def _transport() -> Check:
    from faceflow.matching.transport import native

    missing = native.why_missing()
    if missing is not None:
        return Check(
            "transport",
            "note",
            f"NumPy backend, without the compiled kernel: {missing}. Results agree to six digits, "
            f"comparing faces takes {native.NUMPY_SLOWER}; to have the kernel, install a C++17 "
            "compiler and then faceflow again",
        )
    return _guarded("transport", _kernel)


def _kernel() -> str:
    from faceflow.matching.transport import native

    kernel = native.info()
    levels = ", ".join(f"{dtype} by {isa}" for dtype, isa in kernel.active.items())
    return f"compiled kernel, {levels}; {kernel.cores} cores; built for {', '.join(kernel.built)}"


def _cache() -> Check:
    from faceflow.system.caches import cache_dir

    folder = cache_dir()
    # The folder may not exist yet: its nearest parent says what can be made there.
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    detail = f"{folder}, {free / 1e9:.1f} GB free"
    if not os.access(existing, os.W_OK):
        return Check("cache", "note", f"{detail}; it cannot be written, so nothing can be pulled")
    if free < _LOW_DISK:
        return Check("cache", "note", f"{detail}; that is too little to pull models")
    return Check("cache", "ok", detail)


def _models() -> list[Check]:
    from faceflow import models, networks
    from faceflow.faces import detectors
    from faceflow.weights import Status

    checks = []
    for state in models.states():
        name = f"model {state.model.name}"
        found = f"{state.status.value}: {state.detail}"
        if state.status is Status.READY:
            checks.append(Check(name, "ok", found))
            continue
        if state.model.name not in (networks.DEFAULT, detectors.DEFAULT):
            checks.append(Check(name, "note", f"{found}; it is not used by default"))
            continue
        error = WeightsError(
            f"{state.status.value}: {state.detail}",
            todo=f"run `faceflow models pull {state.model.name}`",
        )
        checks.append(Check(name, "problem", str(error), error))
    return checks


def _self_test() -> str:
    """Find, embed and compare the face of a drawn person."""
    from faceflow.analyzer import FaceAnalyzer
    from faceflow.demo.shipped import PEOPLE
    from faceflow.matching.score import emd_similarity

    photo = next(PEOPLE.glob("*/*.jpg"))
    analyzer = FaceAnalyzer()
    analyzer.analyze(photo)  # the first run pays for loading
    start = time.perf_counter()
    face = analyzer.analyze(photo, select="largest")[0]
    found = time.perf_counter()
    plan = emd_similarity(face.features, face.features)
    end = time.perf_counter()
    similarity = float(plan.similarity[0])
    if not similarity > 0.5:
        raise WeightsError(
            f"A face compared with itself scores {similarity:.3f}",
            todo="run `faceflow models pull --force`",
        )
    return (
        f"a drawn face was found and embedded in {1000 * (found - start):.0f} ms and compared "
        f"in {1000 * (end - found):.1f} ms"
    )


def _gallery(place: str | Path | GalleryLocation) -> str:
    from faceflow.gallery import Gallery

    with Gallery.open(place, readonly=True) as gallery:
        gallery.check()
        stats = gallery.stats()
    return (
        f"{gallery.location}: {stats.faces:,} faces of {stats.people:,} people, every byte as it "
        f"was written, {stats.header.describe()}"
    )
