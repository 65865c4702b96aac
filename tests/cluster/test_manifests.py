"""The Kubernetes manifests: what must hold of them, and that they fit together."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from faceflow.cli import clustering
from faceflow.cluster.deployment import Layout

yaml = pytest.importorskip("yaml")

FOLDER = Path(__file__).resolve().parents[2] / "container" / "kuberay"
Document = dict[str, Any]


def documents() -> dict[tuple[str, str], Document]:
    found = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        for one in yaml.safe_load_all(path.read_text("utf-8")):
            found[one["kind"], one["metadata"]["name"]] = one
    return found


ALL = documents()


def pods() -> list[tuple[str, Document]]:
    """Every pod's specification, by where it stands."""
    ray = ALL["RayCluster", "faceflow"]["spec"]
    groups = [("head", ray["headGroupSpec"])]
    groups += [(one["groupName"], one) for one in ray["workerGroupSpecs"]]
    found = [(name, group["template"]["spec"]) for name, group in groups]
    for (kind, name), one in ALL.items():
        if kind in ("Job", "Deployment"):
            found.append((name, one["spec"]["template"]["spec"]))
    return found


def test_there_are_the_kinds_that_the_page_names() -> None:
    assert {kind for kind, _ in ALL} == {"RayCluster", "NetworkPolicy", "Job"}
    assert ALL["RayCluster", "faceflow"]["apiVersion"] == "ray.io/v1"
    assert all(one["metadata"]["namespace"] == "faceflow" for one in ALL.values())


def test_ray_asks_for_a_token() -> None:
    spec = ALL["RayCluster", "faceflow"]["spec"]
    assert spec["authOptions"] == {"mode": "token"}
    # KubeRay demands it, from the version on that knows tokens.
    assert tuple(map(int, spec["rayVersion"].split("."))) >= (2, 52, 0)


@pytest.mark.parametrize(("name", "pod"), pods())
def test_nobody_in_particular_without_rights(name: str, pod: Document) -> None:
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001  # the user of the image
    for container in pod["containers"]:
        confined = container["securityContext"]
        assert confined["allowPrivilegeEscalation"] is False
        assert confined["capabilities"] == {"drop": ["ALL"]}
        limits = container["resources"]
        assert limits["limits"] == limits["requests"], "no neighbour takes its memory"
        secrets = {
            one["name"]: one["valueFrom"]["secretKeyRef"]
            for one in container["env"]
            if "valueFrom" in one
        }
        assert {"FACEFLOW_GALLERY", "PGPASSWORD"} <= secrets.keys()
        for one in container["env"]:
            assert "value" not in one or "PASS" not in one["name"], "no secret in a manifest"


def test_replicas_are_on_machines_of_their_own_and_there_is_room() -> None:
    (group,) = ALL["RayCluster", "faceflow"]["spec"]["workerGroupSpecs"]
    (rule,) = group["template"]["spec"]["affinity"]["podAntiAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    assert rule["topologyKey"] == "kubernetes.io/hostname"
    assert rule["labelSelector"]["matchLabels"] == group["template"]["metadata"]["labels"]
    words = ALL["Job", "faceflow-start"]["spec"]["template"]["spec"]["containers"][0]["args"]
    given = dict(zip(words[2::2], words[3::2], strict=True))
    layout = Layout(int(given["--shards"]), int(given["--replicas"]), cpus=float(given["--cpus"]))
    assert layout.shards * layout.replicas <= group["replicas"]
    (container,) = group["template"]["spec"]["containers"]
    assert layout.cpus <= float(container["resources"]["limits"]["cpu"])
    # The head holds no shards.
    assert (
        ALL["RayCluster", "faceflow"]["spec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    )


def test_the_job_types_what_the_command_takes() -> None:
    words = ALL["Job", "faceflow-start"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert words[:2] == ["cluster", "start"]
    taken = {
        f"--{name.replace('_', '-')}" for name in inspect.signature(clustering.start).parameters
    }
    assert set(words[2::2]) <= taken
    assert words[words.index("--cluster") + 1] == "faceflow-head-svc.faceflow.svc:6379"


def test_only_the_cluster_and_its_clients_reach_it() -> None:
    policy = ALL["NetworkPolicy", "faceflow-ray"]["spec"]
    assert policy["podSelector"]["matchLabels"] == {"ray.io/cluster": "faceflow"}
    assert policy["policyTypes"] == ["Ingress"]
    (rule,) = policy["ingress"]
    chosen = [one["podSelector"]["matchLabels"] for one in rule["from"]]
    assert {"app": "faceflow-client"} in chosen
    assert all(chosen)
    labels = ALL["Job", "faceflow-start"]["spec"]["template"]["metadata"]["labels"]
    assert labels == {"app": "faceflow-client"}
