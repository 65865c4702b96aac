"""CosFace sphere20 (Wang et al. 2018; the paper's second network): terms and preprocessing."""

from __future__ import annotations

from collections.abc import Mapping

from faceflow.networks.spec import PAPER_DEFAULTS, NetworkSpec
from faceflow.weights import CheckpointFile, Licence, ModelFile, Tensors

SPEC = NetworkSpec(
    name="cosface",
    title="CosFace sphere20 of the paper, 22.7 M parameters, 112x96 RGB, 7x6 patches",
    source=CheckpointFile(
        file_name="ACC99.28.pth",
        size=0,
        upstream="sphere20 of MuggleWang/CosFace_pytorch",
        where="the Google Drive folder that the README of the paper's code "
        "(github.com/anguyen8/deepface-emd) links to, and on Baidu from "
        "github.com/MuggleWang/CosFace_pytorch",
    ),
    licence=Licence(
        code="faceflow's own implementation; the upstream repository is MIT",
        weights="MIT if the upstream repository's licence covers them, which it does not say",
        training_data="CASIA-WebFace (the paper, section S1), a set for research only",
        note="The terms of the training photos may bind users of the weights; for other than "
        "research use, judge this yourself or ask the authors",
    ),
    input_size=(112, 96),
    colour="rgb",
    mean=(127.5, 127.5, 127.5),
    std=(127.5, 127.5, 127.5),
    template="deepface-emd-96x112",
    embedding_size=512,
    grid=(7, 6),
    channels=512,
    defaults=PAPER_DEFAULTS,
)


def _shapes() -> Mapping[str, tuple[int, ...]]:
    from faceflow.networks.cosface_graph import COSFACE_SPHERE20  # loads onnx

    return COSFACE_SPHERE20.expected_shapes()


def _build(files: Mapping[str, Tensors]) -> Mapping[str, bytes]:
    from faceflow.networks.cosface_graph import COSFACE_SPHERE20

    return {SPEC.name: COSFACE_SPHERE20.build(files[SPEC.source.member])}


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
