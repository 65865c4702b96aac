"""Choosing where networks run, with made-up providers: there need be no GPU here."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from faceflow import Identifier, doctor, networks
from faceflow.errors import DeviceError, InputError, MissingExtraError
from faceflow.faces.detectors import load_detector
from faceflow.weights import ForkSafeSession, devices
from faceflow.weights.session import open_session

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
Machine = Callable[..., list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(devices.VARIABLE, raising=False)
    devices.why_no_cuda.cache_clear()
    yield
    devices.why_no_cuda.cache_clear()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Pretend to have packages, providers, and a GPU that works or does not."""

    def pretend(
        *packages: str,
        providers: tuple[str, ...] = (CPU,),
        built: str = "onnxruntime",
        works: bool = True,
        fails: str = "",
        prints: str = "",
    ) -> list[dict[str, Any]]:
        sessions: list[dict[str, Any]] = []

        class Session:
            def __init__(self, graph: bytes, options: Any, **given: Any) -> None:
                if fails:
                    raise RuntimeError(fails)
                names = [p if isinstance(p, str) else p[0] for p in given["providers"]]
                self.used = names if works else [CPU]
                sessions.append({"names": names, "options": options, **given})

            def get_providers(self) -> list[str]:
                return self.used

            def run(self, *_: Any) -> list[Any]:
                return []

        def version(name: str) -> str:
            if name not in packages:
                raise importlib.metadata.PackageNotFoundError(name)
            return "1.22.0"

        def preload() -> None:
            print(prints)  # noqa: T201 - as ONNX Runtime does

        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(providers))
        monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
        monkeypatch.setattr(onnxruntime, "preload_dlls", preload)
        monkeypatch.setattr(devices.importlib.metadata, "version", version)
        monkeypatch.setattr(devices, "in_the_folder", lambda: built)
        return sessions

    return pretend


def test_the_cpu_unless_something_else_is_asked_for(machine: Machine) -> None:
    machine("onnxruntime-gpu", providers=(CUDA, CPU))
    assert devices.resolve() == devices.resolve("cpu") == "cpu"


def test_the_environment_chooses_where_nobody_else_does(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("onnxruntime-gpu", providers=(CUDA, CPU))
    monkeypatch.setenv(devices.VARIABLE, " CUDA ")
    assert devices.resolve() == "cuda"
    assert devices.resolve("cpu") == "cpu"
    monkeypatch.setenv(devices.VARIABLE, "gpu")
    with pytest.raises(
        InputError,
        match=r"FACEFLOW_DEVICE is 'gpu'\. choose one of cpu, cuda, cuda:NUMBER, mps, auto",
    ):
        devices.resolve()
    with pytest.raises(InputError, match="device is 'tpu'"):
        devices.resolve("tpu")


def test_a_cpu_build_is_named_with_the_way_out(machine: Machine) -> None:
    machine("onnxruntime")
    with pytest.raises(DeviceError) as caught:
        devices.resolve("cuda")
    assert "onnxruntime is the build for the CPU alone" in caught.value.why
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in caught.value.todo
    assert "pip install onnxruntime-gpu" in caught.value.todo


def test_two_packages_in_one_folder_are_told(machine: Machine) -> None:
    machine("onnxruntime", "onnxruntime-gpu", built="onnxruntime")
    with pytest.raises(DeviceError, match="both installed into one folder") as caught:
        devices.resolve("cuda")
    assert "the files of onnxruntime lie" in caught.value.why


def test_a_gpu_build_without_cuda(machine: Machine) -> None:
    machine("onnxruntime-gpu", built="onnxruntime-gpu")
    with pytest.raises(DeviceError, match=r"onnxruntime-gpu 1\.22\.0 has no CUDA") as caught:
        devices.resolve("cuda")
    assert "pip" not in caught.value.todo


@pytest.mark.parametrize(
    ("how", "why"),
    [
        (
            {"fails": "CUDA failure 100: no CUDA-capable device\nat line 1"},
            "no CUDA-capable device",
        ),
        ({"works": False}, "without an error"),
        ({"works": False, "prints": "Failed to load libcudnn.so.9"}, "Failed to load libcudnn"),
    ],
)
def test_a_device_that_is_not_there_is_an_error_never_a_silent_cpu(
    machine: Machine, capsys: pytest.CaptureFixture[str], how: dict[str, Any], why: str
) -> None:
    machine("onnxruntime-gpu", providers=(CUDA, CPU), **how)
    for _ in range(2):
        with pytest.raises(DeviceError, match="no CUDA device that works") as caught:
            devices.resolve("cuda")
        assert why in caught.value.why
        assert "nvidia-smi" in caught.value.todo
    assert capsys.readouterr().out == ""


def test_auto_says_what_it_took_and_why(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "faceflow")
    machine("onnxruntime")
    assert devices.resolve("auto") == "cpu"
    assert "device auto: cpu, because the package onnxruntime is the build" in caplog.text
    devices.why_no_cuda.cache_clear()
    machine("onnxruntime-gpu", providers=(CUDA, CPU))
    assert devices.resolve("auto") == "cuda"
    assert "device auto: cuda" in caplog.text


def test_sessions_ask_for_cuda_in_full_precision_and_for_no_way_round(machine: Machine) -> None:
    sessions = machine("onnxruntime-gpu", providers=(CUDA, CPU))
    devices.resolve("cuda:1")  # runs a trial there
    assert sessions.pop()["providers"][0][1]["device_id"] == "1"
    devices.resolve("cuda")
    assert "device_id" not in sessions.pop()["providers"][0][1]
    open_session(b"graph", threads=3, device="cuda")
    (opened,) = sessions
    assert opened["names"] == [CUDA, CPU]
    assert opened["providers"][0][1]["use_tf32"] == "0"
    assert opened["enable_fallback"] == 0
    open_session(b"graph", threads=3)
    assert sessions[1]["names"] == [CPU]
    for session in sessions:
        options = session["options"]
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
        assert options.intra_op_num_threads == 3


def test_a_graph_that_the_device_leaves_out_is_an_error(machine: Machine) -> None:
    machine("onnxruntime-gpu", providers=(CUDA, CPU), works=False)
    with pytest.raises(DeviceError, match="toy does not run on cuda"):
        ForkSafeSession(lambda: b"graph", name="toy", device="cuda").get_inputs()


def test_every_door_refuses_a_device_that_is_not_there(machine: Machine, tmp_path: Path) -> None:
    machine("onnxruntime")
    for door in (
        lambda: networks.load_network(device="cuda"),
        lambda: load_detector("mtcnn", device="cuda"),
        lambda: load_detector("fan-2d", device="cuda"),
        lambda: Identifier(tmp_path / "x.faceflow", device="cuda"),
    ):
        with pytest.raises(DeviceError, match="cuda cannot be used"):
            door()


def test_a_detector_of_the_cpu_alone_says_so(machine: Machine) -> None:
    machine("onnxruntime-gpu", providers=(CUDA, CPU))
    with pytest.raises(DeviceError, match="fan-2d runs on the CPU alone"):
        load_detector("fan-2d", device="cuda")


def test_the_doctor_tells_the_device(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine("onnxruntime")
    check = doctor.device()
    assert (check.verdict, check.detail.split(";")[0]) == ("ok", "cpu")
    monkeypatch.setenv(devices.VARIABLE, "auto")
    assert "cpu, chosen by FACEFLOW_DEVICE=auto" in doctor.device().detail
    assert "build for the CPU alone" in doctor.device().detail
    monkeypatch.setenv(devices.VARIABLE, "cuda")
    check = doctor.device()
    assert check.verdict == "problem"
    assert isinstance(check.error, DeviceError)


def test_the_doctor_tells_what_runs_on_a_gpu(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("onnxruntime-gpu", providers=(CUDA, CPU))
    monkeypatch.setenv(devices.VARIABLE, "cuda")
    missing = MissingExtraError("no", why="PyTorch is not installed")
    monkeypatch.setattr("faceflow.weights.pytorch.why_not", lambda _: missing)
    told = doctor.device().detail
    assert "cuda, chosen by FACEFLOW_DEVICE=cuda; networks by onnxruntime" in told
    assert "compared by the CPU, because PyTorch is not installed" in told
    monkeypatch.setattr("faceflow.weights.pytorch.why_not", lambda _: None)
    fused = "faceflow.matching.transport.device.fused.why_not"
    monkeypatch.setattr(fused, lambda *_: None)
    assert "compared by the fused kernel" in doctor.device().detail
    monkeypatch.setattr(fused, lambda *_: "Triton is not installed")
    assert "compared by PyTorch (Triton is not installed)" in doctor.device().detail


def test_the_doctor_tells_of_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra torch)")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda n: f"Card {n}")
    assert f"{torch.__version__}, with" in doctor.pytorch().detail
    assert "GPUs: cuda:0 (Card 0)" in doctor.pytorch().detail
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "not installed" in doctor.pytorch().detail


def test_the_doctor_tells_of_two_packages(machine: Machine) -> None:
    machine("onnxruntime", "onnxruntime-gpu", built="onnxruntime-gpu", providers=(CUDA, CPU))
    check = doctor.onnx_runtime()
    assert check.verdict == "note"
    assert "the files of onnxruntime-gpu" in check.detail
    machine("onnxruntime-gpu", providers=(CUDA, CPU))
    check = doctor.onnx_runtime()
    assert (check.verdict, check.detail) == ("ok", "1.22.0 (onnxruntime-gpu)")
    machine()
    check = doctor.onnx_runtime()
    assert isinstance(check.error, MissingExtraError)
