"""ArcFace ResNet-18 (Deng et al. 2019; the paper's first network): terms and preprocessing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from faceflow.networks.spec import PAPER_DEFAULTS, NetworkSpec
from faceflow.weights import CheckpointFile, Licence, ModelFile, Tensors

SPEC = NetworkSpec(
    name="arcface",
    title="ArcFace ResNet-18 of the paper, 25.6 M parameters, 128x128 gray, 8x8 patches",
    source=CheckpointFile(
        file_name="resnet18_110.pth",
        size=0,
        upstream="resnet_face18 without SE of ronghuaiyang/arcface-pytorch",
        where="the Google Drive folder that the README of the paper's code "
        "(github.com/anguyen8/deepface-emd) links to, and on Baidu from "
        "github.com/ronghuaiyang/arcface-pytorch",
    ),
    licence=Licence(
        code="faceflow's own implementation; the upstream repository holds no licence file",
        weights="not stated: neither the upstream repository nor the folder names a licence",
        training_data="CASIA-WebFace (the paper, section S1), a set for research only",
        note="Without a licence nobody but the authors may pass the weights on; ask them before "
        "any use beyond your own research",
    ),
    input_size=(128, 128),
    colour="gray",
    mean=(127.5,),
    std=(127.5,),
    template="deepface-emd-128",
    embedding_size=512,
    grid=(8, 8),
    channels=512,
    defaults=PAPER_DEFAULTS,
)
LAYER3 = replace(
    SPEC,
    name="arcface-layer3",
    title="ArcFace ResNet-18 with the 16x16 patches of its layer 3",
    grid=(16, 16),
    channels=256,
    patch_output="patches-layer3",
    model=SPEC.name,
)


def _shapes() -> Mapping[str, tuple[int, ...]]:
    from faceflow.networks.arcface_graph import ARCFACE_RESNET18  # loads onnx

    return ARCFACE_RESNET18.expected_shapes()


def _build(files: Mapping[str, Tensors]) -> Mapping[str, bytes]:
    from faceflow.networks.arcface_graph import ARCFACE_RESNET18

    return {SPEC.name: ARCFACE_RESNET18.build(files[SPEC.source.member])}


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
