"""The detectors that can be pulled: what they are made of and under which terms."""

from __future__ import annotations

from collections.abc import Mapping

from faceflow.weights import Licence, ModelFile, Tensors, WheelFile


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
