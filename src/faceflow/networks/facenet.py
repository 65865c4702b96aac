"""FaceNet's Inception-ResNet-v1 (the paper's third network): terms and both preprocessings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from faceflow.networks.spec import PAPER_DEFAULTS, NetworkSpec
from faceflow.weights import CheckpointFile, Licence, ModelFile, Tensors

SPEC = NetworkSpec(
    name="facenet",
    title="FaceNet Inception-ResNet-v1, 23.5 M parameters, 160x160 RGB, 3x3 patches",
    source=CheckpointFile(
        file_name="20180402-114759-vggface2.pt",
        size=112_000_000,  # its README says 107 MB, which are 2**20 bytes by its tensors
        upstream="facenet-pytorch by Tim Esler, converted from David Sandberg's facenet",
        where="the release v2.2.9 of github.com/timesler/facenet-pytorch",
        url="https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/"
        "20180402-114759-vggface2.pt",
    ),
    licence=Licence(
        code="faceflow's own implementation; facenet-pytorch and facenet are MIT",
        weights="MIT if the two repositories' licences cover them, which they do not say",
        training_data="VGGFace2, a set for research only",
        note="The terms of the training photos may bind users of the weights; for other than "
        "research use, judge this yourself or ask the authors",
    ),
    input_size=(160, 160),
    colour="rgb",
    # As it was trained: (x - 127.5) / 128.
    mean=(127.5, 127.5, 127.5),
    std=(128.0, 128.0, 128.0),
    template="deepface-emd-160",
    embedding_size=512,
    grid=(3, 3),
    channels=1792,
    defaults=PAPER_DEFAULTS,
)
PAPER = replace(
    SPEC,
    name="facenet-paper",
    title="FaceNet fed with pixels in 0..1, as the paper's code does",
    mean=(0.0, 0.0, 0.0),
    std=(255.0, 255.0, 255.0),
    model=SPEC.name,
)


def _shapes() -> Mapping[str, tuple[int, ...]]:
    from faceflow.networks.facenet_graph import INCEPTION_RESNET_V1  # loads onnx

    return INCEPTION_RESNET_V1.expected_shapes()


def _build(files: Mapping[str, Tensors]) -> Mapping[str, bytes]:
    from faceflow.networks.facenet_graph import INCEPTION_RESNET_V1

    return {SPEC.name: INCEPTION_RESNET_V1.build(files[SPEC.source.member])}


MODEL = ModelFile(
    name=SPEC.name,
    title=SPEC.title,
    kind="network",
    sources=(SPEC.source,),
    licence=SPEC.licence,
    graphs=(SPEC.name,),
    builder=1,
    build=_build,
    shapes=_shapes,
)
