"""Pods are given what they need and no more: profile, secrets, tokens, network."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.serve.remote import CONFIG
from tests.cluster.manifests import PLAIN, objects, pod_templates


def containers(template: dict[str, Any]) -> list[dict[str, Any]]:
    return [*template["spec"]["containers"], *template["spec"].get("initContainers", [])]


@pytest.mark.parametrize("path", PLAIN, ids=str)
def test_pods_fit_the_restricted_profile_with_read_only_images(path: Path) -> None:
    """Kubernetes' Pod Security Standards, "Restricted"."""
    for manifest in objects(path):
        locked = [c for t in pod_templates(manifest) for c in containers(t)]
        if manifest["kind"] == "RayCluster":
            locked.append(manifest["spec"]["autoscalerOptions"])
        for template in pod_templates(manifest):
            spec = template["spec"]
            context = spec["securityContext"]
            assert context["runAsNonRoot"] and context["runAsUser"] > 0
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}
            assert not any(spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC"))
            kinds = {
                kind for volume in spec.get("volumes", []) for kind in volume if kind != "name"
            }
            assert kinds <= {"emptyDir", "configMap", "persistentVolumeClaim", "secret"}
            written = {m["mountPath"] for c in containers(template) for m in c["volumeMounts"]}
            assert "/tmp" in written or written == {"/data"}  # Redis writes nowhere else
        for container in locked:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_the_head_alone_may_ask_kubernetes_for_something(
    rendered: dict[str, list[dict[str, Any]]],
) -> None:
    for manifest in (m for found in rendered.values() for m in found):
        for template in pod_templates(manifest):
            is_head = template["spec"]["containers"][0]["name"] == "ray-head"
            assert template["spec"].get("automountServiceAccountToken", True) == is_head


def secrets_of(container: dict[str, Any]) -> set[str]:
    """Return the secrets that a container is given, whole or in part."""
    whole = {f["secretRef"]["name"] for f in container.get("envFrom", []) if "secretRef" in f}
    sources = [entry.get("valueFrom", {}) for entry in container.get("env", [])]
    return whole | {s["secretKeyRef"]["name"] for s in sources if "secretKeyRef" in s}


def test_a_pod_is_given_the_secrets_that_it_needs(
    rendered: dict[str, list[dict[str, Any]]],
) -> None:
    given = {
        container["name"]: secrets_of(container)
        for manifest in rendered["kind"]
        for template in pod_templates(manifest)
        for container in containers(template)
    }
    assert given == {
        "ray-head": {"fairgen-clients"},
        "ray-worker": {"fairgen-clients", "fairgen-endpoint"},
        "redis": {"fairgen-redis"},
        "postgres": {"fairgen-registry"},
        "mlflow": {"fairgen-registry"},
        "make-user": {"fairgen-registry", "fairgen-clients"},
    }
    admin = next(s for s in rendered["kind"] if s["metadata"]["name"] == "fairgen-clients")
    assert set(admin["data"]) == {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}


def test_every_pod_stands_behind_a_policy(rendered: dict[str, list[dict[str, Any]]]) -> None:
    policies = [m["spec"] for m in rendered["kind"] if m["kind"] == "NetworkPolicy"]
    behind = [policy["podSelector"]["matchLabels"] for policy in policies]
    assert all(policy["policyTypes"] == ["Ingress"] and policy["ingress"] for policy in policies)
    for manifest in rendered["kind"]:
        for template in pod_templates(manifest):
            labels = template.get("metadata", {}).get("labels", {})
            if manifest["apiVersion"].startswith("ray.io/"):
                labels = {"ray.io/is-ray-node": "yes"}  # KubeRay puts it there
            if manifest["kind"] != "Job":  # nobody asks it for anything
                assert any(selector.items() <= labels.items() for selector in behind)
    open_ports = [
        rule["ports"] for policy in policies for rule in policy["ingress"] if "from" not in rule
    ]
    assert open_ports == [[{"port": yaml.safe_load(CONFIG.read_text())["http_options"]["port"]}]]
